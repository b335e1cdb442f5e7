//! Refresh runs over simulated hosts: hosts that misbehave, and more hosts than the tests have real ones.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use dev::events::EventBus;
use dev::runtime::{Outcome, Pool, RuntimeApi};
use dev::sim::{Container, Fault, Health, Script};
use dev::template::Template;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::run;
use tests::simulated_world::SimulatedWorld;
use tests::suite::{self, Request};

fn named(names: &[&str]) -> Vec<Script> {
    names.iter().map(|name| Script::new(name)).collect()
}

#[test]
fn a_failed_docker_read_keeps_the_hosts_figures_and_affects_no_other_host() {
    run(async {
        let scripts = vec![
            Script::new("a-healthy"),
            Script::new("b-huge").fault(Fault::HugeResponse(10 << 20)),
            Script::new("c-crowd").fault(Fault::ManyContainers(1_000_000)),
            Script::new("d-half").fault(Fault::TruncatedJson),
            Script::new("e-silent-docker").fault(Fault::DockerSilent),
            Script::new("f-no-docker").fault(Fault::DockerDown),
            Script::new("g-no-forwarding").fault(Fault::ForwardingRefused),
        ];
        let fleet = SimulatedWorld::new(scripts, 1, Health::Healthy).await;
        let answer = fleet.world.refresh().await;
        assert_eq!(
            (&answer["read"], &answer["hosts"], &answer["late"]),
            (&json!(1), &json!(7), &json!(0)),
            "{answer}"
        );
        let snapshot = fleet.world.cached_fleet().await;
        let nodes = snapshot["nodes"].as_array().expect("nodes");
        let not_understood = "The host answered something that is not understood";
        for (node, error) in nodes.iter().zip([
            Value::Null,
            json!(not_understood),
            json!(not_understood),
            json!(not_understood),
            json!("The host did not answer in time"),
            json!("Docker does not answer on the host"),
            json!("The host refuses to forward connections"),
        ]) {
            let runtime = &node["runtime"];
            assert_eq!(runtime["error"], error, "{node}");
            assert_eq!(runtime["reachable"], json!(true), "{node}");
            assert!(runtime["diskUsedPercent"].is_number(), "{node}");
            assert_eq!(
                node["status"],
                if error.is_null() {
                    json!("healthy")
                } else {
                    json!("degraded")
                }
            );
        }
        let health: Vec<&Value> = snapshot["containers"]
            .as_array()
            .expect("containers")
            .iter()
            .map(|view| &view["liveHealth"])
            .collect();
        assert_eq!(health[0], &json!("healthy"));
        assert!(
            health[1..]
                .iter()
                .all(|health| *health == &json!("unknown")),
            "{health:?}"
        );
    });
}

#[test]
fn wrong_host_clocks_and_odd_container_names_are_tolerated() {
    run(async {
        let odd_name = "milady-'; DROP TABLE x; -- $(id) \"\\ \u{202e}ü\n<script>";
        let unclaimed = Container::new(odd_name).label("milady.agent", "no uuid at all \u{0}");
        let scripts = vec![
            Script::new("ahead").clock_ahead(TimeDelta::days(400)),
            Script::new("behind").clock_ahead(TimeDelta::days(-400)),
            Script::new("odd").with_container(unclaimed),
        ];
        let fleet = SimulatedWorld::new(scripts, 2, Health::Healthy).await;
        let answer = fleet.world.refresh().await;
        assert_eq!(
            (&answer["read"], &answer["heard"]),
            (&json!(3), &json!(6)),
            "{answer}"
        );
        let snapshot = fleet.world.cached_fleet().await;
        let views = snapshot["containers"].as_array().expect("containers");
        assert!(
            views
                .iter()
                .all(|view| view["liveHealth"] == json!("healthy")),
            "{snapshot}"
        );
        let unclaimed = &fleet.world.cached_host("odd").await["ghostContainers"];
        assert_eq!(unclaimed[0]["name"], json!(odd_name), "{unclaimed}");
    });
}

#[test]
fn slow_agents_do_not_fail_their_host_and_the_agent_heard_longest_ago_is_asked_first() {
    run(async {
        let fleet =
            SimulatedWorld::new(named(&["slow"]), 24, Health::Slow(Duration::from_secs(3))).await;
        let last = fleet.agents[0][23];
        fleet.sim.hosts()[0]
            .update_script(|script| {
                let name = format!("milady-{last}");
                let container = script
                    .containers
                    .iter_mut()
                    .find(|container| container.name == name);
                container.expect("a container").agent = Health::Healthy;
            })
            .await;
        fleet
            .world
            .set_columns(
                last,
                "last_heartbeat_at = billing_clock() - interval '1 minute'",
            )
            .await;
        let answer = fleet.world.refresh().await;
        assert_eq!(
            (&answer["read"], &answer["heard"]),
            (&json!(1), &json!(1)),
            "{answer}"
        );
        let node = fleet.world.cached_host("slow").await;
        assert_eq!(node["status"], json!("healthy"));
        assert!(fleet.sim.hosts()[0].counts().max_open_channels <= 4);
    });
}

#[test]
fn f23_a_run_waits_for_silent_hosts_concurrently() {
    run(async {
        let mut scripts: Vec<Script> = (0..20)
            .map(|n| Script::new(&format!("silent-{n:02}")).fault(Fault::Silent))
            .collect();
        scripts.push(Script::new("well"));
        let fleet = SimulatedWorld::new(scripts, 1, Health::Healthy).await;
        let started = Instant::now();
        let answer = fleet.world.refresh().await;
        println!("20 silent hosts: {:?}", started.elapsed());
        assert_eq!(
            (&answer["read"], &answer["late"]),
            (&json!(1), &json!(0)),
            "{answer}"
        );
        let summary = fleet.world.cached_fleet().await["summary"].clone();
        assert_eq!(
            (
                &summary["offlineNodes"],
                &summary["healthyNodes"],
                &summary["unknownNodes"]
            ),
            (&json!(20), &json!(1), &json!(0))
        );
        assert_eq!(
            (&summary["unknownContainers"], &summary["missingContainers"]),
            (&json!(20), &json!(0))
        );
    });
}

#[test]
fn a_run_out_of_time_keeps_what_it_read_and_the_next_run_reads_the_other_hosts_first() {
    run(async {
        let mut scripts: Vec<Script> = (0..3)
            .map(|n| Script::new(&format!("silent-{n}")).fault(Fault::Silent))
            .collect();
        scripts.push(Script::new("well"));
        let fleet = SimulatedWorld::new(scripts, 1, Health::Healthy).await;
        let instance = fleet.world.instance("fleet-refresh").await;
        // The run reserves 2 of these 10 seconds for the answer and 5 for writing.
        let outcome = instance.invoke(json!({}), Duration::from_secs(10)).await;
        let Outcome::Success(answer) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(
            (&answer["outcome"], &answer["read"], &answer["late"]),
            (&json!("done"), &json!(1), &json!(3)),
            "{answer}"
        );
        let snapshot = fleet.world.cached_fleet().await;
        for node in snapshot["nodes"].as_array().expect("nodes") {
            let is_late = node["nodeId"] != json!("well");
            let status = if is_late { "unknown" } else { "healthy" };
            assert_eq!(
                (&node["status"], node["observedAt"].is_null()),
                (&json!(status), is_late),
                "{node}"
            );
        }
        let order: Vec<String> = sqlx::query_scalar(
            "SELECT node_id FROM docker_nodes ORDER BY last_health_check NULLS FIRST, node_id",
        )
        .fetch_all(&fleet.world.pool)
        .await
        .expect("nodes");
        assert_eq!(order, ["silent-0", "silent-1", "silent-2", "well"]);
        // A host that the run did not reach is unknown, so no agent becomes disconnected.
        for _ in 0..2 {
            fleet
                .world
                .set_clock(suite::epoch() + TimeDelta::minutes(1))
                .await;
            let outcome = instance.invoke(json!({}), Duration::from_secs(10)).await;
            let Outcome::Success(answer) = outcome else {
                panic!("{outcome:?}");
            };
            assert_eq!(answer["disconnected"], json!(0), "{answer}");
        }
    });
}

#[test]
fn without_the_database_no_host_is_contacted_and_no_address_is_logged() {
    run(async {
        let fleet = SimulatedWorld::new(named(&["well"]), 1, Health::Healthy).await;
        let function = fleet.world.function("fleet-refresh").with(
            "RUNTIME_DATABASE_URL",
            "postgres://canary-user@127.0.0.1:9/canary",
        );
        let instance = function.start().await;
        let outcome = instance.invoke(json!({}), Duration::from_mins(1)).await;
        let Outcome::FunctionError { message, .. } = &outcome else {
            panic!("{outcome:?}");
        };
        assert!(
            message.starts_with("the database request failed"),
            "{message}"
        );
        instance.kill().await;
        let logs = instance.logs().join("\n");
        for word in ["127.0.0.1", "canary"] {
            assert!(
                !message.contains(word) && !logs.contains(word),
                "{message} {logs}"
            );
        }
        assert_eq!(fleet.sim.hosts()[0].counts().connections, 0);
        assert_eq!(fleet.world.refresh().await["outcome"], json!("done"));
    });
}

#[test]
fn a_run_that_fails_in_the_database_releases_its_lease() {
    run(async {
        let fleet = SimulatedWorld::new(named(&["well"]), 1, Health::Healthy).await;
        fleet
            .world
            .execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                $$BEGIN RAISE EXCEPTION 'canary 10.1.2.3'; END$$;
            CREATE TRIGGER refuse BEFORE UPDATE ON docker_nodes EXECUTE FUNCTION refuse()",
            )
            .await;
        let outcome = fleet.world.try_refresh(json!({})).await;
        assert!(
            matches!(&outcome, Outcome::FunctionError { message, .. } if !message.contains("canary")),
            "{outcome:?}"
        );
        let cached = fleet
            .world
            .cache()
            .snapshot(suite::epoch())
            .await
            .expect("a cache");
        assert!(cached.is_none());
        fleet
            .world
            .execute("DROP TRIGGER refuse ON docker_nodes")
            .await;
        assert_eq!(fleet.world.refresh().await["outcome"], json!("done"));
    });
}

#[test]
fn an_incident_keeps_the_time_of_the_run_that_found_it_first() {
    run(async {
        let hosts = vec![Script::new("a").fault(Fault::Refusing), Script::new("b")];
        let fleet = SimulatedWorld::new(hosts, 1, Health::Healthy).await;
        let since = async |minute| {
            let now = suite::epoch() + TimeDelta::minutes(minute);
            fleet.world.set_clock(now).await;
            fleet.world.refresh().await;
            let snapshot = fleet.world.cached_fleet().await;
            let incidents = snapshot["incidents"].as_array().expect("incidents");
            let is_of_host = |incident: &&Value| {
                incident["nodeId"] == json!("a") && incident["scope"] == json!("node")
            };
            let incident = incidents.iter().find(is_of_host).expect("an incident");
            incident["since"].as_str().expect("a time").to_owned()
        };
        let first = since(1).await;
        assert!(first.starts_with("2026-03-01T00:01:"), "{first}");
        assert_eq!(since(2).await, first);
    });
}

#[test]
fn f22_forty_dashboards_on_an_empty_cache_read_each_host_once() {
    run(async {
        let scripts = (0..20)
            .map(|n| Script::new(&format!("host-{n:02}")))
            .collect();
        let mut fleet = SimulatedWorld::new(scripts, 2, Health::Healthy).await;
        let bus = EventBus::start(&Template::load().expect("template.yaml"))
            .await
            .expect("a bus");
        fleet
            .world
            .settings
            .insert("AWS_ENDPOINT_URL_EVENTBRIDGE".to_owned(), bus.address());
        let api = RuntimeApi::start().await.expect("the runtime API");
        bus.deliver_to(Pool::new(
            api,
            vec![fleet.world.function("fleet-refresh").to_runtime_function()],
        ));
        let request = || Request::new("GET", "/api/v1/admin/infrastructure").key(&fleet.operator);
        let function = fleet.world.function_for(&request());
        let starting = (0..40).map(|_| async {
            let instance = function.start().await;
            instance.wait_until_ready().await.expect("a start");
            instance
        });
        let instances = join_all(starting).await;
        let started = Instant::now();
        let calls = instances
            .iter()
            .map(|instance| fleet.world.call_instance(instance, request()));
        let answers = join_all(calls).await;
        println!("40 dashboards: {:?}", started.elapsed());
        for answer in &answers {
            assert_eq!(answer.status(), 200, "{answer:?}");
            let data = &answer.json()["data"];
            assert_eq!(data["summary"]["healthyNodes"], json!(20));
        }
        let assert_each_host_read_once = || {
            for host in fleet.sim.hosts() {
                let counts = host.counts();
                assert_eq!(counts.connections, 1, "{}", host.name());
                assert_eq!(
                    counts.requests["GET /containers/json"],
                    1,
                    "{}",
                    host.name()
                );
                assert!(counts.max_open_channels <= 4, "{counts:?}");
            }
        };
        assert_each_host_read_once();
        // Another cold start answers from the cache.
        let answer = fleet.world.call_function(&function, request()).await;
        assert_eq!(answer.status(), 200);
        assert_each_host_read_once();
    });
}
