//! Simulated hosts that are lost, return, or are drained.

use std::time::Duration;

use dev::runtime::Outcome;
use dev::sim::{Fault, Health, Script};
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::lab::job_of;
use tests::run;
use tests::simulated_world::SimulatedWorld;
use tests::suite::{Request, Response};
use tests::world::minutes;
use uuid::Uuid;

pub(super) const NODES: &str = "/api/v1/admin/docker-nodes";

pub(super) async fn fleet_of(names: &[&str], agents: usize) -> SimulatedWorld {
    let scripts = names.iter().map(|name| Script::new(name)).collect();
    SimulatedWorld::new(scripts, agents, Health::Healthy).await
}

/// Runs the sweep. Nothing publishes its events here.
pub(super) async fn sweep(fleet: &SimulatedWorld) {
    let instance = fleet.world.instance("job-sweep").await;
    match instance.invoke(json!({}), Duration::from_mins(1)).await {
        Outcome::Success(_) => {}
        Outcome::FunctionError { message, .. } if message.contains("not accepted") => {}
        other => panic!("{other:?}"),
    }
}

pub(super) async fn set_fault(fleet: &SimulatedWorld, host: usize, fault: Option<Fault>) {
    fleet.sim.hosts()[host]
        .update_script(|script| script.fault = fault)
        .await;
}

/// Inspects the fleet at these minutes.
pub(super) async fn refresh_at(fleet: &SimulatedWorld, at: &[i64]) {
    for minute in at {
        fleet.world.set_clock(minutes(*minute)).await;
        fleet.world.refresh().await;
    }
}

/// Host `a` is read at minute 4 for the last time, and lost at minute 17.
pub(super) async fn lose(fleet: &SimulatedWorld) {
    refresh_at(fleet, &[0, 4]).await;
    set_fault(fleet, 0, Some(Fault::Refusing)).await;
    refresh_at(fleet, &[5, 9, 13, 17]).await;
}

pub(super) async fn declare(fleet: &SimulatedWorld) -> Response {
    let path = format!("{NODES}/a/lost");
    let body = json!({"nodeId": "a"});
    fleet.world.post_json(&fleet.operator, &path, &body).await
}

pub(super) async fn call(fleet: &SimulatedWorld, method: &str, path: &str) -> Response {
    let request = Request::new(method, &format!("{NODES}/{path}"));
    fleet.world.call(request.key(&fleet.operator)).await
}

pub(super) async fn row(fleet: &SimulatedWorld, agent: Uuid) -> Value {
    sqlx::query_scalar(
        "SELECT jsonb_build_object('status', status, 'reason', stop_reason, 'error', error_message,
            'container', container_name, 'unsaved', unsaved_since IS NOT NULL)
        FROM milady_sandboxes WHERE id = $1",
    )
    .bind(agent)
    .fetch_one(&fleet.world.pool)
    .await
    .expect("an agent")
}

async fn metered_seconds(fleet: &SimulatedWorld, agent: Uuid) -> i64 {
    sqlx::query_scalar(
        "SELECT floor(sum(extract(epoch FROM coalesce(ended_at, billing_clock()) - started_at)))::bigint
        FROM usage_spans WHERE agent_id = $1 AND kind = 'running'",
    )
    .bind(agent)
    .fetch_one(&fleet.world.pool)
    .await
    .expect("spans")
}

pub(super) async fn request_stop(fleet: &SimulatedWorld, agent: Uuid) -> Uuid {
    let path = agent_path(agent, "/suspend");
    job_of(&fleet.world.post(&fleet.operator, &path).await)
}

pub(super) async fn outcome(fleet: &SimulatedWorld, job: Uuid) -> String {
    let answer = fleet.world.run_job(job).await;
    answer["outcome"].as_str().expect("an outcome").to_owned()
}

#[test]
fn f65_the_agents_of_a_lost_host_are_freed_and_their_metering_ended_at_the_last_sign_of_life() {
    run(async {
        let fleet = fleet_of(&["a", "b"], 3).await;
        let [running, stopping, deleted] = fleet.agents[0][..] else {
            panic!("three agents");
        };
        let elsewhere = fleet.agents[1][0];
        fleet.world.backup(running, "auto").await;
        lose(&fleet).await;
        let stop = request_stop(&fleet, stopping).await;
        assert_eq!(outcome(&fleet, stop).await, "again");
        let delete = Request::new("DELETE", &agent_path(deleted, "")).key(&fleet.operator);
        let delete = job_of(&fleet.world.call(delete).await);
        assert_eq!(outcome(&fleet, delete).await, "again");

        let declared = declare(&fleet).await;
        assert_eq!(declared.status(), 200, "{declared:?}");
        assert_eq!(declared.json()["data"]["freedAgents"], json!(3));
        assert_eq!(declared.json()["data"]["service"], json!("lost"));
        let freed = row(&fleet, running).await;
        assert_eq!(freed["status"], json!("stopped"), "{freed}");
        assert_eq!(freed["reason"], json!("failure"), "{freed}");
        assert_eq!(freed["container"], Value::Null, "{freed}");
        let text = freed["error"].as_str().expect("a sentence");
        assert!(text.starts_with("The agent's host was lost."), "{text}");
        assert!(text.contains("restores the newest backup, of "), "{text}");
        assert_eq!(row(&fleet, stopping).await["reason"], json!("owner"));
        assert_eq!(row(&fleet, elsewhere).await["status"], json!("running"));
        // It was read at minute 4 for the last time.
        let metered = metered_seconds(&fleet, running).await;
        assert!((240..250).contains(&metered), "{metered}");
        let host = call(&fleet, "GET", "a").await.json()["data"].clone();
        assert_eq!(
            (&host["allocatedCount"], &host["enabled"], &host["service"]),
            (&json!(0), &json!(false), &json!("lost")),
            "{host}"
        );
        // Nothing waits for the host any more.
        assert_eq!(outcome(&fleet, stop).await, "completed");
        assert_eq!(outcome(&fleet, delete).await, "completed");
        assert!(!fleet.world.agent_exists(deleted).await);
        // A start is accepted, and every repetition finds the host lost already.
        let start = fleet
            .world
            .post(&fleet.operator, &agent_path(running, "/provision"))
            .await;
        assert_eq!(start.status(), 202, "{start:?}");
        assert_eq!(declare(&fleet).await.status(), 409);
        sweep(&fleet).await;
        assert_eq!(metered_seconds(&fleet, running).await, metered);
        // The machine is gone, and what the deleted agent left with it.
        assert_eq!(call(&fleet, "DELETE", "a").await.status(), 200);
        let left = "SELECT count(*) FROM tombstones WHERE node_id = 'a' OR 'a' = ANY(former_nodes)";
        assert_eq!(fleet.world.count(left).await, 0);
    });
}

#[test]
fn f65_a_start_makes_new_secrets_although_the_agent_got_another_organization_since_the_loss() {
    run(async {
        let fleet = fleet_of(&["a", "b"], 1).await;
        let agent = fleet.agents[0][0];
        let columns =
            "database_status = 'ready', database_uri = 'postgres://database.invalid/agent'";
        fleet.world.set_columns(agent, columns).await;
        lose(&fleet).await;
        assert_eq!(declare(&fleet).await.status(), 200);
        // As long as this row is there, the copy on the lost host knows the secrets.
        let known = "SELECT count(*) FROM cloud.lost_agents";
        assert_eq!(fleet.world.count(known).await, 1);
        let (organization, key) = fleet.world.tenant("10").await;
        fleet.world.transfer(agent, organization).await;
        let path = agent_path(agent, "/provision");
        let start = job_of(&fleet.world.post(&key, &path).await);
        assert_eq!(outcome(&fleet, start).await, "completed");
        assert_eq!(fleet.world.count(known).await, 0);
    });
}

#[test]
fn f65_a_host_that_was_read_within_ten_minutes_is_not_lost() {
    run(async {
        let fleet = fleet_of(&["a"], 1).await;
        refresh_at(&fleet, &[0]).await;
        let refused = declare(&fleet).await;
        assert_eq!(refused.status(), 409, "{refused:?}");
        set_fault(&fleet, 0, Some(Fault::DockerDown)).await;
        refresh_at(&fleet, &[1, 5, 9]).await;
        assert_eq!(declare(&fleet).await.status(), 409);
        // It was read in between.
        set_fault(&fleet, 0, None).await;
        refresh_at(&fleet, &[10]).await;
        set_fault(&fleet, 0, Some(Fault::DockerDown)).await;
        refresh_at(&fleet, &[11, 15]).await;
        assert_eq!(declare(&fleet).await.status(), 409);
        refresh_at(&fleet, &[19, 22]).await;
        // The name in the body is another one.
        let path = format!("{NODES}/a/lost");
        let other = json!({"nodeId": "b"});
        let refused = fleet.world.post_json(&fleet.operator, &path, &other).await;
        assert_eq!(refused.status(), 400, "{refused:?}");
        // Nobody has looked for six minutes.
        fleet.world.set_clock(minutes(28)).await;
        assert_eq!(declare(&fleet).await.status(), 409);
        refresh_at(&fleet, &[30, 34, 38, 41]).await;
        assert_eq!(declare(&fleet).await.status(), 200);
    });
}

#[test]
fn f65_a_lost_host_that_answers_again_has_its_containers_stopped_and_waits_for_an_operator() {
    run(async {
        let fleet = fleet_of(&["a", "b"], 2).await;
        // Its state is in a directory of the host, and no backup holds it.
        let agent = fleet.agents[0][0];
        let state = "data_bind = '/srv/agents/one', unsaved_since = billing_clock()";
        fleet.world.set_columns(agent, state).await;
        lose(&fleet).await;
        assert_eq!(declare(&fleet).await.status(), 200);
        // No start elsewhere forgets it, or removes it from the host.
        let left = "SELECT count(*) FROM milady_sandboxes WHERE data_bind = '/srv/agents/one' AND left_nodes = '{a}'";
        assert_eq!(fleet.world.count(left).await, 1);
        let service = async || call(&fleet, "GET", "a").await.json()["data"]["service"].clone();
        let refused = call(&fleet, "DELETE", "a/lost").await;
        assert_eq!(refused.status(), 409, "{refused:?}");
        set_fault(&fleet, 0, None).await;
        refresh_at(&fleet, &[18, 19]).await;
        let states = |host: usize| -> Vec<String> {
            let containers = fleet.sim.hosts()[host].script().containers;
            containers
                .into_iter()
                .map(|container| container.state)
                .collect()
        };
        assert_eq!(states(0), ["exited", "exited"]);
        assert_eq!(states(1), ["running", "running"]);
        assert_eq!(service().await, json!("returned"));
        assert_eq!(row(&fleet, agent).await["status"], json!("stopped"));
        // It takes no agents until an operator says so.
        let enable = Request::new("PATCH", &format!("{NODES}/a")).json(&json!({"enabled": true}));
        let refused = fleet.world.call(enable.key(&fleet.operator)).await;
        assert_eq!(refused.status(), 409, "{refused:?}");
        let returned = call(&fleet, "DELETE", "a/lost").await;
        assert_eq!(returned.status(), 200, "{returned:?}");
        assert_eq!(service().await, json!("in_service"));
        // Its volumes hold the newest state of the agents that were not started elsewhere.
        let row = row(&fleet, agent).await;
        assert_eq!(row["unsaved"], json!(true), "{row}");
        let found = "SELECT count(*) FROM milady_sandboxes WHERE data_bind = '/srv/agents/one' AND left_nodes = '{}'";
        assert_eq!(fleet.world.count(found).await, 1);
        assert_eq!(call(&fleet, "DELETE", "a/lost").await.status(), 409);
    });
}

#[test]
fn f70_an_agent_that_cannot_be_moved_keeps_running_while_its_host_is_drained() {
    run(async {
        let fleet = fleet_of(&["a", "b"], 3).await;
        let drain = async |body: Value| {
            let path = format!("{NODES}/a/drain");
            fleet.world.post_json(&fleet.operator, &path, &body).await
        };
        let waiting = async || -> Vec<Uuid> {
            sqlx::query_scalar(
                "SELECT id FROM jobs WHERE status = 'pending' AND data ->> 'reason' = 'drain' ORDER BY created_at, id",
            )
            .fetch_all(&fleet.world.pool)
            .await
            .expect("jobs")
        };
        let drained = drain(json!({})).await;
        assert_eq!(drained.status(), 200, "{drained:?}");
        let data = &drained.json()["data"];
        assert_eq!(data["movesAtOnce"], json!(2));
        let mut agents = data["agents"].as_array().expect("agents").iter();
        assert!(agents.all(|agent| agent["fate"] == json!("moves")));
        sweep(&fleet).await;
        sweep(&fleet).await;
        let jobs = waiting().await;
        assert_eq!(jobs.len(), 2);
        // Nobody asked the agents to stop yet, so they are metered.
        let asked = "SELECT count(*) FROM milady_sandboxes WHERE stop_requested_at IS NOT NULL";
        assert_eq!(fleet.world.count(asked).await, 0);
        // Their containers are not found.
        fleet.sim.hosts()[0]
            .update_script(|script| script.containers.clear())
            .await;
        for job in jobs {
            assert_eq!(outcome(&fleet, job).await, "completed");
        }
        let running = "SELECT count(*) FROM milady_sandboxes WHERE status = 'running'";
        assert_eq!(fleet.world.count(running).await, 6);
        let plan = call(&fleet, "GET", "a/drain").await.json()["data"].clone();
        let errors = plan["agents"].as_array().expect("agents").iter();
        let reason = json!("The agent's container was not found on its host");
        let failed = errors.filter(|agent| agent["error"] == reason);
        assert_eq!(failed.count(), 2, "{plan}");
        // Those that failed are left alone for a while.
        sweep(&fleet).await;
        assert_eq!(waiting().await.len(), 1);
        let cancelled = call(&fleet, "DELETE", "a/drain").await;
        assert_eq!(cancelled.status(), 200, "{cancelled:?}");
        let host = call(&fleet, "GET", "a").await.json()["data"].clone();
        assert_eq!(
            (&host["service"], &host["enabled"]),
            (&json!("in_service"), &json!(true)),
            "{host}"
        );
        // The stop that was waiting has nothing to do any more.
        let job = waiting().await[0];
        assert_eq!(outcome(&fleet, job).await, "completed");
        assert_eq!(fleet.world.count(running).await, 6);
    });
}

#[test]
fn f70_no_agent_is_stopped_for_a_move_while_no_other_host_has_room() {
    run(async {
        let fleet = fleet_of(&["a", "b"], 1).await;
        fleet
            .world
            .execute("UPDATE docker_nodes SET capacity = 1")
            .await;
        let agent = fleet.agents[0][0];
        let path = format!("/api/v1/admin/agents/{agent}/move");
        let refused = fleet.world.post(&fleet.operator, &path).await;
        assert_eq!(
            (refused.status(), &refused.json()["error"]),
            (409, &json!("No other host has a free slot"))
        );
        let drain = format!("{NODES}/a/drain");
        let drained = fleet.world.post(&fleet.operator, &drain).await;
        assert_eq!(drained.status(), 200, "{drained:?}");
        sweep(&fleet).await;
        assert_eq!(fleet.world.count("SELECT count(*) FROM jobs").await, 0);
        let plan = call(&fleet, "GET", "a/drain").await.json()["data"].clone();
        let error = &plan["agents"][0]["error"];
        assert_eq!(error, &json!("No other host has a free slot"), "{plan}");
        fleet
            .world
            .execute("UPDATE docker_nodes SET capacity = 2")
            .await;
        sweep(&fleet).await;
        assert_eq!(fleet.world.count("SELECT count(*) FROM jobs").await, 1);
        // An owner who suspends the agent meanwhile has it stopped, and not started again.
        let job = request_stop(&fleet, agent).await;
        assert_eq!(outcome(&fleet, job).await, "completed");
        sweep(&fleet).await;
        let row = row(&fleet, agent).await;
        assert_eq!(
            (&row["status"], &row["reason"]),
            (&json!("stopped"), &json!("owner")),
            "{row}"
        );
        assert_eq!(fleet.world.count("SELECT count(*) FROM jobs").await, 1);
    });
}

#[test]
fn f70_agents_that_could_not_be_moved_are_an_incident_of_their_host() {
    run(async {
        let fleet = fleet_of(&["a", "b"], 2).await;
        let [failed, _] = fleet.agents[0][..] else {
            panic!("two agents");
        };
        sqlx::query(
            "INSERT INTO agent_moves (agent_id, organization_id, from_node, requested_by, requested_at, start_due_at,
                starts, done_at, error)
            SELECT id, organization_id, 'a', user_id, billing_clock(), billing_clock(), 5, billing_clock(),
                CASE id WHEN $1 THEN 'why' END
            FROM milady_sandboxes WHERE node_id = 'a'",
        )
        .bind(failed)
        .execute(&fleet.world.pool)
        .await
        .expect("moves");
        let incident = async || {
            let incidents = fleet.world.cached_fleet().await["incidents"].clone();
            let mut incidents = incidents
                .as_array()
                .cloned()
                .expect("incidents")
                .into_iter();
            incidents.find(|incident| incident["code"] == json!("moves_failed"))
        };
        let columns = "status = 'error', container_name = NULL";
        fleet.world.set_columns(failed, columns).await;
        refresh_at(&fleet, &[0]).await;
        let found = incident().await.expect("an incident");
        assert_eq!(
            (&found["nodeId"], &found["severity"], &found["detail"]),
            (
                &json!("a"),
                &json!("warning"),
                &json!("Agents could not be moved to other hosts: 1 in error")
            ),
            "{found}"
        );
        // It was started elsewhere since, and fails there.
        fleet.world.set_columns(failed, "node_id = 'b'").await;
        refresh_at(&fleet, &[1]).await;
        assert_eq!(incident().await, None);
        // Its owner has started it where it was.
        let columns = "status = 'running', container_name = 'milady-' || id, node_id = 'a'";
        fleet.world.set_columns(failed, columns).await;
        refresh_at(&fleet, &[2]).await;
        assert_eq!(incident().await, None);
    });
}
