//! What an agent's role can reach and use on the server, and that its size is watched.

use dev::runtime::Outcome;
use serde_json::json;
use shared::agent_databases::Server;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::{Function, reason, run, suite};

use super::server::{
    agent, assert_gone, assert_usable, connect_error_code, postgres, root, server, sql, uri_of,
};

#[test]
fn f42_an_agent_can_connect_to_no_database_but_its_own() {
    run(async {
        let server = server().await;
        let (one, two) = (agent(&server), agent(&server));
        for agent in [&one, &two] {
            assert_eq!(reason(server.ensure(&agent.uri, None).await), Ok(()));
        }
        for database in ["template1", "postgres", &two.name] {
            let code = connect_error_code(&uri_of(&one, database)).await;
            assert_eq!(code, "42501", "{database}");
        }
        assert_eq!(
            connect_error_code(&uri_of(&one, "template0")).await,
            "55000"
        );
        // The databases of other applications are theirs.
        let mut root = root(postgres().await).await;
        sql(
            &mut root,
            "CREATE DATABASE another_application TEMPLATE template0",
        )
        .await;
        assert_eq!(reason(server.ensure(&one.uri, None).await), Ok(()));
        let guest = uri_of(&one, "another_application");
        assert!(PgConnection::connect(&guest).await.is_ok());
    });
}

#[test]
fn f42_what_an_agent_does_in_template1_reaches_no_other_agent() {
    run(async {
        let server = server().await;
        let (old, new) = (agent(&server), agent(&server));
        assert_eq!(reason(server.ensure(&old.uri, None).await), Ok(()));
        // As it was before PUBLIC lost its rights.
        let mut root = root(postgres().await).await;
        let grant = format!("GRANT CONNECT ON DATABASE template1 TO {}", old.name);
        sql(&mut root, &grant).await;
        let template = uri_of(&old, "template1");
        let mut session = PgConnection::connect(&template).await.expect("a session");
        sql(&mut session, "SELECT lo_create(0)").await;
        assert_eq!(reason(server.ensure(&new.uri, None).await), Ok(()));
        assert_usable(&new).await;
        let mut own = PgConnection::connect(&new.uri).await.expect("a session");
        let copied: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_largeobject_metadata")
            .fetch_one(&mut own)
            .await
            .expect("a count");
        assert_eq!(copied, 0);
        assert_eq!(reason(server.delete(old.id).await), Ok(()));
        assert_gone(&old).await;
    });
}

#[test]
fn f42_an_agent_has_limits_that_it_cannot_raise() {
    run(async {
        let server = server().await;
        let agent = agent(&server);
        assert_eq!(reason(server.ensure(&agent.uri, None).await), Ok(()));
        let mut own = PgConnection::connect(&agent.uri).await.expect("a session");
        let limits: (String, String, String, i32) = sqlx::query_as(
            "SELECT current_setting('statement_timeout'),
                current_setting('idle_in_transaction_session_timeout'),
                current_setting('temp_file_limit'), datconnlimit
            FROM pg_database WHERE datname = current_database()",
        )
        .fetch_one(&mut own)
        .await
        .expect("settings");
        let expected = ("5min".to_owned(), "5min".to_owned(), "1GB".to_owned(), 10);
        assert_eq!(limits, expected);
        for statement in [
            "SET temp_file_limit = -1",
            "ALTER ROLE {} SET temp_file_limit = -1",
            "ALTER DATABASE {} SET temp_file_limit = -1",
            "ALTER ROLE {} CONNECTION LIMIT -1",
            "ALTER ROLE {} CREATEDB",
            "ALTER DATABASE {} RENAME TO another",
            "ALTER DATABASE {} OWNER TO postgres",
            "GRANT {} TO nobody",
            "CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p WITH (connect = false)",
            "SELECT pg_create_logical_replication_slot('s', 'test_decoding')",
            "CREATE EVENT TRIGGER t ON sql_drop EXECUTE FUNCTION f()",
        ] {
            let statement = statement.replace("{}", &agent.name);
            let refused = sqlx::raw_sql(AssertSqlSafe(statement.as_str()))
                .execute(&mut own)
                .await;
            let error = refused.expect_err(&statement);
            let code = error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code);
            assert_eq!(code.as_deref(), Some("42501"), "{statement}");
        }
    });
}

#[test]
fn f42_the_control_planes_own_server_is_recognized_at_any_address() {
    run(async {
        let port = postgres().await.port();
        let mut root = root(postgres().await).await;
        let started = sqlx::query_scalar("SELECT pg_postmaster_start_time()");
        let started = started.fetch_one(&mut root).await.expect("a time");
        let elsewhere = PgConnection::connect(&suite::server().await.url("postgres")).await;
        let elsewhere = sqlx::query_scalar("SELECT pg_postmaster_start_time()")
            .fetch_one(&mut elsewhere.expect("a session"))
            .await
            .expect("a time");
        let server = Server::new(&format!("postgres://postgres@localhost:{port}/postgres"));
        let server = server.expect("an address");
        let agent = agent(&server);
        let refused = reason(server.ensure(&agent.uri, Some(started)).await);
        let refusal = refused.expect_err("a refusal");
        assert_eq!(
            refusal.to_string(),
            "The database service is not set up for agents"
        );
        assert_gone(&agent).await;
        assert_eq!(
            reason(server.ensure(&agent.uri, Some(elsewhere)).await),
            Ok(())
        );
        assert_usable(&agent).await;
    });
}

#[test]
fn f42_a_database_that_is_too_large_is_reported() {
    run(async {
        let server = server().await;
        let (small, large) = (agent(&server), agent(&server));
        for agent in [&small, &large] {
            assert_eq!(reason(server.ensure(&agent.uri, None).await), Ok(()));
        }
        let mut own = PgConnection::connect(&large.uri).await.expect("a session");
        let fill = "CREATE TABLE t AS SELECT n FROM generate_series(1, 1000000) AS n";
        sql(&mut own, fill).await;
        // Nothing of what its owner can do hides the size.
        let hide = format!("REVOKE ALL ON DATABASE {0} FROM {0}", large.name);
        sql(&mut own, &hide).await;
        let unused = suite::server().await.url("nowhere");
        let admin = postgres().await.url("postgres");
        let check = Function::new("agent-database-check", &unused)
            .with("AGENT_DATABASE_ADMIN_URL", &admin)
            .with("AGENT_DATABASE_MAX_BYTES", "33554432");
        let (result, logs) = check_databases(&check).await;
        assert_eq!(result["tooLarge"], json!(1), "{result}");
        assert!(result["measured"].as_u64() >= Some(2), "{result}");
        let name = format!("the database of agent {} is too large", large.id);
        assert!(logs.contains(&name), "{logs}");
        assert!(!logs.contains(&small.id.to_string()), "{logs}");
        assert!(logs.contains("\"TooLarge\":1"), "{logs}");

        // An administrator who is no superuser may not measure what the owner closed, so that counts as too large.
        let mut root = root(postgres().await).await;
        sql(&mut root, "CREATE ROLE surveyor LOGIN PASSWORD 'word'").await;
        sql(
            &mut root,
            "CREATE DATABASE surveyor OWNER surveyor TEMPLATE template0",
        )
        .await;
        let port = postgres().await.port();
        let surveyor = format!("postgres://surveyor:word@127.0.0.1:{port}/surveyor");
        let (_, logs) = check_databases(&check.with("AGENT_DATABASE_ADMIN_URL", &surveyor)).await;
        let name = format!("the database of agent {} cannot be measured", large.id);
        assert!(logs.contains(&name), "{logs}");

        // Without a server, as at Neon, nothing is measured.
        let none =
            Function::new("agent-database-check", &unused).without("AGENT_DATABASE_ADMIN_URL");
        let (result, logs) = check_databases(&none).await;
        assert_eq!(result, json!({"measured": 0, "tooLarge": 0}));
        assert!(!logs.contains("TooLarge"), "{logs}");
    });
}

/// Runs the check. Returns its result and its logs.
async fn check_databases(check: &Function) -> (serde_json::Value, String) {
    let instance = check.start().await;
    let timeout = std::time::Duration::from_secs(30);
    let outcome = instance.invoke(json!({}), timeout).await;
    instance.kill().await;
    let logs = instance.logs().join("\n");
    match outcome {
        Outcome::Success(result) => (result, logs),
        other => panic!("{other:?} {logs}"),
    }
}
