//! Containers that die. Owns: looking closely at those that may be dying, and what a death leads to: the agent is in
//! error with the reason, it is charged until its last sign of life, the end of its log is kept, and an event tells of it.
//! Docker would go on starting a container for ever, so a dead one is stopped; that it is to be stopped is committed
//! first, and a later run finishes what this one could not. Does not own: when a container counts as dead
//! (`domain::fleet`).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::time::{timeout, timeout_at};
use tracing::warn;

use super::held::unless_held;
use super::inspect::InspectionResult;
use super::run_clock::RunClock;
use crate::app::host_access::Host;
use crate::db;
use crate::db::Database;
use crate::db::agents::deaths::{NewDeath, RestartedContainer};
use crate::db::agents::lifecycle::StatusChange;
use crate::db::hosts::coordinates::HostCoordinates;
use crate::db::hosts::inspection::{ExpectedAgent, FleetHost};
use crate::db::requests::outbox::NewEvents;
use crate::domain::agent::AgentEvent;
use crate::domain::container;
use crate::domain::fleet::{
    AilingContainer, CloseObservation, ContainerEnd, ContainerObservation, Death, Diagnosis,
    KEPT_LOG_BYTES, KEPT_LOG_LINES, RESTART_WINDOW, Shard, diagnose, is_suspicious, kept_log,
};
use crate::domain::ids::{AgentId, AgentRef};
use crate::domain::mail::MailTemplate;
use crate::domain::timestamp::Timestamp;
use crate::hosts::{Engine, EngineError, HostClient};

const MAX_CONCURRENT_HOSTS: usize = 16;
/// For all suspicious containers of one host.
const HOST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a container may take to end by itself before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(2);
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

#[derive(Clone, Copy, Debug)]
pub(super) struct DeathDeps<'a> {
    pub(super) pool: &'a Database,
    pub(super) host_client: &'a HostClient,
    pub(super) shard: &'a Shard,
    pub(super) clock: RunClock,
    pub(super) deadline: Instant,
}

/// A container of an agent that should run.
#[derive(Clone, Debug)]
struct Suspect {
    agent: AgentRef,
    container_id: String,
    container_name: String,
    observation: ContainerObservation,
    previous: Option<AilingContainer>,
}

/// What a closer look found.
#[derive(Debug)]
struct Finding {
    agent: AgentRef,
    node_id: String,
    container_id: String,
    container_name: String,
    diagnosis: Diagnosis,
    end: ContainerEnd,
    /// Of a dead container.
    log: String,
}

/// Looks closely at the containers that may be dying, and acts on those that are dead. Returns the number of agents whose
/// container died.
pub(super) async fn find_deaths(
    deps: DeathDeps<'_>,
    hosts: &[FleetHost],
    expected: &[ExpectedAgent],
    results: &HashMap<String, InspectionResult>,
) -> sqlx::Result<usize> {
    let suspects = read_suspects(deps.pool, expected, results).await?;
    let mut looks = Vec::new();
    for FleetHost { coordinates, .. } in hosts {
        // The containers of a lost host were stopped. What becomes of their agents is decided by the loss.
        if coordinates.is_lost {
            continue;
        }
        if let Some(suspects) = suspects.get(coordinates.node_id.as_str()) {
            looks.push(look_closely(deps, coordinates, suspects));
        }
    }
    let mut looks = stream::iter(looks).buffer_unordered(MAX_CONCURRENT_HOSTS);
    let mut findings = Vec::new();
    while let Ok(Some(found)) = timeout_at(deps.deadline.into(), looks.next()).await {
        findings.extend(found);
    }
    let mut deaths = 0;
    for finding in &findings {
        let is_dead = act_on(deps.pool, finding).await;
        deaths += usize::from(unless_held(is_dead, finding.agent)?);
    }
    stop_dead(deps).await?;
    let mut tx = deps.pool.begin().await?;
    let seen_before = deps.clock.now() - RESTART_WINDOW;
    db::agents::deaths::deaths_forget_of_any_organization(&mut tx, seen_before).await?;
    tx.commit().await?;
    Ok(deaths)
}

/// The suspicious containers by host.
async fn read_suspects<'a>(
    pool: &Database,
    expected: &'a [ExpectedAgent],
    results: &HashMap<String, InspectionResult>,
) -> sqlx::Result<HashMap<&'a str, Vec<Suspect>>> {
    let mut suspects: HashMap<&str, Vec<Suspect>> = HashMap::new();
    for agent in expected {
        let result = results.get(&agent.node_id);
        let engine = result.and_then(|result| result.inspection.engine().ok());
        let containers = engine.map_or(&[][..], |engine| engine.containers.as_slice());
        let container = containers
            .iter()
            .find(|container| container.is_claimed_by(agent.agent_id, None));
        if let Some(container) = container.filter(|container| is_suspicious(container)) {
            let of_host = suspects.entry(agent.node_id.as_str()).or_default();
            of_host.push(Suspect {
                agent: AgentRef {
                    organization_id: agent.organization_id,
                    agent_id: agent.agent_id,
                },
                container_id: container.id.clone(),
                container_name: container::name(agent.agent_id),
                observation: container.clone(),
                previous: None,
            });
        }
    }
    let ids = suspects.values().flatten();
    let ids: Vec<AgentId> = ids.map(|suspect| suspect.agent.agent_id).collect();
    if ids.is_empty() {
        return Ok(suspects);
    }
    let mut conn = pool.statements();
    let known = db::agents::deaths::ailing_containers_of_any_organization(&mut conn, &ids).await?;
    let mut known: HashMap<AgentId, AilingContainer> = known
        .into_iter()
        .map(|ailing| (ailing.agent_id, ailing.container))
        .collect();
    for suspect in suspects.values_mut().flatten() {
        suspect.previous = known.remove(&suspect.agent.agent_id);
    }
    Ok(suspects)
}

/// What a host says of its suspicious containers. One that cannot be read is left to the next run.
async fn look_closely(
    deps: DeathDeps<'_>,
    node: &HostCoordinates,
    suspects: &[Suspect],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let look = async {
        let open = Host::open(deps.pool, deps.host_client, node.clone()).await;
        // `Host::open` has logged the cause.
        let Ok(host) = open else { return };
        for suspect in suspects {
            match examine(&host.engine, suspect, deps.clock).await {
                Ok((diagnosis, end, log)) => findings.push(Finding {
                    agent: suspect.agent,
                    node_id: node.node_id.clone(),
                    container_id: suspect.container_id.clone(),
                    container_name: suspect.container_name.clone(),
                    diagnosis,
                    end,
                    log,
                }),
                Err(error) => {
                    let cause = error.cause();
                    warn!(
                        node.id = node.node_id, agent.id = %suspect.agent.agent_id, %error, cause,
                        "a container that may be dying was not read; the next run looks at it again"
                    );
                }
            }
        }
    };
    // What was found before the time was over counts.
    let _ = timeout(HOST_TIMEOUT, look).await;
    findings
}

async fn examine(
    engine: &Engine,
    suspect: &Suspect,
    clock: RunClock,
) -> Result<(Diagnosis, ContainerEnd, String), EngineError> {
    let host_clock = engine.read_clock().await?;
    let runtime = engine.inspect(&suspect.container_id).await?;
    let current = CloseObservation {
        container_id: &suspect.container_id,
        age: host_clock - suspect.observation.created_at,
        ended_ago: runtime.finished_at.map(|at| host_clock - at),
        restart_count: runtime.restart_count,
        has_ended: suspect.observation.state().has_ended() && !runtime.is_running,
        end: runtime.end,
    };
    let diagnosis = diagnose(suspect.previous.as_ref(), &current, clock.now());
    let log = match diagnosis {
        Diagnosis::Dead(_) => read_last_lines(engine, &suspect.container_id).await,
        Diagnosis::Ailing(_) | Diagnosis::Sound => String::new(),
    };
    Ok((diagnosis, runtime.end, log))
}

/// The end of a container's log; empty if it cannot be read.
pub(crate) async fn read_last_lines(engine: &Engine, container_id: &str) -> String {
    let read = engine.read_logs(container_id, KEPT_LOG_LINES, 0, KEPT_LOG_BYTES);
    match read.await {
        Ok(text) => kept_log(&text),
        Err(error) => {
            let cause = error.cause();
            warn!(%error, cause, "the log of a container that died was not read; none is kept");
            String::new()
        }
    }
}

/// Returns whether the agent's container died.
async fn act_on(pool: &Database, finding: &Finding) -> sqlx::Result<bool> {
    match &finding.diagnosis {
        Diagnosis::Sound => Ok(false),
        Diagnosis::Ailing(container) => {
            let mut conn = pool.statements();
            db::agents::deaths::ailing_container_record(&mut conn, finding.agent, container)
                .await?;
            Ok(false)
        }
        Diagnosis::Dead(death) => record_death(pool, finding, death).await,
    }
}

/// Moves the agent to `error` and frees its slot. Does nothing and returns false if a job works on the agent, if its owner
/// asked it to stop, if its row names another place than the run read, or if another transaction holds the row: then the next
/// run follows.
async fn record_death(pool: &Database, finding: &Finding, death: &Death) -> sqlx::Result<bool> {
    let agent = finding.agent;
    let mut tx = pool.begin().await?;
    let locked = db::agents::lifecycle::agent_lock_unless_held(&mut tx, agent).await?;
    let record = db::agents::placement::runtime_record_find(&mut tx, agent).await?;
    let (Some(locked), Some(record)) = (locked, record) else {
        return Ok(false);
    };
    let Ok(to) = locked.status.after(AgentEvent::ContainerLost) else {
        return Ok(false);
    };
    let jobs = db::jobs::queue::jobs_active(&mut tx, agent).await?;
    let is_same_place = record.node_id.as_deref() == Some(finding.node_id.as_str())
        && record.container_name.as_deref() == Some(finding.container_name.as_str());
    if !is_same_place || locked.stop_requested || !jobs.is_empty() {
        return Ok(false);
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    let change = StatusChange {
        from: locked.status,
        to,
    };
    let reason = Some(death.reason.as_str());
    if !db::agents::lifecycle::agent_change_status(&mut tx, agent, change, reason, now).await? {
        return Ok(false);
    }
    if db::agents::placement::placement_clear(&mut tx, agent, now).await? {
        db::hosts::slots::slot_free(&mut tx, &finding.node_id).await?;
    }
    let seen_at = Some(death.died_at);
    db::billing::metering::metering_end_at_last_sign_of_life(&mut tx, agent, seen_at).await?;
    let new_death = NewDeath {
        node_id: &finding.node_id,
        container_id: &finding.container_id,
        died_at: death.died_at,
        exit_code: finding.end.exit_code,
        out_of_memory: finding.end.is_out_of_memory,
        restarts: death.restarts,
        log: &finding.log,
        to_stop: death.is_restarted,
    };
    db::agents::deaths::death_record(&mut tx, agent, &new_death).await?;
    let kind = MailTemplate::ContainerDied.as_str();
    let payload = json!({
        "agents": [{"id": agent.agent_id, "name": locked.name}], "agentCount": 1, "reason": death.reason,
        "exitCode": finding.end.exit_code, "outOfMemory": finding.end.is_out_of_memory,
        "restarts": death.restarts, "diedAt": Timestamp(death.died_at),
    });
    // One event for each container: the next start of the agent makes another container.
    let event = NewEvents {
        keys: vec![format!(
            "{kind}:{}:{}",
            agent.agent_id, finding.container_id
        )],
        types: vec![kind.to_owned()],
        organization_ids: vec![agent.organization_id],
        payloads: vec![payload],
    };
    db::requests::outbox::outbox_append(&mut tx, &event, now).await?;
    tx.commit().await?;
    warn!(
        agent.id = %agent.agent_id, node.id = finding.node_id, reason = death.reason,
        "the container of agent {} died; the agent is in error and its slot is free", agent.agent_id
    );
    Ok(true)
}

/// Stops the containers of the shard that are dead and that Docker goes on starting, also those of earlier runs.
async fn stop_dead(deps: DeathDeps<'_>) -> sqlx::Result<()> {
    let mut conn = deps.pool.statements();
    let containers = db::agents::deaths::containers_to_stop_of_any_organization(&mut conn).await?;
    drop(conn);
    let mut stops = Vec::new();
    let is_here =
        |container: &&RestartedContainer| deps.shard.contains(Some(container.node_id.as_str()));
    for container in containers.iter().filter(is_here) {
        stops.push(timeout(STOP_TIMEOUT, stop(deps, container)));
    }
    let mut stops = stream::iter(stops).buffer_unordered(MAX_CONCURRENT_HOSTS);
    while let Ok(Some(stopped)) = timeout_at(deps.deadline.into(), stops.next()).await {
        stopped.unwrap_or(Ok(()))?;
    }
    Ok(())
}

/// A container that cannot be stopped now is stopped by a later run.
async fn stop(deps: DeathDeps<'_>, container: &RestartedContainer) -> sqlx::Result<()> {
    let mut conn = deps.pool.statements();
    let node = db::hosts::coordinates::host_find(&mut conn, &container.node_id).await?;
    drop(conn);
    // A host that is registered no more was given back, and everything on it is gone.
    if let Some(node) = node {
        let Ok(host) = Host::open(deps.pool, deps.host_client, node).await else {
            return Ok(());
        };
        if let Err(error) = host.engine.stop(&container.container_id, STOP_GRACE).await {
            let cause = error.cause();
            warn!(
                node.id = container.node_id, agent.id = %container.agent.agent_id, %error, cause,
                "a dead container was not stopped; the next run stops it"
            );
            return Ok(());
        }
    }
    let mut conn = deps.pool.statements();
    db::agents::deaths::death_finish(&mut conn, container.agent, &container.container_id).await
}
