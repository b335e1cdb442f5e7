//! `/api/v1/admin/docker-nodes`

mod addresses;
mod check;
mod get;
mod keys;
mod list;
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

/// The key of a super admin.
async fn operator(world: &World) -> String {
    let (organization, key) = world.tenant("0").await;
    world.make_admin(organization, "super_admin").await;
    key
}

/// A world whose functions have this key to hosts.
async fn world_with_key(key: &Path) -> World {
    let mut world = World::new().await;
    let path = key.to_str().expect("a path").to_owned();
    world
        .settings
        .insert("MILADY_SSH_KEY_PATH".to_owned(), path);
    world
}

/// A host `n1` at which nobody listens.
async fn closed_host(world: &World) {
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

async fn look(world: &World, key: &str, node: &str) -> Response {
    world
        .post(key, &format!("{NODES}/{node}/health-check"))
        .await
}

/// The rows of all hosts.
async fn stored(world: &World) -> Vec<Value> {
    sqlx::query_scalar("SELECT to_jsonb(n) - 'id' FROM docker_nodes n ORDER BY node_id")
        .fetch_all(&world.pool)
        .await
        .expect("hosts")
}

/// What the log of what admins did says of hosts.
async fn logged(world: &World) -> Vec<Value> {
    sqlx::query_scalar(
        "SELECT jsonb_build_object('action', action, 'subject', subject, 'details', details,
            'result', result) FROM admin_audit_log ORDER BY id",
    )
    .fetch_all(&world.pool)
    .await
    .expect("the log")
}

/// An agent in this status whose row says this.
async fn agent_on(world: &World, organization: Uuid, status: &str, columns: &'static str) -> Uuid {
    let agent = world.agent(organization, status).await;
    world.set(agent, columns).await;
    agent
}

fn error(answer: &Response) -> (u64, String) {
    let text = answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status(), text)
}

#[test]
fn nobody_but_a_super_admin_sees_or_changes_a_host() {
    run(async {
        let world = World::new().await;
        closed_host(&world).await;
        let before = stored(&world).await;
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
            ("POST", format!("{NODES}/sync"), None),
            // Who may not see hosts does not learn which there are.
            ("GET", format!("{NODES}/none"), None),
        ] {
            let request = Request::new(method, &path);
            let request = body.iter().fold(request, Request::json);
            let nobody = world.call(request.clone()).await;
            assert_eq!(nobody.status(), 401, "{method} {path}");
            for (key, status) in [
                (&owner, 401),
                (&wallet, 403),
                (&moderator, 403),
                (&viewer, 403),
            ] {
                let answer = world.call(request.clone().key(key)).await;
                assert_eq!(answer.status(), status, "{method} {path}");
                assert!(!answer.text().contains("127.0.0.1"), "{method} {path}");
            }
        }
        assert_eq!(stored(&world).await, before);
        assert_eq!(logged(&world).await, Vec::<Value>::new());
    });
}
