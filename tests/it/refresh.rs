//! The fleet's inspection over hosts that answer anything, and over more of them than there are for real.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use dev::events::EventBus;
use dev::runtime::{Outcome, Pool, RuntimeApi};
use dev::sim::{Container, Fault, Health, Script};
use dev::template::Template;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::run;
use tests::simulated::Simulated;
use tests::suite::{self, Request};

fn named(names: &[&str]) -> Vec<Script> {
    names.iter().map(|name| Script::new(name)).collect()
}

#[test]
fn whatever_a_host_answers_it_alone_is_not_read_and_its_figures_are() {
    run(async {
        let scripts = vec![
            Script::new("a-well"),
            Script::new("b-huge").fault(Fault::HugeAnswer(10 << 20)),
            Script::new("c-crowd").fault(Fault::Crowd(1_000_000)),
            Script::new("d-half").fault(Fault::HalfJson),
            Script::new("e-silent-docker").fault(Fault::DockerSilent),
            Script::new("f-no-docker").fault(Fault::DockerDown),
            Script::new("g-no-forwarding").fault(Fault::ForwardingRefused),
        ];
        let fleet = Simulated::new(scripts, 1, Health::Well).await;
        let done = fleet.world.refresh().await;
        assert_eq!(
            (&done["read"], &done["hosts"], &done["late"]),
            (&json!(1), &json!(7), &json!(0)),
            "{done}"
        );
        let snapshot = fleet.world.fleet().await;
        let nodes = snapshot["nodes"].as_array().expect("nodes");
        let nonsense = "The host answered something that is not understood";
        for (node, error) in nodes.iter().zip([
            Value::Null,
            json!(nonsense),
            json!(nonsense),
            json!(nonsense),
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
fn wrong_clocks_and_odd_names_change_nothing() {
    run(async {
        let odd = "milady-'; DROP TABLE x; -- $(id) \"\\ \u{202e}ü\n<script>";
        let ghost = |name: &str| Container::new(name).label("milady.agent", "no uuid at all \u{0}");
        let scripts = vec![
            Script::new("ahead").clock_ahead(TimeDelta::days(400)),
            Script::new("behind").clock_ahead(TimeDelta::days(-400)),
            Script::new("odd").with(ghost(odd)),
        ];
        let fleet = Simulated::new(scripts, 2, Health::Well).await;
        let done = fleet.world.refresh().await;
        assert_eq!(
            (&done["read"], &done["heard"]),
            (&json!(3), &json!(6)),
            "{done}"
        );
        let snapshot = fleet.world.fleet().await;
        let views = snapshot["containers"].as_array().expect("containers");
        assert!(
            views
                .iter()
                .all(|view| view["liveHealth"] == json!("healthy")),
            "{snapshot}"
        );
        let ghosts = &fleet.world.seen_node("odd").await["ghostContainers"];
        assert_eq!(ghosts[0]["name"], json!(odd), "{ghosts}");
    });
}

#[test]
fn slow_agents_make_no_host_silent_and_those_not_asked_come_first_the_next_time() {
    run(async {
        let fleet =
            Simulated::new(named(&["slow"]), 24, Health::Slow(Duration::from_secs(3))).await;
        let last = fleet.agents[0][23];
        fleet.sim.hosts()[0]
            .change(|script| {
                let name = format!("milady-{last}");
                let found = script
                    .containers
                    .iter_mut()
                    .find(|found| found.name == name);
                found.expect("a container").agent = Health::Well;
            })
            .await;
        fleet
            .world
            .set(
                last,
                "last_heartbeat_at = billing_clock() - interval '1 minute'",
            )
            .await;
        let done = fleet.world.refresh().await;
        assert_eq!(
            (&done["read"], &done["heard"]),
            (&json!(1), &json!(1)),
            "{done}"
        );
        let node = fleet.world.seen_node("slow").await;
        assert_eq!(node["status"], json!("healthy"));
        assert!(fleet.sim.hosts()[0].counts().most_open <= 4);
    });
}

#[test]
fn f23_silent_hosts_are_waited_for_together() {
    run(async {
        let mut scripts: Vec<Script> = (0..20)
            .map(|n| Script::new(&format!("silent-{n:02}")).fault(Fault::Silent))
            .collect();
        scripts.push(Script::new("well"));
        let fleet = Simulated::new(scripts, 1, Health::Well).await;
        let began = Instant::now();
        let done = fleet.world.refresh().await;
        println!("20 silent hosts: {:?}", began.elapsed());
        assert_eq!(
            (&done["read"], &done["late"]),
            (&json!(1), &json!(0)),
            "{done}"
        );
        let summary = fleet.world.fleet().await["summary"].clone();
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
fn a_pass_that_runs_out_of_time_keeps_what_it_has_and_the_rest_comes_first() {
    run(async {
        let mut scripts: Vec<Script> = (0..3)
            .map(|n| Script::new(&format!("silent-{n}")).fault(Fault::Silent))
            .collect();
        scripts.push(Script::new("well"));
        let fleet = Simulated::new(scripts, 1, Health::Well).await;
        let instance = fleet.world.instance("fleet-refresh").await;
        // Of these 10 seconds 2 are kept for the answer and 5 for writing.
        let ended = instance.invoke(json!({}), Duration::from_secs(10)).await;
        let Outcome::Success(done) = ended else {
            panic!("{ended:?}");
        };
        assert_eq!(
            (&done["outcome"], &done["read"], &done["late"]),
            (&json!("done"), &json!(1), &json!(3)),
            "{done}"
        );
        let snapshot = fleet.world.fleet().await;
        for node in snapshot["nodes"].as_array().expect("nodes") {
            let late = node["nodeId"] != json!("well");
            let status = if late { "unknown" } else { "healthy" };
            assert_eq!(
                (&node["status"], node["observedAt"].is_null()),
                (&json!(status), late),
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
        // Not having come to a host is no evidence against it: nobody is disconnected.
        for _ in 0..2 {
            fleet.world.at(suite::epoch() + TimeDelta::minutes(1)).await;
            let ended = instance.invoke(json!({}), Duration::from_secs(10)).await;
            let Outcome::Success(done) = ended else {
                panic!("{ended:?}");
            };
            assert_eq!(done["disconnected"], json!(0), "{done}");
        }
    });
}

#[test]
fn without_the_cache_or_the_database_nothing_is_asked_and_nothing_is_told() {
    run(async {
        let fleet = Simulated::new(named(&["well"]), 1, Health::Well).await;
        let nowhere = "http://127.0.0.1:9";
        let cacheless = fleet
            .world
            .function("fleet-refresh")
            .with("AWS_ENDPOINT_URL_DYNAMODB", nowhere);
        let baseless = fleet
            .world
            .function("fleet-refresh")
            .with("DATABASE_URL", "postgres://canary-user@127.0.0.1:9/canary");
        for (function, said) in [
            (cacheless, "the cache does not answer"),
            (baseless, "the database did not answer"),
        ] {
            let instance = function.start().await;
            let ended = instance.invoke(json!({}), Duration::from_mins(1)).await;
            let Outcome::FunctionError { message, .. } = &ended else {
                panic!("{ended:?}");
            };
            assert!(message.starts_with(said), "{message}");
            instance.kill().await;
            let logs = instance.logs().join("\n");
            for word in ["127.0.0.1", "canary"] {
                assert!(
                    !message.contains(word) && !logs.contains(word),
                    "{message} {logs}"
                );
            }
        }
        assert_eq!(fleet.sim.hosts()[0].counts().connections, 0);
        assert_eq!(fleet.world.refresh().await["outcome"], json!("done"));
    });
}

#[test]
fn a_pass_that_the_database_ends_returns_its_lease() {
    run(async {
        let fleet = Simulated::new(named(&["well"]), 1, Health::Well).await;
        fleet
            .world
            .execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                $$BEGIN RAISE EXCEPTION 'canary 10.1.2.3'; END$$;
            CREATE TRIGGER refuse BEFORE UPDATE ON docker_nodes EXECUTE FUNCTION refuse()",
            )
            .await;
        let ended = fleet.world.try_refresh(json!({})).await;
        assert!(
            matches!(&ended, Outcome::FunctionError { message, .. } if !message.contains("canary")),
            "{ended:?}"
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
fn f22_forty_dashboards_on_an_empty_cache_look_at_each_host_once() {
    run(async {
        let scripts = (0..20)
            .map(|n| Script::new(&format!("host-{n:02}")))
            .collect();
        let mut fleet = Simulated::new(scripts, 2, Health::Well).await;
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
            vec![fleet.world.function("fleet-refresh").local()],
        ));
        let ask = || Request::new("GET", "/api/v1/admin/infrastructure").key(&fleet.operator);
        let function = fleet.world.function_of(&ask());
        let starting = (0..40).map(|_| async {
            let instance = function.start().await;
            instance.ready().await.expect("a start");
            instance
        });
        let instances = join_all(starting).await;
        let began = Instant::now();
        let asked = instances
            .iter()
            .map(|instance| fleet.world.call_at(instance, ask()));
        let answers = join_all(asked).await;
        println!("40 dashboards: {:?}", began.elapsed());
        for answer in &answers {
            assert_eq!(answer.status(), 200, "{answer:?}");
            let data = &answer.json()["data"];
            assert_eq!(data["summary"]["healthyNodes"], json!(20));
        }
        let looked_at_once = || {
            for host in fleet.sim.hosts() {
                let counts = host.counts();
                assert_eq!(counts.connections, 1, "{}", host.name());
                assert_eq!(
                    counts.requests["GET /containers/json"],
                    1,
                    "{}",
                    host.name()
                );
                assert!(counts.most_open <= 4, "{counts:?}");
            }
        };
        looked_at_once();
        // One more cold start answers from the cache.
        let answer = fleet.world.call_on(&function, ask()).await;
        assert_eq!(answer.status(), 200);
        looked_at_once();
    });
}
