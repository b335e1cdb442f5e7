//! Connections that die, freeze or lead to the wrong server, and how many there are.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use dev::postgres::Server;
use dev::runtime::{Instance, Outcome};
use futures_util::StreamExt;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tests::suite::{self, Function, Request};
use tests::{Lab, World, run, wait_until};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Stands between a function and Postgres. Connections can be frozen: they stay open and nothing passes any more.
struct Wire {
    port: u16,
    /// The port of the server to which new connections lead.
    server: Arc<AtomicU16>,
    /// Raised to freeze all connections that are open.
    frozen: watch::Sender<u32>,
}

impl Wire {
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (frozen, watched) = watch::channel(0);
        let server = Arc::new(AtomicU16::new(server.port()));
        let target = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut watched = watched.clone();
                watched.mark_unchanged();
                let server = target.load(Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, server))
                        .await
                        .expect("the server");
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut upstream) => {}
                        changed = watched.changed() => if changed.is_ok() {
                            // Held open until the test ends.
                            std::future::pending::<()>().await;
                        }
                    }
                });
            }
        });
        Self {
            port,
            server,
            frozen,
        }
    }

    fn freeze(&self) {
        self.frozen.send_modify(|count| *count += 1);
    }
}

/// A world, a function on it that connects through a wire, and the request that it answers.
async fn credit_get(world: &World) -> (Arc<Wire>, Instance, Value) {
    let (_, key) = world.tenant("10").await;
    let wire = Arc::new(Wire::to(suite::server().await).await);
    let (_, database) = world.url.rsplit_once('/').expect("a name");
    let url = format!(
        "postgres://{}@127.0.0.1:{}/{database}",
        suite::RUNTIME_ROLE,
        wire.port
    );
    let function = world
        .function("credit-get")
        .with("RUNTIME_DATABASE_URL", &url);
    let instance = function.start().await;
    let event = world.event(&Request::new("GET", "/api/v1/credits/balance").key(&key));
    (wire, instance, event)
}

async fn assert_status(instance: &Instance, event: &Value, status: u16) {
    let answer = instance.invoke(event.clone(), Duration::from_secs(20));
    let Outcome::Success(response) = answer.await else {
        panic!("no answer")
    };
    assert_eq!(response["statusCode"], json!(status), "{response}");
}

/// The sessions of the functions' role in this world's database.
async fn sessions(world: &World) -> i64 {
    world
        .count(
            "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'cloud_runtime'",
        )
        .await
}

#[test]
fn f45_the_first_request_after_a_connection_died_or_froze_succeeds() {
    run(async {
        let world = World::new().await;
        let (wire, instance, event) = credit_get(&world).await;
        assert_status(&instance, &event, 200).await;
        // The server has closed it, as a restart or a failover does.
        world
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND usename = 'cloud_runtime'",
            )
            .await;
        assert_status(&instance, &event, 200).await;
        // It was lost without a word, as after a long sleep behind an address translator. The process is stopped
        // meanwhile, as Lambda stops it between requests.
        let pid = instance.pid().to_string();
        let signal = |name: &'static str| {
            let sent = std::process::Command::new("kill")
                .args([name, &pid])
                .status();
            assert!(sent.expect("kill").success());
        };
        signal("-STOP");
        wire.freeze();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        signal("-CONT");
        assert_status(&instance, &event, 200).await;
    });
}

/// A server that is not the primary: it replays what a primary sends, and answers reads.
async fn standby(database: &str) -> Server {
    let server = Server::start(suite::server_options("standby"))
        .await
        .expect("Postgres");
    server
        .create_database(database, None)
        .await
        .expect("a database");
    let url = server.url(database);
    // The roles are of a server, so this one is another one.
    let runtime = server.url_of(suite::RUNTIME_ROLE, database);
    Function::new("db-migrate", &url)
        .with("RUNTIME_DATABASE_URL", &runtime)
        .invoke_ok(json!({}))
        .await;
    let mut conn = PgConnection::connect(&url).await.expect("a connection");
    sqlx::raw_sql("COPY (SELECT) TO PROGRAM 'touch standby.signal'")
        .execute(&mut conn)
        .await
        .expect("a file of the server");
    server.restart().await.expect("it is a standby");
    server
}

#[test]
fn f45_a_server_that_is_not_the_primary_is_not_read_and_its_connection_not_kept() {
    run(async {
        let world = World::new().await;
        let (_, database) = world.url.rsplit_once('/').expect("a name");
        let standby = standby(database).await;
        let (wire, instance, event) = credit_get(&world).await;
        let primary = wire.server.swap(standby.port(), Ordering::Relaxed);
        assert_status(&instance, &event, 503).await;
        wire.server.store(primary, Ordering::Relaxed);
        assert_status(&instance, &event, 200).await;
    });
}

#[test]
fn f45_no_connection_is_held_while_nothing_is_asked() {
    run(async {
        let world = World::new().await;
        let (_wire, instance, event) = credit_get(&world).await;
        assert_status(&instance, &event, 200).await;
        wait_until("the idle connection is closed", async || {
            sessions(&world).await == 0
        })
        .await;
        assert_status(&instance, &event, 200).await;
    });
}

#[test]
fn f45_an_open_stream_holds_no_connection() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let fault = json!({"environmentVars": {"SAMPLE_FAULT": "pausing:3"}});
        let agent = lab.running_agent(fault).await;
        let instance = lab.world.function("agent-stream").start().await;
        let message = json!({
            "jsonrpc": "2.0", "id": "a", "method": "message.send", "params": {"text": "a b"},
        });
        let path = tests::calls::agent_path(agent, "/stream");
        let request = Request::new("POST", &path).key(&lab.api_key).json(&message);
        let event = lab.world.event(&request);
        let streamed = instance
            .invoke_streaming(event, Duration::from_mins(1))
            .await;
        let mut streamed = streamed.expect("a stream");
        let first = streamed.body.next().await;
        assert!(first.is_some());
        wait_until("the stream holds no connection", async || {
            sessions(&lab.world).await == 0
        })
        .await;
        let mut pieces = 0;
        while let Some(piece) = streamed.body.next().await {
            piece.expect("a piece");
            pieces += 1;
        }
        assert!(pieces >= 3, "the stream had ended before: {pieces}");
    });
}

#[test]
fn f45_the_functions_have_no_more_connections_than_the_deployment_allows() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("10").await;
        let (_, database) = world.url.rsplit_once('/').expect("a name");
        let role = format!("bounded_{database}");
        let url = suite::server().await.url_of(&role, database);
        let too_few = world
            .function("db-migrate")
            .with("RUNTIME_DATABASE_URL", &url)
            .with("DATABASE_CONNECTIONS", "4");
        let refused = too_few.invoke(json!({})).await;
        assert!(
            matches!(refused, Outcome::FunctionError { .. }),
            "{refused:?}"
        );
        world
            .function("db-migrate")
            .with("RUNTIME_DATABASE_URL", &url)
            .with("DATABASE_CONNECTIONS", "5")
            .invoke_ok(json!({}))
            .await;
        let mut others = Vec::new();
        for _ in 0..5 {
            others.push(PgConnection::connect(&url).await.expect("a connection"));
        }
        let instance = world
            .function("credit-get")
            .with("RUNTIME_DATABASE_URL", &url)
            .start()
            .await;
        let event = world.event(&Request::new("GET", "/api/v1/credits/balance").key(&key));
        assert_status(&instance, &event, 503).await;
        // A request waits for a connection that becomes free.
        let ((), ()) = tokio::join!(assert_status(&instance, &event, 200), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let freed = others.pop().expect("a connection");
            freed.close().await.expect("it is closed");
        });
    });
}

#[test]
fn the_sweep_measures_how_many_of_the_allowed_connections_are_open() {
    run(async {
        let world = World::new().await;
        let (_, database) = world.url.rsplit_once('/').expect("a name");
        let role = format!("measured_{database}");
        let url = suite::server().await.url_of(&role, database);
        world
            .function("db-migrate")
            .with("RUNTIME_DATABASE_URL", &url)
            .with("DATABASE_CONNECTIONS", "10")
            .invoke_ok(json!({}))
            .await;
        wait_until("the connections of db-migrate end", async || {
            let open = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'measured%'";
            world.count(open).await == 0
        })
        .await;
        let mut others = Vec::new();
        for _ in 0..4 {
            others.push(PgConnection::connect(&url).await.expect("a connection"));
        }
        let sweep = world
            .function("job-sweep")
            .with("RUNTIME_DATABASE_URL", &url)
            .start()
            .await;
        let swept = sweep.invoke(json!({}), Duration::from_mins(1)).await;
        assert!(matches!(swept, Outcome::Success(_)), "{swept:?}");
        sweep.kill().await;
        let percent = sweep.logs().iter().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["ConnectionsPercent"].as_i64()
        });
        // The sweep has a connection, too.
        assert_eq!(percent, Some(50));
    });
}
