//! `POST /api/v1/admin/docker-containers/audit`: compares the containers on the hosts with the rows. It changes
//! nothing.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::admin::fleet_view::UnclaimedContainerView;
use crate::api::deps::HostDeps;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::app::container::audit::{FleetAudit, HostAudit, container_audit};
use crate::domain::ids::AgentId;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    description: "Every enabled host is asked, within 20 seconds. A host that does not answer is listed with its \
                  error. Nothing is changed.",
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Data<ContainerAudit<'static>>>(
        200,
        "The differences.",
    )],
    ..Route::post(
        "container-audit",
        "/api/v1/admin/docker-containers/audit",
        Tag::Admin,
        "Compare the containers on the hosts with the database",
    )
};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ContainerAudit<'a> {
    /// The number of hosts that were read.
    nodes_checked: usize,
    ghost_containers: Vec<HostGhosts<'a>>,
    orphan_records: Vec<OrphanRecord<'a>>,
    total_ghost_containers: usize,
    total_orphan_records: usize,
    /// All enabled hosts, also those that were not read.
    nodes: Vec<AuditedHost<'a>>,
    audited_at: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct HostGhosts<'a> {
    node_id: &'a str,
    hostname: &'a str,
    #[schemars(length(min = 1))]
    names: Vec<&'a str>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct AuditedHost<'a> {
    node_id: &'a str,
    hostname: &'a str,
    read: bool,
    /// Why the host was not read.
    error: Option<String>,
    /// The names of the containers that no row claims.
    ghost_containers: Vec<&'a str>,
    /// The same containers, described.
    ghosts: Vec<UnclaimedContainerView<'a>>,
    orphan_records: Vec<OrphanRecord<'a>>,
}

/// An agent whose row names a container on a host that was read and does not have it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct OrphanRecord<'a> {
    id: AgentId,
    container_name: &'a str,
}

/// A host that does not answer is part of the result, with its error.
///
/// # Errors
/// 401, 403, 503.
pub async fn handle(deps: &HostDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let audit = container_audit(&deps.pool, &deps.hosts).await?;
    response::ok(ContainerAudit::from(&audit))
}

impl<'a> From<&'a FleetAudit> for ContainerAudit<'a> {
    fn from(audit: &'a FleetAudit) -> Self {
        let hosts = || audit.hosts.iter();
        let with_unclaimed = hosts().filter(|host| !host.unclaimed_containers.is_empty());
        let unclaimed = with_unclaimed.map(|host| HostGhosts {
            node_id: &host.node_id,
            hostname: &host.hostname,
            names: unclaimed_names(host),
        });
        Self {
            nodes_checked: hosts().filter(|host| host.error.is_none()).count(),
            ghost_containers: unclaimed.collect(),
            orphan_records: hosts().flat_map(orphan_records).collect(),
            total_ghost_containers: hosts().map(|host| host.unclaimed_containers.len()).sum(),
            total_orphan_records: hosts().map(|host| host.missing_containers.len()).sum(),
            nodes: hosts().map(Into::into).collect(),
            audited_at: Timestamp(audit.audited_at),
        }
    }
}

impl<'a> From<&'a HostAudit> for AuditedHost<'a> {
    fn from(host: &'a HostAudit) -> Self {
        let unclaimed = host.unclaimed_containers.iter();
        Self {
            node_id: &host.node_id,
            hostname: &host.hostname,
            read: host.error.is_none(),
            error: host.error.map(|error| error.to_string()),
            ghost_containers: unclaimed_names(host),
            ghosts: unclaimed.map(Into::into).collect(),
            orphan_records: orphan_records(host).collect(),
        }
    }
}

fn unclaimed_names(host: &HostAudit) -> Vec<&str> {
    let unclaimed = host.unclaimed_containers.iter();
    unclaimed.map(|container| container.name.as_str()).collect()
}

fn orphan_records(host: &HostAudit) -> impl Iterator<Item = OrphanRecord<'_>> {
    let missing = host.missing_containers.iter();
    missing.map(|missing| OrphanRecord {
        id: missing.agent_id,
        container_name: &missing.container_name,
    })
}
