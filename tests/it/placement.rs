//! Placement on simulated hosts: which host a start takes, which it leaves alone, and what operators see of it.

use chrono::TimeDelta;
use dev::sim::{Facts, Fault, Health, Script};
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::lab::job_of;
use tests::run;
use tests::simulated_world::SimulatedWorld;
use tests::suite;
use uuid::Uuid;

/// Longer than a job waits after its first attempt.
const RETRY_AFTER: TimeDelta = TimeDelta::seconds(31);

/// Healthy hosts with many free slots, of which the first is the emptiest.
async fn fleet(scripts: Vec<Script>) -> SimulatedWorld {
    let fleet = SimulatedWorld::new(scripts, 0, Health::Healthy).await;
    fleet
        .world
        .execute(
            "UPDATE docker_nodes SET status = 'healthy', capacity = 100,
                allocated_count = CASE WHEN node_id = (SELECT min(node_id) FROM docker_nodes) THEN 0
                    ELSE 10 END",
        )
        .await;
    fleet
}

struct Start {
    agent: Uuid,
    job: Uuid,
}

async fn request_start(fleet: &SimulatedWorld) -> Start {
    let body = json!({"agentName": "agent"});
    let created = fleet
        .world
        .post_json(&fleet.operator, "/api/v1/milady/agents", &body)
        .await;
    assert_eq!(created.status(), 201, "{created:?}");
    let id = created.json()["data"]["id"].clone();
    let agent: Uuid = serde_json::from_value(id).expect("an id");
    let path = agent_path(agent, "/provision");
    let job = job_of(&fleet.world.post(&fleet.operator, &path).await);
    Start { agent, job }
}

/// Runs one attempt of a start. Returns its outcome and error.
async fn attempt(fleet: &SimulatedWorld, start: &Start) -> (Value, Value) {
    let outcome = fleet.world.run_job(start.job).await["outcome"].clone();
    let jobs = fleet.world.jobs_of(start.agent).await;
    (outcome, jobs[0]["error"].clone())
}

/// Creates and starts an agent; its first attempt must succeed. Returns the host that it runs on.
async fn host_of_started_agent(fleet: &SimulatedWorld) -> String {
    let start = request_start(fleet).await;
    assert_eq!(
        attempt(fleet, &start).await,
        (json!("completed"), Value::Null)
    );
    host_of(fleet, &start).await
}

async fn host_of(fleet: &SimulatedWorld, start: &Start) -> String {
    sqlx::query_scalar(
        "SELECT node_id FROM milady_sandboxes WHERE id = $1 AND container_name IS NOT NULL",
    )
    .bind(start.agent)
    .fetch_one(&fleet.world.pool)
    .await
    .expect("a host")
}

fn created_containers(fleet: &SimulatedWorld, host: usize) -> u64 {
    let requests = fleet.sim.hosts()[host].counts().requests;
    let created = requests.get("POST /containers/create");
    created.copied().unwrap_or_default()
}

fn codes(alerts: &Value) -> Vec<&str> {
    let alerts = alerts.as_array().expect("alerts").iter();
    alerts
        .map(|alert| alert["code"].as_str().expect("a code"))
        .collect()
}

#[test]
fn f66_three_sick_hosts_do_not_keep_a_start_from_a_healthy_one() {
    run(async {
        let sick = |name| Script::new(name).fault(Fault::DockerDown);
        let scripts = vec![sick("a"), sick("b"), sick("c"), Script::new("d")];
        let fleet = fleet(scripts).await;
        fleet
            .world
            .execute("UPDATE docker_nodes SET allocated_count = 0 WHERE node_id < 'd'")
            .await;
        assert_eq!(host_of_started_agent(&fleet).await, "d");
    });
}

#[test]
fn f66_f83_the_next_attempt_takes_another_host_than_the_one_that_failed() {
    run(async {
        for (fault, error) in [
            (
                Fault::NoAddressPools,
                "The host has no addresses left for a network",
            ),
            (Fault::DockerDiskFull, "The host's disk is full"),
        ] {
            let fleet = fleet(vec![Script::new("a").fault(fault), Script::new("b")]).await;
            let start = request_start(&fleet).await;
            let failed = (json!("again"), json!(error));
            assert_eq!(attempt(&fleet, &start).await, failed);
            let slots = "SELECT allocated_count::bigint FROM docker_nodes WHERE node_id = 'a'";
            assert_eq!(fleet.world.count(slots).await, 0);
            fleet.world.set_clock(suite::epoch() + RETRY_AFTER).await;
            let created = created_containers(&fleet, 0);
            assert_eq!(
                attempt(&fleet, &start).await,
                (json!("completed"), Value::Null)
            );
            assert_eq!(host_of(&fleet, &start).await, "b");
            assert_eq!(created_containers(&fleet, 0), created, "{fault:?}");
        }
    });
}

#[test]
fn f66_an_agent_whose_start_failed_on_the_only_host_is_started_there() {
    run(async {
        let fleet = fleet(vec![Script::new("a").fault(Fault::DockerDiskFull)]).await;
        let start = request_start(&fleet).await;
        assert_eq!(attempt(&fleet, &start).await.0, json!("again"));
        fleet.sim.hosts()[0]
            .update_script(|script| script.fault = None)
            .await;
        fleet.world.set_clock(suite::epoch() + RETRY_AFTER).await;
        assert_eq!(attempt(&fleet, &start).await.0, json!("completed"));
    });
}

#[test]
fn f66_a_host_that_failed_three_agents_is_set_aside_until_it_is_checked() {
    run(async {
        let scripts = vec![
            Script::new("a").fault(Fault::DockerDiskFull),
            Script::new("b"),
        ];
        let fleet = fleet(scripts).await;
        for _ in 0..3 {
            let start = request_start(&fleet).await;
            assert_eq!(attempt(&fleet, &start).await.0, json!("again"));
        }
        assert_eq!(created_containers(&fleet, 0), 3);
        // Nobody else's first attempt goes there.
        assert_eq!(host_of_started_agent(&fleet).await, "b");
        assert_eq!(created_containers(&fleet, 0), 3);

        fleet.world.refresh().await;
        let host = fleet.world.cached_host("a").await;
        assert_eq!(codes(&host["alerts"]), ["set_aside"], "{host}");
        let text = "Starts on the host fail; other hosts are preferred: until 00:30 UTC, or a check of the host";
        assert_eq!(host["alerts"][0]["text"], json!(text));
        let incidents = fleet.world.cached_fleet().await["incidents"].clone();
        assert!(codes(&incidents).contains(&"set_aside"), "{incidents}");

        // The disk was cleaned up, and an operator checks the host.
        fleet.sim.hosts()[0]
            .update_script(|script| script.fault = None)
            .await;
        let path = "/api/v1/admin/docker-nodes/a/health-check";
        let checked = fleet.world.post(&fleet.operator, path).await;
        assert_eq!(checked.status(), 200, "{checked:?}");
        // The run has corrected the slots.
        fleet
            .world
            .execute("UPDATE docker_nodes SET allocated_count = 10 WHERE node_id = 'b'")
            .await;
        assert_eq!(host_of_started_agent(&fleet).await, "a");
        fleet.world.refresh().await;
        let host = fleet.world.cached_host("a").await;
        assert_eq!(host["alerts"], json!([]), "{host}");
    });
}

#[test]
fn f66_a_host_that_is_set_aside_is_tried_if_no_other_can_and_a_success_ends_it() {
    run(async {
        let fleet = fleet(vec![Script::new("a"), Script::new("b")]).await;
        fleet
            .world
            .execute(
                "INSERT INTO cloud.failed_starts (job_id, node_id, organization_id, agent_id, is_hosts_fault,
                    failed_at)
                SELECT gen_random_uuid(), 'a', gen_random_uuid(), gen_random_uuid(), true, billing_clock()
                FROM generate_series(1, 3)",
            )
            .await;
        assert_eq!(host_of_started_agent(&fleet).await, "b");
        let counting = "SELECT count(*) FROM cloud.failed_starts WHERE NOT forgiven";
        assert_eq!(fleet.world.count(counting).await, 3);
        fleet
            .world
            .execute("UPDATE docker_nodes SET enabled = node_id = 'a'")
            .await;
        assert_eq!(host_of_started_agent(&fleet).await, "a");
        assert_eq!(fleet.world.count(counting).await, 0);
    });
}

#[test]
fn f82_an_agent_on_a_small_host_gets_what_the_host_has() {
    run(async {
        let small = Facts {
            cpus: 1,
            ..Facts::default()
        };
        let fleet = fleet(vec![Script::new("a").facts(small)]).await;
        assert_eq!(host_of_started_agent(&fleet).await, "a");
        let containers = fleet.sim.hosts()[0].script().containers;
        assert_eq!(containers[0].nano_cpus, Some(1_000_000_000));
    });
}

#[test]
fn no_more_is_promised_of_a_host_than_it_has() {
    run(async {
        let small = Facts {
            cpus: 1,
            ..Facts::default()
        };
        let fleet = fleet(vec![Script::new("a").facts(small), Script::new("b")]).await;
        fleet
            .world
            .execute("UPDATE docker_nodes SET allocated_count = 7, capacity = 1000")
            .await;
        fleet
            .world
            .execute("UPDATE docker_nodes SET status = 'unknown' WHERE node_id = 'b'")
            .await;
        assert_eq!(host_of_started_agent(&fleet).await, "a");
        assert_eq!(host_of_started_agent(&fleet).await, "b");
    });
}

#[test]
fn f89_a_full_disk_of_docker_keeps_agents_away_and_is_shown() {
    run(async {
        let full = Facts {
            docker_disk_percent: Some(97),
            ..Facts::default()
        };
        let fleet = fleet(vec![Script::new("a").facts(full), Script::new("b")]).await;
        assert_eq!(host_of_started_agent(&fleet).await, "b");
        fleet.world.refresh().await;
        let host = fleet.world.cached_host("a").await;
        assert_eq!(codes(&host["alerts"]), ["docker_disk"], "{host}");
        let seen = (
            &host["status"],
            &host["availableSlots"],
            &host["runtime"]["diskUsedPercent"],
        );
        assert_eq!(seen, (&json!("degraded"), &json!(0), &json!(97)), "{host}");
    });
}
