//! Statements that are interrupted, overlap, or meet a database that does not answer.

use dev::runtime::Outcome;
use rust_decimal::{Decimal, dec};
use serde_json::json;
use shared::app::billing::statement::state_days;
use shared::db::billing::days::today;
use tests::world::hours;
use tests::{Function, World, run, wait_until};
use uuid::Uuid;

use super::statement::{assert_adds_up, bill_hourly, state};

/// An organization with agents that ran for an hour.
async fn large_organization(world: &World, agents: i32) -> Uuid {
    let organization = world.organization("1000").await;
    sqlx::query(
        "INSERT INTO milady_sandboxes (organization_id, user_id, status, created_at)
        SELECT organization_id, id, 'running', billing_clock()
        FROM users, generate_series(1, $2) WHERE organization_id = $1",
    )
    .bind(organization)
    .bind(agents)
    .execute(&world.pool)
    .await
    .expect("agents");
    organization
}

#[test]
fn a_statement_that_is_killed_between_pages_goes_on_with_the_rest() {
    run(async {
        let world = World::new().await;
        // Each is a page of its own.
        let mut organizations = Vec::new();
        for _ in 0..3 {
            organizations.push(large_organization(&world, 1_500).await);
        }
        organizations.sort_unstable();
        world.run_billing(1).await;
        world.set_clock(hours(25)).await;
        let mut other = world.pool.begin().await.expect("begin");
        sqlx::query("SELECT FROM organizations WHERE id = $1 FOR UPDATE")
            .bind(organizations[1])
            .execute(&mut *other)
            .await
            .expect("a lock");
        let instance = world.function("billing-audit").start().await;
        instance.wait_until_ready().await.expect("a first poll");
        let call = instance.invoke(json!({}), std::time::Duration::from_mins(1));
        tokio::select! {
            outcome = call => panic!("the statement did not wait: {outcome:?}"),
            () = world.wait_until_a_session_is_blocked() => {}
        }
        drop(instance);
        let stated = "SELECT count(*) FROM billing_accounts WHERE stated_through = '2026-03-01'";
        assert_eq!(world.count(stated).await, 1);
        other.rollback().await.expect("rollback");
        wait_until("the killed function's session is gone", async || {
            world.blocked_sessions().await == 0
        })
        .await;
        assert_eq!(state(&world).await.organization_days, 2);
        assert_eq!(world.count(stated).await, 3);
        let total: Decimal = sqlx::query_scalar("SELECT sum(total_billed) FROM milady_sandboxes")
            .fetch_one(&world.pool)
            .await
            .expect("a total");
        assert_eq!(total, dec!(90));
        assert_adds_up(&world).await;
    });
}

#[test]
fn an_organization_that_stays_locked_fails_alone_and_is_stated_later() {
    run(async {
        let world = World::new().await;
        let (one, other) = (
            world.organization("10").await,
            world.organization("10").await,
        );
        // So few agents are in one page.
        for organization in [one, other] {
            world.agent(organization, "running").await;
        }
        world.run_billing(1).await;
        world.set_clock(hours(25)).await;
        let mut lock = world.pool.begin().await.expect("begin");
        sqlx::query("SELECT FROM organizations WHERE id = $1 FOR UPDATE")
            .bind(one.min(other))
            .execute(&mut *lock)
            .await
            .expect("a lock");
        let report = state(&world).await;
        assert_eq!((report.organization_days, report.failed), (1, 1));
        lock.rollback().await.expect("rollback");
        let report = state(&world).await;
        assert_eq!((report.organization_days, report.failed), (1, 0));
        assert_adds_up(&world).await;
    });
}

#[test]
fn simultaneous_statements_state_each_day_once() {
    run(async {
        let world = World::new().await;
        for _ in 0..5 {
            let organization = world.organization("10").await;
            world.agent(organization, "running").await;
        }
        bill_hourly(&world, 20, 26).await;
        let day = today(&mut world.database.statements())
            .await
            .expect("a day");
        let calls = (0..4).map(|_| state_days(&world.database, day, None));
        let reports = futures_util::future::join_all(calls).await;
        let stated: usize = reports
            .into_iter()
            .map(|report| report.expect("a statement").organization_days)
            .sum();
        assert_eq!(stated, 5);
        assert_adds_up(&world).await;
    });
}

#[test]
fn an_unavailable_database_fails_the_invocation() {
    run(async {
        let unreachable = "postgres://cloud_runtime@127.0.0.1:9/nowhere";
        let outcome = Function::new("billing-audit", unreachable)
            .invoke(json!({}))
            .await;
        let Outcome::FunctionError { message, .. } = outcome else {
            panic!("{outcome:?}");
        };
        assert!(
            message.starts_with("the database request failed ("),
            "{message}"
        );
        assert!(!message.contains("127.0.0.1"), "{message}");
    });
}
