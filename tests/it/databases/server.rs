//! Databases on a real Postgres server that asks every role but its superuser for a password.

use std::time::{Duration, Instant};

use dev::host::SilentPort;
use dev::postgres::Server as Postgres;
use futures_util::future::join_all;
use shared::agent_databases::{AgentDatabases, DatabaseErrorReason, Server};
use shared::domain::ids::AgentId;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::{reason, run, suite, wait_until};
use tokio::sync::OnceCell;
use uuid::Uuid;

static POSTGRES: OnceCell<Postgres> = OnceCell::const_new();

/// A server of its own: the shared one trusts every role, so it would not check a password.
pub(super) async fn postgres() -> &'static Postgres {
    let start = || async {
        let postgres = Postgres::start(suite::server_options("agents"))
            .await
            .expect("Postgres");
        let mut conn = root(&postgres).await;
        for setting in ["max_prepared_transactions = 10", "wal_level = logical"] {
            sql(&mut conn, &format!("ALTER SYSTEM SET {setting}")).await;
        }
        postgres.crash().expect("stopped");
        postgres.restart().await.expect("started");
        let mut root = root(&postgres).await;
        let rules_path: String = sqlx::query_scalar("SHOW hba_file")
            .fetch_one(&mut root)
            .await
            .expect("a path");
        let rules = "host all postgres all trust\nhost all all all scram-sha-256\n";
        std::fs::write(rules_path, rules).expect("rules");
        sql(&mut root, "SELECT pg_reload_conf()").await;
        // The server applies the rules some time after the reload.
        sql(&mut root, "CREATE ROLE nobody LOGIN PASSWORD 'word'").await;
        let nobody = format!("postgres://nobody@127.0.0.1:{}/postgres", postgres.port());
        wait_until("the server asks for passwords", async || {
            PgConnection::connect(&nobody).await.is_err()
        })
        .await;
        postgres
    };
    POSTGRES.get_or_init(start).await
}

pub(super) async fn root(postgres: &Postgres) -> PgConnection {
    PgConnection::connect(&postgres.url("postgres"))
        .await
        .expect("a connection")
}

pub(super) async fn sql(conn: &mut PgConnection, statement: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(conn).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// An agent, the name of its role and database, and its URI.
#[derive(Clone)]
pub(super) struct Agent {
    pub(super) id: AgentId,
    pub(super) name: String,
    pub(super) uri: String,
}

pub(super) fn agent(server: &Server) -> Agent {
    let id = AgentId::new(Uuid::new_v4());
    let name = format!("agent_{}", id.uuid().simple());
    let uri = server.uri(id, "it's a \"word\"");
    Agent { id, name, uri }
}

pub(super) async fn server() -> Server {
    Server::new(&postgres().await.url("postgres")).expect("an address")
}

/// The SQLSTATE with which the server refuses a connection.
pub(super) async fn connect_error_code(uri: &str) -> String {
    let error = PgConnection::connect(uri).await.expect_err("a refusal");
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.expect("a code").into_owned()
}

/// The agent can use its database, and its role has no other rights.
pub(super) async fn assert_usable(agent: &Agent) {
    let mut own = PgConnection::connect(&agent.uri)
        .await
        .expect("the agent connects");
    sql(
        &mut own,
        "CREATE TABLE IF NOT EXISTS memories (text text); INSERT INTO memories VALUES ('x')",
    )
    .await;
    own.close().await.expect("closed");
    let mut root = root(postgres().await).await;
    let rights: (bool, bool, bool, bool, bool, i32) = sqlx::query_as(
        "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolconnlimit
        FROM pg_roles WHERE rolname = $1",
    )
    .bind(&agent.name)
    .fetch_one(&mut root)
    .await
    .expect("a role");
    assert_eq!(rights, (false, false, false, false, false, 10));
    let database: (String, bool, bool, bool) = sqlx::query_as(
        "SELECT datdba::regrole::text, has_database_privilege('nobody', datname, 'CONNECT'),
            has_database_privilege('nobody', datname, 'TEMPORARY'), datallowconn
        FROM pg_database WHERE datname = $1",
    )
    .bind(&agent.name)
    .fetch_one(&mut root)
    .await
    .expect("a database");
    assert_eq!(database, (agent.name.clone(), false, false, true));
}

/// The address of another database, with the agent's role.
pub(super) fn uri_of(agent: &Agent, database: &str) -> String {
    let server = agent.uri.strip_suffix(&agent.name).expect("its database");
    format!("{server}{database}")
}

pub(super) async fn assert_gone(agent: &Agent) {
    let remaining: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM pg_roles WHERE rolname = $1)
            + (SELECT count(*) FROM pg_database WHERE datname = $1)",
    )
    .bind(&agent.name)
    .fetch_one(&mut root(postgres().await).await)
    .await
    .expect("a count");
    assert_eq!(remaining, 0);
}

#[test]
fn only_the_agent_can_connect_to_its_database() {
    run(async {
        let server = server().await;
        let (one, two) = (agent(&server), agent(&server));
        for agent in [&one, &two] {
            server.ensure(&agent.uri, None).await.expect("a database");
            assert_usable(agent).await;
        }
        // Another agent, another role, and a wrong password.
        let place = format!("@127.0.0.1:{}/{}", postgres().await.port(), one.name);
        let (credentials, _) = two.uri.split_once('@').expect("credentials");
        assert_eq!(
            connect_error_code(&format!("{credentials}{place}")).await,
            "42501"
        );
        assert_eq!(
            connect_error_code(&format!("postgres://nobody:word{place}")).await,
            "42501"
        );
        assert_eq!(
            connect_error_code(&server.uri(one.id, "wrong")).await,
            "28P01"
        );
        let mut open = Vec::new();
        for _ in 0..10 {
            open.push(PgConnection::connect(&one.uri).await.expect("one of ten"));
        }
        assert_eq!(connect_error_code(&one.uri).await, "53300");
        let own = &mut open[0];
        for statement in [
            "CREATE ROLE another",
            "CREATE DATABASE another",
            "SET ROLE nobody",
        ] {
            let refused = sqlx::raw_sql(statement).execute(&mut *own).await;
            assert!(refused.is_err(), "{statement}");
        }
    });
}

#[test]
fn a_password_may_hold_any_characters_and_a_new_one_replaces_it() {
    run(async {
        let server = server().await;
        let agent = agent(&server);
        let odd = "' \" \\ \\' '' $$ -- /* ; %41 %s {} @:/?#[] +& ü€";
        for password in [odd, "\\", "'", "'; DROP ROLE nobody; --", "plain"] {
            let uri = server.uri(agent.id, password);
            server.ensure(&uri, None).await.expect("a database");
            assert_usable(&Agent {
                uri,
                ..agent.clone()
            })
            .await;
        }
        assert_eq!(
            connect_error_code(&server.uri(agent.id, odd)).await,
            "28P01"
        );
    });
}

#[test]
fn ensuring_can_be_repeated_and_run_concurrently() {
    run(async {
        let server = server().await;
        let agent = agent(&server);
        let ensure = || {
            let (server, uri) = (server.clone(), agent.uri.clone());
            tokio::spawn(async move { server.ensure(&uri, None).await })
        };
        for ensured in join_all((0..8).map(|_| ensure())).await {
            assert_eq!(reason(ensured.expect("no panic")), Ok(()));
        }
        assert_usable(&agent).await;
        let others: Vec<Agent> = (0..8).map(|_| self::agent(&server)).collect();
        let ensured = join_all(others.iter().map(|agent| server.ensure(&agent.uri, None))).await;
        assert!(ensured.iter().all(Result::is_ok), "{ensured:?}");
        assert_eq!(reason(server.ensure(&agent.uri, None).await), Ok(()));
        assert_usable(&agent).await;
        let mut own = PgConnection::connect(&agent.uri)
            .await
            .expect("the agent connects");
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM memories")
            .fetch_one(&mut own)
            .await
            .expect("a count");
        assert_eq!(rows, 2);
    });
}

#[test]
fn ensuring_completes_what_a_crash_left_at_any_step() {
    run(async {
        let server = server().await;
        let mut root = root(postgres().await).await;
        for statements in [
            vec!["CREATE ROLE {} NOLOGIN"],
            vec!["CREATE ROLE {} SUPERUSER CREATEDB CREATEROLE"],
            vec!["CREATE ROLE {} LOGIN CONNECTION LIMIT 10 PASSWORD 'another'"],
            vec![
                "CREATE ROLE {}",
                "CREATE DATABASE {} OWNER {} TEMPLATE template0 ALLOW_CONNECTIONS false",
            ],
            vec![
                "CREATE ROLE {}",
                "CREATE DATABASE {} OWNER {} TEMPLATE template0",
            ],
            vec![
                "CREATE ROLE {}",
                "CREATE DATABASE {} OWNER {} TEMPLATE template0 ALLOW_CONNECTIONS false",
                "REVOKE ALL ON DATABASE {} FROM PUBLIC",
            ],
        ] {
            let agent = agent(&server);
            for statement in &statements {
                sql(&mut root, &statement.replace("{}", &agent.name)).await;
            }
            assert_eq!(
                reason(server.ensure(&agent.uri, None).await),
                Ok(()),
                "{statements:?}"
            );
            assert_usable(&agent).await;
        }
    });
}

#[test]
fn a_call_that_is_cut_off_at_any_moment_can_be_repeated() {
    run(async {
        let server = server().await;
        for milliseconds in (0..120).step_by(10) {
            let agent = agent(&server);
            let limit = Duration::from_millis(milliseconds);
            let _ = tokio::time::timeout(limit, server.ensure(&agent.uri, None)).await;
            assert_eq!(
                reason(server.ensure(&agent.uri, None).await),
                Ok(()),
                "{limit:?}"
            );
            assert_usable(&agent).await;
            let _ = tokio::time::timeout(limit, server.delete(agent.id)).await;
            assert_eq!(reason(server.delete(agent.id).await), Ok(()), "{limit:?}");
            assert_gone(&agent).await;
            // A statement that the server still runs when the call is cut off does not bring back what `delete` removes
            // afterwards.
            let _ = tokio::time::timeout(limit, server.ensure(&agent.uri, None)).await;
            assert_eq!(reason(server.delete(agent.id).await), Ok(()), "{limit:?}");
            assert_gone(&agent).await;
        }
    });
}

#[test]
fn deleting_can_be_repeated_and_disconnects_clients() {
    run(async {
        let server = server().await;
        let agent = agent(&server);
        assert_eq!(reason(server.delete(agent.id).await), Ok(()));
        server.ensure(&agent.uri, None).await.expect("a database");
        let mut own = PgConnection::connect(&agent.uri)
            .await
            .expect("the agent connects");
        let dropped = join_all((0..4).map(|_| server.delete(agent.id))).await;
        assert!(dropped.iter().all(Result::is_ok), "{dropped:?}");
        assert_gone(&agent).await;
        assert!(own.ping().await.is_err());
        let databases = AgentDatabases::Server(server.clone());
        assert_eq!(reason(databases.delete(agent.id, None).await), Ok(()));
        // The database can be created again.
        server.ensure(&agent.uri, None).await.expect("a database");
        assert_usable(&agent).await;
    });
}

#[test]
fn f65_ending_an_agents_sessions_leaves_its_database() {
    run(async {
        let server = server().await;
        let agent = agent(&server);
        server.ensure(&agent.uri, None).await.expect("a database");
        let mut own = PgConnection::connect(&agent.uri)
            .await
            .expect("the agent connects");
        assert_eq!(reason(server.end_sessions(agent.id).await), Ok(()));
        assert!(own.ping().await.is_err());
        assert_usable(&agent).await;
    });
}

#[test]
fn an_administrator_need_not_be_a_superuser() {
    run(async {
        let postgres = postgres().await;
        let mut root = root(postgres).await;
        sql(
            &mut root,
            "CREATE ROLE keeper LOGIN CREATEDB CREATEROLE PASSWORD 'word'",
        )
        .await;
        sql(
            &mut root,
            "CREATE DATABASE keeper OWNER keeper TEMPLATE template0",
        )
        .await;
        let address = format!(
            "postgres://keeper:word@127.0.0.1:{}/keeper",
            postgres.port()
        );
        let server = Server::new(&address).expect("an address");
        let agent = agent(&server);
        for _ in 0..2 {
            assert_eq!(reason(server.ensure(&agent.uri, None).await), Ok(()));
            assert_usable(&agent).await;
        }
        let mut own = PgConnection::connect(&agent.uri)
            .await
            .expect("the agent connects");
        for _ in 0..2 {
            assert_eq!(reason(server.delete(agent.id).await), Ok(()));
            assert_gone(&agent).await;
        }
        assert!(own.ping().await.is_err());
    });
}

#[test]
fn every_failure_has_its_reason_within_the_timeout() {
    run(async {
        let port = postgres().await.port();
        let silent = SilentPort::start().expect("a silent host");
        let garbage_listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let garbage_port = garbage_listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = garbage_listener.accept().await {
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 \r\n\r\n")
                    .await;
            }
        });
        for (address, expected, seconds) in [
            (
                "root@127.0.0.1:9/postgres".to_owned(),
                DatabaseErrorReason::Unreachable,
                0..5,
            ),
            (
                "root@no-such-host.invalid/postgres".to_owned(),
                DatabaseErrorReason::Unreachable,
                0..9,
            ),
            (
                format!("root@127.0.0.1:{}/postgres", silent.port()),
                DatabaseErrorReason::TimedOut,
                9..13,
            ),
            (
                format!("root@127.0.0.1:{garbage_port}/postgres"),
                DatabaseErrorReason::Protocol,
                0..5,
            ),
            (
                format!("nobody:wrong@127.0.0.1:{port}/postgres"),
                DatabaseErrorReason::Refused,
                0..5,
            ),
            (
                format!("nobody:word@127.0.0.1:{port}/no_such"),
                DatabaseErrorReason::Refused,
                0..5,
            ),
            (
                format!("nobody:word@127.0.0.1:{port}/postgres"),
                DatabaseErrorReason::Refused,
                0..5,
            ),
        ] {
            let server = Server::new(&format!("postgres://{address}")).expect("an address");
            let began = Instant::now();
            let agent = agent(&server);
            let error = server
                .ensure(&agent.uri, None)
                .await
                .expect_err("a failure");
            assert_eq!(error.reason(), expected, "{address}");
            assert!(
                seconds.contains(&began.elapsed().as_secs()),
                "{address} {:?}",
                began.elapsed()
            );
            let shown = format!("{error} {error:?} {server:?}");
            assert!(
                !shown.contains("127.0.0.1") && !shown.contains("word"),
                "{shown}"
            );
        }
        let elsewhere = server()
            .await
            .ensure("postgres://agent_x:p@127.0.0.1:9/agent_x", None)
            .await;
        assert_eq!(reason(elsewhere), Err(DatabaseErrorReason::NotConfigured));
        let agent_id = AgentId::new(Uuid::new_v4());
        let none = AgentDatabases::NotConfigured.delete(agent_id, None).await;
        assert_eq!(reason(none), Err(DatabaseErrorReason::NotConfigured));
    });
}
