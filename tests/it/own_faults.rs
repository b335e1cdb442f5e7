//! Faults on this side, on simulated hosts: refresh runs while the network, the SSH key or the cache fails, and the limit on
//! connections.

use std::time::Duration;

use chrono::TimeDelta;
use dev::runtime::Outcome;
use dev::sim::{Fault, Health, Key, Script, Sim, SimHost};
use serde_json::{Value, json};
use shared::domain::address::AddressPolicy;
use shared::hosts::{DOCKER_SOCKET, Fingerprint, HostClient, SshKey, Target};
use tests::simulated_world::SimulatedWorld;
use tests::suite;
use tests::{run, wait_until};

const SUSPICIONS: &str = "SELECT (SELECT count(*) FROM cloud.host_suspicions)
    + (SELECT count(*) FROM cloud.container_suspicions)";

/// Hosts that an operator may declare lost when they have been unreadable for long enough.
const UNREAD: &str = "SELECT count(*) FROM cloud.unread_hosts";

fn named(names: &[&str]) -> Vec<Script> {
    names.iter().map(|name| Script::new(name)).collect()
}

async fn set_fault(fleet: &SimulatedWorld, hosts: &[usize], fault: Option<Fault>) {
    for host in hosts {
        fleet.sim.hosts()[*host]
            .update_script(|script| script.fault = fault)
            .await;
    }
}

/// Inspects the fleet at this minute.
async fn refresh_at(fleet: &SimulatedWorld, minute: i64) -> Value {
    let now = suite::epoch() + TimeDelta::minutes(minute);
    fleet.world.set_clock(now).await;
    fleet.world.refresh().await
}

#[test]
fn f67_most_of_the_fleet_unreadable_at_once_changes_no_agent() {
    run(async {
        let fleet = SimulatedWorld::new(named(&["a", "b", "c", "d"]), 1, Health::Healthy).await;
        assert_eq!(refresh_at(&fleet, 0).await["read"], json!(4));
        for (minute, fault) in [
            (1, Fault::Refusing),
            (2, Fault::Refusing),
            (3, Fault::AuthRefused),
        ] {
            set_fault(&fleet, &[0, 1, 2], Some(fault)).await;
            let answer = refresh_at(&fleet, minute).await;
            assert_eq!(
                (&answer["read"], &answer["disconnected"]),
                (&json!(1), &json!(0)),
                "{answer}"
            );
            let incidents = fleet.world.cached_fleet().await["incidents"].clone();
            let codes: Vec<&Value> = incidents
                .as_array()
                .expect("incidents")
                .iter()
                .map(|incident| &incident["code"])
                .collect();
            assert_eq!(codes, [&json!("fleet_unreadable")], "{incidents}");
        }
        let running = "SELECT count(*) FROM milady_sandboxes WHERE status = 'running'";
        assert_eq!(fleet.world.count(running).await, 4);
        let offline = "SELECT count(*) FROM docker_nodes WHERE status = 'offline'";
        assert_eq!(fleet.world.count(offline).await, 0);
        assert_eq!(fleet.world.count(SUSPICIONS).await, 0);
        assert_eq!(fleet.world.count(UNREAD).await, 0);

        // The fault is over, and one host stays away: that one has failed itself.
        set_fault(&fleet, &[1, 2], None).await;
        assert_eq!(refresh_at(&fleet, 4).await["disconnected"], json!(0));
        assert_eq!(fleet.world.count(SUSPICIONS).await, 1);
        assert_eq!(fleet.world.count(UNREAD).await, 1);
        assert_eq!(refresh_at(&fleet, 5).await["disconnected"], json!(1));
        set_fault(&fleet, &[0], None).await;
        assert_eq!(refresh_at(&fleet, 6).await["regained"], json!(1));
        assert_eq!(fleet.world.count(SUSPICIONS).await, 0);
    });
}

#[test]
fn f72_without_the_cache_only_the_snapshot_becomes_stale() {
    run(async {
        let fleet = SimulatedWorld::new(named(&["a", "b", "c"]), 1, Health::Healthy).await;
        refresh_at(&fleet, 0).await;
        let snapshot = fleet.world.cached_fleet().await["refreshedAt"].clone();
        set_fault(&fleet, &[0], Some(Fault::Refusing)).await;
        let lost = fleet.agents[1][0];
        fleet.sim.hosts()[1]
            .update_script(|script| script.containers.clear())
            .await;
        let function = fleet
            .world
            .function("fleet-refresh")
            .with("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9");
        let instance = function.start().await;
        for (minute, changed) in [(5, 0), (6, 1)] {
            let now = suite::epoch() + TimeDelta::minutes(minute);
            fleet.world.set_clock(now).await;
            let outcome = instance.invoke(json!({}), Duration::from_mins(1)).await;
            let Outcome::Success(answer) = outcome else {
                panic!("{outcome:?}");
            };
            assert_eq!(
                answer,
                json!({"outcome": "uncached", "hosts": 3, "read": 2, "late": 0, "heard": 1,
                    "disconnected": changed, "regained": 0, "lost": changed, "slots": 0})
            );
        }
        let heard = "SELECT count(*) FROM milady_sandboxes
            WHERE last_heartbeat_at >= '2026-03-01T00:05:00Z'";
        assert_eq!(fleet.world.count(heard).await, 1);
        assert_eq!(fleet.world.agent_row(lost).await.status, "error");
        let stale = fleet.world.cached_fleet().await;
        assert_eq!(stale["refreshedAt"], snapshot);

        instance.kill().await;
        let logs = instance.logs().join("\n");
        assert!(!logs.contains("127.0.0.1"), "{logs}");
        assert_eq!(refresh_at(&fleet, 7).await["outcome"], json!("done"));
    });
}

#[test]
fn a_heartbeat_is_recorded_every_three_minutes_and_shown_exactly() {
    run(async {
        let fleet = SimulatedWorld::new(named(&["a"]), 1, Health::Healthy).await;
        let agent = fleet.agents[0][0];
        let fresh = "SELECT count(*) FROM milady_sandboxes
            WHERE last_heartbeat_at >= billing_clock()";
        for (minute, recorded) in [(2, 0), (3, 1), (4, 0), (7, 1)] {
            let answer = refresh_at(&fleet, minute).await;
            assert_eq!(answer["heard"], json!(1), "{answer}");
            assert_eq!(fleet.world.count(fresh).await, recorded, "{minute}");
            let view = fleet.world.cached_agent(agent).await;
            let shown = view["lastHeartbeatAt"].as_str().expect("a time");
            let expected = format!("2026-03-01T00:0{minute}:");
            assert!(shown.starts_with(&expected), "{shown}");
        }
    });
}

#[test]
fn f67_idle_connections_are_closed_when_there_are_too_many() {
    run(async {
        let key = Key::random();
        let sim = Sim::start(&key, named(&["a", "b", "c"])).expect("simulated hosts");
        let text = key.to_openssh().expect("a key");
        let key = SshKey::parse(&text).expect("a key");
        let client = HostClient::new(key, AddressPolicy::Any).with_max_connections(2);
        let [a, b, c] = [0, 1, 2].map(|host: usize| &sim.hosts()[host]);
        for host in [a, b, a] {
            use_once(&client, host).await;
        }
        assert_eq!(client.handshakes(), 2);
        // `b` was not used for the longest time.
        use_once(&client, c).await;
        use_once(&client, a).await;
        assert_eq!(client.handshakes(), 3);
        use_once(&client, b).await;
        assert_eq!(client.handshakes(), 4);

        // While both are in use, a third one waits.
        let first = client.connect(&target(a)).await.expect("a connection");
        let second = client.connect(&target(b)).await.expect("a connection");
        let target_c = target(c);
        let third = client.connect(&target_c);
        let release = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(client.handshakes(), 4);
            drop(first);
        };
        let (third, ()) = tokio::join!(third, release);
        assert!(third.is_ok(), "{third:?}");
        assert_eq!(client.handshakes(), 5);
        assert!(second.ping().await.is_ok());
    });
}

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

/// Opens a channel to a host, and waits until it is closed.
async fn use_once(client: &HostClient, host: &SimHost) {
    let connection = client.connect(&target(host)).await.expect("a connection");
    connection.read_figures().await.expect("figures");
    wait_until("the channel is closed", async || {
        host.counts().open_channels == 0
    })
    .await;
}
