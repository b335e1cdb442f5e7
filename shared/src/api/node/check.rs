//! `POST /api/v1/admin/docker-nodes/{nodeId}/health-check`: inspects a host now.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::path::node_id;
use crate::api::deps::HostDeps;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::app::node::check::node_check;
use crate::domain::fleet::{
    ContainerState, DEGRADED_DISK_PERCENT, EngineObservation, HostInspection, HostObservation,
    HostStatus, PacketFilter,
};
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    description: "Takes ten seconds at most, records the host's status, and pins its key if none is pinned. A host is \
                  `degraded` if Docker cannot be read or the disk is at least 90 % full, and `offline` if we cannot \
                  log in. `isolation` says whether agents are kept away from each other, from the host and from \
                  private networks. A healthy host that was set aside, because starts on it failed, takes agents \
                  again.",
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Data<NodeCheck>>(
        200,
        "The result of the inspection.",
    )],
    refusals: &[404],
    ..Route::post(
        "node-check",
        "/api/v1/admin/docker-nodes/{nodeId}/health-check",
        Tag::Admin,
        "Inspect a host now",
    )
};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct NodeCheck {
    #[schemars(length(min = 1))]
    node_id: String,
    hostname: String,
    status: HostStatus,
    previous_status: HostStatus,
    new_status: HostStatus,
    checks: Checks,
    checked_at: Timestamp,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Checks {
    ssh: Ssh,
    docker: Engine,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DiskUsage")]
    disk_usage: Option<DiskUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Containers")]
    containers: Option<Containers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Isolation")]
    isolation: Option<Isolation>,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Ssh {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    latency_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    error: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
struct Engine {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    error: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct DiskUsage {
    ok: bool,
    /// Of the fuller of the root file system and the one that holds Docker's data.
    used_percent: u64,
}

/// Whether agents are kept away from each other, from the host and from private networks.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
struct Isolation {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    error: Option<String>,
}

/// Containers of agents.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
struct Containers {
    running: usize,
    total: usize,
}

/// # Errors
/// 401, 403, 404, 503.
pub async fn handle(deps: &HostDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let node_id = node_id(&request)?;
    let check = Box::pin(node_check(&deps.pool, &deps.hosts, &node_id)).await?;
    response::ok(NodeCheck {
        node_id,
        hostname: check.hostname,
        status: check.status,
        previous_status: check.previous_status,
        new_status: check.status,
        checks: checks(&check.inspection),
        checked_at: Timestamp(check.checked_at),
    })
}

fn checks(inspection: &HostInspection) -> Checks {
    let observation = inspection.observation().ok();
    let (engine, error) = match inspection.engine() {
        Ok(engine) => (Some(engine), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let disk_used_percent = observation.and_then(|host| host.facts.fuller_disk_used_percent());
    Checks {
        ssh: Ssh {
            ok: observation.is_some(),
            latency_ms: observation.map(|host| host.latency_ms),
            error: error.clone().filter(|_| observation.is_none()),
        },
        docker: Engine {
            ok: engine.is_some(),
            version: engine.and_then(|engine| engine.version.clone()),
            error,
        },
        disk_usage: disk_used_percent.map(|used_percent| DiskUsage {
            ok: used_percent < DEGRADED_DISK_PERCENT,
            used_percent,
        }),
        containers: engine.map(containers),
        isolation: observation.and_then(isolation),
    }
}

/// `None` if nothing was read about it.
fn isolation(host: &HostObservation) -> Option<Isolation> {
    let gap = host.isolation_gap();
    if gap.is_none() && host.facts.packet_filter == PacketFilter::Unknown {
        return None;
    }
    Some(Isolation {
        ok: gap.is_none(),
        error: gap.map(|gap| gap.to_string()),
    })
}

fn containers(engine: &EngineObservation) -> Containers {
    let agent_containers = || {
        let containers = engine.containers.iter();
        containers.filter(|container| container.is_agent_container())
    };
    let running =
        agent_containers().filter(|container| container.state() == ContainerState::Running);
    Containers {
        running: running.count(),
        total: agent_containers().count(),
    }
}
