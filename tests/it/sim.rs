//! Simulated hosts, seen by the client that ships: what larger tests take from them is what a real host
//! would show.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dev::sim::{Container, Counts, Facts, Fault, Health, Key, Script, Sim, SimHost};
use futures_util::future::join_all;
use shared::domain::placement::HostFacts;
use shared::hosts::{
    AgentHttp, Allowed, Connection, DOCKER_SOCKET, Engine, EngineError, Fingerprint, Fleet,
    HostError, SshKey, Target,
};
use tests::run;
use tokio::time::timeout;
use uuid::Uuid;

/// Longer than anything takes on a busy machine.
const ENOUGH: Duration = Duration::from_secs(30);
/// What is waited where nothing is to come.
const SOON: Duration = Duration::from_millis(300);

fn target(host: &SimHost) -> Target {
    Target {
        node_id: host.name().to_owned(),
        hostname: "127.0.0.1".to_owned(),
        port: host.port(),
        user: "root".to_owned(),
        fingerprint: Fingerprint::parse(host.fingerprint()),
        docker_socket: DOCKER_SOCKET.to_owned(),
    }
}

fn fleet(key: &Key) -> Fleet {
    let text = key.text().expect("a key");
    Fleet::new(SshKey::from_text(&text).expect("a key"), Allowed::Any)
}

fn start(scripts: impl IntoIterator<Item = Script>) -> (Sim, Fleet) {
    let key = Key::random();
    let sim = Sim::start(&key, scripts).expect("simulated hosts");
    (sim, fleet(&key))
}

async fn engine(fleet: &Fleet, host: &SimHost) -> Engine {
    let connection = fleet.connect(&target(host)).await.expect("a connection");
    Engine::connect(connection, DOCKER_SOCKET)
        .await
        .expect("an engine")
}

async fn kind(connection: &Arc<Connection>) -> Result<(), EngineError> {
    let engine = Engine::connect(Arc::clone(connection), DOCKER_SOCKET).await?;
    engine.containers().await.map(drop)
}

async fn until(host: &SimHost, is: impl Fn(&Counts) -> bool) {
    let seen = async {
        while !is(&host.counts()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let seen = timeout(ENOUGH, seen).await;
    seen.unwrap_or_else(|_| panic!("{:?}", host.counts()));
}

fn when(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

#[test]
fn a_simulated_host_tells_what_its_script_says_byte_for_byte() {
    run(async {
        let odd = "it's \"odd\" `x` $(y) \\ <&> ü€😀\n\t\u{7f}";
        let (agent, organization) = (Uuid::new_v4(), Uuid::new_v4());
        let made = when("2026-02-28T23:30:00Z");
        let script = Script::new("odd")
            .with(Container::of(agent, organization).created_at(made))
            .with(
                Container::new(odd)
                    .image("registry.example:5000/a/b:c")
                    .state("exited", "Exited (137) 2 hours ago"),
            )
            .with(Container::new("later").state("hibernating", odd))
            .facts(Facts {
                load_hundredths: 45_105,
                cpus: 3,
                memory_percent: 95,
                disk_percent: 100,
                io_pressure_percent: Some(71),
            })
            .clock_ahead(TimeDelta::hours(5));
        let (sim, fleet) = start([script]);
        let host = &sim.hosts()[0];
        let engine = engine(&fleet, host).await;
        let version = engine.version().await.expect("a version");
        assert_eq!(version, Some(host.script().docker_version));
        // What the client does not know it does not read at all.
        let unknown = engine.containers().await.expect_err("an unknown state");
        assert_eq!(unknown, EngineError::Host(HostError::Protocol));
        host.change(|script| script.containers.truncate(2)).await;
        let seen = engine.containers().await.expect("containers");
        assert_eq!(seen.len(), 2);
        for (seen, script) in seen.iter().zip(host.script().containers) {
            let ahead = script.created_at + TimeDelta::hours(5);
            assert_eq!(
                (&seen.id, &seen.name, &seen.image, &seen.state, &seen.status),
                (
                    &script.id,
                    &script.name,
                    &script.image,
                    &script.state,
                    &script.status
                )
            );
            assert_eq!(seen.created, ahead.timestamp());
            assert_eq!(seen.agent, script.labels.get("milady.agent").cloned());
        }
        assert_eq!(seen[0].agent, Some(agent.to_string()));
        assert_eq!(seen[0].attempt, Some(1));
        let found = engine.find(odd).await.expect("a list");
        assert_eq!(found.as_ref(), Some(&seen[1]));
        assert_eq!(engine.find("milady-").await, Ok(None));

        let connection = fleet.connect(&target(host)).await.expect("a connection");
        let facts = connection.facts().await.expect("facts");
        let expected = HostFacts {
            load_1m_hundredths: Some(45_105),
            cpus: Some(3),
            memory_used_percent: Some(95),
            disk_used_percent: Some(100),
            io_pressure_percent: Some(71),
        };
        assert_eq!(facts, expected);
        host.change(|script| script.facts.io_pressure_percent = None)
            .await;
        let facts = connection.facts().await.expect("facts");
        let expected = HostFacts {
            io_pressure_percent: None,
            ..expected
        };
        assert_eq!(facts, expected);
    });
}

#[test]
fn what_is_done_to_a_simulated_container_is_seen_afterwards() {
    run(async {
        let made = when("2026-03-01T00:00:00Z");
        let container = Container::new("one")
            .created_at(made)
            .line(made, "first")
            .line(made + TimeDelta::seconds(90), "ü second")
            .line(made + TimeDelta::seconds(91), "third");
        let (sim, fleet) = start([Script::new("acts").with(container)]);
        let host = &sim.hosts()[0];
        let engine = engine(&fleet, host).await;
        let id = host.script().containers[0].id.clone();
        let state = async || {
            let found = engine.find("one").await.expect("a list");
            found.map(|found| (found.state, found.status))
        };
        let is = |state: &str, status: &str| Some((state.to_owned(), status.to_owned()));
        assert_eq!(state().await, is("running", "Up About an hour"));
        let life = engine.life(&id).await.expect("it is there");
        assert!(life.running);

        engine.stop(&id, ENOUGH).await.expect("a stop");
        engine.stop(&id, ENOUGH).await.expect("nothing to stop");
        let stopped = is("exited", "Exited (0) Less than a second ago");
        assert_eq!(state().await, stopped);
        let life = engine.life("one").await.expect("it is there");
        assert!(!life.running);
        engine.start(&id[..12]).await.expect("a start");
        assert_eq!(state().await, is("running", "Up Less than a second"));

        let last = engine.logs(&id, 2, 0, 10_000).await.expect("logs");
        assert_eq!(
            last,
            "2026-03-01T00:01:30.000000000Z ü second\n2026-03-01T00:01:31.000000000Z third\n"
        );
        let since = i32::try_from(made.timestamp() + 91).expect("small");
        let last = engine.logs(&id, 100, since, 10_000).await.expect("logs");
        assert_eq!(last, "2026-03-01T00:01:31.000000000Z third\n");

        let image = "milady/other:1";
        assert_eq!(engine.has_image("milady/agent:sample").await, Ok(true));
        assert_eq!(engine.has_image(image).await, Ok(false));
        engine.pull(image, None, ENOUGH).await.expect("an image");
        assert_eq!(engine.has_image(image).await, Ok(true));

        engine.remove(&id).await.expect("removed");
        engine.remove(&id).await.expect("removed already");
        assert_eq!(state().await, None);
        assert_eq!(engine.start(&id).await, Err(EngineError::NotFound));
        assert_eq!(host.script().containers.len(), 0);
        let requests = host.counts().requests;
        for (request, count) in [
            ("GET /version", 1),
            ("POST /containers/{id}/stop", 2),
            ("POST /containers/{id}/start", 2),
            ("GET /containers/{id}/logs", 2),
            ("GET /images/{name}/json", 3),
            ("POST /images/create", 1),
            ("DELETE /containers/{id}", 2),
        ] {
            assert_eq!(requests.get(request), Some(&count), "{request}");
        }
    });
}

#[test]
fn agents_on_a_simulated_host_fare_as_its_script_says() {
    run(async {
        let agent = |name: &str, port, health| Container::new(name).agent(port, health);
        let script = Script::new("agents")
            .with(agent("well", 20_001, Health::Well))
            .with(agent("failing", 20_002, Health::Failing))
            .with(agent("slow", 20_003, Health::Slow(ENOUGH)))
            .with(agent("refusing", 20_004, Health::Refusing))
            .with(agent("ended", 20_005, Health::Well).state("exited", "Exited (1) 1 hour ago"));
        let (sim, fleet) = start([script]);
        let host = &sim.hosts()[0];
        let connection = fleet.connect(&target(host)).await.expect("a connection");
        let ask = async |port, path| {
            let agent = AgentHttp::new(Arc::clone(&connection), port);
            let within = if port == 20_003 { SOON } else { ENOUGH };
            let answer = agent.get(path, 10_000, within).await;
            answer.map(|answer| answer.status)
        };
        assert_eq!(ask(20_001, "/health").await, Ok(200));
        assert_eq!(ask(20_001, "/elsewhere").await, Ok(404));
        assert_eq!(ask(20_002, "/health").await, Ok(500));
        assert_eq!(ask(20_003, "/health").await, Err(HostError::TimedOut));
        for port in [20_004, 20_005, 20_006] {
            assert_eq!(ask(port, "/health").await, Err(HostError::Unreachable));
        }
        host.change(|script| script.containers[3].agent = Health::Well)
            .await;
        assert_eq!(ask(20_004, "/health").await, Ok(200));
        assert_eq!(host.counts().agent_requests, 5);
    });
}

#[test]
fn every_fault_of_a_simulated_host_has_its_kind() {
    run(async {
        let faulty = |fault| Script::new("faulty").fault(fault);
        for (fault, error) in [
            (Fault::Refusing, HostError::Unreachable),
            (Fault::ChangedKey, HostError::HostKeyMismatch),
            (Fault::AuthRefused, HostError::AuthFailed),
        ] {
            let (sim, fleet) = start([faulty(fault)]);
            let host = &sim.hosts()[0];
            let refused = fleet.connect(&target(host)).await.expect_err("a fault");
            assert_eq!(refused, error, "{fault:?}");
            assert_eq!(host.counts().handshakes, 0, "{fault:?}");
            // It is over as it came.
            host.change(|script| script.fault = None).await;
            let connection = fleet.connect(&target(host)).await.expect("no fault");
            assert_eq!(connection.fingerprint().to_string(), host.fingerprint());
            assert_eq!(kind(&connection).await, Ok(()), "{fault:?}");
        }
        let lists = Script::new("lists").with(Container::new("one"));
        let (sim, fleet) = start([lists]);
        let host = &sim.hosts()[0];
        let connection = fleet.connect(&target(host)).await.expect("a connection");
        for (fault, error) in [
            (Fault::DockerDown, HostError::DockerUnavailable),
            (Fault::ForwardingRefused, HostError::ForwardingRefused),
            (Fault::HalfJson, HostError::Protocol),
        ] {
            host.change(|script| script.fault = Some(fault)).await;
            assert_eq!(kind(&connection).await, Err(error.into()), "{fault:?}");
            // The host itself is as well as ever.
            let facts = connection.facts().await.expect("facts");
            assert_eq!(facts.cpus, Some(4), "{fault:?}");
        }
        host.change(|script| script.fault = Some(Fault::DockerSilent))
            .await;
        let silent = timeout(Duration::from_millis(300), kind(&connection)).await;
        assert!(silent.is_err(), "{silent:?}");
        host.change(|script| script.fault = None).await;
        assert_eq!(kind(&connection).await, Ok(()));
        assert_eq!(host.counts().connections, 1);
    });
}

#[test]
fn an_answer_without_end_is_made_as_it_is_read_and_never_held() {
    run(async {
        let (sim, fleet) = start([Script::new("talks").fault(Fault::Crowd(2_000))]);
        let host = &sim.hosts()[0];
        let engine = engine(&fleet, host).await;
        let crowd = engine.containers().await.expect("some are read");
        assert_eq!(crowd.len(), 2_000);
        host.change(|script| script.fault = Some(Fault::HugeAnswer(1_000_000)))
            .await;
        let huge = engine.containers().await.expect("one is read");
        assert_eq!(huge.len(), 1);
        for fault in [Fault::Crowd(u64::MAX), Fault::HugeAnswer(1 << 50)] {
            host.change(|script| script.fault = Some(fault)).await;
            let refused = engine.containers().await.expect_err("too long");
            assert!(
                matches!(
                    refused,
                    EngineError::Host(HostError::TooLong | HostError::Protocol)
                ),
                "{refused:?}"
            );
        }
        assert_eq!(host.counts().connections, 1);
    });
}

#[test]
fn a_host_that_falls_silent_is_silent_on_open_connections_too() {
    run(async {
        let (sim, fleet) = start([Script::new("mute")]);
        let host = &sim.hosts()[0];
        let connection = fleet.connect(&target(host)).await.expect("a connection");
        host.change(|script| script.fault = Some(Fault::Silent))
            .await;
        assert_eq!(connection.answers().await, Err(HostError::TimedOut));
        let elsewhere = Target {
            node_id: "another connection".to_owned(),
            ..target(host)
        };
        let asked = fleet.connect(&elsewhere);
        let taken = until(host, |counts| counts.connections == 2);
        tokio::select! {
            biased;
            () = taken => {}
            answer = asked => panic!("{answer:?}"),
        }
        let waiting = timeout(SOON, fleet.connect(&elsewhere)).await;
        assert!(waiting.is_err(), "{waiting:?}");
        assert_eq!(host.counts().handshakes, 1);
        host.change(|script| script.fault = None).await;
        assert_eq!(connection.answers().await, Ok(()));
        let spoken = fleet.connect(&elsewhere).await.expect("a connection");
        assert_eq!(kind(&spoken).await, Ok(()));
        // One that goes down takes its connections along, whatever they wait for.
        host.change(|script| script.fault = Some(Fault::Refusing))
            .await;
        assert_eq!(spoken.answers().await, Err(HostError::Unreachable));
        let down = fleet.connect(&elsewhere).await.expect_err("a closed port");
        assert_eq!(down, HostError::Unreachable);
        host.change(|script| script.fault = None).await;
        assert!(fleet.connect(&elsewhere).await.is_ok(), "the same port");
        drop(sim);
        let gone = Target {
            node_id: "nobody".to_owned(),
            ..elsewhere
        };
        let gone = fleet.connect(&gone).await.expect_err("no host");
        assert_eq!(gone, HostError::Unreachable);
    });
}

#[test]
fn many_simulated_hosts_count_what_they_are_asked() {
    run(async {
        let script = |number: u32| {
            let containers = (0..24).map(|port| {
                Container::of(Uuid::new_v4(), Uuid::nil()).agent(20_000 + port, Health::Well)
            });
            let script = Script::new(&format!("sim-{number}")).latency(Duration::from_millis(5));
            containers.fold(script, Script::with)
        };
        let (sim, fleet) = start((0..20).map(script));
        let looks = sim.hosts().iter().map(async |host| {
            let engine = engine(&fleet, host).await;
            let connection = fleet.connect(&target(host)).await.expect("a connection");
            let (facts, containers) = tokio::join!(connection.facts(), engine.containers());
            facts.expect("facts");
            let asked = (0..24).map(|port| {
                let agent = AgentHttp::new(Arc::clone(&connection), 20_000 + port);
                async move { agent.get("/health", 10_000, ENOUGH).await }
            });
            let answers = join_all(asked).await;
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
            containers.expect("containers").len()
        });
        assert_eq!(join_all(looks).await, [24; 20]);
        assert_eq!(fleet.handshakes(), 20);
        for host in sim.hosts() {
            let counts = host.counts();
            assert_eq!(
                (counts.connections, counts.handshakes, counts.channels),
                (1, 1, 1 + 1 + 1 + 24),
                "{counts:?}"
            );
            assert_eq!((counts.commands, counts.refused_commands), (1, 0));
            assert_eq!(counts.agent_requests, 24);
            assert!(counts.most_open <= 4, "{counts:?}");
            assert_eq!(counts.requests.len(), 2, "{counts:?}");
        }
        drop(fleet);
        for host in sim.hosts() {
            until(host, |counts| counts.open == 0).await;
        }
    });
}
