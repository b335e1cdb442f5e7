//! Removing an agent's database and role, whatever the agent and others did.

use shared::agent_databases::Server;
use sqlx::{Connection, PgConnection};
use tests::{reason, run};

use super::server::{
    Agent, agent, assert_gone, assert_usable, postgres, root, server, sql, uri_of,
};

/// What somebody does, as `<who>@<database>`, and the statements. `a` is the agent that is removed, `b` another one, and
/// `root` the superuser; `a` and `b` are also their databases, `commons` is one where PUBLIC may connect and create.
type Step = (&'static str, &'static str);

const OBSTACLES: &[(&str, &[Step])] = &[
    (
        "a template",
        &[("a@a", "ALTER DATABASE {a} IS_TEMPLATE true")],
    ),
    (
        "a database that nobody may connect to",
        &[
            (
                "a@a",
                "ALTER DATABASE {a} CONNECTION LIMIT 0; REVOKE ALL ON DATABASE {a} FROM {a}",
            ),
            ("a@commons", "ALTER DATABASE {a} ALLOW_CONNECTIONS false"),
        ],
    ),
    (
        "settings that change what other sessions do",
        &[(
            "a@a",
            "ALTER DATABASE {a} SET role = {a};
            ALTER DATABASE {a} SET default_transaction_read_only = on;
            ALTER DATABASE {a} SET statement_timeout = '1ms'",
        )],
    ),
    (
        "a prepared transaction in a closed database",
        &[
            ("a@a", "BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'own'"),
            (
                "a@a",
                "ALTER DATABASE {a} SET default_transaction_read_only = on;
                ALTER DATABASE {a} CONNECTION LIMIT 0; REVOKE ALL ON DATABASE {a} FROM {a}",
            ),
        ],
    ),
    (
        "a prepared transaction in another database",
        &[(
            "a@commons",
            "BEGIN; SELECT lo_create(0); PREPARE TRANSACTION 'away'",
        )],
    ),
    (
        "a prepared transaction of another agent",
        &[
            ("a@a", "GRANT ALL ON DATABASE {a} TO {b}"),
            (
                "b@a",
                "BEGIN; SELECT lo_create(0); PREPARE TRANSACTION 'guest'",
            ),
        ],
    ),
    (
        "more large objects than the server has locks",
        &[(
            "a@commons",
            "SELECT count(lo_create(0)) FROM generate_series(1, 40000)",
        )],
    ),
    (
        "objects in another database that another agent builds on",
        &[
            (
                "a@commons",
                "CREATE TYPE mood_{a} AS ENUM ('calm'); GRANT USAGE ON TYPE mood_{a} TO PUBLIC;
                ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {b}",
            ),
            ("b@commons", "CREATE TABLE moods_{b} (mood mood_{a})"),
        ],
    ),
    (
        "rights and policies that another agent gives the role",
        &[(
            "b@b",
            "CREATE TABLE t (); GRANT ALL ON t TO {a}; CREATE POLICY p ON t TO {a};
            ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {a};
            GRANT ALL ON DATABASE {b} TO {a}; SELECT lo_create(7); GRANT ALL ON LARGE OBJECT 7 TO {a};
            ALTER DATABASE {b} SET role = {b}; ALTER DATABASE {b} SET search_path = public, pg_catalog;
            ALTER DATABASE {b} SET default_transaction_read_only = on",
        )],
    ),
    (
        "objects of another agent in the database",
        &[
            ("a@a", "GRANT ALL ON DATABASE {a} TO {b}"),
            ("b@a", "CREATE SCHEMA guest; SELECT lo_create(0)"),
        ],
    ),
    (
        "a publication and a replication slot",
        &[
            ("a@a", "CREATE PUBLICATION p"),
            (
                "root@a",
                "SELECT pg_create_logical_replication_slot('{a}', 'test_decoding')",
            ),
        ],
    ),
    (
        "an interrupted removal",
        &[(
            "root@commons",
            "UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{a}'",
        )],
    ),
];

async fn create_commons(name: &str) {
    let postgres = postgres().await;
    sql(
        &mut root(postgres).await,
        &format!("CREATE DATABASE {name} TEMPLATE template0"),
    )
    .await;
    let mut commons = PgConnection::connect(&postgres.url(name))
        .await
        .expect("a connection");
    sql(&mut commons, "GRANT CREATE ON SCHEMA public TO PUBLIC").await;
}

async fn created(server: &Server) -> Agent {
    let agent = agent(server);
    let ensured = server.ensure(&agent.uri, None).await;
    assert_eq!(reason(ensured), Ok(()));
    agent
}

/// Returns the sessions of the agents, which are still open.
async fn take(steps: &[Step], a: &Agent, b: &Agent, commons: &str) -> Vec<PgConnection> {
    let mut sessions = Vec::new();
    for (place, statements) in steps {
        let (who, database) = place.split_once('@').expect("a place");
        let database = match database {
            "a" => &a.name,
            "b" => &b.name,
            _ => commons,
        };
        let uri = match who {
            "a" => uri_of(a, database),
            "b" => uri_of(b, database),
            _ => postgres().await.url(database),
        };
        let mut session = PgConnection::connect(&uri).await.expect("a session");
        let statements = statements.replace("{a}", &a.name).replace("{b}", &b.name);
        sql(&mut session, &statements).await;
        // Only a superuser can end the session of another one.
        if who != "root" {
            sessions.push(session);
        }
    }
    sessions
}

#[test]
fn f42_a_removal_completes_whatever_the_agent_and_others_did() {
    run(async {
        let server = server().await;
        create_commons("commons").await;
        let mut failed = Vec::new();
        for (obstacle, steps) in OBSTACLES {
            let (a, b) = (created(&server).await, created(&server).await);
            let sessions = take(steps, &a, &b, "commons").await;
            let removed = reason(server.delete(a.id).await);
            if removed != Ok(()) {
                failed.push((obstacle, removed));
                continue;
            }
            assert_gone(&a).await;
            drop(sessions);
            assert_usable_again(&server, &b).await;
            assert_eq!(reason(server.delete(b.id).await), Ok(()), "{obstacle}");
            assert_gone(&b).await;
        }
        assert!(failed.is_empty(), "{failed:#?}");
    });
}

/// After what the agent may have done to its own database.
async fn assert_usable_again(server: &Server, agent: &Agent) {
    let mut root = root(postgres().await).await;
    sql(
        &mut root,
        &format!("ALTER DATABASE {} RESET ALL", agent.name),
    )
    .await;
    assert_eq!(reason(server.ensure(&agent.uri, None).await), Ok(()));
    assert_usable(agent).await;
}

#[test]
fn f42_an_administrator_who_is_no_superuser_completes_a_removal() {
    run(async {
        let postgres = postgres().await;
        let mut root = root(postgres).await;
        sql(
            &mut root,
            "CREATE ROLE warden LOGIN CREATEDB CREATEROLE PASSWORD 'word'",
        )
        .await;
        sql(
            &mut root,
            "CREATE DATABASE warden OWNER warden TEMPLATE template0",
        )
        .await;
        create_commons("warden_commons").await;
        let address = format!(
            "postgres://warden:word@127.0.0.1:{}/warden",
            postgres.port()
        );
        let server = Server::new(&address).expect("an address");
        for (obstacle, steps) in OBSTACLES {
            let (a, b) = (created(&server).await, created(&server).await);
            let sessions = take(steps, &a, &b, "warden_commons").await;
            assert_eq!(reason(server.delete(a.id).await), Ok(()), "{obstacle}");
            assert_gone(&a).await;
            drop(sessions);
            assert_eq!(reason(server.delete(b.id).await), Ok(()), "{obstacle}");
            assert_gone(&b).await;
        }
    });
}

#[test]
fn f42_an_interrupted_removal_does_not_block_the_next_creation() {
    run(async {
        let server = server().await;
        let agent = created(&server).await;
        let mut root = root(postgres().await).await;
        let interrupt = "UPDATE pg_database SET datconnlimit = -2 WHERE datname = $1";
        let interrupted = sqlx::query(interrupt).bind(&agent.name);
        interrupted.execute(&mut root).await.expect("done");
        assert_eq!(reason(server.ensure(&agent.uri, None).await), Ok(()));
        assert_usable(&agent).await;
    });
}

#[test]
fn f42_a_role_that_others_still_refer_to_stays_without_a_login() {
    run(async {
        let server = server().await;
        let (a, b, c) = (
            created(&server).await,
            created(&server).await,
            created(&server).await,
        );
        // Postgres removes the rights that an object's owner gave the role, but not those that others passed on.
        let mut owner = PgConnection::connect(&b.uri).await.expect("a session");
        let grants = format!(
            "CREATE TABLE t (); GRANT SELECT ON t TO {0} WITH GRANT OPTION; GRANT CONNECT ON DATABASE {1} TO {0}",
            c.name, b.name
        );
        sql(&mut owner, &grants).await;
        let guest = uri_of(&c, &b.name);
        let mut guest = PgConnection::connect(&guest).await.expect("a session");
        sql(&mut guest, &format!("GRANT SELECT ON t TO {}", a.name)).await;
        for _ in 0..2 {
            assert_eq!(reason(server.delete(a.id).await), Ok(()));
        }
        let remaining: (bool, bool, bool) = sqlx::query_as(
            "SELECT rolcanlogin, rolpassword IS NULL, EXISTS (SELECT FROM pg_database WHERE datname = $1)
            FROM pg_authid WHERE rolname = $1",
        )
        .bind(&a.name)
        .fetch_one(&mut root(postgres().await).await)
        .await
        .expect("the role");
        assert_eq!(remaining, (false, true, false));
        // The same agent can be created again, and its role goes with the last reference to it.
        assert_eq!(reason(server.ensure(&a.uri, None).await), Ok(()));
        assert_usable(&a).await;
        assert_eq!(reason(server.delete(b.id).await), Ok(()));
        assert_gone(&b).await;
        assert_eq!(reason(server.delete(a.id).await), Ok(()));
        assert_gone(&a).await;
    });
}
