//! The simulated hosts, read by the client that ships: other tests rely on them to behave as real hosts do.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dev::sim::{Container, Counts, Facts, Fault, Health, Key, Script, Sim, SimHost};
use futures_util::future::join_all;
use shared::domain::address::AddressPolicy;
use shared::domain::fleet::{HostFacts, HostReadError, PacketFilter};
use shared::hosts::{
    AgentHttp, Connection, DOCKER_SOCKET, Engine, EngineError, EngineErrorReason, Fingerprint,
    HostClient, SshKey, Target,
};
use tests::{reason, run};
use tokio::time::timeout;
use uuid::Uuid;

/// Longer than any step takes on a busy machine.
const LONG: Duration = Duration::from_secs(30);
/// How long a test waits to see that nothing happens.
const SHORT: Duration = Duration::from_millis(300);

fn target(host: &SimHost) -> Target {
    Target {
        node_id: host.name().to_owned(),
        hostname: "127.0.0.1".to_owned(),
        port: host.port(),
        user: "root".to_owned(),
        fingerprint: Fingerprint::parse(host.fingerprint()),
        key_type: None,
        docker_socket: DOCKER_SOCKET.to_owned(),
    }
}

fn host_client(key: &Key) -> HostClient {
    let text = key.to_openssh().expect("a key");
    HostClient::new(SshKey::parse(&text).expect("a key"), AddressPolicy::Any)
}

fn start(scripts: impl IntoIterator<Item = Script>) -> (Sim, HostClient) {
    let key = Key::random();
    let sim = Sim::start(&key, scripts).expect("simulated hosts");
    (sim, host_client(&key))
}

async fn engine(hosts: &HostClient, host: &SimHost) -> Engine {
    let connection = hosts.connect(&target(host)).await.expect("a connection");
    Engine::connect(connection, DOCKER_SOCKET)
        .await
        .expect("an engine")
}

async fn list_containers(connection: &Arc<Connection>) -> Result<(), EngineError> {
    let engine = Engine::connect(Arc::clone(connection), DOCKER_SOCKET).await?;
    engine.list_containers().await.map(drop)
}

async fn wait_until(host: &SimHost, is_reached: impl Fn(&Counts) -> bool) {
    let wait = async {
        while !is_reached(&host.counts()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let reached = timeout(LONG, wait).await;
    reached.unwrap_or_else(|_| panic!("{:?}", host.counts()));
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

#[test]
fn a_simulated_host_reports_its_script_byte_for_byte() {
    run(async {
        let odd = "it's \"odd\" `x` $(y) \\ <&> ü€😀\n\t\u{7f}";
        let (agent, organization) = (Uuid::new_v4(), Uuid::new_v4());
        let created_at = time("2026-02-28T23:30:00Z");
        let script = Script::new("odd")
            .with_container(Container::of_agent(agent, organization).created_at(created_at))
            .with_container(
                Container::new(odd)
                    .image("registry.example:5000/a/b:c")
                    .state("exited", "Exited (137) 2 hours ago"),
            )
            .with_container(Container::new("later").state("hibernating", odd))
            .facts(Facts {
                load_hundredths: 45_105,
                cpus: 3,
                memory_percent: 95,
                disk_percent: 100,
                docker_disk_percent: Some(97),
                io_pressure_percent: Some(71),
                filter_age_seconds: Some(59),
                ..Facts::default()
            })
            .clock_ahead(TimeDelta::hours(5));
        let (sim, hosts) = start([script]);
        let host = &sim.hosts()[0];
        let engine = engine(&hosts, host).await;
        let version = engine.read_version().await.expect("a version");
        assert_eq!(version, Some(host.script().docker_version));
        let containers = engine.list_containers().await.expect("containers");
        assert_eq!(containers.len(), 3);
        for (container, script) in containers.iter().zip(host.script().containers) {
            assert_eq!(
                (
                    &container.id,
                    &container.name,
                    &container.image,
                    &container.state,
                    &container.status
                ),
                (
                    &script.id,
                    &script.name,
                    &script.image,
                    &script.state,
                    &script.status
                )
            );
            let created_at = script.created_at + TimeDelta::hours(5);
            assert_eq!(container.created_at.timestamp(), created_at.timestamp());
            let label = script.labels.get("milady.agent").cloned();
            assert_eq!(container.label, label);
        }
        assert_eq!(containers[0].label, Some(agent.to_string()));
        assert_eq!(containers[0].attempt, Some(1));
        let by_name = engine.find(odd).await.expect("a list");
        assert_eq!(by_name.as_ref(), Some(&containers[1]));
        assert_eq!(reason(engine.find("milady-").await), Ok(None));

        let connection = hosts.connect(&target(host)).await.expect("a connection");
        let figures = connection.read_figures().await.expect("figures");
        let facts = figures.into_facts(Some("/var/lib/docker/x"));
        let expected = HostFacts {
            load_1m_hundredths: Some(45_105),
            cpus: Some(3),
            memory_used_percent: Some(95),
            disk_used_percent: Some(100),
            docker_disk_used_percent: Some(97),
            io_pressure_percent: Some(71),
            packet_filter: PacketFilter::InPlace {
                age_seconds: 59,
                bridges: vec!["mly-+".to_owned(), "br-+".to_owned()],
                reached: Vec::new(),
                unprobed: Vec::new(),
            },
        };
        assert_eq!(facts, expected);
        host.update_script(|script| script.facts.io_pressure_percent = None)
            .await;
        let figures = connection.read_figures().await.expect("figures");
        let facts = figures.into_facts(Some("/var/lib/docker/x"));
        let expected = HostFacts {
            io_pressure_percent: None,
            ..expected
        };
        assert_eq!(facts, expected);
    });
}

#[test]
fn f76_the_weight_of_disk_accesses_is_read_back_from_the_host() {
    run(async {
        let script = Script::new("a").with_container(Container::new("one"));
        let (sim, hosts) = start([script]);
        let host = &sim.hosts()[0];
        let connection = hosts.connect(&target(host)).await.expect("a connection");
        let engine = engine(&hosts, host).await;
        let id = host.script().containers[0].id.clone();
        assert_eq!(reason(connection.has_low_io_weight(&id).await), Ok(false));
        engine.lower_io_weight(&id).await.expect("a weight");
        assert_eq!(reason(connection.has_low_io_weight(&id).await), Ok(true));
    });
}

#[test]
fn an_action_changes_the_state_of_a_simulated_container() {
    run(async {
        let made = time("2026-03-01T00:00:00Z");
        let container = Container::new("one")
            .created_at(made)
            .line(made, "first")
            .line(made + TimeDelta::seconds(90), "ü second")
            .line(made + TimeDelta::seconds(91), "third");
        let (sim, hosts) = start([Script::new("acts").with_container(container)]);
        let host = &sim.hosts()[0];
        let engine = engine(&hosts, host).await;
        let id = host.script().containers[0].id.clone();
        let state = async || {
            let container = engine.find("one").await.expect("a list");
            container.map(|container| (container.state, container.status))
        };
        let expected = |state: &str, status: &str| Some((state.to_owned(), status.to_owned()));
        assert_eq!(state().await, expected("running", "Up About an hour"));
        let runtime = engine.inspect(&id).await.expect("the container");
        assert!(runtime.is_running);

        engine.stop(&id, LONG).await.expect("a stop");
        engine.stop(&id, LONG).await.expect("nothing to stop");
        let stopped = expected("exited", "Exited (0) Less than a second ago");
        assert_eq!(state().await, stopped);
        let runtime = engine.inspect("one").await.expect("the container");
        assert!(!runtime.is_running);
        engine.start(&id[..12]).await.expect("a start");
        assert_eq!(state().await, expected("running", "Up Less than a second"));

        let logs = engine.read_logs(&id, 2, 0, 10_000).await.expect("logs");
        assert_eq!(
            logs,
            "2026-03-01T00:01:30.000000000Z ü second\n2026-03-01T00:01:31.000000000Z third\n"
        );
        let since = i32::try_from(made.timestamp() + 91).expect("small");
        let logs = engine
            .read_logs(&id, 100, since, 10_000)
            .await
            .expect("logs");
        assert_eq!(logs, "2026-03-01T00:01:31.000000000Z third\n");

        let image = "milady/other:1";
        assert_eq!(
            reason(engine.has_image("milady/agent:sample").await),
            Ok(true)
        );
        assert_eq!(reason(engine.has_image(image).await), Ok(false));
        engine.pull(image, None, LONG).await.expect("an image");
        assert_eq!(reason(engine.has_image(image).await), Ok(true));

        engine.remove(&id).await.expect("removed");
        engine.remove(&id).await.expect("removed already");
        assert_eq!(state().await, None);
        assert_eq!(
            reason(engine.start(&id).await),
            Err(EngineErrorReason::NotFound)
        );
        assert_eq!(host.script().containers.len(), 0);
        let requests = host.counts().requests;
        for (request, count) in [
            ("GET /version", 1),
            ("POST /containers/{id}/stop", 2),
            ("POST /containers/{id}/start", 2),
            ("GET /containers/{id}/logs", 2),
            ("GET /images/{name}/json", 4),
            ("POST /images/create", 1),
            ("DELETE /containers/{id}", 2),
        ] {
            assert_eq!(requests.get(request), Some(&count), "{request}");
        }
    });
}

#[test]
fn agents_on_a_simulated_host_answer_as_scripted() {
    run(async {
        let agent = |name: &str, port, health| Container::new(name).agent(port, health);
        let script = Script::new("agents")
            .with_container(agent("well", 20_001, Health::Healthy))
            .with_container(agent("failing", 20_002, Health::Failing))
            .with_container(agent("slow", 20_003, Health::Slow(LONG)))
            .with_container(agent("refusing", 20_004, Health::Refusing))
            .with_container(
                agent("ended", 20_005, Health::Healthy).state("exited", "Exited (1) 1 hour ago"),
            );
        let (sim, hosts) = start([script]);
        let host = &sim.hosts()[0];
        let connection = hosts.connect(&target(host)).await.expect("a connection");
        let status = async |port, path| {
            let agent = AgentHttp::new(Arc::clone(&connection), port);
            let timeout = if port == 20_003 { SHORT } else { LONG };
            let response = agent.get(path, 10_000, timeout).await;
            reason(response).map(|response| response.status)
        };
        assert_eq!(status(20_001, "/health").await, Ok(200));
        assert_eq!(status(20_001, "/elsewhere").await, Ok(404));
        assert_eq!(status(20_002, "/health").await, Ok(500));
        assert_eq!(
            status(20_003, "/health").await,
            Err(HostReadError::TimedOut)
        );
        for port in [20_004, 20_005, 20_006] {
            assert_eq!(
                status(port, "/health").await,
                Err(HostReadError::Unreachable)
            );
        }
        host.update_script(|script| script.containers[3].agent = Health::Healthy)
            .await;
        assert_eq!(status(20_004, "/health").await, Ok(200));
        assert_eq!(host.counts().agent_requests, 5);
    });
}

#[test]
fn every_fault_of_a_simulated_host_has_its_reason() {
    run(async {
        let faulty = |fault| Script::new("faulty").fault(fault);
        for (fault, expected) in [
            (Fault::Refusing, HostReadError::Unreachable),
            (Fault::ChangedKey, HostReadError::HostKeyMismatch),
            (Fault::AuthRefused, HostReadError::AuthFailed),
        ] {
            let (sim, hosts) = start([faulty(fault)]);
            let host = &sim.hosts()[0];
            let error = hosts.connect(&target(host)).await.expect_err("a fault");
            assert_eq!(error.reason(), expected, "{fault:?}");
            assert_eq!(host.counts().handshakes, 0, "{fault:?}");
            host.update_script(|script| script.fault = None).await;
            let connection = hosts.connect(&target(host)).await.expect("no fault");
            assert_eq!(connection.fingerprint().to_string(), host.fingerprint());
            assert_eq!(
                reason(list_containers(&connection).await),
                Ok(()),
                "{fault:?}"
            );
        }
        let lists = Script::new("lists").with_container(Container::new("one"));
        let (sim, hosts) = start([lists]);
        let host = &sim.hosts()[0];
        let connection = hosts.connect(&target(host)).await.expect("a connection");
        for (fault, expected) in [
            (Fault::DockerDown, HostReadError::DockerUnavailable),
            (Fault::ForwardingRefused, HostReadError::ForwardingRefused),
            (Fault::TruncatedJson, HostReadError::Protocol),
        ] {
            host.update_script(|script| script.fault = Some(fault))
                .await;
            assert_eq!(
                reason(list_containers(&connection).await),
                Err(expected.into()),
                "{fault:?}"
            );
            // The host's own figures are still read.
            let figures = connection.read_figures().await.expect("figures");
            let facts = figures.into_facts(None);
            assert_eq!(facts.cpus, Some(4), "{fault:?}");
        }
        host.update_script(|script| script.fault = Some(Fault::DockerSilent))
            .await;
        let list = timeout(SHORT, list_containers(&connection)).await;
        assert!(list.is_err(), "{list:?}");
        host.update_script(|script| script.fault = None).await;
        assert_eq!(reason(list_containers(&connection).await), Ok(()));
        assert_eq!(host.counts().connections, 1);
    });
}

#[test]
fn an_endless_response_is_cut_off() {
    run(async {
        let (sim, hosts) = start([Script::new("talks").fault(Fault::ManyContainers(2_000))]);
        let host = &sim.hosts()[0];
        let engine = engine(&hosts, host).await;
        let containers = engine.list_containers().await.expect("many containers");
        assert_eq!(containers.len(), 2_000);
        host.update_script(|script| script.fault = Some(Fault::HugeResponse(1_000_000)))
            .await;
        let containers = engine.list_containers().await.expect("one container");
        assert_eq!(containers.len(), 1);
        for fault in [
            Fault::ManyContainers(u64::MAX),
            Fault::HugeResponse(1 << 50),
        ] {
            host.update_script(|script| script.fault = Some(fault))
                .await;
            let error = engine.list_containers().await.expect_err("too long");
            assert!(
                matches!(
                    error.reason(),
                    EngineErrorReason::Host(
                        HostReadError::ResponseTooLarge | HostReadError::Protocol
                    )
                ),
                "{error:?}"
            );
        }
        assert_eq!(host.counts().connections, 1);
    });
}

#[test]
fn a_silent_host_is_also_silent_on_open_connections() {
    run(async {
        let (sim, hosts) = start([Script::new("mute")]);
        let host = &sim.hosts()[0];
        let connection = hosts.connect(&target(host)).await.expect("a connection");
        host.update_script(|script| script.fault = Some(Fault::Silent))
            .await;
        assert_eq!(
            reason(connection.ping().await),
            Err(HostReadError::TimedOut)
        );
        let second = Target {
            node_id: "second connection".to_owned(),
            ..target(host)
        };
        let connecting = hosts.connect(&second);
        let accepted = wait_until(host, |counts| counts.connections == 2);
        tokio::select! {
            biased;
            () = accepted => {}
            connected = connecting => panic!("{connected:?}"),
        }
        let connected = timeout(SHORT, hosts.connect(&second)).await;
        assert!(connected.is_err(), "{connected:?}");
        assert_eq!(host.counts().handshakes, 1);
        host.update_script(|script| script.fault = None).await;
        assert_eq!(reason(connection.ping().await), Ok(()));
        let second_connection = hosts.connect(&second).await.expect("a connection");
        assert_eq!(reason(list_containers(&second_connection).await), Ok(()));
        // A host that goes down closes its open connections.
        host.update_script(|script| script.fault = Some(Fault::Refusing))
            .await;
        assert_eq!(
            reason(second_connection.ping().await),
            Err(HostReadError::Unreachable)
        );
        let error = hosts.connect(&second).await.expect_err("a closed port");
        assert_eq!(error.reason(), HostReadError::Unreachable);
        host.update_script(|script| script.fault = None).await;
        assert!(hosts.connect(&second).await.is_ok(), "the same port");
        drop(sim);
        let third = Target {
            node_id: "third connection".to_owned(),
            ..second
        };
        let error = hosts.connect(&third).await.expect_err("no host");
        assert_eq!(error.reason(), HostReadError::Unreachable);
    });
}

#[test]
fn simulated_hosts_count_connections_channels_and_requests() {
    run(async {
        let script = |number: u32| {
            let containers = (0..24).map(|port| {
                Container::of_agent(Uuid::new_v4(), Uuid::nil())
                    .agent(20_000 + port, Health::Healthy)
            });
            let script = Script::new(&format!("sim-{number}")).latency(Duration::from_millis(5));
            containers.fold(script, Script::with_container)
        };
        let (sim, hosts) = start((0..20).map(script));
        let inspections = sim.hosts().iter().map(async |host| {
            let engine = engine(&hosts, host).await;
            let connection = hosts.connect(&target(host)).await.expect("a connection");
            let (figures, containers) =
                tokio::join!(connection.read_figures(), engine.list_containers());
            figures.expect("figures");
            let requests = (0..24).map(|port| {
                let agent = AgentHttp::new(Arc::clone(&connection), 20_000 + port);
                async move { agent.get("/health", 10_000, LONG).await }
            });
            let responses = join_all(requests).await;
            assert!(responses.iter().all(Result::is_ok), "{responses:?}");
            containers.expect("containers").len()
        });
        assert_eq!(join_all(inspections).await, [24; 20]);
        assert_eq!(hosts.handshakes(), 20);
        for host in sim.hosts() {
            let counts = host.counts();
            assert_eq!(
                (counts.connections, counts.handshakes, counts.channels),
                (1, 1, 1 + 1 + 1 + 24),
                "{counts:?}"
            );
            assert_eq!((counts.commands, counts.refused_commands), (1, 0));
            assert_eq!(counts.agent_requests, 24);
            assert!(counts.max_open_channels <= 4, "{counts:?}");
            assert_eq!(counts.requests.len(), 2, "{counts:?}");
        }
        drop(hosts);
        for host in sim.hosts() {
            wait_until(host, |counts| counts.open_channels == 0).await;
        }
    });
}
