//! A fleet in shards: refresh runs over them at the same time, each with hosts and agents of its own.

use std::time::Duration;

use chrono::TimeDelta;
use dev::events::EventBus;
use dev::runtime::Outcome;
use dev::sim::{Fault, Health, Script};
use dev::template::Template;
use serde_json::{Value, json};
use tests::run;
use tests::simulated_world::SimulatedWorld;
use tests::suite;

/// The event that asks for a run over hosts from `first` to before `end`.
fn event(number: i32, first: Option<&str>, end: Option<&str>) -> Value {
    let shard = json!({"number": number, "first": first, "end": end});
    json!({"detail-type": "fleet.refresh_shard", "detail": {"shard": shard, "requestedAt": null}})
}

async fn fleet(faults: &[(usize, Fault)]) -> SimulatedWorld {
    let names = ["a", "b", "c", "d", "e", "f"];
    let hosts = names.iter().enumerate().map(|(n, name)| {
        let fault = faults.iter().find(|(host, _)| *host == n);
        fault.map_or_else(
            || Script::new(name),
            |(_, fault)| Script::new(name).fault(*fault),
        )
    });
    SimulatedWorld::new(hosts.collect(), 2, Health::Healthy).await
}

/// Runs over both halves of the fleet at the same time, at this minute. Returns the answers.
async fn refresh_both(fleet: &SimulatedWorld, minute: i64) -> [Value; 2] {
    let now = suite::epoch() + TimeDelta::minutes(minute);
    fleet.world.set_clock(now).await;
    let function = fleet.world.function("fleet-refresh");
    let (one, other) = (function.start().await, function.start().await);
    let (first, second) = tokio::join!(
        one.invoke(event(0, None, Some("d")), Duration::from_mins(1)),
        other.invoke(event(1, Some("d"), None), Duration::from_mins(1)),
    );
    [first, second].map(|outcome| match outcome {
        Outcome::Success(answer) => answer,
        other => panic!("{other:?}"),
    })
}

#[test]
fn two_shards_at_once_do_not_disturb_each_other() {
    run(async {
        let fleet = fleet(&[]).await;
        // The counts of slots are wrong, and an agent waits for its start.
        fleet
            .world
            .execute(
                "UPDATE docker_nodes SET allocated_count = 1;
                INSERT INTO milady_sandboxes (id, organization_id, user_id, agent_name, status, created_at,
                    updated_at)
                SELECT gen_random_uuid(), organization_id, user_id, 'waiting', 'pending', billing_clock(),
                    billing_clock()
                FROM milady_sandboxes LIMIT 1",
            )
            .await;
        for minute in [0, 1, 2] {
            let slots = if minute == 0 { 3 } else { 0 };
            for answer in refresh_both(&fleet, minute).await {
                let expected = json!({"outcome": "done", "hosts": 3, "read": 3, "late": 0, "heard": 6,
                    "disconnected": 0, "regained": 0, "lost": 0, "slots": slots});
                assert_eq!(answer, expected, "{minute}");
            }
            let shown = fleet.world.cached_fleet().await;
            assert_eq!(shown["summary"]["healthyNodes"], json!(6), "{minute}");
            assert_eq!(shown["summary"]["totalContainers"], json!(13), "{minute}");
            let nodes = shown["nodes"].as_array().expect("nodes").iter();
            let names: Vec<&Value> = nodes.map(|node| &node["nodeId"]).collect();
            assert_eq!(json!(names), json!(["a", "b", "c", "d", "e", "f"]));
        }
        // Each host was asked by one of the two.
        for host in fleet.sim.hosts() {
            assert_eq!(host.counts().requests["GET /containers/json"], 3);
        }
    });
}

#[test]
fn what_one_shard_suspects_outlives_runs_over_the_other() {
    run(async {
        // One host of the first half is away, and the second half has a fault on this side.
        let faults = [
            (0, Fault::Refusing),
            (3, Fault::Refusing),
            (4, Fault::Refusing),
        ];
        let fleet = fleet(&faults).await;
        let [first, second] = refresh_both(&fleet, 0).await;
        assert_eq!((&first["read"], &second["read"]), (&json!(2), &json!(1)));
        let suspected: Vec<String> =
            sqlx::query_scalar("SELECT node_id FROM cloud.host_suspicions")
                .fetch_all(&fleet.world.pool)
                .await
                .expect("suspicions");
        assert_eq!(suspected, ["a"]);
        let [first, second] = refresh_both(&fleet, 1).await;
        assert_eq!(
            (&first["disconnected"], &second["disconnected"]),
            (&json!(2), &json!(0))
        );
        let incidents = fleet.world.cached_fleet().await["incidents"].clone();
        let incidents = incidents.as_array().expect("incidents");
        let of_fleet: Vec<&Value> = incidents
            .iter()
            .filter(|incident| incident["scope"] == json!("cluster"))
            .collect();
        let [incident] = &of_fleet[..] else {
            panic!("{of_fleet:?}");
        };
        assert_eq!(incident["code"], json!("fleet_unreadable"));
        let detail = incident["detail"].as_str().expect("a text");
        assert!(detail.starts_with("2 of 3 hosts"), "{detail}");
        assert!(
            incident["since"]
                .as_str()
                .expect("a time")
                .starts_with("2026-03-01T00:00:")
        );
    });
}

#[test]
fn f67_hosts_of_one_shard_that_stay_unreadable_have_failed_if_others_are_read() {
    run(async {
        for (refusing, disconnected) in [(3..6, 6), (0..6, 0)] {
            let faults: Vec<_> = refusing.map(|host| (host, Fault::Refusing)).collect();
            let fleet = fleet(&faults).await;
            // Until then all hosts were read.
            fleet
                .world
                .execute(
                    "UPDATE docker_nodes SET status = 'healthy',
                        last_health_check = billing_clock() + interval '30 seconds'",
                )
                .await;
            // The first run after five minutes suspects the hosts, and the next one confirms it.
            for (minute, expected) in [(3, 0), (4, 0), (5, 0), (6, 0), (7, disconnected)] {
                let [_, second] = refresh_both(&fleet, minute).await;
                assert_eq!(second["read"], json!(0), "{minute} {second}");
                assert_eq!(second["disconnected"], json!(expected), "{minute} {second}");
            }
            let lost = "SELECT count(*) FROM milady_sandboxes WHERE status = 'disconnected'";
            assert_eq!(fleet.world.count(lost).await, disconnected);
        }
    });
}

#[test]
fn a_container_on_one_shard_of_an_agent_on_the_other_is_a_second_one() {
    run(async {
        let fleet = fleet(&[]).await;
        // The container stays on `a`, and the row names a host of the other half.
        let moved = fleet.agents[0][0];
        fleet
            .world
            .set_columns(
                moved,
                "node_id = 'f', bridge_port = 9999, web_ui_port = 9998",
            )
            .await;
        refresh_both(&fleet, 0).await;
        let shown = fleet.world.cached_host("a").await;
        assert_eq!(
            shown["ghostContainers"][0]["elsewhere"],
            json!("f"),
            "{shown}"
        );
    });
}

#[test]
fn the_data_of_a_dead_shard_stays_with_its_own_time() {
    run(async {
        let fleet = fleet(&[]).await;
        refresh_both(&fleet, 0).await;
        let now = suite::epoch() + TimeDelta::minutes(5);
        fleet.world.set_clock(now).await;
        let outcome = fleet.world.try_refresh(event(1, Some("d"), None)).await;
        assert!(matches!(outcome, Outcome::Success(_)), "{outcome:?}");
        let shown = fleet.world.cached_fleet().await;
        let nodes = shown["nodes"].as_array().expect("nodes");
        for (node, minute) in nodes.iter().zip([0, 0, 0, 5, 5, 5]) {
            let observed = node["observedAt"].as_str().expect("a time");
            let expected = format!("2026-03-01T00:0{minute}:");
            assert!(observed.starts_with(&expected), "{node}");
        }
        let refreshed = shown["refreshedAt"].as_str().expect("a time");
        assert!(refreshed.starts_with("2026-03-01T00:00:"), "{refreshed}");
    });
}

#[test]
fn a_request_inspects_only_the_shards_whose_own_part_is_stale() {
    run(async {
        let fleet = fleet(&[]).await;
        refresh_both(&fleet, 0).await;
        let (first, second) = (event(0, None, Some("d")), event(1, Some("d"), None));
        for (minute, mut event, is_requested, expected) in [
            (2, second.clone(), false, "done"),
            (3, second, true, "fresh"),
            (3, first, true, "done"),
        ] {
            let now = suite::epoch() + TimeDelta::minutes(minute);
            fleet.world.set_clock(now).await;
            if is_requested {
                event["detail"]["requestedAt"] = json!(format!("2026-03-01T00:0{minute}:00.000Z"));
            }
            let outcome = fleet.world.try_refresh(event).await;
            let is_expected = matches!(&outcome, Outcome::Success(answer) if answer["outcome"] == json!(expected));
            assert!(is_expected, "{minute} {outcome:?}");
        }
    });
}

#[test]
fn the_metrics_of_a_run_are_those_of_the_whole_fleet_and_missing_if_a_part_is_not_known() {
    run(async {
        let fleet = fleet(&[(4, Fault::DockerDown)]).await;
        let function = fleet.world.function("fleet-refresh");
        let first = event(0, None, Some("d"));
        let second = event(1, Some("d"), None);
        for (minute, event, unreadable) in [
            // There was no run over the other half.
            (0, &first, None),
            (0, &second, Some(1)),
            // All hosts of this half were read.
            (1, &first, Some(1)),
            // The last run over the other half is too long ago.
            (3, &first, None),
            (3, &second, Some(1)),
        ] {
            let now = suite::epoch() + TimeDelta::minutes(minute);
            fleet.world.set_clock(now).await;
            let instance = function.start().await;
            let outcome = instance.invoke(event.clone(), Duration::from_mins(1)).await;
            let is_done =
                matches!(&outcome, Outcome::Success(answer) if answer["outcome"] == json!("done"));
            assert!(is_done, "{outcome:?}");
            instance.kill().await;
            let lines = instance.logs();
            let lines = lines
                .iter()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let recorded: Vec<Value> = lines
                .filter(|line| line["_aws"].is_object())
                .map(|line| line["UnreadableHosts"].clone())
                .collect();
            let expected: Vec<Value> = unreadable.into_iter().map(|count| json!(count)).collect();
            assert_eq!(recorded, expected, "{minute} {event}");
        }
    });
}

#[test]
fn a_fleet_of_more_than_500_hosts_is_refreshed_by_an_event_per_shard() {
    run(async {
        let mut fleet = SimulatedWorld::new(vec![Script::new("a")], 1, Health::Healthy).await;
        fleet
            .world
            .execute(
                "INSERT INTO docker_nodes (node_id, hostname, status)
                SELECT 'host-' || n, '127.0.0.1', 'unknown' FROM generate_series(1001, 2200) n",
            )
            .await;
        let template = Template::load().expect("template.yaml");
        let bus = EventBus::start(&template).await.expect("a bus");
        let setting = "AWS_ENDPOINT_URL_EVENTBRIDGE".to_owned();
        fleet.world.settings.insert(setting, bus.address());
        let request = json!({"detail-type": "fleet.refresh_requested",
            "detail": {"requestedAt": "2026-03-01T00:00:00.000Z"}});
        for event in [json!({}), request] {
            let Outcome::Success(answer) = fleet.world.try_refresh(event.clone()).await else {
                panic!("{event}");
            };
            assert_eq!(
                (&answer["outcome"], &answer["hosts"]),
                (&json!("sent"), &json!(1_201))
            );
        }
        let events = bus.received();
        assert_eq!(events.len(), 6, "{events:?}");
        let mut end = Value::Null;
        for (number, event) in events[3..].iter().enumerate() {
            assert_eq!(event["detail-type"], json!("fleet.refresh_shard"));
            assert_eq!(
                event["detail"]["requestedAt"],
                json!("2026-03-01T00:00:00.000Z")
            );
            let shard = &event["detail"]["shard"];
            assert_eq!((&shard["number"], &shard["first"]), (&json!(number), &end));
            end = shard["end"].clone();
        }
        assert_eq!(end, Value::Null);
        assert_eq!(fleet.sim.hosts()[0].counts().connections, 0);
    });
}
