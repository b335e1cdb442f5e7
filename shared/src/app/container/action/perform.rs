//! Performing an operator's action on a host. Owns: that the rows which decide are read after the container was
//! observed, and that the action addresses the observed container by its id. A name could belong to another container
//! by then.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::request::{ActionDeps, ActionRequest, ActionResult, PULL_TIMEOUT};
use crate::app::agent::logs::read_log;
use crate::app::error::{AgentFault, RequestError};
use crate::app::host_access::{Host, registry_account};
use crate::db;
use crate::db::Database;
use crate::db::agents::operator::ContainerAgent;
use crate::domain::agent::StatusConflict;
use crate::domain::fleet::{
    ContainerAction, ContainerContext, ContainerDetail, ContainerObservation,
};
use crate::domain::ids::AgentRef;
use crate::hosts::{Engine, EngineError, EngineErrorReason, PullEnd};

/// How long Docker waits for a container to end before it kills it.
const STOP_GRACE: Duration = Duration::from_secs(10);

pub(super) struct Performed {
    pub(super) container_id: String,
    pub(super) result: ActionResult,
}

pub(super) async fn perform(
    deps: ActionDeps<'_>,
    request: &ActionRequest,
    now: DateTime<Utc>,
) -> Result<Performed, RequestError> {
    let host = open_host(deps, &request.node_id).await?;
    let engine = &host.engine;
    // The clock is read before the containers: a clock that was read later would make them look older than they are.
    let host_clock = match request.action {
        ContainerAction::RemoveGhost => Some(engine.read_clock().await.map_err(engine_failure)?),
        _ => None,
    };
    let container = find_container(engine, request).await?;
    let age = host_clock.map(|host_clock| host_clock - container.created_at);
    let rows = read_rows(deps.pool, &request.node_id, &container).await?;
    request.action.check_allowed(rows.context, age)?;
    let container_id = container.id.clone();
    let id = container_id.as_str();
    let result = match request.action {
        ContainerAction::Logs => {
            let text = read_log(engine, id, request.log_part, now).await;
            ActionResult::Logs(text.map_err(engine_failure)?)
        }
        ContainerAction::Inspect => inspect(engine, container).await?,
        ContainerAction::Restart => {
            engine
                .restart(id, STOP_GRACE)
                .await
                .map_err(engine_failure)?;
            stop_unless_billed(deps.pool, &host, &container).await?
        }
        ContainerAction::Start => {
            engine.start(id).await.map_err(engine_failure)?;
            stop_unless_billed(deps.pool, &host, &container).await?
        }
        ContainerAction::Stop => {
            engine.stop(id, STOP_GRACE).await.map_err(engine_failure)?;
            if let Some(agent) = rows.claimed_by {
                let mut conn = deps.pool.statements();
                db::agents::operator::agent_stopped_by_operator(&mut conn, agent, now).await?;
            }
            ActionResult::Done
        }
        ContainerAction::PullImage => pull(deps, engine, rows.agent.as_ref()).await?,
        ContainerAction::RemoveGhost => remove(engine, id).await?,
    };
    Ok(Performed {
        container_id,
        result,
    })
}

async fn open_host(deps: ActionDeps<'_>, node_id: &str) -> Result<Host, RequestError> {
    let mut conn = deps.pool.statements();
    let node = db::hosts::coordinates::host_find(&mut conn, node_id)
        .await?
        .ok_or(RequestError::NODE_NOT_FOUND)?;
    // Nothing holds a connection while it waits for a host.
    drop(conn);
    Ok(Host::open(deps.pool, deps.hosts, node).await?)
}

/// The requested container as it is now. Containers of other software do not exist for operators.
async fn find_container(
    engine: &Engine,
    request: &ActionRequest,
) -> Result<ContainerObservation, RequestError> {
    let containers = engine.list_containers().await.map_err(engine_failure)?;
    let container = containers
        .into_iter()
        .find(|container| {
            container.name == request.container_name && container.is_agent_container()
        })
        .ok_or(RequestError::CONTAINER_NOT_FOUND)?;
    match &request.container_id {
        Some(id) if *id != container.id => {
            Err(StatusConflict("Another container has this name now").into())
        }
        _ => Ok(container),
    }
}

/// What the database says about a container that was observed.
struct ContainerRows {
    context: ContainerContext,
    /// The agent that claims the container or that its label names.
    agent: Option<ContainerAgent>,
    /// The agent that claims the container.
    claimed_by: Option<AgentRef>,
}

/// Reads the rows of a container that was observed before. A job writes the container's name into the row before it
/// creates the container, so a container that no row claims now is not one that a job is creating.
async fn read_rows(
    pool: &Database,
    node_id: &str,
    container: &ContainerObservation,
) -> Result<ContainerRows, RequestError> {
    let mut conn = pool.statements();
    let claims = db::agents::operator::claims_of_any_organization(&mut conn, node_id).await?;
    let claim = claims
        .iter()
        .find(|claim| container.is_claimed_by(claim.agent_id, claim.container_name.as_deref()));
    let agent_id = claim
        .map(|claim| claim.agent_id)
        .or_else(|| container.agent_id());
    let (mut agent, mut claimed_by, mut has_active_job) = (None, None, false);
    if let Some(agent_id) = agent_id {
        agent = db::agents::operator::agent_of_any_organization(&mut conn, agent_id).await?;
        if let Some(agent) = &agent {
            let agent_ref = AgentRef {
                organization_id: agent.organization_id,
                agent_id,
            };
            let jobs = db::jobs::queue::jobs_active(&mut conn, agent_ref).await?;
            has_active_job = !jobs.is_empty();
            claimed_by = claim.map(|_| agent_ref);
        }
    }
    let context = ContainerContext {
        is_claimed: claim.is_some(),
        status: agent.as_ref().map(|agent| agent.status),
        stop_requested: agent.as_ref().is_some_and(|agent| agent.stop_requested),
        billing: agent.as_ref().and_then(|agent| agent.billing),
        has_active_job,
    };
    Ok(ContainerRows {
        context,
        agent,
        claimed_by,
    })
}

async fn inspect(
    engine: &Engine,
    container: ContainerObservation,
) -> Result<ActionResult, RequestError> {
    let runtime = engine
        .inspect(&container.id)
        .await
        .map_err(engine_failure)?;
    let detail = ContainerDetail::of(container, runtime.restart_count, runtime.limits);
    Ok(ActionResult::Detail(Box::new(detail)))
}

/// Billing may have stopped charging for the agent while its container was being started: then the container is
/// stopped again. A job that began meanwhile decides for itself, so an active job is no reason to stop it.
async fn stop_unless_billed(
    pool: &Database,
    host: &Host,
    container: &ContainerObservation,
) -> Result<ActionResult, RequestError> {
    let rows = read_rows(pool, &host.node.node_id, container).await?;
    let context = ContainerContext {
        has_active_job: false,
        ..rows.context
    };
    if let Err(conflict) = ContainerAction::Start.check_allowed(context, None) {
        let stopped = host.engine.stop(&container.id, STOP_GRACE).await;
        stopped.map_err(engine_failure)?;
        return Err(conflict.into());
    }
    Ok(ActionResult::Done)
}

async fn pull(
    deps: ActionDeps<'_>,
    engine: &Engine,
    agent: Option<&ContainerAgent>,
) -> Result<ActionResult, RequestError> {
    let image = agent
        .and_then(|agent| deps.images.choose(agent.docker_image.as_deref()))
        .ok_or(StatusConflict(
            "The agent's image is not one that agents may run",
        ))?;
    let account = registry_account(deps.registries, image).await;
    let account = account.map_err(AgentFault::Registry)?;
    let pulled = engine.pull(image, account, PULL_TIMEOUT).await;
    match pulled.map_err(engine_failure)? {
        PullEnd::Complete => Ok(ActionResult::PulledImage(image.to_owned())),
        PullEnd::Unfinished => Err(AgentFault::PullTimedOut.into()),
    }
}

async fn remove(engine: &Engine, id: &str) -> Result<ActionResult, RequestError> {
    engine.remove(id).await.map_err(engine_failure)?;
    let remaining = engine.list_containers().await.map_err(engine_failure)?;
    if remaining.iter().any(|container| container.id == id) {
        return Err(AgentFault::NotRemoved.into());
    }
    Ok(ActionResult::Done)
}

/// What a failed call of the Docker Engine means for the request.
fn engine_failure(error: EngineError) -> RequestError {
    match error.reason() {
        EngineErrorReason::Host(_) => RequestError::HostUnavailable(error),
        EngineErrorReason::NotFound => StatusConflict("The container is gone").into(),
        EngineErrorReason::StateConflict => {
            StatusConflict("Docker refuses this action while the container is in this state").into()
        }
        EngineErrorReason::BeingRemoved => {
            StatusConflict("Docker is removing the container").into()
        }
        _ => AgentFault::Engine(error).into(),
    }
}
