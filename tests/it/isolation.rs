//! What agents reach from their hosts, with the script that operators install there: a host with a Docker Engine in one
//! network namespace, and everything around it in another one. On a machine that cannot set that up, the tests print that
//! and pass.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;

use dev::host::{Engine as TestEngine, Host, Namespace, Options, Sshd, image};
use dev::sim::{Facts, Health, Script};
use serde_json::{Value, json};
use shared::domain::fleet::AgentsNetwork;
use shared::hosts::{Engine, EngineErrorReason};
use tests::lab::can_run;
use tests::simulated_world::SimulatedWorld;
use tests::{reason, run, wait_until};
use uuid::Uuid;

use crate::host_client::{free_ports, host_client, spec, target};

/// The host's address. Its gateway is 192.0.2.1.
const HOST: &str = "192.0.2.2";
const METADATA: &str = "169.254.169.254";
const PRIVATE: &str = "10.0.0.1";
const NAME_SERVER: &str = "10.0.0.53";
const DATABASE: &str = "10.0.0.5";
const INTERNET: &str = "203.0.113.1";
/// A port of the host on which a service of its own listens.
const SERVICE_PORT: u16 = 8_080;

/// Listeners in a namespace, which end with this value.
struct Listeners(Child);

impl Listeners {
    fn start(namespace: &Namespace, program: &Path, ports: &[u16]) -> Self {
        let mut command = namespace.command(program.to_str().expect("a path"));
        command.arg("listen");
        command.args(ports.iter().map(u16::to_string));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("listeners");
        let output = child.stdout.take().expect("an output");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "listening\n");
        Self(child)
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host in one namespace, and in the other what is around it.
struct Surroundings {
    // Dropped in this order.
    _listeners: [Listeners; 2],
    host: Namespace,
    outside: Namespace,
    /// The sample agent, which is also a client and a server.
    program: PathBuf,
    directory: PathBuf,
}

impl Surroundings {
    async fn new() -> Self {
        let program = image::build().await.expect("the sample agent");
        let host = Namespace::new().expect("a namespace");
        let outside = Namespace::new().expect("a namespace");
        host.connect(&outside).expect("a connection");
        let set_up = |namespace: &Namespace, words: &str| {
            let words: Vec<&str> = words.split(' ').collect();
            namespace.run("ip", &words).expect("ip");
        };
        set_up(&outside, "address add 192.0.2.1/24 dev out0");
        set_up(&outside, "link set out0 up");
        for address in [METADATA, PRIVATE, NAME_SERVER, DATABASE, INTERNET] {
            set_up(&outside, &format!("address add {address}/32 dev lo"));
        }
        set_up(&host, &format!("address add {HOST}/24 dev up0"));
        set_up(&host, "link set up0 up");
        set_up(&host, "route add default via 192.0.2.1");
        let listeners = [
            Listeners::start(&outside, &program, &[80, 53, 5_432]),
            Listeners::start(&host, &program, &[SERVICE_PORT]),
        ];
        let directory = std::env::temp_dir().join(format!("isolation-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        Self {
            _listeners: listeners,
            host,
            outside,
            program,
            directory,
        }
    }

    fn report(&self) -> PathBuf {
        self.directory.join("report")
    }

    /// Whether a connection from a namespace is accepted.
    fn connects(&self, from: &Namespace, to: &str) -> bool {
        let program = self.program.to_str().expect("a path");
        from.run(program, &["connect", to]).is_ok()
    }

    /// Runs the script on the host with this configuration.
    fn isolate(&self, configuration: &str) -> Result<(), String> {
        let file = self.directory.join("isolation.conf");
        std::fs::write(&file, configuration).expect("a file");
        let script = dev::build::workspace().join("functions/hosts/milady-isolation");
        let mut command = self.host.command(script.to_str().expect("a path"));
        command.env("MILADY_ISOLATION_CONFIG", &file);
        command.env("MILADY_ISOLATION_REPORT", self.report());
        let output = command.output().expect("the script");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(())
        } else {
            Err(text)
        }
    }

    /// The rules of the host's packet filter, without counters.
    fn rules(&self) -> String {
        self.host.run("iptables", &["-S"]).expect("the rules")
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Whether a connection from inside a container is accepted.
async fn agent_connects(engine: &TestEngine, container: &str, to: &str) -> bool {
    let body = json!({"Cmd": ["/agent", "connect", to]});
    let path = format!("/containers/{container}/exec");
    let created = engine.call("POST", &path, Some(&body)).await;
    let created = created.expect("a command");
    let id = created["Id"].as_str().expect("an id");
    let path = format!("/exec/{id}/start");
    let body = json!({"Detach": true});
    engine
        .call("POST", &path, Some(&body))
        .await
        .expect("it runs");
    let path = format!("/exec/{id}/json");
    let mut exit_code = Value::Null;
    wait_until("the command has ended", async || {
        let state = engine.call("GET", &path, None).await.expect("its state");
        exit_code = state["ExitCode"].clone();
        state["Running"] == json!(false) && exit_code.is_number()
    })
    .await;
    exit_code == json!(0)
}

/// The address of a container in the agents' network, and that of the host there.
async fn addresses(engine: &TestEngine, container: &str) -> (String, String) {
    let path = format!("/containers/{container}/json");
    let inspected = engine.call("GET", &path, None).await.expect("a container");
    let network = &inspected["NetworkSettings"]["Networks"]["milady-agents"];
    let text = |field: &str| network[field].as_str().expect(field).to_owned();
    (text("IPAddress"), text("Gateway"))
}

#[test]
fn f77_agents_reach_the_internet_and_their_database_and_nothing_else() {
    run(async {
        let availability = Host::availability().and_then(|()| Namespace::availability());
        if !can_run(&availability) {
            return;
        }
        let around = Surroundings::new().await;
        let engine = TestEngine::start_in_network("isolated", &around.host)
            .await
            .expect("an engine");
        image::import(&engine).await.expect("the sample agent");
        let sshd = Sshd::start(&Options::default())
            .await
            .expect("an SSH server");
        let connection = host_client(&sshd)
            .connect(&target(&sshd))
            .await
            .expect("a connection");
        let socket = engine.socket().to_str().expect("a path").to_owned();
        let client = Engine::connect(Arc::clone(&connection), &socket)
            .await
            .expect("the engine");

        // Two agents, as a start creates them. The second one is a neighbour with a published port.
        let mut names = Vec::new();
        let mut neighbours_port = 0;
        for _ in 0..2 {
            let ports = free_ports();
            let mut spec = spec(Uuid::new_v4(), &[], ports);
            spec.ports[0].address = "0.0.0.0".to_owned();
            let id = client.create(&spec).await.expect("a container");
            client.start(&id).await.expect("it starts");
            neighbours_port = ports.1;
            names.push(spec.name);
        }
        let (agent, neighbour) = (&names[0], &names[1]);
        let (agents_address, gateway) = addresses(&engine, agent).await;
        let (neighbours_address, _) = addresses(&engine, neighbour).await;
        for address in [&agents_address, &neighbours_address] {
            let bridge = format!("{address}:31337");
            wait_until("the host reaches the agents' bridges", async || {
                around.connects(&around.host, &bridge)
            })
            .await;
        }

        let refused = [
            ("the metadata service", format!("{METADATA}:80")),
            ("a private network", format!("{PRIVATE}:80")),
            ("another port of the database", format!("{DATABASE}:80")),
            (
                "another port of the name server",
                format!("{NAME_SERVER}:80"),
            ),
            ("a service of the host", format!("{HOST}:{SERVICE_PORT}")),
            (
                "the bridge's own address",
                format!("{gateway}:{SERVICE_PORT}"),
            ),
            (
                "a neighbour's published port",
                format!("{HOST}:{neighbours_port}"),
            ),
        ];
        let reached = [
            ("the Internet", format!("{INTERNET}:80")),
            ("the agents' database", format!("{DATABASE}:5432")),
            ("the name server", format!("{NAME_SERVER}:53")),
        ];
        for (what, address) in refused.iter().chain(&reached) {
            let connects = agent_connects(&engine, agent, address).await;
            assert!(
                connects,
                "without the script {what} is reached at {address}"
            );
        }

        let configuration =
            format!("ALLOW='{DATABASE}:5432 [fd00:8::/64]:5432'\nDNS={NAME_SERVER}\n");
        let assert_isolated = async |when: &str| {
            for (what, address) in &refused {
                let connects = agent_connects(&engine, agent, address).await;
                assert!(!connects, "{when}: {what} at {address}\n{}", around.rules());
            }
            let direct = format!("{neighbours_address}:2138");
            assert!(
                !agent_connects(&engine, agent, &direct).await,
                "{when}: {direct}"
            );
            for (what, address) in &reached {
                let connects = agent_connects(&engine, agent, address).await;
                assert!(connects, "{when}: {what} at {address}\n{}", around.rules());
            }
            let bridge = format!("{agents_address}:31337");
            assert!(around.connects(&around.host, &bridge), "{when}: the bridge");
            let published = format!("{HOST}:{neighbours_port}");
            assert!(
                around.connects(&around.outside, &published),
                "{when}: the published port"
            );
        };
        around.isolate(&configuration).expect("isolated");
        assert_isolated("after the script").await;
        let report = std::fs::read_to_string(around.report()).expect("a report");
        assert!(
            report.starts_with("checked ")
                && report.ends_with("\nbridges mly-+\nreached\nunprobed\n"),
            "{report}"
        );
        let networks = reason(client.read_agents_networks().await).expect("networks");
        assert_eq!(networks.len(), 1);
        assert!(
            networks[0].separates_agents && networks[0].bridge.starts_with("mly-"),
            "{networks:?}"
        );

        // Again: nothing is added.
        let rules = around.rules();
        around.isolate(&configuration).expect("isolated");
        assert_eq!(around.rules(), rules);

        engine.stop().expect("a stop");
        engine.restart().await.expect("Docker");
        assert_isolated("after a restart of Docker").await;

        // Other software empties a chain, and accepts everything before our rules.
        around
            .host
            .run("iptables", &["-F", "DOCKER-USER"])
            .expect("emptied");
        around
            .host
            .run("iptables", &["-I", "INPUT", "1", "-j", "ACCEPT"])
            .expect("accepted");
        assert!(agent_connects(&engine, agent, &format!("{METADATA}:80")).await);
        around.isolate(&configuration).expect("isolated");
        assert_isolated("after other software").await;

        // A proxy for the metadata service, as clusters have one, works before the rules. A run that was killed half-way has
        // left its link.
        let link = "link add milady-probe type veth peer name left";
        let link: Vec<&str> = link.split(' ').collect();
        around.host.run("ip", &link).expect("a link");
        let words = format!(
            "-t nat -I PREROUTING -d {METADATA} -p tcp --dport 80 -j DNAT --to-destination {INTERNET}:80"
        );
        let words: Vec<&str> = words.split(' ').collect();
        around.host.run("iptables", &words).expect("a proxy");
        around.isolate(&configuration).expect("isolated");
        let report = std::fs::read_to_string(around.report()).expect("a report");
        let expected = format!("\nreached {METADATA}:80\nunprobed\n");
        assert!(report.ends_with(&expected), "{report}");
        let links = around.host.run("ip", &["-o", "link"]).expect("links");
        assert!(!links.contains("milady-probe"), "{links}");
        let delete = ["-t", "nat", "-D", "PREROUTING", "1"];
        around.host.run("iptables", &delete).expect("no proxy");

        // A mistake in the configuration changes no rule, and ends the report.
        let rules = around.rules();
        for (mistake, message) in [
            ("ALLOW=db.internal:5432", "names are not resolved"),
            ("ALLOW=10.0.0.5", "has no port"),
            ("ALLOW='[10.0.0.5;x]:1'", "is no IPv6 address"),
            ("BRIDGES='br-0;reboot'", "is no name of a bridge"),
        ] {
            let error = around.isolate(mistake).expect_err(mistake);
            assert!(error.contains(message), "{mistake}: {error}");
            assert_eq!(around.rules(), rules, "{mistake}");
            assert!(!around.report().exists(), "{mistake}");
        }
    });
}

#[test]
fn f77_a_network_in_which_agents_reach_each_other_is_refused() {
    run(async {
        if !can_run(&Host::availability()) {
            return;
        }
        let host = Host::start("shared").await.expect("a host");
        let connection = host_client(&host.sshd)
            .connect(&target(&host.sshd))
            .await
            .expect("a connection");
        let socket = host.engine.socket().to_str().expect("a path").to_owned();
        let client = Engine::connect(Arc::clone(&connection), &socket)
            .await
            .expect("the engine");
        let body = json!({"Name": "milady-agents", "Driver": "bridge"});
        let made = host
            .engine
            .call("POST", "/networks/create", Some(&body))
            .await;
        let id = made.expect("a network")["Id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let shared_network = AgentsNetwork {
            bridge: format!("br-{}", &id[..12]),
            separates_agents: false,
        };
        assert_eq!(
            reason(client.read_agents_networks().await),
            Ok(vec![shared_network])
        );
        let spec = spec(Uuid::new_v4(), &[], free_ports());
        assert_eq!(
            reason(client.create(&spec).await),
            Err(EngineErrorReason::NetworkNotIsolated)
        );
        assert_eq!(host.engine.containers().await.expect("containers"), []);

        let path = format!("/networks/{id}");
        host.engine
            .call("DELETE", &path, None)
            .await
            .expect("removed");
        client.create(&spec).await.expect("a container");
        let networks = reason(client.read_agents_networks().await).expect("networks");
        let [network] = &networks[..] else {
            panic!("{networks:?}");
        };
        assert!(network.separates_agents, "{network:?}");
        let digits = network.bridge.strip_prefix("mly-");
        assert_eq!(digits.map(str::len), Some(8), "{network:?}");
    });
}

#[test]
fn f77_a_host_whose_agents_reach_something_or_without_a_report_has_an_alert_and_fails_the_check() {
    run(async {
        let fleet = SimulatedWorld::new(vec![Script::new("a")], 1, Health::Healthy).await;
        for (age, reached, isolation, alert) in [
            (Some(30), vec![], json!({"ok": true}), None),
            (
                Some(30),
                vec!["169.254.169.254:80", "10.0.0.1:80"],
                json!({
                    "ok": false,
                    "error": "from inside their network can be reached: 169.254.169.254:80, 10.0.0.1:80",
                }),
                Some(
                    "The agents are not isolated: from inside their network can be reached: 169.254.169.254:80, 10.0.0.1:80",
                ),
            ),
            (
                None,
                vec![],
                json!({"ok": false, "error": "the host does not report the rules of its packet filter"}),
                Some(
                    "Nothing shows that the agents are isolated: the host does not report the rules of its packet filter",
                ),
            ),
            (
                Some(600),
                vec![],
                json!({"ok": false, "error": "the host last found its rules in place 10 minutes ago"}),
                Some(
                    "Nothing shows that the agents are isolated: the host last found its rules in place 10 minutes ago",
                ),
            ),
        ] {
            let facts = Facts {
                filter_age_seconds: age,
                reached: reached.into_iter().map(str::to_owned).collect(),
                ..Facts::default()
            };
            fleet.sim.hosts()[0]
                .update_script(|script| script.facts = facts)
                .await;
            let path = "/api/v1/admin/docker-nodes/a/health-check";
            let checked = fleet.world.post(&fleet.operator, path).await;
            assert_eq!(checked.status(), 200, "{checked:?}");
            let checks = checked.json()["data"]["checks"].clone();
            assert_eq!(checks["isolation"], isolation, "{checks}");
            fleet.world.refresh().await;
            let host = fleet.world.cached_host("a").await;
            let alerts = host["alerts"].as_array().expect("alerts").iter();
            let mut alerts = alerts.filter(|alert| alert["code"] == json!("isolation"));
            let text = alerts.next().map(|alert| alert["text"].clone());
            assert_eq!(text, alert.map(|text| json!(text)), "{host}");
        }
    });
}
