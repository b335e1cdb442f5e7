//! `/api/v1/milady/agents`

mod bridge;
mod create;
mod delete;
mod get;
mod list;
mod logs;
mod pairing;
mod restore;
mod snapshot;
mod start;
mod stream;
mod suspend;

use tests::World;
use tests::suite::{Request, Response};
use uuid::Uuid;

/// An agent that nobody can talk to, and why not.
struct Asleep {
    agent: Uuid,
    why: &'static str,
}

/// Agents in every state in which nobody can talk to them, on a host.
async fn asleep(world: &World, organization: Uuid) -> Vec<Asleep> {
    world
        .execute(
            "INSERT INTO docker_nodes (node_id, hostname, ssh_port) VALUES ('a', '127.0.0.1', 9)",
        )
        .await;
    let mut all = Vec::new();
    for (status, why) in [
        ("pending", "node_id = NULL"),
        (
            "provisioning",
            "node_id = 'a', container_name = 'c', bridge_port = 20000",
        ),
        ("stopped", "node_id = 'a'"),
        (
            "error",
            "node_id = 'a', container_name = 'c', bridge_port = 20001",
        ),
        (
            "disconnected",
            "node_id = 'a', container_name = 'c', bridge_port = 20002",
        ),
        // It was asked to stop: what is not charged for does not work.
        (
            "running",
            "node_id = 'a', container_name = 'c', bridge_port = 20003,
            stop_requested_at = billing_clock()",
        ),
        // It runs, and nobody knows where.
        ("running", "sandbox_id = 's'"),
        ("running", "node_id = 'a', container_name = 'c'"),
        (
            "running",
            "node_id = 'gone', container_name = 'c', bridge_port = 20004",
        ),
    ] {
        let agent = world.agent(organization, status).await;
        world.set(agent, why).await;
        all.push(Asleep { agent, why });
    }
    all
}

/// A running agent on a host at which nobody listens.
pub(super) async fn unreachable(world: &World, organization: Uuid) -> Uuid {
    world
        .execute(
            "INSERT INTO docker_nodes (node_id, hostname, ssh_port, ssh_user, host_key_fingerprint)
            VALUES ('n1', '127.0.0.1', 9, 'canary-user', 'SHA256:canary-fingerprint')",
        )
        .await;
    let agent = world.agent(organization, "running").await;
    let columns = "node_id = 'n1', container_name = 'canary-container', bridge_port = 24689,
        web_ui_port = 24688, bridge_url = 'http://canary-host.example:24689'";
    world.set(agent, columns).await;
    agent
}

/// The answer to a request about such an agent. Neither it nor what the function logs says where the
/// host is, who logs in there, or with what.
pub(super) async fn quiet(world: &World, name: &str, request: &Request) -> Response {
    // The key is read before a host is reached, so its path must be a real one.
    let path = std::env::temp_dir().join(format!("canary-key-{}", Uuid::new_v4()));
    std::fs::copy(tests::suite::ssh_key(), &path).expect("a copy of the key");
    let function = world
        .function(name)
        .with("LOG_LEVEL", "trace")
        .with("MILADY_SSH_KEY_PATH", path.to_str().expect("a path"));
    let instance = function.start().await;
    let outcome = instance
        .invoke(world.event(request), std::time::Duration::from_secs(29))
        .await;
    instance.kill().await;
    std::fs::remove_file(path).expect("the copy");
    let dev::runtime::Outcome::Success(answer) = outcome else {
        panic!("{outcome:?} {:#?}", instance.logs())
    };
    let mut lines = instance.logs();
    assert!(lines.iter().any(|line| line.contains("n1")), "{lines:#?}");
    lines.push(answer.to_string());
    for line in &lines {
        for word in ["canary", "127.0.0.1", "24689", "24688", "PRIVATE KEY"] {
            assert!(!line.contains(word), "{word} in {line}");
        }
    }
    Response(answer)
}
