//! `GET|POST|DELETE /api/v1/admin/docker-nodes/{nodeId}/drain`: what the drain of a host does, its beginning, and its end.

use lambda_http::http::Method;
use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::path::node_id;
use crate::api::body::{self, Fields};
use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::app::node::drain::{DrainPlan, node_drain, node_drain_cancel, node_drain_plan};
use crate::db::agents::moves::PlannedAgent;
use crate::domain::agent::AgentStatus;
use crate::domain::ids::{AgentId, OrganizationId, UserId};
use crate::domain::timestamp::Timestamp;
use crate::domain::withdrawal::{DEFAULT_MOVES_AT_ONCE, DrainFate, MAX_MOVES_AT_ONCE};

const PATH: &str = "/api/v1/admin/docker-nodes/{nodeId}/drain";

pub const PLAN_ROUTE: Route = Route {
    operation: "node-drain-plan",
    description: "Before a drain, what it would do with each agent, and what would stay behind; later, its progress.",
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Data<NodeDrainJson>>(
        200,
        "The plan and the progress.",
    )],
    refusals: &[404],
    ..Route::get("node-drain", PATH, Tag::Admin, "Get the plan of a drain")
};

pub const ROUTE: Route = Route {
    operation: "node-drain",
    description: "The host takes no agents from now on. Its running agents are stopped and started on other hosts with \
                  copies of their volumes, a few at the same time; they are not charged in between. An agent whose data \
                  cannot be copied within 10 minutes, or for which no other host has room, keeps running. Agents that \
                  stand still are left alone. A repeated request changes `movesAtOnce`.",
    caller: CallerKind::SuperAdmin,
    body: Some(RequestBody::optional::<NodeDrainRequest>(
        r#"{"movesAtOnce": 2}"#,
    )),
    responses: &[ResponseKind::json::<Data<NodeDrainJson>>(
        200,
        "The plan of the drain that has begun.",
    )],
    refusals: &[404, 409],
    ..Route::post("node-drain", PATH, Tag::Admin, "Drain a host")
};

pub const CANCEL_ROUTE: Route = Route {
    operation: "node-drain-cancel",
    description: "The host takes agents again if it did before. Agents that were moved stay where they are, and those that \
                  are stopped for their move are started on other hosts.",
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Data<NodeDrainJson>>(
        200,
        "What a drain would do now.",
    )],
    refusals: &[404, 409],
    ..Route::delete("node-drain", PATH, Tag::Admin, "Cancel a drain")
};

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct NodeDrainRequest {
    /// How many agents are moved at the same time; 2 by default.
    #[schemars(range(min = 1, max = MAX_MOVES_AT_ONCE))]
    moves_at_once: Option<i32>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NodeDrain")]
struct NodeDrainJson {
    #[schemars(length(min = 1))]
    node_id: String,
    /// Null if the host is not being drained.
    requested_at: Option<Timestamp>,
    requested_by: Option<UserId>,
    moves_at_once: Option<i32>,
    /// When no agent had a container on the host any more.
    done_at: Option<Timestamp>,
    /// How many agents this drain has moved.
    #[schemars(range(min = 0))]
    moved: i64,
    /// Agents whose rows name the host, and those that are being moved away, with a container there first.
    #[schemars(length(max = 1_000))]
    agents: Vec<DrainedAgentJson>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DrainedAgent")]
struct DrainedAgentJson {
    agent_id: AgentId,
    organization_id: OrganizationId,
    agent_name: Option<String>,
    status: AgentStatus,
    fate: DrainFate,
    last_backup_at: Option<Timestamp>,
    /// Why the agent's move waits or failed.
    error: Option<String>,
}

impl From<PlannedAgent> for DrainedAgentJson {
    fn from(agent: PlannedAgent) -> Self {
        Self {
            agent_id: agent.agent_id,
            organization_id: agent.organization_id,
            agent_name: agent.agent_name,
            status: agent.condition.status,
            fate: DrainFate::of(agent.condition),
            last_backup_at: agent.last_backup_at.map(Timestamp),
            error: agent.error,
        }
    }
}

impl NodeDrainJson {
    fn new(node_id: String, plan: DrainPlan) -> Self {
        let drain = plan.drain.as_ref();
        Self {
            node_id,
            requested_at: drain.map(|drain| Timestamp(drain.requested_at)),
            requested_by: drain.map(|drain| drain.requested_by),
            moves_at_once: drain.map(|drain| drain.moves_at_once),
            done_at: drain.and_then(|drain| drain.done_at).map(Timestamp),
            moved: plan.moves.moved,
            agents: plan
                .agents
                .into_iter()
                .map(DrainedAgentJson::from)
                .collect(),
        }
    }
}

/// # Errors
/// 400, 401, 403, 404, 409, 415, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let node_id = node_id(&request)?;
    match *request.method() {
        Method::POST => {
            let moves_at_once = read(body::optional_object(&request)?)?;
            node_drain(&deps.pool, admin.user_id, &node_id, moves_at_once).await?;
        }
        Method::DELETE => node_drain_cancel(&deps.pool, admin.user_id, &node_id).await?,
        _ => {}
    }
    let plan = node_drain_plan(&deps.pool, &node_id).await?;
    response::ok(NodeDrainJson::new(node_id, plan))
}

fn read(mut fields: Fields) -> Result<i32, Problem> {
    let rule = "must be a whole number from 1 to 20";
    let moves_at_once = fields.optional_integer("movesAtOnce", rule, 1..=MAX_MOVES_AT_ONCE);
    fields.finish()?;
    Ok(moves_at_once.unwrap_or(DEFAULT_MOVES_AT_ONCE))
}
