//! `POST /api/v1/admin/docker-containers/audit`: what is on the hosts against what the rows say.

use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};

use super::ReachDeps;
use crate::api::json;
use crate::api::json::Date;
use crate::api::problem::Problem;
use crate::app::container::audit::{Audit, NodeAudit, container_audit};

/// Asks the hosts and answers what does not fit. Of hosts that did not answer it says so.
///
/// # Errors
/// 401, 403, 503.
pub async fn handle(deps: &ReachDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let audit = container_audit(&deps.pool, &deps.fleet).await?;
    json::ok(&json!({"success": true, "data": shown(&audit)}))
}

fn shown(audit: &Audit) -> Value {
    let nodes = || audit.nodes.iter();
    let ghosts = nodes().filter(|node| !node.ghosts.is_empty()).map(|node| {
        let names: Vec<&str> = node
            .ghosts
            .iter()
            .map(|ghost| ghost.name.as_str())
            .collect();
        json!({"nodeId": node.node_id, "hostname": node.hostname, "names": names})
    });
    json!({
        "nodesChecked": nodes().filter(|node| node.error.is_none()).count(),
        "ghostContainers": ghosts.collect::<Vec<_>>(),
        "orphanRecords": nodes().flat_map(orphans).collect::<Vec<_>>(),
        "totalGhostContainers": nodes().map(|node| node.ghosts.len()).sum::<usize>(),
        "totalOrphanRecords": nodes().map(|node| node.orphans.len()).sum::<usize>(),
        "nodes": nodes().map(node).collect::<Vec<_>>(),
        "auditedAt": Date(audit.audited_at),
    })
}

fn node(node: &NodeAudit) -> Value {
    json!({
        "nodeId": node.node_id, "read": node.error.is_none(), "error": node.error,
        "ghosts": node.ghosts, "orphans": orphans(node),
    })
}

fn orphans(node: &NodeAudit) -> Vec<Value> {
    let orphans = node.orphans.iter();
    orphans
        .map(|orphan| json!({"id": orphan.id, "containerName": orphan.container_name}))
        .collect()
}
