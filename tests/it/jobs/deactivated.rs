//! Starts of an organization that is deactivated after it requested them (F60).

use sqlx::postgres::PgPool;
use tests::calls::agent_path;
use tests::{World, check_problem, run};
use uuid::Uuid;

use super::{agent_status, in_error, job, job_id, provision, run_job, tenant_with_agent};

const INACTIVE: &str = "The organization is not active";

async fn set_active(pool: &PgPool, organization: Uuid, is_active: bool) {
    sqlx::query("UPDATE organizations SET is_active = $2 WHERE id = $1")
        .bind(organization)
        .bind(is_active)
        .execute(pool)
        .await
        .expect("an organization");
}

#[test]
fn f60_a_start_of_an_organization_that_was_deactivated_meanwhile_fails_for_good() {
    run(async {
        let world = World::new().await;
        let (organization, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        set_active(&world.pool, organization, false).await;
        assert_eq!(run_job(&world, start).await, "failed");
        let row = job(&world, start).await;
        assert_eq!(row.state(), ("failed", 1, Some(INACTIVE)));
        // No step of the launch has begun, and the agent's row is as it was.
        assert_eq!(row.steps, None);
        assert_eq!(agent_status(&world, id).await, ("pending".to_owned(), None));
        check_problem(
            &world.post(&key, &agent_path(id, "/provision")).await,
            403,
            "This account is not active",
        );
        set_active(&world.pool, organization, true).await;
        assert_ne!(provision(&world, &key, id).await, start);
    });
}

#[test]
fn f60_an_attempt_after_the_deactivation_fails_for_good_and_so_does_a_restore() {
    run(async {
        let world = World::new().await;
        let (organization, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        // There is no host yet.
        assert_eq!(run_job(&world, start).await, super::RETRIED);
        let stopped = world.agent(organization, "stopped").await;
        world.backup(stopped, "auto").await;
        let restore = job_id(&world.post(&key, &agent_path(stopped, "/restore")).await);
        set_active(&world.pool, organization, false).await;
        world.set_clock(super::seconds(30)).await;
        for job_id in [start, restore] {
            assert_eq!(run_job(&world, job_id).await, "failed");
            assert_eq!(job(&world, job_id).await.error.as_deref(), Some(INACTIVE));
        }
        assert_eq!(agent_status(&world, id).await, in_error(INACTIVE));
        assert_eq!(agent_status(&world, stopped).await.0, "stopped");
    });
}
