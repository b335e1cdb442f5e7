//! `GET /api/v1/milady/agents`: which agents are listed, what counts as a change, and when a list is 304.

use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::Request;
use tests::world::minutes;
use tests::{World, run};
use uuid::Uuid;

const LIST: &str = "/api/v1/milady/agents";

fn ids(list: &Value) -> Vec<Uuid> {
    let rows = list["data"].as_array().expect("rows");
    rows.iter()
        .map(|row| serde_json::from_value(row["id"].clone()).expect("an id"))
        .collect()
}

#[test]
fn status_selects_agents_and_total_counts_them_on_all_pages() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let other = world.organization("10").await;
        world.agent(other, "running").await;
        for status in ["running", "stopped", "running", "running"] {
            world.agent(organization, status).await;
        }
        for (query, listed, total) in [
            ("", 4, 4),
            ("?limit=3", 3, 4),
            ("?status=running", 3, 3),
            ("?status=running&limit=1", 1, 3),
            ("?status=error", 0, 0),
        ] {
            let list = world.get(&key, &format!("{LIST}{query}")).await.json();
            let shown = (ids(&list).len(), list["total"].clone());
            assert_eq!(shown, (listed, json!(total)), "{query}");
        }
    });
}

#[test]
fn changed_since_lists_agents_whose_row_backups_or_jobs_changed() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let mut agents = Vec::new();
        for status in ["running", "stopped", "pending", "running", "stopped"] {
            agents.push(world.agent(organization, status).await);
        }
        world.set_clock(minutes(10)).await;
        let as_of = world.get(&key, LIST).await.json()["asOf"].clone();
        assert_eq!(as_of, json!("2026-03-01T00:10:00.000Z"));
        let path = format!("{LIST}?changedSince={}", as_of.as_str().expect("a time"));
        let changed = async || world.get(&key, &path).await.json();
        assert_eq!(ids(&changed().await), [] as [Uuid; 0]);
        // A heartbeat is no change. A change may be seen after a list that is younger.
        world
            .set_columns(agents[0], "last_heartbeat_at = billing_clock()")
            .await;
        world
            .set_columns(agents[1], "updated_at = '2026-03-01T00:09:31Z'")
            .await;
        world.start(organization, agents[2]).await;
        world
            .set_columns(agents[3], "last_backup_at = billing_clock()")
            .await;
        let list = changed().await;
        let mut listed = ids(&list);
        listed.sort();
        let mut expected = vec![agents[1], agents[2], agents[3]];
        expected.sort();
        assert_eq!((listed, &list["total"]), (expected, &json!(5)));
        // A deletion shows in the total.
        world.delete(agents[4]).await;
        assert_eq!(changed().await["total"], json!(4));
        // A job that ended is a change, too.
        world.set_clock(minutes(20)).await;
        sqlx::query(
            "UPDATE jobs SET status = 'failed', updated_at = billing_clock() AT TIME ZONE 'UTC' WHERE agent_id = $1",
        )
        .bind(agents[2])
        .execute(&world.pool)
        .await
        .expect("a job");
        let path = format!("{LIST}?changedSince=2026-03-01T00:15:00Z");
        assert_eq!(ids(&world.get(&key, &path).await.json()), [agents[2]]);
    });
}

#[test]
fn heartbeat_alone_leaves_the_list_unchanged_until_the_agent_is_silent() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let agent = world.agent(organization, "running").await;
        world
            .set_columns(agent, "last_heartbeat_at = billing_clock()")
            .await;
        let first = world.get(&key, LIST).await;
        let tag = first.header("etag").expect("a tag").to_owned();
        assert_eq!(first.json()["data"][0]["silentSince"], json!(null));
        let conditional = async || {
            let request = Request::new("GET", LIST).key(&key);
            world.call(request.header("if-none-match", &tag)).await
        };
        for minute in [1, 2, 3] {
            world.set_clock(minutes(minute)).await;
            world
                .set_columns(agent, "last_heartbeat_at = billing_clock()")
                .await;
            assert_eq!(conditional().await.status(), 304, "{minute}");
        }
        world.set_clock(minutes(7)).await;
        assert_eq!(conditional().await.status(), 304);
        world.set_clock(minutes(8)).await;
        let silent = conditional().await;
        assert_eq!(silent.status(), 200);
        assert_eq!(
            silent.json()["data"][0]["silentSince"],
            json!("2026-03-01T00:03:00.000Z")
        );
        let shown = world.get(&key, &agent_path(agent, "")).await.json();
        assert_eq!(
            shown["data"]["silentSince"],
            json!("2026-03-01T00:03:00.000Z")
        );
        // An agent that should not run is not silent.
        world.set_columns(agent, "status = 'stopped'").await;
        let stopped = world.get(&key, LIST).await.json();
        assert_eq!(stopped["data"][0]["silentSince"], json!(null));
    });
}

#[test]
fn rows_name_the_active_job_and_the_kind_of_the_image() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let agent = world.agent(organization, "pending").await;
        let started = world.start(organization, agent).await.json();
        for (image, kind) in [
            ("docker_image = NULL", "managed"),
            ("docker_image = 'milady/agent:cloud-full-ui'", "managed"),
            ("docker_image = 'milady/agent:other'", "custom"),
        ] {
            world.set_columns(agent, image).await;
            let list = world.get(&key, LIST).await.json();
            let shown = world.get(&key, &agent_path(agent, "")).await.json();
            for row in [&list["data"][0], &shown["data"]] {
                assert_eq!(row["containerKind"], json!(kind), "{image}");
                assert_eq!(row["pendingJobId"], started["data"]["jobId"]);
                assert_eq!(row["pendingAction"], json!("provision"));
            }
        }
    });
}

#[test]
fn environment_is_shown_by_name_only() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let agent = world.agent(organization, "stopped").await;
        for (columns, names) in [
            (
                "environment_vars = '{\"ZED\": \"canary\", \"API_KEY\": \"canary\"}'",
                json!(["API_KEY", "ZED"]),
            ),
            ("environment_vars = '{}'", json!([])),
            ("environment_vars = '[\"canary\"]'", json!([])),
        ] {
            world.set_columns(agent, columns).await;
            let shown = world.get(&key, &agent_path(agent, "")).await;
            assert_eq!(shown.json()["data"]["environmentNames"], names);
            assert!(!shown.text().contains("canary"));
        }
    });
}

#[test]
fn long_lists_are_compressed_for_clients_that_accept_it() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        for _ in 0..5 {
            world.agent(organization, "stopped").await;
        }
        let request = |encoding: &str| {
            let request = Request::new("GET", LIST).key(&key);
            request.header("accept-encoding", encoding)
        };
        let plain = world.get(&key, LIST).await;
        let refused = world.call(request("gzip;q=0")).await;
        assert_eq!(refused.header("content-encoding"), None);
        assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
        let compressed = world.call(request("gzip, br")).await;
        assert_eq!(compressed.json_of_gzip()["data"], plain.json()["data"]);
        let tag = compressed.header("etag").expect("a tag");
        let again = request("gzip").header("if-none-match", tag);
        let again = world.call(again).await;
        assert_eq!((again.status(), again.text()), (304, ""));
        // A short one is not.
        let (_, key) = world.tenant("10").await;
        let short = Request::new("GET", LIST).key(&key);
        let short = world.call(short.header("accept-encoding", "gzip")).await;
        assert_eq!(short.header("content-encoding"), None);
    });
}
