//! Daily backups, and backups in a bucket.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use dev::runtime::Outcome;
use dev::sim::Key;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use shared::app::agent::daily_backup::daily_backups;
use shared::app::agent::snapshot::SnapshotDeps;
use shared::db::agents::backups::{BackupState, DAILY, backup_insert};
use shared::domain::address::AddressPolicy;
use shared::domain::ids::{AgentId, AgentRef, OrganizationId};
use shared::hosts::{HostClient, SshKey};
use tests::calls::{JOB_TIMEOUT, agent_path};
use tests::object_store::ObjectStore;
use tests::world::minutes;
use tests::{Lab, World, run};
use uuid::Uuid;

async fn agent_with_memories(lab: &Lab) -> Uuid {
    let agent = lab.running_agent(json!({})).await;
    lab.bridge_result(agent, "message.send", json!({"text": "keep this"}))
        .await;
    agent
}

/// The agent's backups, the newest first.
async fn backups(lab: &Lab, agent: Uuid) -> Vec<Value> {
    let path = agent_path(agent, "/backups");
    let listed = lab.world.get(&lab.api_key, &path).await;
    listed.json()["data"].as_array().cloned().expect("backups")
}

/// Makes the backups that are due, in the time that Lambda gives: with less, the function begins none.
async fn back_up(world: &World) -> Value {
    let instance = world.function("backup-daily").start().await;
    match instance.invoke(json!({}), JOB_TIMEOUT).await {
        Outcome::Success(counts) => counts,
        other => panic!("backup-daily failed: {other:?}"),
    }
}

/// Lets time pass and makes the backups that are due. Returns how many were saved, failed and skipped.
pub(super) async fn back_up_after(lab: &Lab, time: TimeDelta) -> [u64; 3] {
    lab.advance_clock(time).await;
    let counts = back_up(&lab.world).await;
    ["saved", "failed", "skipped"].map(|count| counts[count].as_u64().expect("a count"))
}

async fn backup_error(lab: &Lab, agent: Uuid) -> Value {
    let shown = lab.world.get(&lab.api_key, &agent_path(agent, "")).await;
    shown.json()["data"]["backupError"].clone()
}

#[test]
fn f68_a_running_agent_is_backed_up_every_day_and_a_failure_is_tried_again_and_shown() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let agent = agent_with_memories(&lab).await;
        // Its time of the day comes within a day.
        assert_eq!(back_up_after(&lab, TimeDelta::zero()).await, [0, 0, 0]);
        assert_eq!(back_up_after(&lab, TimeDelta::days(1)).await, [1, 0, 0]);
        assert_eq!(back_up_after(&lab, TimeDelta::zero()).await, [0, 0, 0]);
        let saved = backups(&lab, agent).await;
        assert_eq!(saved.len(), 1, "{saved:?}");
        assert_eq!(saved[0]["snapshotType"], json!("auto"));
        assert_eq!(lab.containers(agent).await, [1]);
        // The volume may be newer by now.
        let unsaved = "SELECT count(*) FROM milady_sandboxes WHERE unsaved_since IS NOT NULL";
        assert_eq!(lab.world.count(unsaved).await, 1);

        lab.hosts[0].sshd.stop().expect("the host is away");
        assert_eq!(back_up_after(&lab, TimeDelta::days(1)).await, [0, 1, 0]);
        assert_eq!(
            backup_error(&lab, agent).await,
            json!("The host cannot be reached")
        );
        lab.hosts[0].sshd.restart().await.expect("it is back");
        assert_eq!(back_up_after(&lab, TimeDelta::minutes(14)).await, [0, 0, 0]);
        assert_eq!(back_up_after(&lab, TimeDelta::minutes(1)).await, [1, 0, 0]);
        assert_eq!(backup_error(&lab, agent).await, json!(null));
        assert_eq!(backups(&lab, agent).await.len(), 2);

        // A stopped agent needs none, and a deleted one is forgotten.
        let (_, outcome) = lab.request_and_run(agent, "/suspend").await;
        assert_eq!(outcome, "completed");
        assert_eq!(back_up_after(&lab, TimeDelta::days(2)).await, [0, 0, 0]);
        assert_eq!(lab.delete(agent).await, "completed");
        assert_eq!(back_up_after(&lab, TimeDelta::zero()).await, [0, 0, 0]);
        let times = lab.world.count("SELECT count(*) FROM cloud.daily_backups");
        assert_eq!(times.await, 0);
    });
}

#[test]
fn states_in_a_bucket_are_restored_and_downloaded_and_go_with_their_backups() {
    run(async {
        let Some(mut lab) = Lab::new(1).await else {
            return;
        };
        let store = ObjectStore::start().await;
        store.serve(&mut lab.world);
        let agent = agent_with_memories(&lab).await;
        lab.advance_clock(TimeDelta::minutes(1)).await;
        let (_, outcome) = lab.request_and_run(agent, "/suspend").await;
        assert_eq!(outcome, "completed");
        let backup = backups(&lab, agent).await[0].clone();
        let id = backup["id"].as_str().expect("an id");
        assert_eq!(store.keys(), [format!("{}/{agent}/{id}", lab.organization)]);
        let in_database = "SELECT count(*) FROM milady_sandbox_backups
            WHERE state_data <> '{}' OR state_bytes IS NOT NULL";
        assert_eq!(lab.world.count(in_database).await, 0);

        lab.advance_clock(TimeDelta::minutes(1)).await;
        let (_, outcome) = lab.request_and_run(agent, "/restore").await;
        assert_eq!(outcome, "completed", "{}", lab.last_job(agent).await);
        let status = lab.bridge_result(agent, "status.get", json!({})).await;
        assert_eq!(status["memories"], json!(2));

        let path = agent_path(agent, &format!("/backups/{id}/download"));
        let download = lab.world.get(&lab.api_key, &path).await;
        assert_eq!(download.status(), 200, "{download:?}");
        let url = download.json()["data"]["url"]
            .as_str()
            .expect("a URL")
            .to_owned();
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        let compressed = client.get(&url).send().await.expect("an answer");
        assert_eq!(compressed.status().as_u16(), 200);
        let compressed = compressed.bytes().await.expect("the object");
        let mut state = String::new();
        let read = GzDecoder::new(&compressed[..]).read_to_string(&mut state);
        read.expect("a text");
        let state: Value = serde_json::from_str(&state).expect("JSON");
        assert_eq!(state["memories"].as_array().map(Vec::len), Some(2));
        let changed = url.replace("X-Amz-Expires=300", "X-Amz-Expires=301");
        let refused = client.get(&changed).send().await.expect("an answer");
        assert_eq!(refused.status().as_u16(), 403);

        assert_eq!(lab.delete(agent).await, "completed");
        assert_eq!(back_up_after(&lab, TimeDelta::minutes(30)).await, [0, 0, 0]);
        assert_eq!(store.keys().len(), 1);
        back_up_after(&lab, TimeDelta::hours(1)).await;
        assert_eq!(store.keys(), Vec::<String>::new());
        let objects = lab.world.count("SELECT count(*) FROM cloud.backup_objects");
        assert_eq!(objects.await, 0);
    });
}

#[test]
fn states_in_a_bucket_go_with_their_agent_to_another_organization() {
    run(async {
        let Some(mut lab) = Lab::new(1).await else {
            return;
        };
        let store = ObjectStore::start().await;
        store.serve(&mut lab.world);
        let agent = agent_with_memories(&lab).await;
        lab.advance_clock(TimeDelta::minutes(1)).await;
        let (_, outcome) = lab.request_and_run(agent, "/suspend").await;
        assert_eq!(outcome, "completed");
        let (organization, key) = lab.world.tenant("1000").await;
        lab.world.transfer(agent, organization).await;
        (lab.organization, lab.api_key) = (organization, key);

        lab.advance_clock(TimeDelta::minutes(1)).await;
        let (_, outcome) = lab.request_and_run(agent, "/restore").await;
        assert_eq!(outcome, "completed", "{}", lab.last_job(agent).await);
        let status = lab.bridge_result(agent, "status.get", json!({})).await;
        assert_eq!(status["memories"], json!(2));
        let backup = backups(&lab, agent).await[0].clone();
        let id = backup["id"].as_str().expect("an id");
        let path = agent_path(agent, &format!("/backups/{id}/download"));
        let download = lab.world.get(&lab.api_key, &path).await;
        let url = download.json()["data"]["url"].clone();
        let object = store.keys()[0].clone();
        let url = url.as_str().unwrap_or_default();
        assert!(url.contains(&object), "{object}: {download:?}");
    });
}

#[test]
fn snapshots_and_daily_backups_are_stored_in_the_bucket() {
    run(async {
        let Some(mut lab) = Lab::new(1).await else {
            return;
        };
        let store = ObjectStore::start().await;
        store.serve(&mut lab.world);
        let agent = agent_with_memories(&lab).await;
        assert_eq!(back_up_after(&lab, TimeDelta::zero()).await, [0, 0, 0]);
        assert_eq!(back_up_after(&lab, TimeDelta::days(1)).await, [1, 0, 0]);
        assert_eq!(store.keys().len(), 1);
        let path = agent_path(agent, "/snapshot");
        let saved = lab.world.post(&lab.api_key, &path).await;
        assert!((200..300).contains(&saved.status()), "{saved:?}");
        assert_eq!(store.keys().len(), 2);
        assert_eq!(backups(&lab, agent).await.len(), 2);
    });
}

#[test]
fn f75_a_stop_goes_on_after_the_bucket_has_refused_the_state_twice() {
    run(async {
        let Some(mut lab) = Lab::new(1).await else {
            return;
        };
        let store = ObjectStore::start().await;
        store.serve(&mut lab.world);
        let unsaved = "SELECT count(*) FROM milady_sandboxes WHERE unsaved_since IS NOT NULL";
        for (refusals, is_saved) in [(1, true), (2, false)] {
            let agent = agent_with_memories(&lab).await;
            for _ in 0..refusals {
                store.refuse_next_upload(503);
            }
            lab.advance_clock(TimeDelta::minutes(1)).await;
            let (_, outcome) = lab.request_and_run(agent, "/suspend").await;
            assert_eq!(outcome, "completed");
            lab.assert_nothing_runs(agent, "suspended").await;
            assert_eq!(backups(&lab, agent).await.len(), usize::from(is_saved));
            assert_eq!(lab.world.count(unsaved).await, i64::from(!is_saved));
        }
    });
}

#[test]
fn a_run_deletes_all_objects_without_a_backup() {
    run(async {
        let mut world = World::new().await;
        let store = ObjectStore::start().await;
        store.serve(&mut world);
        world
            .execute(
                "INSERT INTO cloud.backup_objects (organization_id, agent_id, created_at)
                SELECT gen_random_uuid(), gen_random_uuid(), billing_clock() - interval '2 hours'
                FROM generate_series(1, 201)",
            )
            .await;
        assert_eq!(back_up(&world).await["deletedObjects"], json!(201));
        let objects = world.count("SELECT count(*) FROM cloud.backup_objects");
        assert_eq!(objects.await, 0);
    });
}

#[test]
fn an_organization_with_many_agents_does_not_delay_the_backups_of_others() {
    run(async {
        let world = World::new().await;
        let large = world.organization("10").await;
        for _ in 0..20 {
            world.agent(large, "running").await;
        }
        for _ in 0..7 {
            let small = world.organization("10").await;
            world.agent(small, "running").await;
        }
        // The agents of the large organization have waited longest.
        sqlx::query(
            "INSERT INTO cloud.daily_backups (agent_id, organization_id, due_at)
            SELECT id, organization_id,
                billing_clock() - CASE organization_id WHEN $1 THEN interval '2 hours' ELSE interval '1 hour' END
            FROM milady_sandboxes",
        )
        .bind(large)
        .execute(&world.pool)
        .await
        .expect("times");
        let key = Key::random().to_openssh().expect("a key");
        let key = SshKey::parse(&key).expect("a key");
        let hosts = HostClient::new(key, AddressPolicy::Any);
        let deps = SnapshotDeps {
            pool: &world.database,
            hosts: &hosts,
            bucket: None,
        };
        // There is time for two times four agents. They are on no host, so there is nothing to save.
        let turns = AtomicUsize::new(0);
        let report = daily_backups(deps, || turns.fetch_add(1, Ordering::Relaxed) < 2).await;
        assert_eq!(report.expect("a run").skipped, 8);
        let waiting = "SELECT count(DISTINCT organization_id) FROM cloud.daily_backups WHERE due_at <= billing_clock()";
        assert_eq!(world.count(waiting).await, 1);
    });
}

#[test]
fn the_time_of_the_last_backup_does_not_go_back() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        let agent_ref = AgentRef {
            organization_id: OrganizationId::new(organization),
            agent_id: AgentId::new(agent),
        };
        // A daily backup counts as taken when its reading began, and a stop may have made another one since.
        for minute in [5, 3] {
            let mut tx = world.database.begin().await.expect("begin");
            let state = BackupState::Json("{}");
            backup_insert(&mut tx, agent_ref, DAILY, state, 2, minutes(minute))
                .await
                .expect("a backup");
            tx.commit().await.expect("commit");
        }
        let last: Option<DateTime<Utc>> =
            sqlx::query_scalar("SELECT last_backup_at FROM milady_sandboxes WHERE id = $1")
                .bind(agent)
                .fetch_one(&world.pool)
                .await
                .expect("an agent");
        assert_eq!(last, Some(minutes(5)));
    });
}
