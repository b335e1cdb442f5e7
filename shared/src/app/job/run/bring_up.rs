//! A container is made and brought to health on a host that has room for it. Owns: the image, the name,
//! the ports, the wait, the state it begins with.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tracing::warn;
use uuid::Uuid;

use super::place::{self, Place};
use super::work::Work;
use super::{JobFailure, Stop, leftovers};
use crate::app::agent::state as agent_state;
use crate::app::host_access::{Host, LIMITS, registry_account};
use crate::db;
use crate::db::agents::placement::Placement;
use crate::domain::container::{self, API_TOKEN, BRIDGE_PORT, Given, JWT_SECRET, WEB_PORT};
use crate::domain::placement::Ports;
use crate::hosts::{ContainerSpec, Data, EngineError, HostError, Published};

/// What pulling an image may take.
const PULL_WITHIN: Duration = Duration::from_mins(10);
/// How often other ports are tried.
const PORT_TRIES: usize = 5;
/// When a start that was refused is tried again.
const START_AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(750)];
/// What one look at an agent's health may take, and the longest answer that is read.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
const LONGEST_HEALTH: usize = 64 * 1024;

/// Which of the two it was, Docker tells only some of the time.
const NOT_UP: &str = "The agent's container could not be started, or ended at once";

/// What is to be brought up.
pub(super) struct Wanted<'a> {
    pub(super) image: String,
    pub(super) database_uri: Option<String>,
    /// It begins with the state of a backup, if there is one.
    pub(super) restores: bool,
    pub(super) placement: &'a Placement,
}

/// What was brought up.
pub(super) struct Brought {
    pub(super) ports: Ports,
}

/// Brings it up to the point where only its row has to say that it runs.
pub(super) async fn bring_up(
    work: &mut Work<'_>,
    place: &Place,
    wanted: &Wanted<'_>,
) -> Result<Brought, Stop> {
    pull(work, &place.host, &wanted.image).await?;
    // Should the volume be lost, the backups are all there is.
    let restores = wanted.restores || !has_data(work, place, wanted).await?;
    let (id, ports) = create_and_start(work, place, wanted).await?;
    healthy(work, &place.host, &id, ports).await?;
    if restores {
        restore(work, &place.host, ports).await?;
    }
    Ok(Brought { ports })
}

/// Whether what the agent kept is where it was kept.
async fn has_data(work: &Work<'_>, place: &Place, wanted: &Wanted<'_>) -> Result<bool, Stop> {
    if wanted.placement.data_bind.is_some() && !place.moves {
        return Ok(true);
    }
    let name = container::name(work.agent_id);
    let there = place.host.engine.has_volume(&name).await?;
    if !there {
        warn!(agent.id = %work.agent_id, "an agent's volume is lost: its newest backup serves");
    }
    Ok(there)
}

async fn pull(work: &mut Work<'_>, host: &Host, image: &str) -> Result<(), Stop> {
    work.begin("pull").await?;
    if !host.engine.has_image(image).await? {
        let hosts = work.hosts;
        let account = registry_account(&hosts.secrets, hosts.registries.as_ref(), image).await;
        let account = account.map_err(|error| JobFailure::Outside(error.to_string()))?;
        let pulling = host.engine.pull(image, account, PULL_WITHIN);
        work.patiently(pulling).await??;
    }
    work.done("pull").await
}

/// A port of the host may be taken by somebody who is in no row: then others are tried.
async fn create_and_start(
    work: &mut Work<'_>,
    place: &Place,
    wanted: &Wanted<'_>,
) -> Result<(String, Ports), Stop> {
    work.begin("create").await?;
    let environment = environment(work, wanted).await?;
    let name = container::name(work.agent_id);
    if place.moves && leftovers::find(work, &place.host.engine).await?.is_none() {
        // A volume of an earlier stay on this host is older than the agent's backups.
        place.host.engine.remove_volume(&name).await?;
    }
    let mut ports = place.ports;
    let mut tried = Vec::new();
    loop {
        let spec = spec(work, place, wanted, &environment, ports);
        let id = create(work, place, &spec).await?;
        work.done("create").await?;
        work.begin("start").await?;
        match start(place, &id).await {
            Ok(()) => {
                work.done("start").await?;
                return Ok((id, ports));
            }
            Err(EngineError::PortTaken) if tried.len() + 1 < PORT_TRIES => {}
            // Docker refuses to start what ends while it is being started. It was also seen to refuse a
            // good container on a busy machine, for a reason it did not show: another one is tried.
            Err(EngineError::Refused) if tried.len() < 2 => {}
            Err(EngineError::Refused) => {
                return Err(JobFailure::Outside(NOT_UP.to_owned()).into());
            }
            Err(error) => return Err(error.into()),
        }
        place.host.engine.remove(&id).await?;
        tried.push(ports);
        let other = place::other_ports(work, place, &tried).await?;
        ports = other.ok_or(EngineError::PortTaken)?;
        work.begin("create").await?;
    }
}

/// Starts a container; a refusal is asked about again a moment later.
async fn start(place: &Place, id: &str) -> Result<(), EngineError> {
    for pause in START_AGAIN_AFTER {
        match place.host.engine.start(id).await {
            Err(EngineError::Refused) => tokio::time::sleep(pause).await,
            other => return other,
        }
    }
    place.host.engine.start(id).await
}

/// A container of the same name is replaced if it is the agent's own.
async fn create(work: &Work<'_>, place: &Place, spec: &ContainerSpec) -> Result<String, Stop> {
    let engine = &place.host.engine;
    match engine.create(spec).await {
        Err(EngineError::NameTaken) => {}
        created => return Ok(created?),
    }
    if let Some(found) = leftovers::find(work, engine).await? {
        let newer = found.attempt.is_some_and(|attempt| attempt > spec.attempt);
        if found.agent.is_none() || newer {
            return Err(leftovers::stranger(work));
        }
        leftovers::remove(work, engine, &found).await?;
    }
    Ok(engine.create(spec).await?)
}

/// The environment, with secrets that are made once and kept over all starts.
async fn environment(work: &Work<'_>, wanted: &Wanted<'_>) -> Result<Vec<String>, Stop> {
    let placement = wanted.placement;
    let mut own = placement.environment_vars.clone();
    let mut missing = Map::new();
    for name in [JWT_SECRET, API_TOKEN] {
        if own.get(name).is_none() {
            let secret = (work.hosts.random)().map(hex::encode);
            let none = || JobFailure::Outside("There is no randomness to be had".to_owned());
            missing.insert(name.to_owned(), json!(secret.ok_or_else(none)?));
        }
    }
    if !missing.is_empty() {
        let mut conn = work.pool.acquire().await?;
        let missing = Value::Object(missing);
        own = db::agents::placement::environment_keep(&mut conn, work.ids(), &missing).await?;
    }
    let mut origins = work.hosts.origins.clone();
    if let Some(domain) = &work.hosts.domain {
        origins.push(format!("https://{}.{domain}", work.agent_id));
    }
    let given = Given {
        agent_name: placement.agent_name.as_deref().unwrap_or_default(),
        config: placement.agent_config.as_ref(),
        origins: &origins,
        database_uri: wanted.database_uri.as_deref(),
    };
    Ok(container::environment(&own, &given))
}

fn spec(
    work: &Work<'_>,
    place: &Place,
    wanted: &Wanted<'_>,
    environment: &[String],
    ports: Ports,
) -> ContainerSpec {
    const LOOPBACK: &str = "127.0.0.1";
    let published = |container, host, address: &str| Published {
        container,
        host,
        address: address.to_owned(),
    };
    let name = container::name(work.agent_id);
    let public = place.host.setting("publishAddress").unwrap_or("0.0.0.0");
    let mut all = vec![
        published(BRIDGE_PORT, ports.bridge, LOOPBACK),
        published(WEB_PORT, ports.web, public),
    ];
    // Its health is asked through the host's loopback.
    if public != "0.0.0.0" && public != LOOPBACK {
        all.push(published(WEB_PORT, ports.web, LOOPBACK));
    }
    let bind = wanted.placement.data_bind.clone().filter(|_| !place.moves);
    ContainerSpec {
        data: bind.map_or_else(|| Data::Volume(name.clone()), Data::Directory),
        name,
        image: wanted.image.clone(),
        environment: environment.to_vec(),
        ports: all,
        agent_id: work.agent_id.to_string(),
        organization_id: work.job.organization_id.to_string(),
        attempt: work.job.attempt,
        limits: LIMITS,
    }
}

/// Waits until the agent says that it is well.
async fn healthy(work: &mut Work<'_>, host: &Host, id: &str, ports: Ports) -> Result<(), Stop> {
    work.begin("health").await?;
    let within = work.hosts.health_within;
    let outcome = work
        .patiently(until_healthy(host, id, ports, within))
        .await?;
    outcome?;
    work.done("health").await
}

async fn until_healthy(
    host: &Host,
    id: &str,
    ports: Ports,
    within: Duration,
) -> Result<(), JobFailure> {
    let failed = |text: &str| JobFailure::Outside(text.to_owned());
    let agent = host.agent(ports.web);
    let began = Instant::now();
    let mut pause = Duration::from_millis(25);
    let mut answers = false;
    loop {
        match agent.get("/health", LONGEST_HEALTH, LOOK_WITHIN).await {
            Ok(answer) if answer.status == 200 => return Ok(()),
            Ok(_) => answers = true,
            Err(HostError::Unreachable | HostError::TimedOut | HostError::Protocol) => {}
            Err(error) => return Err(failed(&error.to_string())),
        }
        let life = host.engine.life(id).await;
        let life = life.map_err(|error| failed(&error.to_string()))?;
        if !life.running || life.restarts > 0 {
            return Err(failed(NOT_UP));
        }
        if began.elapsed() >= within {
            return Err(failed(if answers {
                "The agent did not become healthy in time"
            } else {
                "The agent does not answer on its health endpoint"
            }));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

async fn restore(work: &mut Work<'_>, host: &Host, ports: Ports) -> Result<(), Stop> {
    let Some(state) = state(work, work.job.backup_id).await? else {
        return Ok(());
    };
    work.begin("restore").await?;
    let agent = host.agent(ports.bridge);
    work.patiently(agent_state::give(&agent, state)).await??;
    work.done("restore").await
}

/// The state of a backup of the agent; without an id: of the newest.
pub(super) async fn state(work: &Work<'_>, backup_id: Option<Uuid>) -> Result<Option<Bytes>, Stop> {
    let mut conn = work.pool.acquire().await?;
    let stored = db::agents::backups::backup_state(&mut conn, work.ids(), backup_id).await?;
    Ok(stored.map(agent_state::read).transpose()?)
}
