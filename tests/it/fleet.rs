//! The way to hosts, against a real SSH server and a real Docker Engine. Where none can be started the
//! tests say so and pass.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dev::host::{Host, KeyType, Options, Silent, Sshd, image};
use serde_json::{Value, json};
use shared::hosts::{
    AgentHttp, Allowed, Connection, ContainerSpec, Data, Engine, EngineError, Fingerprint, Fleet,
    HostError, Limits, Published, SshKey, Target,
};
use tests::lab::can;
use tests::run;
use uuid::Uuid;

fn target(sshd: &Sshd) -> Target {
    Target {
        node_id: "n1".to_owned(),
        hostname: "127.0.0.1".to_owned(),
        port: sshd.port(),
        user: sshd.user().to_owned(),
        fingerprint: Fingerprint::parse(&sshd.fingerprint()),
        docker_socket: "/nowhere/docker.sock".to_owned(),
    }
}

fn fleet(sshd: &Sshd) -> Fleet {
    let key = SshKey::from_file(&sshd.private_key_path()).expect("a key");
    Fleet::new(key, Allowed::Any)
}

#[test]
fn f24_a_host_without_a_pin_is_seen_and_a_changed_key_is_a_mismatch_and_gets_nothing() {
    run(async {
        if !can(&Sshd::availability()) {
            return;
        }
        let sshd = Sshd::start(&Options::default())
            .await
            .expect("an SSH server");
        let unpinned = Target {
            fingerprint: None,
            ..target(&sshd)
        };
        let seen = fleet(&sshd).connect(&unpinned).await.expect("a connection");
        assert_eq!(seen.fingerprint().to_string(), sshd.fingerprint());
        fleet(&sshd)
            .connect(&target(&sshd))
            .await
            .expect("the pinned key");
        let pinned = target(&sshd);
        let before = sshd.connections().expect("a count");
        sshd.change_host_key().await.expect("another key");
        let fleet = fleet(&sshd);
        let refused = fleet.connect(&pinned).await.expect_err("another key");
        assert_eq!(refused, HostError::HostKeyMismatch);
        // Nobody logged in: no key, no name, no command reached whoever answers there now.
        assert!(sshd.connections().expect("a count") <= before);
        assert_eq!(sshd.commands().expect("commands"), Vec::<String>::new());
    });
}

#[test]
fn a_host_with_several_keys_is_asked_for_the_pinned_kind() {
    run(async {
        if !can(&Sshd::availability()) {
            return;
        }
        let options = Options {
            host_keys: vec![KeyType::Ed25519, KeyType::Rsa],
            ..Options::default()
        };
        let sshd = Sshd::start(&options).await.expect("an SSH server");
        for kind in [KeyType::Ed25519, KeyType::Rsa] {
            let fingerprint = sshd.fingerprint_of(kind).expect("its fingerprint");
            let pinned = Target {
                fingerprint: Fingerprint::parse(&fingerprint),
                ..target(&sshd)
            };
            let connection = fleet(&sshd).connect(&pinned).await.expect("a connection");
            assert_eq!(connection.fingerprint().to_string(), fingerprint);
        }
    });
}

#[test]
fn every_way_not_to_get_there_has_its_kind() {
    run(async {
        if !can(&Sshd::availability()) {
            return;
        }
        let sshd = Sshd::start(&Options::default())
            .await
            .expect("an SSH server");
        let silent = Silent::start().expect("a silent host");
        let closed = Target {
            port: 9,
            ..target(&sshd)
        };
        let mute = Target {
            port: silent.port(),
            ..target(&sshd)
        };
        let nameless = Target {
            hostname: "no-such-host.invalid".to_owned(),
            ..target(&sshd)
        };
        let known = fleet(&sshd);
        assert_eq!(
            known.connect(&closed).await.expect_err("closed"),
            HostError::Unreachable
        );
        assert_eq!(
            known.connect(&nameless).await.expect_err("no name"),
            HostError::Unreachable
        );
        let began = Instant::now();
        assert_eq!(
            known.connect(&mute).await.expect_err("silent"),
            HostError::TimedOut
        );
        assert!(
            (9..15).contains(&began.elapsed().as_secs()),
            "{:?}",
            began.elapsed()
        );
        let stranger = SshKey::from_file(&sshd.stranger_key_path()).expect("a key");
        let stranger = Fleet::new(stranger, Allowed::Any);
        let refused = stranger
            .connect(&target(&sshd))
            .await
            .expect_err("a stranger");
        assert_eq!(refused, HostError::AuthFailed);
        let key = SshKey::from_file(&sshd.private_key_path()).expect("a key");
        let careful = Fleet::new(key, Allowed::Public);
        let refused = careful
            .connect(&target(&sshd))
            .await
            .expect_err("a private address");
        assert_eq!(refused, HostError::AddressRefused);
        assert_eq!(careful.handshakes(), 0);
        for error in [refused, HostError::TimedOut, HostError::HostKeyMismatch] {
            assert!(!error.to_string().contains("127.0.0.1"), "{error}");
        }
    });
}

#[test]
fn what_the_host_does_not_forward_or_run_is_told_apart() {
    run(async {
        if !can(&Sshd::availability()) {
            return;
        }
        let sshd = Sshd::start(&Options::default())
            .await
            .expect("an SSH server");
        let connection = fleet(&sshd)
            .connect(&target(&sshd))
            .await
            .expect("a connection");
        let docker = Engine::connect(Arc::clone(&connection), "/nowhere/docker.sock").await;
        assert_eq!(
            docker.err(),
            Some(EngineError::Host(HostError::DockerUnavailable))
        );
        let agent = AgentHttp::new(connection, 9);
        let nobody = agent.get("/health", 1_000, Duration::from_secs(5)).await;
        assert_eq!(nobody, Err(HostError::Unreachable));
        let options = Options {
            forwarding: false,
            ..Options::default()
        };
        let strict = Sshd::start(&options).await.expect("an SSH server");
        let connection = fleet(&strict)
            .connect(&target(&strict))
            .await
            .expect("a connection");
        let docker = Engine::connect(connection, "/nowhere/docker.sock").await;
        assert_eq!(
            docker.err(),
            Some(EngineError::Host(HostError::ForwardingRefused))
        );
    });
}

#[test]
fn a_warm_connection_is_used_again_and_a_dead_one_replaced() {
    run(async {
        if !can(&Sshd::availability()) {
            return;
        }
        let sshd = Sshd::start(&Options::default())
            .await
            .expect("an SSH server");
        let fleet = fleet(&sshd);
        let pinned = target(&sshd);
        let asked = (0..20).map(|_| fleet.connect(&pinned));
        let connections = futures_util::future::join_all(asked).await;
        let first = connections[0].as_ref().expect("a connection");
        for connection in &connections {
            assert!(Arc::ptr_eq(
                first,
                connection.as_ref().expect("a connection")
            ));
        }
        let opened = first.channels_opened();
        let facts = first.facts().await.expect("facts");
        assert_eq!(
            (fleet.handshakes(), first.channels_opened() - opened),
            (1, 1)
        );
        assert!(facts.cpus.is_some_and(|cpus| cpus > 0), "{facts:?}");
        assert!(
            facts.load_1m_hundredths.is_some() && facts.memory_used_percent <= Some(100),
            "{facts:?}"
        );
        assert!(
            facts
                .disk_used_percent
                .is_some_and(|percent| percent <= 100),
            "{facts:?}"
        );
        // Ten at once on one connection, and none of them a new one.
        let facts = futures_util::future::join_all((0..10).map(|_| first.facts())).await;
        assert!(facts.iter().all(Result::is_ok));
        assert_eq!(
            (fleet.handshakes(), sshd.connections().expect("a count")),
            (1, 1)
        );
        sshd.stop().expect("stopped");
        sshd.start_again().await.expect("started");
        let again = fleet.connect(&pinned).await.expect("a new connection");
        assert!(again.facts().await.is_ok());
        assert_eq!(fleet.handshakes(), 2);
        let commands = sshd.commands().expect("commands");
        assert!(commands.len() >= 12 && commands.iter().all(|command| *command == commands[0]));
    });
}

fn spec(agent: Uuid, environment: &[(&str, &str)], ports: (u16, u16)) -> ContainerSpec {
    let published = |container, host| Published {
        container,
        host,
        address: "127.0.0.1".to_owned(),
    };
    ContainerSpec {
        name: format!("milady-{agent}"),
        image: image::SAMPLE.to_owned(),
        environment: environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        ports: vec![published(2_138, ports.1), published(31_337, ports.0)],
        data: Data::Volume(format!("milady-{agent}")),
        agent_id: agent.to_string(),
        organization_id: Uuid::nil().to_string(),
        attempt: 1,
        limits: Limits {
            memory: 2 << 30,
            nano_cpus: 1_000_000_000,
            pids: 512,
        },
    }
}

async fn free_ports() -> (u16, u16) {
    let one = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let two = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port =
        |listener: &tokio::net::TcpListener| listener.local_addr().expect("an address").port();
    (port(&one), port(&two))
}

async fn healthy(connection: &Arc<Connection>, port: u16) {
    let agent = AgentHttp::new(Arc::clone(connection), port);
    for _ in 0..100 {
        if let Ok(answer) = agent.get("/health", 10_000, Duration::from_secs(2)).await
            && answer.status == 200
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the agent is not healthy");
}

#[test]
fn an_agent_runs_within_its_limits_and_gets_its_environment_byte_for_byte() {
    run(async {
        if !can(&Host::availability()) {
            return;
        }
        let host = Host::start("limits").await.expect("a host");
        let fleet = fleet(&host.sshd);
        let connection = fleet
            .connect(&target(&host.sshd))
            .await
            .expect("a connection");
        let socket = host.engine.socket().to_str().expect("a path");
        let engine = Engine::connect(Arc::clone(&connection), socket)
            .await
            .expect("the engine");
        assert!(engine.version().await.expect("a version").is_some());
        let odd =
            "it's \"quoted\" `id` $(touch /tmp/x) ${HOME} ; && | > \\ line one\nline two\ttab ü€😀";
        let (agent, ports) = (Uuid::new_v4(), free_ports().await);
        let spec = spec(
            agent,
            &[
                ("AGENT_NAME", odd),
                ("MILADY_PORT", "2138"),
                ("BRIDGE_PORT", "31337"),
                ("ODD", odd),
            ],
            ports,
        );
        assert_eq!(engine.has_image("milady/agent:missing").await, Ok(false));
        assert_eq!(engine.has_image(&spec.image).await, Ok(true));
        let id = engine.create(&spec).await.expect("a container");
        engine.start(&id).await.expect("it starts");
        healthy(&connection, ports.1).await;
        let bridge = AgentHttp::new(Arc::clone(&connection), ports.0);
        let ask =
            json!({"jsonrpc": "2.0", "id": 1, "method": "env.get", "params": {"name": "ODD"}});
        let said = bridge
            .post(
                "/bridge",
                Bytes::from(ask.to_string()),
                100_000,
                Duration::from_secs(5),
            )
            .await;
        let said: Value = serde_json::from_slice(&said.expect("an answer").body).expect("JSON");
        assert!(said.to_string().contains(&json!(odd).to_string()), "{said}");
        let path = format!("/containers/{id}/json");
        let inspected = host
            .engine
            .call("GET", &path, None)
            .await
            .expect("it is there");
        let config = &inspected["HostConfig"];
        assert_eq!(config["Memory"], json!(2_147_483_648_u64));
        assert_eq!(
            (&config["PidsLimit"], &config["NanoCpus"]),
            (&json!(512), &json!(1_000_000_000))
        );
        assert_eq!(
            (&config["Privileged"], &config["CapDrop"]),
            (&json!(false), &json!(["ALL"]))
        );
        assert_eq!(config["SecurityOpt"], json!(["no-new-privileges"]));
        assert_eq!(config["RestartPolicy"]["Name"], json!("unless-stopped"));
        assert_eq!(
            config["LogConfig"]["Config"],
            json!({"max-file": "3", "max-size": "10m"})
        );
        assert_eq!(config["NetworkMode"], json!("milady-agents"));
        assert_eq!(
            inspected["Config"]["Labels"]["milady.agent"],
            json!(agent.to_string())
        );
        assert_eq!(inspected["Mounts"][0]["Destination"], json!("/app/data"));
        // Each call was a channel of the one connection.
        let before = connection.channels_opened();
        let found = engine
            .find(&spec.name)
            .await
            .expect("a list")
            .expect("the container");
        assert_eq!(
            (connection.channels_opened() - before, fleet.handshakes()),
            (1, 1)
        );
        assert_eq!((found.state.as_str(), found.attempt), ("running", Some(1)));
        assert_eq!(engine.find("milady-").await, Ok(None));
        engine.logs(&id, 10, 0, 100_000).await.expect("logs");
        assert_eq!(engine.create(&spec).await, Err(EngineError::NameTaken));
        engine
            .stop(&id, Duration::from_secs(10))
            .await
            .expect("stopped");
        engine.remove(&id).await.expect("removed");
        engine.remove(&id).await.expect("removed already");
        engine.remove_volume(&spec.name).await.expect("no volume");
        engine
            .remove_volume(&spec.name)
            .await
            .expect("no volume already");
        assert_eq!(engine.containers().await, Ok(Vec::new()));
        assert_eq!(
            host.sshd.commands().expect("commands"),
            Vec::<String>::new()
        );
    });
}

#[test]
fn what_the_engine_refuses_has_its_kind() {
    run(async {
        if !can(&Host::availability()) {
            return;
        }
        let host = Host::start("refusals").await.expect("a host");
        let connection = fleet(&host.sshd)
            .connect(&target(&host.sshd))
            .await
            .expect("a connection");
        let socket = host.engine.socket().to_str().expect("a path").to_owned();
        let engine = Engine::connect(Arc::clone(&connection), &socket)
            .await
            .expect("the engine");
        let ports = free_ports().await;
        let first = spec(Uuid::new_v4(), &[], ports);
        let id = engine.create(&first).await.expect("a container");
        engine.start(&id).await.expect("it starts");
        let second = spec(Uuid::new_v4(), &[], ports);
        let other = engine.create(&second).await.expect("a container");
        assert_eq!(engine.start(&other).await, Err(EngineError::PortTaken));
        let missing = ContainerSpec {
            image: "milady/agent:missing".to_owned(),
            ..spec(Uuid::new_v4(), &[], ports)
        };
        assert_eq!(engine.create(&missing).await, Err(EngineError::NotFound));
        let pulled = engine
            .pull(
                "127.0.0.1:9/milady/agent:missing",
                None,
                Duration::from_secs(20),
            )
            .await;
        assert_eq!(pulled, Err(EngineError::ImageMissing));
        host.engine.stop().expect("the engine is killed");
        let down = engine.containers().await.expect_err("nobody is there");
        assert_eq!(down, EngineError::Host(HostError::DockerUnavailable));
        // The host itself still answers.
        assert!(connection.facts().await.is_ok());
        host.engine.start_again().await.expect("the engine");
        assert_eq!(engine.containers().await.map(|found| found.len()), Ok(2));
    });
}
