//! The client of hosts, against a real SSH server and a real Docker Engine. On a machine that can start
//! neither, the tests print that and pass.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dev::host::{Host, KeyType, Options, SilentPort, Sshd, image};
use serde_json::{Value, json};
use shared::domain::address::AddressPolicy;
use shared::domain::container::ResourceLimits;
use shared::domain::fleet::HostReadError;
use shared::hosts::{
    AgentHttp, Connection, ContainerSpec, DataMount, Engine, EngineErrorReason, Fingerprint,
    HostClient, HostError, PublishedPort, SshKey, Target,
};
use tests::lab::can_run;
use tests::{reason, run, wait_until};
use uuid::Uuid;

pub(crate) fn target(sshd: &Sshd) -> Target {
    Target {
        node_id: "n1".to_owned(),
        hostname: "127.0.0.1".to_owned(),
        port: sshd.port(),
        user: sshd.user().to_owned(),
        fingerprint: Fingerprint::parse(&sshd.fingerprint()),
        key_type: None,
        docker_socket: "/nowhere/docker.sock".to_owned(),
    }
}

pub(crate) fn host_client(sshd: &Sshd) -> HostClient {
    let key = SshKey::from_file(&sshd.private_key_path()).expect("a key");
    HostClient::new(key, AddressPolicy::Any)
}

#[test]
fn f24_an_unpinned_key_is_accepted_and_a_changed_key_is_refused_before_login() {
    run(async {
        if !can_run(&Sshd::availability()) {
            return;
        }
        let sshd = Sshd::start(&Options::default())
            .await
            .expect("an SSH server");
        let unpinned = Target {
            fingerprint: None,
            ..target(&sshd)
        };
        let connection = host_client(&sshd).connect(&unpinned).await;
        let connection = connection.expect("a connection");
        assert_eq!(connection.fingerprint().to_string(), sshd.fingerprint());
        host_client(&sshd)
            .connect(&target(&sshd))
            .await
            .expect("the pinned key");
        let pinned = target(&sshd);
        let connections_before = sshd.connections().expect("a count");
        sshd.change_host_key().await.expect("another key");
        let hosts = host_client(&sshd);
        let error = hosts.connect(&pinned).await.expect_err("another key");
        assert_eq!(error.reason(), HostReadError::HostKeyMismatch);
        // There was no login: neither our key nor a command reached the host that answers now.
        assert!(sshd.connections().expect("a count") <= connections_before);
        assert_eq!(sshd.commands().expect("commands"), Vec::<String>::new());
    });
}

#[test]
fn any_pinned_key_of_a_host_with_several_keys_is_accepted() {
    run(async {
        if !can_run(&Sshd::availability()) {
            return;
        }
        let options = Options {
            host_keys: vec![KeyType::Ed25519, KeyType::Rsa],
            ..Options::default()
        };
        let sshd = Sshd::start(&options).await.expect("an SSH server");
        for key_type in [KeyType::Ed25519, KeyType::Rsa] {
            let fingerprint = sshd.fingerprint_of(key_type).expect("its fingerprint");
            let pinned = Target {
                fingerprint: Fingerprint::parse(&fingerprint),
                ..target(&sshd)
            };
            let connection = host_client(&sshd)
                .connect(&pinned)
                .await
                .expect("a connection");
            assert_eq!(connection.fingerprint().to_string(), fingerprint);
        }
    });
}

#[test]
fn every_failure_to_connect_has_its_reason() {
    run(async {
        if !can_run(&Sshd::availability()) {
            return;
        }
        let sshd = Sshd::start(&Options::default())
            .await
            .expect("an SSH server");
        let silent = SilentPort::start().expect("a silent host");
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
        let hosts = host_client(&sshd);
        let error = hosts.connect(&closed).await.expect_err("a closed port");
        assert_eq!(error.reason(), HostReadError::Unreachable);
        assert_eq!(error.cause().as_deref(), Some("connection refused"));
        let error = hosts.connect(&nameless).await.expect_err("no such name");
        assert_eq!(error.reason(), HostReadError::Unreachable);
        let began = Instant::now();
        let error = hosts.connect(&mute).await.expect_err("silence");
        assert_eq!(error.reason(), HostReadError::TimedOut);
        assert!(
            (9..15).contains(&began.elapsed().as_secs()),
            "{:?}",
            began.elapsed()
        );
        let unauthorized = SshKey::from_file(&sshd.unauthorized_key_path()).expect("a key");
        let unauthorized = HostClient::new(unauthorized, AddressPolicy::Any);
        let error = unauthorized.connect(&target(&sshd)).await;
        let error = error.expect_err("a key that is not authorized");
        assert_eq!(error.reason(), HostReadError::AuthFailed);
        let key = SshKey::from_file(&sshd.private_key_path()).expect("a key");
        let public_only = HostClient::new(key, AddressPolicy::PublicOnly);
        let error = public_only.connect(&target(&sshd)).await;
        let error = error.expect_err("a private address");
        assert_eq!(error.reason(), HostReadError::AddressRefused);
        assert_eq!(public_only.handshakes(), 0);
        for error in [
            error,
            HostError::new(HostReadError::TimedOut),
            HostError::new(HostReadError::HostKeyMismatch),
        ] {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("127.0.0.1"), "{shown}");
        }
    });
}

#[test]
fn a_host_without_docker_differs_from_one_that_does_not_forward() {
    run(async {
        if !can_run(&Sshd::availability()) {
            return;
        }
        let sshd = Sshd::start(&Options::default())
            .await
            .expect("an SSH server");
        let connection = host_client(&sshd)
            .connect(&target(&sshd))
            .await
            .expect("a connection");
        let docker = Engine::connect(Arc::clone(&connection), "/nowhere/docker.sock").await;
        assert_eq!(
            docker.err().map(|error| error.reason()),
            Some(EngineErrorReason::Host(HostReadError::DockerUnavailable))
        );
        let agent = AgentHttp::new(connection, 9);
        let response = agent.get("/health", 1_000, Duration::from_secs(5)).await;
        assert_eq!(reason(response), Err(HostReadError::Unreachable));
        let options = Options {
            forwarding: false,
            ..Options::default()
        };
        let without_forwarding = Sshd::start(&options).await.expect("an SSH server");
        let connection = host_client(&without_forwarding)
            .connect(&target(&without_forwarding))
            .await
            .expect("a connection");
        let docker = Engine::connect(connection, "/nowhere/docker.sock").await;
        assert_eq!(
            docker.err().map(|error| error.reason()),
            Some(EngineErrorReason::Host(HostReadError::ForwardingRefused))
        );
    });
}

#[test]
fn a_connection_is_shared_and_a_dead_one_is_replaced() {
    run(async {
        if !can_run(&Sshd::availability()) {
            return;
        }
        let sshd = Sshd::start(&Options::default())
            .await
            .expect("an SSH server");
        let hosts = host_client(&sshd);
        let pinned = target(&sshd);
        let connecting = (0..20).map(|_| hosts.connect(&pinned));
        let connections = futures_util::future::join_all(connecting).await;
        let first = connections[0].as_ref().expect("a connection");
        for connection in &connections {
            assert!(Arc::ptr_eq(
                first,
                connection.as_ref().expect("a connection")
            ));
        }
        let channels_before = first.channels_opened();
        let figures = first.read_figures().await.expect("figures");
        let facts = figures.into_facts(None);
        assert_eq!(
            (
                hosts.handshakes(),
                first.channels_opened() - channels_before
            ),
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
        // Ten concurrent reads share the one connection.
        let facts = futures_util::future::join_all((0..10).map(|_| first.read_figures())).await;
        assert!(facts.iter().all(Result::is_ok));
        assert_eq!(
            (hosts.handshakes(), sshd.connections().expect("a count")),
            (1, 1)
        );
        sshd.stop().expect("stopped");
        sshd.restart().await.expect("started");
        let again = hosts.connect(&pinned).await.expect("a new connection");
        assert!(again.read_figures().await.is_ok());
        assert_eq!(hosts.handshakes(), 2);
        let commands = sshd.commands().expect("commands");
        assert!(commands.len() >= 12 && commands.iter().all(|command| *command == commands[0]));
    });
}

pub(crate) fn spec(agent: Uuid, environment: &[(&str, &str)], ports: (u16, u16)) -> ContainerSpec {
    let published = |container, host| PublishedPort {
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
        data: DataMount::Volume(format!("milady-{agent}")),
        agent_id: agent.to_string(),
        organization_id: Uuid::nil().to_string(),
        job_id: Uuid::nil().to_string(),
        attempt: 1,
        receives_data: false,
        limits: ResourceLimits {
            memory_bytes: Some(2 << 30),
            nano_cpus: Some(1_000_000_000),
            pids: Some(512),
        },
        disk_bytes: None,
    }
}

pub(crate) fn free_ports() -> (u16, u16) {
    let port = || dev::ports::free_port().expect("a port");
    (port(), port())
}

async fn wait_until_healthy(connection: &Arc<Connection>, port: u16) {
    let agent = AgentHttp::new(Arc::clone(connection), port);
    wait_until("the agent is healthy", async || {
        let health = agent.get("/health", 10_000, Duration::from_secs(2)).await;
        health.is_ok_and(|response| response.status == 200)
    })
    .await;
}

#[test]
fn an_agent_gets_its_limits_and_its_environment_byte_for_byte() {
    run(async {
        if !can_run(&Host::availability()) {
            return;
        }
        let host = Host::start("limits").await.expect("a host");
        let hosts = host_client(&host.sshd);
        let connection = hosts
            .connect(&target(&host.sshd))
            .await
            .expect("a connection");
        let socket = host.engine.socket().to_str().expect("a path");
        let engine = Engine::connect(Arc::clone(&connection), socket)
            .await
            .expect("the engine");
        assert!(engine.read_version().await.expect("a version").is_some());
        let odd =
            "it's \"quoted\" `id` $(touch /tmp/x) ${HOME} ; && | > \\ line one\nline two\ttab ü€😀";
        let (agent, ports) = (Uuid::new_v4(), free_ports());
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
        let has_missing = engine.has_image("milady/agent:missing").await;
        assert_eq!(reason(has_missing), Ok(false));
        assert_eq!(reason(engine.has_image(&spec.image).await), Ok(true));
        let id = engine.create(&spec).await.expect("a container");
        engine.start(&id).await.expect("it starts");
        wait_until_healthy(&connection, ports.1).await;
        let bridge = AgentHttp::new(Arc::clone(&connection), ports.0);
        let request =
            json!({"jsonrpc": "2.0", "id": 1, "method": "env.get", "params": {"name": "ODD"}});
        let response = bridge
            .post(
                "/bridge",
                Bytes::from(request.to_string()),
                100_000,
                Duration::from_secs(5),
            )
            .await;
        let response = response.expect("a response");
        let value: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert!(
            value.to_string().contains(&json!(odd).to_string()),
            "{value}"
        );
        let path = format!("/containers/{id}/json");
        let inspected = host
            .engine
            .call("GET", &path, None)
            .await
            .expect("it is there");
        let config = &inspected["HostConfig"];
        assert_eq!(config["Memory"], json!(2_147_483_648_u64));
        // F76: no swap. Where the kernel does not count swap, Docker drops the limit.
        let info = host.engine.call("GET", "/info", None).await;
        let counts_swap = info.expect("information")["SwapLimit"] == json!(true);
        let expected: i64 = if counts_swap { 2_147_483_648 } else { -1 };
        assert_eq!(config["MemorySwap"], json!(expected));
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
        // Each call opens a channel on the one connection.
        let channels_before = connection.channels_opened();
        let container = engine
            .find(&spec.name)
            .await
            .expect("a list")
            .expect("the container");
        assert_eq!(
            (
                connection.channels_opened() - channels_before,
                hosts.handshakes()
            ),
            (1, 1)
        );
        assert_eq!(
            (container.state.as_str(), container.attempt),
            ("running", Some(1))
        );
        assert_eq!(reason(engine.find("milady-").await), Ok(None));
        engine.read_logs(&id, 10, 0, 100_000).await.expect("logs");
        assert_eq!(
            reason(engine.create(&spec).await),
            Err(EngineErrorReason::NameTaken)
        );
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
        assert_eq!(reason(engine.list_containers().await), Ok(Vec::new()));
        assert_eq!(
            host.sshd.commands().expect("commands"),
            Vec::<String>::new()
        );
    });
}

#[test]
fn every_refusal_of_the_engine_has_its_reason() {
    run(async {
        if !can_run(&Host::availability()) {
            return;
        }
        let host = Host::start("refusals").await.expect("a host");
        let connection = host_client(&host.sshd)
            .connect(&target(&host.sshd))
            .await
            .expect("a connection");
        let socket = host.engine.socket().to_str().expect("a path").to_owned();
        let engine = Engine::connect(Arc::clone(&connection), &socket)
            .await
            .expect("the engine");
        let ports = free_ports();
        let first = spec(Uuid::new_v4(), &[], ports);
        let id = engine.create(&first).await.expect("a container");
        engine.start(&id).await.expect("it starts");
        let second = spec(Uuid::new_v4(), &[], ports);
        let other = engine.create(&second).await.expect("a container");
        assert_eq!(
            reason(engine.start(&other).await),
            Err(EngineErrorReason::PortTaken)
        );
        let missing = ContainerSpec {
            image: "milady/agent:missing".to_owned(),
            ..spec(Uuid::new_v4(), &[], ports)
        };
        assert_eq!(
            reason(engine.create(&missing).await),
            Err(EngineErrorReason::ImageGone)
        );
        let pulled = engine
            .pull(
                "127.0.0.1:9/milady/agent:missing",
                None,
                Duration::from_secs(20),
            )
            .await;
        assert_eq!(reason(pulled), Err(EngineErrorReason::RegistryUnreachable));
        host.engine.stop().expect("the engine is killed");
        let containers = engine.list_containers().await;
        assert_eq!(
            reason(containers),
            Err(EngineErrorReason::Host(HostReadError::DockerUnavailable))
        );
        // SSH still works.
        assert!(connection.read_figures().await.is_ok());
        host.engine.restart().await.expect("the engine");
        let containers = engine.list_containers().await.expect("containers");
        assert_eq!(containers.len(), 2);
    });
}
