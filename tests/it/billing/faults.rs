//! The database becomes unavailable: the error says so, nothing is half charged, and the next run charges the rest.

use std::time::Duration;

use dev::postgres::Server;
use dev::runtime::Outcome;
use rust_decimal::dec;
use serde_json::json;
use tests::suite::server_options;
use tests::world::hours;
use tests::{Function, World, audit, run, wait_until};

/// The error message of a billing run that fails.
async fn run_and_fail(world: &World) -> String {
    let outcome = world
        .function("billing-hourly")
        .invoke(json!({"scheduledTime": hours(1)}))
        .await;
    match outcome {
        Outcome::FunctionError { message, .. } => message,
        outcome => panic!("the run did not fail: {outcome:?}"),
    }
}

/// A database server that the test may crash.
async fn own_server() -> (Server, World) {
    let server = Server::start(server_options("faults"))
        .await
        .expect("Postgres");
    server
        .create_database("control", None)
        .await
        .expect("a database");
    let url = server.url("control");
    Function::new("db-migrate", &url).invoke_ok(json!({})).await;
    let world = World::with_url(url);
    dev::clock::install(&world.pool, tests::suite::epoch())
        .await
        .expect("a clock");
    (server, world)
}

#[test]
fn an_unavailable_database_fails_the_run_and_gives_a_503_to_callers() {
    run(async {
        let (server, world) = own_server().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        let key = world.key(organization).await;
        world.set_clock(hours(1)).await;
        server.crash().expect("crash");
        let message = run_and_fail(&world).await;
        assert!(
            message.starts_with("the database request failed ("),
            "{message}"
        );
        assert!(!message.contains("127.0.0.1"), "{message}");
        let answer = world.get(&key, "/api/v1/credits/balance").await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert!(!answer.text().contains("connect") && !answer.text().contains("127.0.0.1"));
        server.restart().await.expect("restart");
        // The warm instance reconnects without a restart.
        let answer = world.get(&key, "/api/v1/credits/balance").await;
        assert_eq!(answer.status(), 200);
        let report = world
            .function("billing-hourly")
            .invoke_ok(json!({"scheduledTime": hours(1)}))
            .await;
        assert_eq!(
            (report["slices"].as_u64(), report["complete"].as_bool()),
            (Some(1), Some(true))
        );
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_database_that_crashes_during_a_run_leaves_nothing_half_charged() {
    run(async {
        let (server, world) = own_server().await;
        for _ in 0..4 {
            let organization = world.organization("1000").await;
            sqlx::query(
                "INSERT INTO milady_sandboxes (organization_id, user_id, status, created_at)
                SELECT organization_id, id, 'running', billing_clock()
                FROM users, generate_series(1, 1500) WHERE organization_id = $1",
            )
            .bind(organization)
            .execute(&world.pool)
            .await
            .expect("agents");
        }
        world.set_clock(hours(1)).await;
        let instance = world.function("billing-hourly").start().await;
        instance.wait_until_ready().await.expect("a first poll");
        let (outcome, ()) = tokio::join!(
            instance.invoke(json!({"scheduledTime": hours(1)}), Duration::from_mins(1)),
            async {
                wait_until("the run is writing to the ledger", async || {
                    world
                        .count(
                            "SELECT count(*) FROM pg_locks WHERE granted AND mode = 'RowExclusiveLock'
                                AND relation = 'ledger_entries'::regclass",
                        )
                        .await
                        > 0
                })
                .await;
                server.crash().expect("crash");
            }
        );
        assert!(
            !matches!(outcome, Outcome::Crashed { .. } | Outcome::TimedOut),
            "{outcome:?}"
        );
        server.restart().await.expect("restart");
        audit::check(&world.pool).await;
        world
            .function("billing-hourly")
            .invoke_ok(json!({"scheduledTime": hours(1)}))
            .await;
        audit::check(&world.pool).await;
        let charged: rust_decimal::Decimal =
            sqlx::query_scalar("SELECT -sum(amount) FROM ledger_entries")
                .fetch_one(&world.pool)
                .await
                .expect("a sum");
        assert_eq!(charged, dec!(120));
    });
}
