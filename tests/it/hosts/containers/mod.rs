//! Containers on real hosts, as operators see and handle them.

mod acts;
mod audit;
mod ghosts;
mod looks;
mod records;

use std::time::Duration;

use dev::host::{Engine, image};
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tests::suite::{Request, Response};
use tests::{Lab, World};
use uuid::Uuid;

const ACTIONS: &str = "/api/v1/admin/infrastructure/containers/actions";
const AUDIT: &str = "/api/v1/admin/docker-containers/audit";

/// A lab whose owner is an operator too.
async fn lab(hosts: usize) -> Option<Lab> {
    let lab = Lab::new(hosts).await?;
    let organization = lab.organization;
    lab.world.make_admin(organization, "super_admin").await;
    Some(lab)
}

/// What is asked for.
fn wanted(action: &str, node: &str, name: &str) -> Request {
    ask(json!({"action": action, "nodeId": node, "containerName": name}))
}

fn ask(body: Value) -> Request {
    Request::new("POST", ACTIONS).json(&body)
}

fn removal(node: &str, name: &str, id: &str) -> Request {
    ask(json!({"action": "remove-ghost", "nodeId": node, "containerName": name, "containerId": id}))
}

/// Does something with an agent's container on `n1`.
async fn act(lab: &Lab, action: &str, agent: Uuid) -> Response {
    let request = wanted(action, "n1", &name(agent));
    lab.world.call(request.key(&lab.key)).await
}

async fn call(lab: &Lab, request: Request) -> Response {
    lab.world.call(request.key(&lab.key)).await
}

/// It is refused with this status and sentence.
#[track_caller]
fn refused(answer: &Response, status: u64, said: &str) {
    let found = answer.json();
    assert_eq!(
        (answer.status(), found["error"].as_str()),
        (status, Some(said)),
        "{answer:?}"
    );
}

fn name(agent: Uuid) -> String {
    format!("milady-{agent}")
}

/// A container like those of agents: its id. Without a label, where `agent` is none.
async fn container(engine: &Engine, name: &str, agent: Option<Uuid>) -> String {
    let labels = match agent {
        Some(agent) => json!({"milady.agent": agent, "milady.attempt": "1"}),
        None => json!({}),
    };
    let body = json!({"Image": image::SAMPLE, "Labels": labels, "Env": ["TOKEN=canary-0b1c"],
        "HostConfig": {"NetworkMode": "none"}});
    engine.run(name, &body).await.expect("a container")
}

/// What Docker says of a container; null where there is none.
async fn seen(engine: &Engine, id: &str) -> Value {
    let path = format!("/containers/{id}/json");
    engine.call("GET", &path, None).await.unwrap_or_default()
}

async fn runs(engine: &Engine, id: &str) -> bool {
    seen(engine, id).await["State"]["Running"] == json!(true)
}

async fn is_there(engine: &Engine, id: &str) -> bool {
    !seen(engine, id).await.is_null()
}

/// The id of an agent's container on `n1`.
async fn id_of(lab: &Lab, agent: Uuid) -> String {
    let seen = seen(&lab.hosts[0].engine, &name(agent)).await;
    seen["Id"].as_str().expect("a container").to_owned()
}

/// Makes containers look as if they had been made earlier: Docker is told so while it is down.
async fn older(engine: &Engine, ids: &[&str], minutes: i64) {
    engine.stop().expect("stopped");
    let data = engine.socket().parent().expect("a directory").join("data");
    for id in ids {
        let path = data.join("containers").join(id).join("config.v2.json");
        let text = std::fs::read_to_string(&path).expect("its settings");
        let mut settings: Value = serde_json::from_str(&text).expect("JSON");
        let made = settings["Created"].as_str().expect("a date");
        let made: chrono::DateTime<chrono::Utc> = made.parse().expect("a date");
        settings["Created"] = json!(made - chrono::TimeDelta::minutes(minutes));
        std::fs::write(&path, settings.to_string()).expect("its settings");
    }
    engine.start_again().await.expect("an engine");
}

/// A session that holds a lock on a table, which every other statement on it waits for.
struct Held(PgConnection);

impl Held {
    async fn on(world: &World, lock: &'static str) -> Self {
        let mut session = PgConnection::connect(&world.url).await.expect("a session");
        sqlx::raw_sql("BEGIN")
            .execute(&mut session)
            .await
            .expect("begin");
        sqlx::raw_sql(lock).execute(&mut session).await.expect(lock);
        Self(session)
    }

    /// Does something under the lock, and lets go.
    async fn and(mut self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&mut self.0).await.expect(sql);
        sqlx::raw_sql("COMMIT")
            .execute(&mut self.0)
            .await
            .expect("commit");
    }
}

const AGENTS: &str = "LOCK TABLE milady_sandboxes IN ACCESS EXCLUSIVE MODE";
const JOBS: &str = "LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE";

/// What the log says of what was done last: action, result, reason.
async fn last_entry(world: &World) -> Value {
    sqlx::query_scalar(
        "SELECT jsonb_build_array(action, result, details -> 'reason') FROM admin_audit_log
        ORDER BY id DESC LIMIT 1",
    )
    .fetch_one(&world.pool)
    .await
    .expect("an entry")
}

/// Waits until something is so.
async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not come about");
}
