//! What suspend and update share: both stop an agent and keep its state.

use lambda_http::{Body, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::job::Pending;
use crate::api::deps::StopDeps;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{JOB_LINK, ResponseKind};
use crate::api::schema::schemas;
use crate::app::agent::suspend::{Suspended, agent_suspend};
use crate::app::idempotency::IdempotencyKey;
use crate::domain::agent::AgentStatus;
use crate::domain::ids::{AgentId, AgentRef, JobId};
use crate::domain::words::words;

pub(super) const RESPONSES: &[ResponseKind] = &[
    ResponseKind::json::<Data<StoppedAgent>>(
        200,
        "The agent is stopped. The message says \"with snapshot\" only if the state was saved. A state that could \
         not be read stays on the agent's host.",
    ),
    ResponseKind::json::<Pending<StopJob>>(
        202,
        "The agent's host did not answer in time. A job will stop the agent.",
    )
    .with_links(&[JOB_LINK]),
];

words! {
    /// The client's word for a stop.
    pub enum StopAction {
        Shutdown = "shutdown",
        Suspend = "suspend",
    }
}

schemas! {
    StopAction, "StopAction", crate::api::schema::words(Self::ALL, |action| action.as_str());
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub(super) struct StoppedAgent {
    agent_id: AgentId,
    action: StopAction,
    message: &'static str,
    #[schemars(with = "AgentStatus")]
    previous_status: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub(super) struct StopJob {
    #[serde(flatten)]
    agent: StoppedAgent,
    job_id: JobId,
}

/// Stops the agent. The response repeats the action.
pub(super) async fn stop(
    deps: &StopDeps,
    agent: AgentRef,
    action: StopAction,
    key: IdempotencyKey,
) -> Result<Response<Body>, Problem> {
    let stopped = |message, previous_status| StoppedAgent {
        agent_id: agent.agent_id,
        action,
        message,
        previous_status,
    };
    let (message, previous_status) = match agent_suspend(deps.for_app(), agent, key).await? {
        Suspended::AlreadyStopped => {
            let message = match action {
                StopAction::Shutdown => "Agent is already stopped",
                StopAction::Suspend => "Agent is already suspended",
            };
            (message, AgentStatus::Stopped.as_str().to_owned())
        }
        Suspended::WithoutJob { previous_status } => ("Agent suspended", previous_status),
        Suspended::Stopped {
            previous_status,
            is_state_saved,
        } => {
            let message = match is_state_saved {
                Some(true) => "Agent suspended with snapshot",
                Some(false) => {
                    "Agent suspended; its state could not be saved and is kept on its host"
                }
                None => "Agent suspended",
            };
            (message, previous_status)
        }
        Suspended::Enqueued {
            job_id,
            previous_status,
        } => {
            let message = "The agent will be stopped as soon as its host answers";
            let agent = stopped(message, previous_status);
            let data = StopJob { agent, job_id };
            return response::with_status(202, &Pending::new(message, data, job_id));
        }
    };
    response::ok(stopped(message, previous_status))
}
