//! `POST /api/v1/admin/docker-nodes/{nodeId}/health-check`: inspects a host now.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::json;

use super::node_id;
use crate::api::deps::HostDeps;
use crate::api::problem::Problem;
use crate::api::response;
use crate::app::node::check::node_check;
use crate::domain::fleet::{
    ContainerState, DEGRADED_DISK_PERCENT, EngineObservation, HostInspection,
};
use crate::domain::timestamp::Timestamp;

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checks {
    ssh: Ssh,
    docker: Engine,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_usage: Option<DiskUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    containers: Option<Containers>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ssh {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Engine {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct DiskUsage {
    ok: bool,
    used_percent: u64,
}

/// Of the containers that this product made.
#[derive(Debug, PartialEq, Serialize)]
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
    let data = json!({
        "nodeId": node_id, "hostname": check.hostname, "status": check.status,
        "previousStatus": check.previous_status, "newStatus": check.status,
        "checks": checks(&check.inspection), "checkedAt": Timestamp(check.checked_at),
    });
    response::ok(&json!({"success": true, "data": data}))
}

fn checks(inspection: &HostInspection) -> Checks {
    let observation = inspection.observation().ok();
    let (engine, error) = match inspection.engine() {
        Ok(engine) => (Some(engine), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let disk_used_percent = observation.and_then(|host| host.facts.disk_used_percent);
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
    }
}

fn containers(engine: &EngineObservation) -> Containers {
    let labelled = || {
        let containers = engine.containers.iter();
        containers.filter(|container| container.is_labelled())
    };
    let running = labelled().filter(|container| container.state() == ContainerState::Running);
    Containers {
        running: running.count(),
        total: labelled().count(),
    }
}
