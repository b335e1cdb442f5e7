//! Agents' figures: sampled by refresh runs, kept for a day, and shown to owners and operators.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dev::dynamodb::DynamoDb;
use dev::sim::{Answer, ApiVersions, Container, Health, Script};
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::simulated_world::SimulatedWorld;
use tests::suite::{self, Request, Response};
use tests::world::{hours, minutes};
use tests::{check_field_errors, check_problem, run};
use uuid::Uuid;

const STATS: &str = "GET /containers/{id}/stats";
const MEMORY_BYTES: u64 = 300 << 20;
const LIMIT_BYTES: u64 = 2 << 30;

/// What an engine says of a container that has used a processor for this long, and has sent as many thousand bytes.
fn stats(seconds: u64) -> Value {
    json!({
        "cpu_stats": {"cpu_usage": {"total_usage": seconds * 1_000_000_000}},
        "memory_stats": {
            "usage": MEMORY_BYTES + 1_000,
            "limit": LIMIT_BYTES,
            "stats": {"inactive_file": 1_000},
        },
        "networks": {"eth0": {"rx_bytes": 0, "tx_bytes": seconds * 1_000}},
    })
}

async fn one_host(agents: usize) -> SimulatedWorld {
    SimulatedWorld::new(vec![Script::new("one")], agents, Health::Healthy).await
}

async fn set_answer(fleet: &SimulatedWorld, answer: Answer) {
    let host = &fleet.sim.hosts()[0];
    host.update_script(|script| script.answers = vec![answer])
        .await;
}

/// Inspects the fleet at this minute, while the engine says this of each container.
async fn sample(fleet: &SimulatedWorld, minute: i64, stats: &Value) {
    set_answer(fleet, Answer::new(STATS, 200, stats)).await;
    fleet.world.set_clock(minutes(minute)).await;
    assert_eq!(fleet.world.refresh().await["read"], json!(1));
}

async fn agent_figures(fleet: &SimulatedWorld, agent: Uuid) -> Value {
    let path = agent_path(agent, "/figures");
    let response = fleet.world.get(&fleet.operator, &path).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    response.json()["data"].clone()
}

async fn host_figures(fleet: &SimulatedWorld, host: &str) -> Response {
    let path = format!("/api/v1/admin/docker-nodes/{host}/figures");
    fleet.world.get(&fleet.operator, &path).await
}

fn samples(figures: &Value) -> usize {
    figures["times"].as_array().expect("times").len()
}

/// A rate, but for the time that the runs took.
fn is_about(value: &Value, expected: u64) -> bool {
    let value = value.as_u64().expect("a number");
    value.abs_diff(expected) * 50 <= expected
}

#[test]
fn owners_and_operators_see_rates_between_samples_and_what_is_not_known_is_null() {
    run(async {
        let fleet = one_host(2).await;
        let agent = fleet.agents[0][0];
        let before = agent_figures(&fleet, agent).await;
        let nothing = json!({
            "times": [],
            "stale": false,
            "series": {
                "memoryLimitBytes": null, "memoryBytes": [], "cpuMillis": [], "receivedBytesPerSecond": [],
                "sentBytesPerSecond": [], "readBytesPerSecond": [], "writtenBytesPerSecond": [],
            },
        });
        assert_eq!(before, nothing);
        // The container is started again between the last two.
        for (minute, seconds) in [(0, 100), (5, 250), (10, 20)] {
            sample(&fleet, minute, &stats(seconds)).await;
        }
        let figures = agent_figures(&fleet, agent).await;
        assert_eq!(figures["stale"], json!(false));
        let times: Vec<DateTime<Utc>> =
            serde_json::from_value(figures["times"].clone()).expect("times");
        for (time, minute) in times.iter().zip([0, 5, 10]) {
            let late = *time - minutes(minute);
            assert!(
                late >= TimeDelta::zero() && late < TimeDelta::seconds(10),
                "{time}"
            );
        }
        let series = &figures["series"];
        assert_eq!(series["memoryLimitBytes"], json!(LIMIT_BYTES));
        assert_eq!(series["memoryBytes"], json!(vec![MEMORY_BYTES; 3]));
        let cpu = &series["cpuMillis"];
        assert!(cpu[0].is_null() && cpu[2].is_null(), "{cpu}");
        assert!(is_about(&cpu[1], 500), "{cpu}");
        assert!(is_about(&series["sentBytesPerSecond"][1], 500), "{series}");
        assert_eq!(series["receivedBytesPerSecond"], json!([null, 0, 0]));
        assert_eq!(series["readBytesPerSecond"], json!([null, null, null]));
        let of_host = host_figures(&fleet, "one").await.json()["data"].clone();
        assert_eq!(of_host["times"], figures["times"]);
        let mut agents = fleet.agents[0].clone();
        agents.sort_unstable();
        let expected: Vec<Value> = agents
            .iter()
            .map(|agent| json!({"agentId": agent, "series": series}))
            .collect();
        assert_eq!(of_host["agents"], json!(expected));
    });
}

#[test]
fn a_host_is_sampled_once_in_five_minutes_and_a_client_is_told_if_nothing_is_new() {
    run(async {
        let fleet = one_host(1).await;
        let agent = fleet.agents[0][0];
        for minute in 0..=10 {
            sample(&fleet, minute, &stats(60)).await;
        }
        assert_eq!(fleet.sim.hosts()[0].counts().requests[STATS], 3);
        let items = suite::dynamodb().await;
        let items = items
            .items(&fleet.world.settings["FLEET_TABLE"])
            .expect("items");
        let items: Vec<&Value> = items
            .iter()
            .filter(|item| item["pk"]["S"] == "figures#one")
            .collect();
        assert_eq!(items.len(), 3);
        for item in items {
            let expires = item["expires_at"]["N"].as_str().expect("a time");
            let expires: i64 = expires.parse().expect("seconds");
            let kept = expires - minutes(0).timestamp();
            assert!((25 * 3_600..26 * 3_600).contains(&kept), "{item}");
        }
        let path = agent_path(agent, "/figures");
        let first = fleet.world.get(&fleet.operator, &path).await;
        let tag = first.header("etag").expect("a tag");
        let again = Request::new("GET", &path).key(&fleet.operator);
        let again = fleet.world.call(again.header("if-none-match", tag)).await;
        assert_eq!(again.status(), 304);
        // Stale after 15 minutes without a sample, and not shown after a day.
        fleet.world.set_clock(minutes(26)).await;
        let stale = agent_figures(&fleet, agent).await;
        assert_eq!((&stale["stale"], samples(&stale)), (&json!(true), 3));
        fleet.world.set_clock(hours(25)).await;
        let later = agent_figures(&fleet, agent).await;
        assert_eq!((&later["stale"], samples(&later)), (&json!(false), 0));
    });
}

#[test]
fn an_engine_that_says_nothing_is_slow_or_refuses_costs_the_figures_and_nothing_else() {
    run(async {
        let refusal = |status, message: &str| Answer::refusal(STATS, status, message);
        for (answer, is_asked) in [
            (Some(refusal(500, "failed to obtain stats")), true),
            (Some(refusal(404, "No such container")), true),
            (Some(Answer::new(STATS, 200, &json!(null))), true),
            (
                Some(Answer::new(STATS, 200, &json!({"memory_stats": []}))),
                true,
            ),
            (
                Some(Answer::new(STATS, 200, &stats(1)).after(Duration::from_mins(1))),
                true,
            ),
            // It would measure for a second or two.
            (None, false),
        ] {
            let mut script = Script::new("one");
            match &answer {
                Some(answer) => script = script.answer(answer.clone()),
                None => script = script.engine("19.03.15", ApiVersions::DOCKER_19),
            }
            let fleet = SimulatedWorld::new(vec![script], 2, Health::Healthy).await;
            let result = fleet.world.refresh().await;
            assert_eq!(
                (&result["outcome"], &result["read"], &result["heard"]),
                (&json!("done"), &json!(1), &json!(2)),
                "{answer:?}: {result}"
            );
            let host = fleet.world.cached_host("one").await;
            assert_eq!(host["status"], json!("healthy"), "{answer:?}");
            let counts = fleet.sim.hosts()[0].counts();
            assert_eq!(counts.requests.contains_key(STATS), is_asked, "{answer:?}");
            assert!(counts.max_open_channels <= 4, "{counts:?}");
            let figures = agent_figures(&fleet, fleet.agents[0][0]).await;
            assert_eq!(samples(&figures), 0, "{answer:?}: {figures}");
        }
    });
}

#[test]
fn the_usual_answers_of_a_simulated_engine_are_read_as_well_with_another_version() {
    run(async {
        let scripts = vec![
            Script::new("docker-20"),
            Script::new("docker-29").engine("29.0.1", ApiVersions::DOCKER_29),
            Script::new("podman-5").engine("5.4.0", ApiVersions::PODMAN_5),
        ];
        let fleet = SimulatedWorld::new(scripts, 1, Health::Healthy).await;
        assert_eq!(fleet.world.refresh().await["read"], json!(3));
        for agents in &fleet.agents {
            let figures = agent_figures(&fleet, agents[0]).await;
            let memory = figures["series"]["memoryBytes"][0].as_u64();
            assert!(memory.is_some_and(|memory| memory > 0), "{figures}");
        }
    });
}

#[test]
fn only_running_containers_of_agents_that_should_be_on_the_host_are_sampled() {
    run(async {
        let organization = Uuid::new_v4();
        let stranger = Uuid::new_v4();
        let script = Script::new("one")
            .with_container(Container::new("postgres"))
            .with_container(Container::of_agent(stranger, organization));
        let fleet = SimulatedWorld::new(vec![script], 2, Health::Healthy).await;
        let paused = fleet.agents[0][1];
        let name = format!("milady-{paused}");
        let host = &fleet.sim.hosts()[0];
        host.update_script(|script| {
            for container in &mut script.containers {
                if container.name == name {
                    container.state = "paused".to_owned();
                    container.status = "Up 3 minutes (Paused)".to_owned();
                }
            }
        })
        .await;
        fleet.world.refresh().await;
        assert_eq!(host.counts().requests[STATS], 1);
        let of_host = host_figures(&fleet, "one").await.json()["data"].clone();
        let agents = of_host["agents"].as_array().expect("agents");
        let ids: Vec<&Value> = agents.iter().map(|agent| &agent["agentId"]).collect();
        assert_eq!(ids, [&json!(fleet.agents[0][0])]);
    });
}

#[test]
fn figures_of_others_of_unknown_hosts_and_without_a_cache_are_refused() {
    run(async {
        let mut fleet = one_host(1).await;
        let agent = fleet.agents[0][0];
        sample(&fleet, 0, &stats(100)).await;
        let (organization, stranger) = fleet.world.tenant("1").await;
        let path = agent_path(agent, "/figures");
        let foreign = fleet.world.get(&stranger, &path).await;
        check_problem(&foreign, 404, "Agent not found");
        let path_of_host = "/api/v1/admin/docker-nodes/one/figures";
        let foreign = fleet.world.get(&stranger, path_of_host).await;
        assert_eq!(foreign.status(), 403);
        let anonymous = fleet.world.call(Request::new("GET", &path)).await;
        assert_eq!(anonymous.status(), 401);
        let anonymous = fleet.world.call(Request::new("GET", path_of_host)).await;
        assert_eq!(anonymous.status(), 401);
        let path_of_none = "/api/v1/milady/agents/none/figures";
        let none = fleet.world.get(&fleet.operator, path_of_none).await;
        check_field_errors(
            &none,
            "agentId must be a UUID",
            &[("agentId", "must be a UUID")],
        );
        check_problem(&host_figures(&fleet, "two").await, 404, "Node not found");
        // Without a host nothing is known.
        let pending = fleet.world.agent(organization, "pending").await;
        let pending = agent_path(pending, "/figures");
        let pending = fleet.world.get(&stranger, &pending).await.json();
        assert_eq!(samples(&pending["data"]), 0);
        let mut emulator = DynamoDb::start().await.expect("DynamoDB");
        fleet.world.use_cache_table(&emulator, "fleet");
        emulator.stop().await;
        for path in [path.as_str(), path_of_host] {
            let request = Request::new("GET", path).key(&fleet.operator);
            let response = fleet.world.call_on_new_instance(request).await;
            assert_eq!(response.status(), 503, "{}", response.text());
        }
        // The rest of a run goes on.
        let instance = fleet.world.function("fleet-refresh").start().await;
        let outcome = instance.invoke(json!({}), Duration::from_mins(1)).await;
        let dev::runtime::Outcome::Success(answer) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(
            (&answer["outcome"], &answer["heard"]),
            (&json!("uncached"), &json!(1))
        );
    });
}

#[test]
fn an_agent_that_changed_its_host_begins_anew_there() {
    run(async {
        let scripts = vec![Script::new("one"), Script::new("two")];
        let fleet = SimulatedWorld::new(scripts, 1, Health::Healthy).await;
        fleet.world.refresh().await;
        let agent = fleet.agents[0][0];
        assert_eq!(samples(&agent_figures(&fleet, agent).await), 1);
        let elsewhere = "node_id = 'two', web_ui_port = 21000, bridge_port = 21001";
        fleet.world.set_columns(agent, elsewhere).await;
        assert_eq!(samples(&agent_figures(&fleet, agent).await), 0);
        let of_host = host_figures(&fleet, "one").await.json()["data"].clone();
        assert_eq!(of_host["agents"][0]["agentId"], json!(agent));
    });
}
