//! What suspend and update share: both stop an agent and keep its state.

use lambda_http::{Body, Response};
use serde_json::json;

use super::job::polling;
use crate::api::deps::StopDeps;
use crate::api::problem::Problem;
use crate::api::response;
use crate::app::agent::suspend::{Suspended, agent_suspend};
use crate::app::idempotency::IdempotencyKey;
use crate::domain::ids::AgentRef;

/// Stops the agent. `action` is the client's word for it and stands in the response.
pub(super) async fn stop(
    deps: &StopDeps,
    agent: AgentRef,
    action: &str,
    key: IdempotencyKey,
) -> Result<Response<Body>, Problem> {
    let data = |message: &str, previous_status: &str| {
        json!({
            "agentId": agent.agent_id, "action": action, "message": message,
            "previousStatus": previous_status,
        })
    };
    match agent_suspend(deps.for_app(), agent, key).await? {
        Suspended::AlreadyStopped => {
            let message = if action == "shutdown" {
                "Agent is already stopped"
            } else {
                "Agent is already suspended"
            };
            response::ok(&json!({"success": true, "data": data(message, "stopped")}))
        }
        Suspended::WithoutJob { previous_status } => {
            let data = data("Agent suspended", &previous_status);
            response::ok(&json!({"success": true, "data": data}))
        }
        Suspended::Stopped {
            previous_status,
            is_state_saved,
        } => {
            let message = match is_state_saved {
                Some(true) => "Agent suspended with snapshot",
                Some(false) => {
                    "Agent suspended; its state could not be read and is kept on its host"
                }
                None => "Agent suspended",
            };
            response::ok(&json!({"success": true, "data": data(message, &previous_status)}))
        }
        Suspended::Enqueued {
            job_id,
            previous_status,
        } => {
            let message = "The agent will be stopped as soon as its host answers";
            let mut data = data(message, &previous_status);
            data["jobId"] = json!(job_id);
            response::accepted(&json!({
                "success": true, "message": message, "data": data, "polling": polling(job_id),
            }))
        }
    }
}
