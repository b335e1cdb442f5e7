//! Stop jobs (suspend, delete): they end when nothing is left on a host, and are tried until then.

use serde_json::json;
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{World, run};
use uuid::Uuid;

use super::{UNREACHABLE, agent, job, job_id, place, register_host, run_job, run_on, seconds};

async fn suspend(world: &World, key: &str, id: Uuid) -> Uuid {
    job_id(&world.post(key, &agent_path(id, "/suspend")).await)
}

async fn delete(world: &World, key: &str, id: Uuid) -> Uuid {
    let request = Request::new("DELETE", &agent_path(id, ""));
    job_id(&world.call(request.key(key)).await)
}

/// A job with these waits has been tried so often, and is due again.
async fn tried_for_ever(world: &World, stop: Uuid, says: &str) {
    let mut at = 0;
    for (attempt, wait) in (1..).zip([30, 120, 900, 900, 900, 900]) {
        world.at(seconds(at)).await;
        assert_eq!(run_job(world, stop).await, "again", "try {attempt}");
        let row = job(world, stop).await;
        assert_eq!(row.state(), ("pending", attempt, Some(says)));
        assert_eq!(row.scheduled_for, seconds(at + wait));
        world.at(seconds(at + wait - 1)).await;
        assert_eq!(run_job(world, stop).await, "nothing");
        at += wait;
    }
}

/// What keeps a stop from being done: what a row says, and what is said of that.
const IN_THE_WAY: [(&str, &str); 4] = [
    (
        "node_id = 'n1', container_name = 'milady-' || id",
        UNREACHABLE,
    ),
    ("node_id = 'n1', sandbox_id = 's'", UNREACHABLE),
    ("sandbox_id = 's'", UNKNOWN_HOST),
    ("container_name = 'milady-' || id", UNKNOWN_HOST),
];
const UNKNOWN_HOST: &str = "The agent's host is not known";

#[test]
fn a_suspension_is_tried_until_the_host_answers() {
    for (columns, says) in IN_THE_WAY {
        run(async {
            let world = World::new().await;
            register_host(&world).await;
            let (organization, key) = world.tenant("10").await;
            let id = world.agent(organization, "running").await;
            world.set(id, columns).await;
            let stop = suspend(&world, &key, id).await;
            tried_for_ever(&world, stop, says).await;
            // It runs, for all we know, and whoever asked is told so.
            assert_eq!(agent(&world, id).await, ("running".to_owned(), None));
            let path = format!("/api/v1/jobs/{stop}");
            let answer = world.get(&key, &path).await.json();
            assert_eq!(
                (&answer["data"]["attempts"], &answer["data"]["maxAttempts"]),
                (&json!(6), &json!(null))
            );
        });
    }
}

#[test]
fn a_deletion_is_tried_until_the_host_answers() {
    for (columns, says) in IN_THE_WAY {
        run(async {
            let world = World::new().await;
            register_host(&world).await;
            let (organization, key) = world.tenant("10").await;
            let id = world.agent(organization, "running").await;
            world.set(id, columns).await;
            let stop = delete(&world, &key, id).await;
            tried_for_ever(&world, stop, says).await;
            assert!(world.exists(id).await);
        });
    }
}

#[test]
fn what_may_have_left_a_container_behind_is_not_taken_for_stopped() {
    run(async {
        let world = World::new().await;
        register_host(&world).await;
        let (organization, key) = world.tenant("10").await;
        for (status, columns) in [
            ("disconnected", "node_id = 'n1', container_name = 'c1'"),
            ("error", "node_id = 'n1', container_name = 'c2'"),
        ] {
            let id = world.agent(organization, status).await;
            world.set(id, columns).await;
            let stop = suspend(&world, &key, id).await;
            assert_eq!(run_job(&world, stop).await, "again", "{status}");
            assert_eq!(agent(&world, id).await.0, status);
        }
        // Nothing runs, but a deletion also has to remove what lies on the host, or elsewhere.
        for (columns, says) in [
            ("node_id = 'n1'", UNREACHABLE),
            ("former_nodes = '{n1}'", UNREACHABLE),
            ("container_name = 'c3'", UNKNOWN_HOST),
            ("neon_project_id = 'p'", "No database service is configured"),
        ] {
            let id = world.agent(organization, "stopped").await;
            world.set(id, columns).await;
            let stop = delete(&world, &key, id).await;
            assert_eq!(run_job(&world, stop).await, "again", "{columns}");
            assert_eq!(job(&world, stop).await.error.as_deref(), Some(says));
            assert!(world.exists(id).await);
        }
    });
}

#[test]
fn what_was_on_a_host_that_is_registered_no_more_is_gone_with_it() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        for status in ["running", "disconnected", "error"] {
            let id = world.agent(organization, status).await;
            place(&world, id).await;
            let stop = suspend(&world, &key, id).await;
            assert_eq!(run_job(&world, stop).await, "completed", "{status}");
            assert_eq!(agent(&world, id).await, ("stopped".to_owned(), None));
            let named = "SELECT count(*) FROM milady_sandboxes WHERE container_name IS NOT NULL";
            assert_eq!(world.count(named).await, 0);
            let stop = delete(&world, &key, id).await;
            assert_eq!(run_job(&world, stop).await, "completed", "{status}");
            assert!(!world.exists(id).await);
        }
    });
}

#[test]
fn a_database_that_is_not_ours_is_left_when_its_agent_is_deleted() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        for worker in [
            world.function("job-run"),
            world
                .function("job-run")
                .without("AGENT_DATABASE_ADMIN_URL"),
        ] {
            let id = world.agent(organization, "stopped").await;
            world
                .set(id, "database_uri = 'postgres://somewhere/else'")
                .await;
            let stop = delete(&world, &key, id).await;
            let worker = worker.start().await;
            assert_eq!(run_on(&worker, stop).await, "completed");
            assert!(!world.exists(id).await);
        }
    });
}

#[test]
fn an_agent_in_error_without_a_container_is_stopped_or_deleted_at_once() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let (one, two) = (
            world.agent(organization, "running").await,
            world.agent(organization, "running").await,
        );
        let suspension = suspend(&world, &key, one).await;
        let deletion = delete(&world, &key, two).await;
        for id in [one, two] {
            // Its container was seen gone before a worker came.
            world.set(id, "status = 'error', error_message = 'x'").await;
        }
        world.at(seconds(3)).await;
        assert_eq!(run_job(&world, suspension).await, "completed");
        assert_eq!(run_job(&world, deletion).await, "completed");
        assert_eq!(agent(&world, one).await, ("stopped".to_owned(), None));
        assert!(!world.exists(two).await);
        for (done, id) in [(suspension, one), (deletion, two)] {
            let row = job(&world, done).await;
            assert_eq!(row.state(), ("completed", 1, None));
            assert_eq!(row.completed_at, Some(seconds(3)));
            let result = json!({
                "cloudAgentId": id, "status": "stopped", "bridgeUrl": null, "healthUrl": null,
            });
            assert_eq!(row.result, Some(result));
        }
    });
}

#[test]
fn a_stop_of_an_agent_that_is_gone_or_was_stopped_by_somebody_else_is_complete() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let mut stops = Vec::new();
        for _ in 0..2 {
            let gone = world.agent(organization, "running").await;
            stops.push((gone, suspend(&world, &key, gone).await));
            let gone = world.agent(organization, "running").await;
            stops.push((gone, delete(&world, &key, gone).await));
        }
        for (id, _) in &stops[..2] {
            world.delete(*id).await;
        }
        for (id, _) in &stops[2..] {
            world.set_status(*id, "stopped").await;
        }
        for (_, stop) in &stops {
            assert_eq!(run_job(&world, *stop).await, "completed");
        }
        // The stopped one that was only to be suspended is there, the other one is not.
        assert_eq!(agent(&world, stops[2].0).await.0, "stopped");
        assert!(!world.exists(stops[3].0).await);
    });
}

#[test]
fn a_status_this_version_does_not_know_is_left_alone() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let id = world.agent(organization, "running").await;
        let stop = suspend(&world, &key, id).await;
        world
            .execute("ALTER TABLE milady_sandboxes DROP CONSTRAINT milady_sandboxes_status_check")
            .await;
        world.set(id, "status = 'sleeping'").await;
        assert_eq!(run_job(&world, stop).await, "again");
        assert_eq!(
            job(&world, stop).await.error.as_deref(),
            Some("Agent is in a state this version does not know")
        );
        assert_eq!(agent(&world, id).await, ("sleeping".to_owned(), None));
        // A start does not touch it either.
        world.execute("DELETE FROM jobs").await;
        world.set(id, "status = 'stopped'").await;
        let start = super::provision(&world, &key, id).await;
        world.set(id, "status = 'sleeping'").await;
        assert_eq!(run_job(&world, start).await, "failed");
        assert_eq!(
            job(&world, start).await.error.as_deref(),
            Some("Agent is in a state this version does not know")
        );
        assert_eq!(agent(&world, id).await, ("sleeping".to_owned(), None));
    });
}
