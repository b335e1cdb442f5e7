//! A pooler in transaction mode between the functions and Postgres, with fewer sessions than clients.

use std::io::Write;

use dev::postgres::Pooler;
use shared::db::{Database, Workload};
use tests::{World, run, suite};

/// Two clients of a pooler that has one session. `None` where there is no pooler.
async fn two_clients(world: &World) -> Option<(Pooler, [Database; 2])> {
    let server = suite::server().await;
    let pooler = match Pooler::start(server, suite::RUNTIME_ROLE, 1).await {
        Ok(pooler) => pooler,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "SKIPPED: {error}");
            return None;
        }
    };
    let (_, database) = world.url.rsplit_once('/').expect("a name");
    let url = format!(
        "postgres://{}@127.0.0.1:{}/{database}",
        suite::RUNTIME_ROLE,
        pooler.port()
    );
    let client = || {
        let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
        Database::new(options, Workload::Requests)
    };
    let clients = [client(), client()];
    Some((pooler, clients))
}

/// What one client sees in `rounds` statements whose results name it, alone and in transactions.
async fn read_own_rows(database: &Database, name: &str, rounds: i32) {
    for round in 0..rounds {
        // The texts differ, too: a pooler that mixed the clients up would run the other one's statement.
        let row: (String, i32) = if name == "first" {
            let query = sqlx::query_as("SELECT $1::text, $2::int AS round")
                .bind(name)
                .bind(round);
            query
                .fetch_one(&mut database.statements())
                .await
                .expect("a row")
        } else {
            let mut tx = database.begin().await.expect("a transaction");
            let query = sqlx::query_as(
                "SELECT v.name, v.round FROM (VALUES ($1::text, $2::int)) AS v (name, round)",
            );
            let row = query
                .bind(name)
                .bind(round)
                .fetch_one(&mut *tx)
                .await
                .expect("a row");
            tx.commit().await.expect("a commit");
            row
        };
        assert_eq!(row, (name.to_owned(), round));
    }
}

#[test]
fn f40_two_clients_of_one_session_see_only_their_own_rows() {
    run(async {
        let world = World::new().await;
        let Some((_pooler, [first, second])) = two_clients(&world).await else {
            return;
        };
        tokio::join!(
            read_own_rows(&first, "first", 1_000),
            read_own_rows(&second, "second", 1_000)
        );
    });
}

#[test]
fn f40_no_statement_and_no_transaction_is_left_in_the_session() {
    run(async {
        let world = World::new().await;
        let Some((_pooler, [first, second])) = two_clients(&world).await else {
            return;
        };
        // A failed statement and an abandoned transaction must not reach the other client.
        let failed = sqlx::query("SELECT 1 / $1::int")
            .bind(0)
            .execute(&mut first.statements())
            .await;
        assert!(failed.is_err());
        let mut abandoned = first.begin().await.expect("a transaction");
        sqlx::query("SELECT 1")
            .execute(&mut *abandoned)
            .await
            .expect("a statement");
        drop(abandoned);
        let left: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_catalog.pg_prepared_statements WHERE name <> ''",
        )
        .fetch_one(&mut second.statements())
        .await
        .expect("a count");
        assert_eq!(left, 0);
    });
}
