//! `POST /api/v1/admin/docker-nodes/{nodeId}/health-check`: looks at a host, now.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::json;

use super::{ReachDeps, node_id};
use crate::api::json::{self, Date};
use crate::api::problem::Problem;
use crate::app::node::check::node_check;
use crate::domain::fleet::{DEGRADED_DISK, Docker, Reading};
use crate::domain::observation::ContainerState;

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
    error: Option<&'static str>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Engine {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct DiskUsage {
    ok: bool,
    used_percent: u64,
}

/// Those of ours.
#[derive(Debug, PartialEq, Serialize)]
struct Containers {
    running: usize,
    total: usize,
}

/// Looks at a host.
///
/// # Errors
/// 401, 403, 404, 503.
pub async fn handle(deps: &ReachDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let node_id = node_id(&request)?;
    let checked = Box::pin(node_check(&deps.pool, &deps.fleet, &node_id)).await?;
    let data = json!({
        "nodeId": node_id, "hostname": checked.hostname, "status": checked.status,
        "previousStatus": checked.before, "newStatus": checked.status,
        "checks": checks(&checked.reading), "checkedAt": Date(checked.at),
    });
    json::ok(&json!({"success": true, "data": data}))
}

fn checks(reading: &Reading) -> Checks {
    let visit = match reading {
        Reading::Reached(visit) => Some(visit),
        Reading::Refused { .. } | Reading::NotInspected => None,
    };
    let docker = reading.docker();
    let error = docker.as_ref().err().map(|why| why.sentence());
    let docker = docker.ok();
    let disk = visit.and_then(|visit| visit.facts.disk_used_percent);
    Checks {
        ssh: Ssh {
            ok: visit.is_some(),
            latency_ms: visit.map(|visit| visit.latency_ms),
            error: error.filter(|_| visit.is_none()),
        },
        docker: Engine {
            ok: docker.is_some(),
            version: docker.and_then(|docker| docker.version.clone()),
            error,
        },
        disk_usage: disk.map(|used_percent| DiskUsage {
            ok: used_percent < DEGRADED_DISK,
            used_percent,
        }),
        containers: docker.map(containers),
    }
}

fn containers(docker: &Docker) -> Containers {
    let ours = || docker.containers.iter().filter(|found| found.is_ours());
    let runs = ours().filter(|found| found.state() == ContainerState::Running);
    Containers {
        running: runs.count(),
        total: ours().count(),
    }
}
