//! `POST /api/v1/admin/docker-containers/audit`: compares the containers on the hosts with the rows. It changes
//! nothing.

use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};

use crate::api::admin::fleet_view::UnclaimedContainerView;
use crate::api::deps::HostDeps;
use crate::api::problem::Problem;
use crate::api::response;
use crate::app::container::audit::{FleetAudit, HostAudit, container_audit};
use crate::domain::timestamp::Timestamp;

/// A host that does not answer is part of the result, with its error.
///
/// # Errors
/// 401, 403, 503.
pub async fn handle(deps: &HostDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let audit = container_audit(&deps.pool, &deps.hosts).await?;
    response::ok(&json!({"success": true, "data": audit_json(&audit)}))
}

fn audit_json(audit: &FleetAudit) -> Value {
    let hosts = || audit.hosts.iter();
    let with_unclaimed = hosts().filter(|host| !host.unclaimed_containers.is_empty());
    let unclaimed = with_unclaimed.map(|host| {
        let containers = host.unclaimed_containers.iter();
        let names: Vec<&str> = containers
            .map(|container| container.name.as_str())
            .collect();
        json!({"nodeId": host.node_id, "hostname": host.hostname, "names": names})
    });
    let total_unclaimed: usize = hosts().map(|host| host.unclaimed_containers.len()).sum();
    let total_missing: usize = hosts().map(|host| host.missing_containers.len()).sum();
    json!({
        "nodesChecked": hosts().filter(|host| host.error.is_none()).count(),
        "ghostContainers": unclaimed.collect::<Vec<_>>(),
        "orphanRecords": hosts().flat_map(missing_json).collect::<Vec<_>>(),
        "totalGhostContainers": total_unclaimed,
        "totalOrphanRecords": total_missing,
        "nodes": hosts().map(host_json).collect::<Vec<_>>(),
        "auditedAt": Timestamp(audit.audited_at),
    })
}

fn host_json(host: &HostAudit) -> Value {
    let unclaimed = host.unclaimed_containers.iter();
    let unclaimed: Vec<_> = unclaimed.map(UnclaimedContainerView::from).collect();
    json!({
        "nodeId": host.node_id, "read": host.error.is_none(),
        "error": host.error.map(|error| error.to_string()),
        "ghosts": unclaimed, "orphans": missing_json(host),
    })
}

fn missing_json(host: &HostAudit) -> Vec<Value> {
    let missing = host.missing_containers.iter();
    missing
        .map(|missing| json!({"id": missing.agent_id, "containerName": missing.container_name}))
        .collect()
}
