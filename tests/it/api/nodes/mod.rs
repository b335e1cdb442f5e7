//! `/api/v1/admin/docker-nodes`

mod addresses;
mod check;
mod drain;
mod get;
mod keys;
mod list;
mod lost;
mod probe;
mod register;
mod remove;
mod sync;
mod update;

use std::path::Path;

use serde_json::{Value, json};
use tests::suite::{Request, Response};
use tests::{World, run};
use uuid::Uuid;

const NODES: &str = "/api/v1/admin/docker-nodes";

/// A world whose functions log in to hosts with this key.
async fn world_with_ssh_key(key: &Path) -> World {
    let mut world = World::new().await;
    let path = key.to_str().expect("a path").to_owned();
    world
        .settings
        .insert("MILADY_SSH_KEY_PATH".to_owned(), path);
    world
}

/// Registers the host `n1`, on which nothing listens.
async fn register_closed_host(world: &World) {
    world
        .execute(
            "INSERT INTO docker_nodes (node_id, hostname, ssh_port, created_at, updated_at)
            VALUES ('n1', '127.0.0.1', 9, billing_clock(), billing_clock())",
        )
        .await;
}

async fn register(world: &World, key: &str, body: &Value) -> Response {
    world.post_json(key, NODES, body).await
}

async fn update(world: &World, key: &str, node: &str, body: &Value) -> Response {
    let request = Request::new("PATCH", &format!("{NODES}/{node}"));
    world.call(request.key(key).json(body)).await
}

async fn remove(world: &World, key: &str, node: &str) -> Response {
    let request = Request::new("DELETE", &format!("{NODES}/{node}"));
    world.call(request.key(key)).await
}

async fn health_check(world: &World, key: &str, node: &str) -> Response {
    world
        .post(key, &format!("{NODES}/{node}/health-check"))
        .await
}

async fn host_rows(world: &World) -> Vec<Value> {
    sqlx::query_scalar("SELECT to_jsonb(n) - 'id' FROM docker_nodes n ORDER BY node_id")
        .fetch_all(&world.pool)
        .await
        .expect("hosts")
}

async fn audit_entries(world: &World) -> Vec<Value> {
    sqlx::query_scalar(
        "SELECT jsonb_build_object('action', action, 'subject', subject, 'details', details,
            'result', result) FROM admin_audit_log ORDER BY id",
    )
    .fetch_all(&world.pool)
    .await
    .expect("the log")
}

/// Creates an agent with this status and these columns.
async fn agent_with(
    world: &World,
    organization: Uuid,
    status: &str,
    columns: &'static str,
) -> Uuid {
    let agent = world.agent(organization, status).await;
    world.set_columns(agent, columns).await;
    agent
}

fn status_and_error(answer: &Response) -> (u64, String) {
    let text = answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status(), text)
}

#[test]
fn only_super_admins_may_call_the_host_routes() {
    run(async {
        let world = World::new().await;
        register_closed_host(&world).await;
        let before = host_rows(&world).await;
        let (_, owner) = world.tenant("0").await;
        let (with_wallet, wallet) = world.tenant("0").await;
        sqlx::query("UPDATE users SET wallet_address = '0xabc' WHERE organization_id = $1")
            .bind(with_wallet)
            .execute(&world.pool)
            .await
            .expect("a wallet");
        let (moderators, moderator) = world.tenant("0").await;
        world.make_admin(moderators, "moderator").await;
        let (viewers, viewer) = world.tenant("0").await;
        world.make_admin(viewers, "viewer").await;
        for (method, path, body) in [
            ("GET", NODES.to_owned(), None),
            (
                "POST",
                NODES.to_owned(),
                Some(json!({"nodeId": "n2", "hostname": "127.0.0.1", "sshPort": 9})),
            ),
            ("GET", format!("{NODES}/n1"), None),
            (
                "PATCH",
                format!("{NODES}/n1"),
                Some(json!({"enabled": false})),
            ),
            ("DELETE", format!("{NODES}/n1"), None),
            ("POST", format!("{NODES}/n1/health-check"), None),
            (
                "POST",
                format!("{NODES}/n1/lost"),
                Some(json!({"nodeId": "n1"})),
            ),
            ("DELETE", format!("{NODES}/n1/lost"), None),
            ("GET", format!("{NODES}/n1/drain"), None),
            ("POST", format!("{NODES}/n1/drain"), None),
            ("DELETE", format!("{NODES}/n1/drain"), None),
            ("POST", format!("{NODES}/sync"), None),
            (
                "POST",
                format!("{NODES}/probe"),
                Some(json!({"hostname": "127.0.0.1", "sshPort": 9})),
            ),
            // An unknown host gets the same answer, so that nobody can find out which hosts exist.
            ("GET", format!("{NODES}/none"), None),
        ] {
            let request = Request::new(method, &path);
            let request = body.iter().fold(request, Request::json);
            let nobody = world.call(request.clone()).await;
            assert_eq!(nobody.status(), 401, "{method} {path}");
            for (key, status) in [
                (&owner, 403),
                (&wallet, 403),
                (&moderator, 403),
                (&viewer, 403),
            ] {
                let answer = world.call(request.clone().key(key)).await;
                assert_eq!(answer.status(), status, "{method} {path}");
                assert!(!answer.text().contains("127.0.0.1"), "{method} {path}");
            }
        }
        assert_eq!(host_rows(&world).await, before);
        assert_eq!(audit_entries(&world).await, Vec::<Value>::new());
    });
}
