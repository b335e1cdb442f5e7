//! Stop jobs (suspend, delete): they are retried until nothing of the agent is left on a host.

use serde_json::json;
use shared::db::jobs::queue::{StopJob, stop_enqueue};
use shared::domain::ids::{AgentId, OrganizationId, UserId};
use shared::domain::job::JobKind;
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{World, run};
use uuid::Uuid;

use super::{
    NOTHING_TO_DO, RETRIED, UNREACHABLE, agent_status, job, job_id, record_container,
    register_unreachable_host, run_job, run_job_on, seconds, tenant_with_agent,
};

async fn suspend(world: &World, key: &str, id: Uuid) -> Uuid {
    job_id(&world.post(key, &agent_path(id, "/suspend")).await)
}

async fn delete(world: &World, key: &str, id: Uuid) -> Uuid {
    let request = Request::new("DELETE", &agent_path(id, ""));
    job_id(&world.call(request.key(key)).await)
}

#[test]
fn an_agent_has_at_most_one_active_stop_job_of_whatever_kind() {
    run(async {
        let world = World::new().await;
        let (organization, _, id) = tenant_with_agent(&world).await;
        let stop = StopJob {
            organization_id: OrganizationId::new(organization),
            user_id: UserId::new(Uuid::nil()),
            agent_id: AgentId::new(id),
            agent_name: None,
            reason: "owner",
        };
        let mut conn = world.database.statements();
        let mut jobs = Vec::new();
        for kind in [JobKind::Suspend, JobKind::Suspend, JobKind::Delete] {
            let job = stop_enqueue(&mut conn, kind, &stop, seconds(0)).await;
            jobs.push(job.expect("an insert").is_some());
        }
        assert_eq!(jobs, [true, false, false]);
    });
}

#[test]
fn f81_a_state_that_was_saved_counts_as_saved_although_its_container_is_gone() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let mut agents = Vec::new();
        // The first agent's backup is of an earlier run.
        for backup_at in [0, 60] {
            world.set_clock(seconds(backup_at)).await;
            let id = world.agent(organization, "running").await;
            // Nothing is left on a host that is not registered any more.
            world
                .set_columns(id, "node_id = 'gone', container_name = 'milady-' || id")
                .await;
            let backup = world.backup(id, "pre-shutdown").await;
            agents.push((id, backup));
        }
        let start = "UPDATE milady_sandboxes SET compute_started_at = (
            SELECT max(created_at) - interval '30 seconds' FROM milady_sandbox_backups)";
        world.execute(start).await;
        world.set_clock(seconds(90)).await;
        for ((id, backup), is_saved) in agents.into_iter().zip([false, true]) {
            let stop = suspend(&world, &key, id).await;
            assert_eq!(run_job(&world, stop).await, "completed");
            let result = job(&world, stop).await.result.expect("a result");
            let named = is_saved.then_some(json!(backup));
            assert_eq!(result.get("backupId"), named.as_ref(), "{result}");
            let unsaved: bool = sqlx::query_scalar(
                "SELECT unsaved_since IS NOT NULL FROM milady_sandboxes WHERE id = $1",
            )
            .bind(id)
            .fetch_one(&world.pool)
            .await
            .expect("an agent");
            assert_eq!(unsaved, !is_saved, "{result}");
        }
    });
}

/// Runs more attempts than a start job has. Each of them fails with this error and is retried.
async fn assert_retried_without_end(world: &World, stop: Uuid, error: &str) {
    let mut at = 0;
    for (attempt, wait) in (1..).zip([30, 120, 900, 900, 900, 900]) {
        world.set_clock(seconds(at)).await;
        assert_eq!(run_job(world, stop).await, RETRIED, "attempt {attempt}");
        let row = job(world, stop).await;
        assert_eq!(row.state(), ("pending", attempt, Some(error)));
        assert_eq!(row.scheduled_for, seconds(at + wait));
        world.set_clock(seconds(at + wait - 1)).await;
        assert_eq!(run_job(world, stop).await, NOTHING_TO_DO);
        at += wait;
    }
}

/// Columns of an agent that cannot be stopped, and the error of its job.
const UNSTOPPABLE: [(&str, &str); 4] = [
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
fn a_suspension_is_retried_until_the_host_answers() {
    for (columns, error) in UNSTOPPABLE {
        run(async {
            let world = World::new().await;
            register_unreachable_host(&world).await;
            let (organization, key) = world.tenant("10").await;
            let id = world.agent(organization, "running").await;
            world.set_columns(id, columns).await;
            let stop = suspend(&world, &key, id).await;
            assert_retried_without_end(&world, stop, error).await;
            // The agent still counts as running, and the job shows its attempts.
            assert_eq!(agent_status(&world, id).await, ("running".to_owned(), None));
            let path = format!("/api/v1/jobs/{stop}");
            let body = world.get(&key, &path).await.json();
            assert_eq!(
                (&body["data"]["attempts"], &body["data"]["maxAttempts"]),
                (&json!(6), &json!(null))
            );
        });
    }
}

#[test]
fn a_deletion_is_retried_until_the_host_answers() {
    for (columns, error) in UNSTOPPABLE {
        run(async {
            let world = World::new().await;
            register_unreachable_host(&world).await;
            let (organization, key) = world.tenant("10").await;
            let id = world.agent(organization, "running").await;
            world.set_columns(id, columns).await;
            let stop = delete(&world, &key, id).await;
            assert_retried_without_end(&world, stop, error).await;
            assert!(world.agent_exists(id).await);
        });
    }
}

#[test]
fn an_agent_that_may_have_a_container_does_not_count_as_stopped() {
    run(async {
        let world = World::new().await;
        register_unreachable_host(&world).await;
        let (organization, key) = world.tenant("10").await;
        for (status, columns) in [
            ("disconnected", "node_id = 'n1', container_name = 'c1'"),
            ("error", "node_id = 'n1', container_name = 'c2'"),
        ] {
            let id = world.agent(organization, status).await;
            world.set_columns(id, columns).await;
            let stop = suspend(&world, &key, id).await;
            assert_eq!(run_job(&world, stop).await, RETRIED, "{status}");
            assert_eq!(agent_status(&world, id).await.0, status);
        }
        // No container runs, but a deletion also has to remove volumes and databases.
        for (columns, error) in [
            ("node_id = 'n1'", UNREACHABLE),
            ("former_nodes = '{n1}'", UNREACHABLE),
            ("container_name = 'c3'", UNKNOWN_HOST),
            ("neon_project_id = 'p'", "No database service is configured"),
        ] {
            let id = world.agent(organization, "stopped").await;
            world.set_columns(id, columns).await;
            let stop = delete(&world, &key, id).await;
            assert_eq!(run_job(&world, stop).await, RETRIED, "{columns}");
            assert_eq!(job(&world, stop).await.error.as_deref(), Some(error));
            assert!(world.agent_exists(id).await);
        }
    });
}

#[test]
fn containers_on_an_unregistered_host_count_as_gone() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        for status in ["running", "disconnected", "error"] {
            let id = world.agent(organization, status).await;
            record_container(&world, id).await;
            let stop = suspend(&world, &key, id).await;
            assert_eq!(run_job(&world, stop).await, "completed", "{status}");
            assert_eq!(agent_status(&world, id).await, ("stopped".to_owned(), None));
            let named = "SELECT count(*) FROM milady_sandboxes WHERE container_name IS NOT NULL";
            assert_eq!(world.count(named).await, 0);
            let stop = delete(&world, &key, id).await;
            assert_eq!(run_job(&world, stop).await, "completed", "{status}");
            assert!(!world.agent_exists(id).await);
        }
    });
}

#[test]
fn a_foreign_database_is_not_dropped_with_its_agent() {
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
                .set_columns(id, "database_uri = 'postgres://somewhere/else'")
                .await;
            let stop = delete(&world, &key, id).await;
            let worker = worker.start().await;
            assert_eq!(run_job_on(&worker, stop).await, "completed");
            assert!(!world.agent_exists(id).await);
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
            // A refresh run saw that the container is gone.
            world
                .set_columns(id, "status = 'error', error_message = 'x'")
                .await;
        }
        world.set_clock(seconds(3)).await;
        assert_eq!(run_job(&world, suspension).await, "completed");
        assert_eq!(run_job(&world, deletion).await, "completed");
        assert_eq!(
            agent_status(&world, one).await,
            ("stopped".to_owned(), None)
        );
        assert!(!world.agent_exists(two).await);
        for (stop, id) in [(suspension, one), (deletion, two)] {
            let row = job(&world, stop).await;
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
fn a_stop_of_a_deleted_or_stopped_agent_completes() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let mut stops = Vec::new();
        for _ in 0..2 {
            let id = world.agent(organization, "running").await;
            stops.push((id, suspend(&world, &key, id).await));
            let id = world.agent(organization, "running").await;
            stops.push((id, delete(&world, &key, id).await));
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
        // Of the stopped agents, the one that was to be suspended is kept, and the other one is deleted.
        assert_eq!(agent_status(&world, stops[2].0).await.0, "stopped");
        assert!(!world.agent_exists(stops[3].0).await);
    });
}

#[test]
fn jobs_do_not_touch_an_agent_of_unknown_status() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let id = world.agent(organization, "running").await;
        let stop = suspend(&world, &key, id).await;
        world
            .execute("ALTER TABLE milady_sandboxes DROP CONSTRAINT milady_sandboxes_status_check")
            .await;
        world.set_columns(id, "status = 'sleeping'").await;
        assert_eq!(run_job(&world, stop).await, RETRIED);
        assert_eq!(
            job(&world, stop).await.error.as_deref(),
            Some("The agent has a status that this version does not know")
        );
        assert_eq!(
            agent_status(&world, id).await,
            ("sleeping".to_owned(), None)
        );
        // A start does not touch it either.
        world.execute("DELETE FROM jobs").await;
        world.set_columns(id, "status = 'stopped'").await;
        let start = super::provision(&world, &key, id).await;
        world.set_columns(id, "status = 'sleeping'").await;
        assert_eq!(run_job(&world, start).await, "failed");
        assert_eq!(
            job(&world, start).await.error.as_deref(),
            Some("The agent has a status that this version does not know")
        );
        assert_eq!(
            agent_status(&world, id).await,
            ("sleeping".to_owned(), None)
        );
    });
}
