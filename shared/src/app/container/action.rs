//! An operator does something with one container of a host. Owns: that it is written down before and after
//! it is done, that what decides is read after the container was seen, and that what is done is done to the
//! very container that was seen: by its id, never by its name. Does not own: what is refused
//! (`domain::fleet::Act`).

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;
use tokio::time::timeout;
use tracing::error;
use uuid::Uuid;

use crate::app::agent::logs::{self as agent_logs, Part};
use crate::app::error::RequestError;
use crate::app::host_access::{Host, registry_account};
use crate::app::idempotency::{Begun, Once, Repeatable, begin};
use crate::app::fleet::inspect::{self, Watch};
use crate::db;
use crate::db::requests::audit_log::{Action, BEGUN};
use crate::db::agents::operator::Agent;
use crate::domain::agent::NotNow;
use crate::domain::container::Images;
use crate::domain::fleet::{Act, Detail, Found, Limits, Standing};
use crate::hosts::{Engine, EngineError, Fleet, HostError};
use crate::secrets::{Secret, Secrets};

/// What an action may take while somebody waits.
const WITHIN: Duration = Duration::from_secs(20);
/// The same for one that pulls an image.
const PULL_WITHIN: Duration = Duration::from_secs(25);
/// What a container gets to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// What acting takes.
#[derive(Clone, Copy, Debug)]
pub struct Ports<'a> {
    /// The database.
    pub pool: &'a PgPool,
    /// The connections to hosts.
    pub fleet: &'a Fleet,
    /// The images that agents may run.
    pub images: &'a Images,
    /// The accounts at registries.
    pub registries: Option<&'a Secret>,
    /// Where secrets are read.
    pub secrets: &'a Secrets,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// By whom.
    pub admin_id: Uuid,
    /// What is to be done.
    pub act: Act,
    /// On which host.
    pub node_id: String,
    /// With the container of this name,
    pub container_name: String,
    /// if it has this id.
    pub container_id: Option<String>,
    /// Which part of its log is wanted.
    pub part: Part,
}

/// What was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Acted {
    /// Docker's id of the container.
    pub container_id: String,
    /// What there is to tell.
    pub told: Told,
    /// When it was done.
    pub performed_at: DateTime<Utc>,
}

/// What an action has to tell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Told {
    /// That it was done.
    Nothing,
    /// What the container wrote.
    Logs(String),
    /// The container close up.
    Detail(Box<Detail>),
    /// The image that was pulled.
    Image(String),
}

/// Does it.
///
/// # Errors
/// [`RequestError`]. What was refused was not done; of what failed it is not known.
pub async fn container_act(
    ports: Ports<'_>,
    asked: &Asked,
    repeatable: Repeatable,
) -> Result<Acted, RequestError> {
    let mut once = match begin(ports.pool, repeatable).await? {
        Begun::Again(acted) => return Ok(acted),
        Begun::First(once) => once,
    };
    let result = recorded(ports, asked, &mut once).await;
    once.settle(ports.pool, result).await
}

/// The entry is there before anything is done, and says how it ended after: one that says neither is of an
/// action whose worker died.
async fn recorded(ports: Ports<'_>, asked: &Asked, once: &mut Once) -> Result<Acted, RequestError> {
    let mut conn = ports.pool.acquire().await?;
    let now = db::clock::billing_clock(&mut conn).await?;
    let action = Action {
        user_id: asked.admin_id,
        action: word(asked.act),
        subject: &format!("{}/{}", asked.node_id, asked.container_name),
        details: json!({
            "nodeId": asked.node_id, "containerName": asked.container_name,
            "askedContainerId": asked.container_id,
        }),
        result: BEGUN,
    };
    let entry = db::requests::audit_log::audit_append(&mut conn, &action, now).await?;
    drop(conn);
    let watch = Watch::begin(now);
    let within = if asked.act == Act::PullImage {
        PULL_WITHIN
    } else {
        WITHIN
    };
    let done = timeout(within, act(ports, asked, now)).await;
    let done = done.unwrap_or_else(|_| Err(late(asked.act)));
    let acted = done.map(|(container_id, told)| Acted {
        container_id,
        told,
        performed_at: watch.now(),
    });
    if let Err(failure) = settle(ports.pool, entry, &acted, &watch, once).await {
        // What was done is done: the entry goes on saying that it was begun.
        error!(%failure, entry, "how an operator's action ended was not written down");
    }
    acted
}

/// Writes down how it ended, together with the answer that a repetition is to get.
async fn settle(
    pool: &PgPool,
    entry: i64,
    acted: &Result<Acted, RequestError>,
    watch: &Watch,
    once: &mut Once,
) -> Result<(), RequestError> {
    let (result, mut more) = match acted {
        Ok(acted) => ("ok", json!({"containerId": acted.container_id})),
        Err(error @ (RequestError::NotFound(_) | RequestError::NotNow(_))) => {
            ("refused", json!({"reason": error.to_string()}))
        }
        Err(error) => ("failed", json!({"reason": error.to_string()})),
    };
    more["settledAt"] = json!(watch.now());
    let mut tx = pool.begin().await?;
    db::requests::audit_log::audit_settle(&mut tx, entry, result, &more).await?;
    if let Ok(acted) = acted {
        once.complete(&mut tx, acted).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// What the log calls an action.
fn word(act: Act) -> &'static str {
    match act {
        Act::Logs => "container.logs",
        Act::Restart => "container.restart",
        Act::Stop => "container.stop",
        Act::Start => "container.start",
        Act::Inspect => "container.inspect",
        Act::PullImage => "container.pull-image",
        Act::RemoveGhost => "container.remove-ghost",
    }
}

fn late(act: Act) -> RequestError {
    match act {
        Act::PullImage => RequestError::BadAgent(
            "The image could not be pulled within 25 seconds; asking again goes on with it"
                .to_owned(),
        ),
        _ => HostError::TimedOut.into(),
    }
}

async fn act(
    ports: Ports<'_>,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Result<(String, Told), RequestError> {
    let node = {
        let mut conn = ports.pool.acquire().await?;
        let node = db::hosts::slots::node_find(&mut conn, &asked.node_id).await?;
        node.ok_or(RequestError::NotFound("Node not found"))?
    };
    let host = Host::open(ports.pool, ports.fleet, node).await?;
    let engine = &host.engine;
    // The host's clock is asked first, so that no container is taken for older than it is.
    let clock = match asked.act {
        Act::RemoveGhost => Some(engine.clock().await.map_err(refused)?),
        _ => None,
    };
    let found = look(engine, asked).await?;
    let age = clock.map(|clock| clock - found.created_at);
    let (standing, agent) = standing(ports.pool, &host.node.node_id, &found).await?;
    asked.act.permitted(standing, age)?;
    let id = found.id.clone();
    let told = match asked.act {
        Act::Logs => {
            let text = agent_logs::read(engine, &id, asked.part, now).await;
            Told::Logs(text.map_err(refused)?)
        }
        Act::Inspect => {
            let life = engine.life(&id).await.map_err(refused)?;
            let limits = life.limits;
            let limits = Limits::of(limits.memory, limits.nano_cpus, limits.pids);
            Told::Detail(Box::new(Detail::of(found, life.restarts, limits)))
        }
        Act::Restart => {
            engine.restart(&id, GRACE).await.map_err(refused)?;
            still_paid(ports.pool, &host, found).await?
        }
        Act::Start => {
            engine.start(&id).await.map_err(refused)?;
            still_paid(ports.pool, &host, found).await?
        }
        Act::Stop => {
            engine.stop(&id, GRACE).await.map_err(refused)?;
            Told::Nothing
        }
        Act::PullImage => pull(ports, engine, agent.as_ref()).await?,
        Act::RemoveGhost => remove(engine, &id).await?,
    };
    Ok((id, told))
}

/// The container that is meant, as it is at this moment. What is not ours is not there.
async fn look(engine: &Engine, asked: &Asked) -> Result<Found, RequestError> {
    let all = engine.containers().await.map_err(refused)?;
    let mut all = all.into_iter().map(inspect::found);
    let found = all.find(|found| found.name == asked.container_name && found.is_ours());
    let found = found.ok_or(RequestError::NotFound("Container not found"))?;
    match &asked.container_id {
        Some(id) if *id != found.id => {
            Err(NotNow("The container of this name is another one by now").into())
        }
        _ => Ok(found),
    }
}

/// What the rows say of a container that was seen. A row names a container before there is one, so what is
/// claimed by none that is read now is not one that somebody is making.
async fn standing(
    pool: &PgPool,
    node_id: &str,
    found: &Found,
) -> Result<(Standing, Option<Agent>), RequestError> {
    let mut conn = pool.acquire().await?;
    let claims = db::agents::operator::claims(&mut conn, node_id).await?;
    let claim = claims
        .iter()
        .find(|claim| found.is_claimed_by(claim.agent_id, claim.container_name.as_deref()));
    let agent_id = claim.map(|claim| claim.agent_id).or_else(|| found.agent());
    let (mut agent, mut busy) = (None, false);
    if let Some(agent_id) = agent_id {
        agent = db::agents::operator::agent_find(&mut conn, agent_id).await?;
        if let Some(agent) = &agent {
            let jobs = db::jobs::queue::jobs_active(&mut conn, agent.organization_id, agent_id).await?;
            busy = !jobs.is_empty();
        }
    }
    let standing = Standing {
        claimed: claim.is_some(),
        status: agent.as_ref().map(|agent| agent.status),
        stop_requested: agent.as_ref().is_some_and(|agent| agent.stop_requested),
        billing: agent.as_ref().and_then(|agent| agent.billing),
        busy,
    };
    Ok((standing, agent))
}

async fn pull(
    ports: Ports<'_>,
    engine: &Engine,
    agent: Option<&Agent>,
) -> Result<Told, RequestError> {
    let image = agent.and_then(|agent| ports.images.choose(agent.docker_image.as_deref()));
    let image = image.ok_or(NotNow("The agent's image is not one that agents may run"))?;
    let account = registry_account(ports.secrets, ports.registries, image).await;
    let account = account.map_err(|error| RequestError::BadAgent(error.to_string()))?;
    let pulled = engine.pull(image, account, PULL_WITHIN).await;
    pulled.map_err(|error| match error {
        EngineError::Host(HostError::TimedOut) => late(Act::PullImage),
        error => refused(error),
    })?;
    Ok(Told::Image(image.to_owned()))
}

async fn remove(engine: &Engine, id: &str) -> Result<Told, RequestError> {
    engine.remove(id).await.map_err(refused)?;
    let still = engine.containers().await.map_err(refused)?;
    if still.iter().any(|found| found.id == id) {
        let text = "The container could not be removed".to_owned();
        return Err(RequestError::BadAgent(text));
    }
    Ok(Told::Nothing)
}

/// What was started may have stopped being charged for in that moment: then it does not run on. A job
/// that has begun meanwhile knows what it does.
async fn still_paid(pool: &PgPool, host: &Host, found: Found) -> Result<Told, RequestError> {
    let (standing, _) = standing(pool, &host.node.node_id, &found).await?;
    let alone = Standing {
        busy: false,
        ..standing
    };
    if let Err(why) = Act::Start.permitted(alone, None) {
        let stopped = host.engine.stop(&found.id, GRACE).await;
        stopped.map_err(refused)?;
        return Err(why.into());
    }
    Ok(Told::Nothing)
}

/// What the engine's answer means for whoever asked.
fn refused(error: EngineError) -> RequestError {
    match error {
        EngineError::Host(error) => error.into(),
        EngineError::NotFound => NotNow("The container is gone by now").into(),
        // Docker's word for a conflict, which here is with the container's state.
        EngineError::NameTaken => {
            NotNow("Docker does not do this with a container in this state").into()
        }
        error => RequestError::BadAgent(error.to_string()),
    }
}
