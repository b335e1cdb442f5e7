//! `POST /api/v1/milady/agents/{agentId}/provision`.

use std::time::{Duration, Instant};

use lambda_http::{Body, Request, Response};
use serde_json::json;
use uuid::Uuid;

use super::start::{self, Deps};
use super::view;
use crate::api::auth::Caller;
use crate::api::problem::Problem;
use crate::api::{json, list};
use crate::app::agent_start::{Started, Work};
use crate::db::jobs::job_find;
use crate::lambda::Invocation;

/// How long `sync=true` waits for the job.
const WAIT: Duration = Duration::from_secs(20);
/// How often it looks.
const EVERY: Duration = Duration::from_millis(250);

/// Starts an agent. With `sync=true` it waits for the end of the job, within limits, and answers the
/// agent once it runs.
///
/// # Errors
/// 400, 401, 402, 403, 404, 409, 422, 503.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let sync = match list::parameter(&request, "sync").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::field("sync", "must be true or false")),
    };
    let begun = start::begin(deps, &request, "agent-provision", &invocation).await?;
    let (caller, agent_id, started) = begun;
    match started {
        Started::Running => running(deps, &caller, agent_id).await,
        Started::InProgress(work) => {
            let data = start::data(agent_id, &work);
            start::answer(false, start::busy(&work), &data, work.job_id)
        }
        Started::Enqueued(mut work) => {
            if sync && wait(deps, &caller, &mut work).await? {
                return running(deps, &caller, agent_id).await;
            }
            let data = start::data(agent_id, &work);
            start::answer(
                true,
                "Agent provisioning has been queued",
                &data,
                work.job_id,
            )
        }
    }
}

async fn running(deps: &Deps, caller: &Caller, agent_id: Uuid) -> Result<Response<Body>, Problem> {
    let agent = deps.agent(caller, agent_id).await?;
    let address = view::address(&agent, deps.domain.as_deref());
    let data = json!({
        "id": agent.id, "agentName": agent.agent_name, "status": agent.status,
        "bridgeUrl": address, "healthUrl": address,
    });
    json::ok(&json!({"success": true, "data": data}))
}

/// Waits for the job; true if it was completed.
async fn wait(deps: &Deps, caller: &Caller, work: &mut Work) -> Result<bool, Problem> {
    let until = Instant::now() + WAIT;
    while Instant::now() < until {
        tokio::time::sleep(EVERY).await;
        let mut conn = deps.pool.acquire().await?;
        let job = job_find(&mut conn, caller.organization_id, work.job_id).await?;
        let Some(job) = job else { break };
        work.status = job.status;
        match work.status.as_str() {
            "completed" => return Ok(true),
            "failed" => break,
            _ => {}
        }
    }
    Ok(false)
}
