//! `POST /api/v1/milady/agents/{agentId}/suspend`.

use lambda_http::{Body, Request, Response};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::start::polling;
use crate::api::auth::Auth;
use crate::api::problem::Problem;
use crate::api::{idempotency, json, path};
use crate::app::agent::stop::{Ports, Suspended, agent_suspend};
use crate::app::idempotency::Repeatable;
use crate::events::Publisher;
use crate::lambda::Invocation;

/// What the routes that stop an agent need.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
    /// Who is told that a job is due.
    pub publisher: Publisher,
}

impl Deps {
    /// What stopping takes.
    #[must_use]
    pub fn ports(&self) -> Ports<'_> {
        Ports {
            pool: &self.pool,
            publisher: &self.publisher,
        }
    }
}

/// Stops an agent and keeps what it needs to go on later.
///
/// # Errors
/// 400, 401, 403, 404, 409, 422, 503.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent_id = path::uuid(&request, "agentId")?;
    let repeatable = idempotency::optional(&request, &caller, "agent-suspend", &invocation)?;
    let agent = (caller.organization_id, agent_id);
    suspend(deps, agent, "suspend", repeatable).await
}

/// Stops it and answers under the name of the action that was asked for.
pub(super) async fn suspend(
    deps: &Deps,
    agent: (Uuid, Uuid),
    action: &str,
    repeatable: Repeatable,
) -> Result<Response<Body>, Problem> {
    let (_, agent_id) = agent;
    let data = |message: &str, previous: &str| {
        json!({
            "agentId": agent_id, "action": action, "message": message, "previousStatus": previous,
        })
    };
    match agent_suspend(deps.ports(), agent, repeatable).await? {
        Suspended::Already => {
            let message = if action == "shutdown" {
                "Agent is already stopped"
            } else {
                "Agent is already suspended"
            };
            json::ok(&json!({"success": true, "data": data(message, "stopped")}))
        }
        Suspended::Done(previous) => {
            json::ok(&json!({"success": true, "data": data("Agent suspended", &previous)}))
        }
        Suspended::Stopped(previous, saved) => {
            let message = match saved {
                Some(true) => "Agent suspended with snapshot",
                Some(false) => {
                    "Agent suspended; its state could not be read and is kept on its host"
                }
                None => "Agent suspended",
            };
            json::ok(&json!({"success": true, "data": data(message, &previous)}))
        }
        Suspended::Enqueued(job_id, previous) => {
            let message = "The agent will be stopped as soon as its host answers";
            let mut data = data(message, &previous);
            data["jobId"] = json!(job_id);
            json::accepted(&json!({
                "success": true, "message": message, "data": data, "polling": polling(job_id),
            }))
        }
    }
}
