//! The operators' routes for containers, on real hosts.

mod actions;
mod audit;
mod audit_log;
mod logs_and_inspect;
mod remove_ghost;

use dev::host::{Engine, image};
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tests::suite::{Request, Response};
use tests::{Lab, World};
use uuid::Uuid;

const ACTIONS: &str = "/api/v1/admin/infrastructure/containers/actions";
const AUDIT: &str = "/api/v1/admin/docker-containers/audit";

/// A lab whose owner is also an operator.
async fn lab(hosts: usize) -> Option<Lab> {
    let lab = Lab::new(hosts).await?;
    let organization = lab.organization;
    lab.world.make_admin(organization, "super_admin").await;
    Some(lab)
}

fn action_request(action: &str, node: &str, name: &str) -> Request {
    post_action(&json!({"action": action, "nodeId": node, "containerName": name}))
}

fn post_action(body: &Value) -> Request {
    Request::new("POST", ACTIONS).json(body)
}

fn remove_ghost_request(node: &str, name: &str, id: &str) -> Request {
    post_action(
        &json!({"action": "remove-ghost", "nodeId": node, "containerName": name, "containerId": id}),
    )
}

/// Requests an action on an agent's container on `n1`.
async fn act_on_agent(lab: &Lab, action: &str, agent: Uuid) -> Response {
    let request = action_request(action, "n1", &container_name(agent));
    lab.world.call(request.key(&lab.api_key)).await
}

async fn call(lab: &Lab, request: Request) -> Response {
    lab.world.call(request.key(&lab.api_key)).await
}

#[track_caller]
fn assert_refused(response: &Response, status: u64, sentence: &str) {
    let body = response.json();
    assert_eq!(
        (response.status(), body["error"].as_str()),
        (status, Some(sentence)),
        "{response:?}"
    );
}

fn container_name(agent: Uuid) -> String {
    format!("milady-{agent}")
}

/// Runs a container of the sample agent and returns its id. Without an agent, it has no label.
async fn run_container(engine: &Engine, name: &str, agent: Option<Uuid>) -> String {
    let labels = match agent {
        Some(agent) => json!({"milady.agent": agent, "milady.attempt": "1"}),
        None => json!({}),
    };
    let body = json!({"Image": image::SAMPLE, "Labels": labels, "Env": ["TOKEN=canary-0b1c"],
        "HostConfig": {"NetworkMode": "none"}});
    engine.run(name, &body).await.expect("a container")
}

/// Docker's view of a container. Null if there is none.
async fn docker_inspect(engine: &Engine, id: &str) -> Value {
    let path = format!("/containers/{id}/json");
    engine.call("GET", &path, None).await.unwrap_or_default()
}

async fn is_running(engine: &Engine, id: &str) -> bool {
    docker_inspect(engine, id).await["State"]["Running"] == json!(true)
}

async fn exists(engine: &Engine, id: &str) -> bool {
    !docker_inspect(engine, id).await.is_null()
}

/// The id of an agent's container on `n1`.
async fn container_id(lab: &Lab, agent: Uuid) -> String {
    let inspected = docker_inspect(&lab.hosts[0].engine, &container_name(agent)).await;
    inspected["Id"].as_str().expect("a container").to_owned()
}

/// Makes containers older, by editing their settings on disk while Docker is down.
async fn backdate(engine: &Engine, ids: &[&str], minutes: i64) {
    engine.stop().expect("stopped");
    let data = engine.socket().parent().expect("a directory").join("data");
    for id in ids {
        let path = data.join("containers").join(id).join("config.v2.json");
        let text = std::fs::read_to_string(&path).expect("its settings");
        let mut settings: Value = serde_json::from_str(&text).expect("JSON");
        let created_at = settings["Created"].as_str().expect("a date");
        let created_at: chrono::DateTime<chrono::Utc> = created_at.parse().expect("a date");
        settings["Created"] = json!(created_at - chrono::TimeDelta::minutes(minutes));
        std::fs::write(&path, settings.to_string()).expect("its settings");
    }
    engine.restart().await.expect("an engine");
}

/// A session that holds a lock on a table. Every other statement on the table waits for it.
struct TableLock(PgConnection);

impl TableLock {
    async fn acquire(world: &World, lock: &'static str) -> Self {
        let mut session = PgConnection::connect(&world.url).await.expect("a session");
        sqlx::raw_sql("BEGIN")
            .execute(&mut session)
            .await
            .expect("begin");
        sqlx::raw_sql(lock).execute(&mut session).await.expect(lock);
        Self(session)
    }

    /// Runs a statement under the lock and releases it.
    async fn run_and_release(mut self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&mut self.0).await.expect(sql);
        sqlx::raw_sql("COMMIT")
            .execute(&mut self.0)
            .await
            .expect("commit");
    }
}

const LOCK_AGENTS: &str = "LOCK TABLE milady_sandboxes IN ACCESS EXCLUSIVE MODE";
const LOCK_JOBS: &str = "LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE";

/// The newest entry of the audit log: action, result, reason.
async fn last_audit_entry(world: &World) -> Value {
    sqlx::query_scalar(
        "SELECT jsonb_build_array(action, result, details -> 'reason') FROM admin_audit_log
        ORDER BY id DESC LIMIT 1",
    )
    .fetch_one(&world.pool)
    .await
    .expect("an entry")
}
