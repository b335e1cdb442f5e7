//! `/api/v1/milady/agents`

mod backup_download;
mod bridge;
mod changes;
mod create;
mod delete;
mod environment;
mod get;
mod jobs;
mod limits;
mod list;
mod logs;
mod operator_suspend;
mod pairing;
mod restore;
mod snapshot;
mod snapshot_limits;
mod start;
mod stream;
mod stream_limits;
mod suspend;

use tests::World;
use tests::suite::{Request, Response};
use uuid::Uuid;

fn retry_after(response: &Response) -> Option<&str> {
    response.header("retry-after")
}

/// An agent that cannot be called, and the columns that are the reason.
struct UncallableAgent {
    agent: Uuid,
    columns: &'static str,
}

/// Agents in every state in which they cannot be called.
async fn uncallable_agents(world: &World, organization: Uuid) -> Vec<UncallableAgent> {
    world
        .execute(
            "INSERT INTO docker_nodes (node_id, hostname, ssh_port) VALUES ('a', '127.0.0.1', 9)",
        )
        .await;
    let mut agents = Vec::new();
    for (status, columns) in [
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
        // A stop was requested: an agent that is not charged for does no work.
        (
            "running",
            "node_id = 'a', container_name = 'c', bridge_port = 20003,
            stop_requested_at = billing_clock()",
        ),
        // Its container's host or port is not known.
        ("running", "sandbox_id = 's'"),
        ("running", "node_id = 'a', container_name = 'c'"),
        (
            "running",
            "node_id = 'gone', container_name = 'c', bridge_port = 20004",
        ),
    ] {
        let agent = world.agent(organization, status).await;
        world.set_columns(agent, columns).await;
        agents.push(UncallableAgent { agent, columns });
    }
    agents
}

/// A running agent on the host `n1`, on which nothing listens.
pub(super) async fn agent_on_unreachable_host(world: &World, organization: Uuid) -> Uuid {
    world
        .execute(
            "INSERT INTO docker_nodes (node_id, hostname, ssh_port, ssh_user, host_key_fingerprint)
            VALUES ('n1', '127.0.0.1', 9, 'canary-user', 'SHA256:canary-fingerprint')",
        )
        .await;
    let agent = world.agent(organization, "running").await;
    let columns = "node_id = 'n1', container_name = 'canary-container', bridge_port = 24689,
        web_ui_port = 24688, bridge_url = 'http://canary-host.example:24689'";
    world.set_columns(agent, columns).await;
    agent
}

/// Sends a request about such an agent. Checks that neither the response nor the function's log holds the host's
/// address, user or key.
pub(super) async fn call_without_leak(world: &World, name: &str, request: &Request) -> Response {
    // The key file is read before the host is connected to, so it must exist.
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
        // A time or an identifier may hold the digits of a port.
        let ports =
            ["24689", "24688"].map(|port| [":", " ", "="].map(|sign| sign.to_owned() + port));
        for word in ["canary", "127.0.0.1", "PRIVATE KEY"] {
            assert!(!line.contains(word), "{word} in {line}");
        }
        for word in ports.as_flattened() {
            assert!(!line.contains(word), "{word} in {line}");
        }
    }
    Response(answer)
}
