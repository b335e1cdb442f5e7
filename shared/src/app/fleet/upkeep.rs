//! The upkeep of hosts. Owns: that each host has the newest default image before an agent needs it (F69), and that images
//! and volumes that nobody needs go when its disk fills up (F76). A host is due when it is new, when the default image
//! changes, and every half hour. Does not own: which images go (`domain::image`).

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::join_all;
use tracing::{info, warn};

use crate::app::host_access::{Host, OpenError};
use crate::app::host_image::{ImageError, PullTime, ensure_image};
use crate::db;
use crate::db::Database;
use crate::db::hosts::upkeep::{UpkeepDue, UpkeepEnd};
use crate::domain::container;
use crate::domain::fleet::CLEANUP_DISK_PERCENT;
use crate::domain::ids::{AgentId, AgentRef};
use crate::domain::image::Images;
use crate::hosts::{Engine, EngineError, EngineErrorReason, HostClient, HostError};
use crate::secrets::KeptSecret;

/// How often a host is looked after.
const INTERVAL: TimeDelta = TimeDelta::minutes(30);
const RETRY_AFTER: TimeDelta = TimeDelta::minutes(10);
/// When a pull that took too long is attempted again. Many engines begin it anew, and the host's line is the agents', too.
const RETRY_PULL_AFTER: TimeDelta = TimeDelta::hours(1);
/// How long a worker keeps a host to itself: longer than a function may run.
const CLAIM_TIMEOUT: TimeDelta = TimeDelta::minutes(16);
/// An image of some gigabytes on a slow line.
const PULL_TIMEOUT: Duration = Duration::from_mins(10);
/// How long images and volumes of a host are removed. The next run goes on with the rest.
const CLEAN_UP_TIME: Duration = Duration::from_secs(90);
/// What a host may take: the pull, and two minutes for the rest.
const HOST_RESERVE: Duration = Duration::from_mins(12);
/// How long hosts are begun. The next run goes on with the rest.
const MAX_WINDOW: Duration = Duration::from_mins(3);
/// Few, so that the hosts do not all ask the registry at the same time.
const MAX_CONCURRENT_HOSTS: usize = 8;

#[derive(Clone, Copy, Debug)]
pub struct UpkeepDeps<'a> {
    pub pool: &'a Database,
    pub host_client: &'a HostClient,
    pub images: &'a Images,
    /// The accounts at registries.
    pub registries: Option<&'a KeptSecret>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpkeepCounts {
    /// Hosts that have the default image now.
    pub done: usize,
    /// Hosts that are attempted again.
    pub failed: usize,
    pub removed_images: usize,
    pub removed_volumes: usize,
}

/// Looks after all hosts that are due, as far as the time allows. Runs at the same time share the hosts.
///
/// # Errors
/// The database fails. What was done stays done.
pub async fn fleet_upkeep(deps: UpkeepDeps<'_>, time_left: Duration) -> sqlx::Result<UpkeepCounts> {
    let mut conn = deps.pool.statements();
    let readiness = db::clock::readiness(&mut conn).await?;
    drop(conn);
    if readiness.adoption_required {
        return Ok(UpkeepCounts::default());
    }
    let window = time_left.saturating_sub(HOST_RESERVE).min(MAX_WINDOW);
    let until = Instant::now() + window;
    let workers = (0..MAX_CONCURRENT_HOSTS).map(|_| work(deps, until));
    let mut total = UpkeepCounts::default();
    for counts in join_all(workers).await {
        let counts = counts?;
        total.done += counts.done;
        total.failed += counts.failed;
        total.removed_images += counts.removed_images;
        total.removed_volumes += counts.removed_volumes;
    }
    Ok(total)
}

/// Why a host is not prepared.
#[derive(Debug, thiserror::Error)]
enum UpkeepError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("the database request failed ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
    /// No agent is placed there now, so the image can wait.
    #[error("the host is too busy")]
    Busy,
}

async fn work(deps: UpkeepDeps<'_>, until: Instant) -> sqlx::Result<UpkeepCounts> {
    let image = deps.images.default.as_str();
    let mut counts = UpkeepCounts::default();
    while Instant::now() < until {
        let Some(node_id) = claim(deps).await? else {
            break;
        };
        let result = Box::pin(look_after(deps, &node_id, &mut counts)).await;
        let mut conn = deps.pool.statements();
        let now = db::clock::billing_clock(&mut conn).await?;
        let end = match &result {
            Ok(digest) => {
                counts.done += 1;
                let digest = digest.as_deref();
                UpkeepEnd::Done { image, digest }
            }
            Err(error) => {
                counts.failed += 1;
                warn!(
                    node.id = node_id, %error,
                    "the upkeep of host {node_id} failed: {error}; it is attempted again"
                );
                let is_too_slow = matches!(error, UpkeepError::Image(ImageError::PullUnfinished));
                let pause = if is_too_slow {
                    RETRY_PULL_AFTER
                } else {
                    RETRY_AFTER
                };
                let not_before = now + pause;
                UpkeepEnd::Failed { not_before }
            }
        };
        db::hosts::upkeep::upkeep_finish(&mut conn, &node_id, end, now).await?;
    }
    Ok(counts)
}

async fn claim(deps: UpkeepDeps<'_>) -> sqlx::Result<Option<String>> {
    let mut conn = deps.pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    let due = UpkeepDue {
        image: &deps.images.default,
        checked_before: now - INTERVAL,
    };
    db::hosts::upkeep::upkeep_claim(&mut conn, due, now, now + CLAIM_TIMEOUT).await
}

/// Returns the digest of the default image.
async fn look_after(
    deps: UpkeepDeps<'_>,
    node_id: &str,
    counts: &mut UpkeepCounts,
) -> Result<Option<String>, UpkeepError> {
    let mut conn = deps.pool.statements();
    let node = db::hosts::coordinates::host_find(&mut conn, node_id).await?;
    // Nothing holds a connection while it waits for a host.
    drop(conn);
    let Some(node) = node else {
        // It was removed meanwhile.
        return Ok(None);
    };
    let host = Host::open(deps.pool, deps.host_client, node).await?;
    let figures = host.connection.read_figures().await?;
    let info = host.engine.read_info().await?;
    let facts = figures.into_facts(info.root_directory.as_deref());
    let disk_used = facts.docker_disk_used_percent.or(facts.disk_used_percent);
    if disk_used.is_some_and(|used| used >= CLEANUP_DISK_PERCENT) {
        clean_up(deps, &host, counts).await?;
    }
    if facts.is_overloaded() {
        return Err(UpkeepError::Busy);
    }
    let image = &deps.images.default;
    let time = PullTime {
        missing: Some(PULL_TIMEOUT),
        newer: Some(PULL_TIMEOUT),
    };
    let digest = ensure_image(&host.engine, deps.registries, image, time).await?;
    Ok(digest)
}

async fn clean_up(
    deps: UpkeepDeps<'_>,
    host: &Host,
    counts: &mut UpkeepCounts,
) -> Result<(), UpkeepError> {
    let engine = &host.engine;
    let before = *counts;
    let started = Instant::now();
    for name in volumes_of_nobody(deps, engine).await? {
        if started.elapsed() > CLEAN_UP_TIME {
            break;
        }
        if is_removed(engine.remove_volume(&name).await)? {
            counts.removed_volumes += 1;
        }
    }
    // An agent whose new image fails goes back to the one that it ran before, which no container uses meanwhile.
    let node_id = &host.node.node_id;
    let mut conn = deps.pool.statements();
    let may_go_back =
        db::agents::image_restarts::any_restart_on_host_of_any_organization(&mut conn, node_id)
            .await?;
    let chosen =
        db::hosts::upkeep::images_chosen_on_host_of_any_organization(&mut conn, node_id).await?;
    drop(conn);
    let images = if may_go_back {
        Vec::new()
    } else {
        engine.list_images().await?
    };
    for image in images {
        for name in deps.images.removable_names(&image, &chosen) {
            if started.elapsed() > CLEAN_UP_TIME {
                break;
            }
            if is_removed(engine.remove_image(name).await)? {
                counts.removed_images += 1;
            }
        }
    }
    let images = counts.removed_images - before.removed_images;
    let volumes = counts.removed_volumes - before.removed_volumes;
    info!(
        node.id = node_id,
        images,
        volumes,
        "the disk of host {node_id} fills up: {images} names of unused images and {volumes} volumes of deleted \
        agents removed"
    );
    Ok(())
}

/// The volumes of agents that exist no more. They are listed before the rows are read: whoever has a volume in this list
/// has had a row before.
async fn volumes_of_nobody(
    deps: UpkeepDeps<'_>,
    engine: &Engine,
) -> Result<Vec<String>, UpkeepError> {
    let volumes = engine.list_unused_volumes().await?;
    let agents = volumes.iter().filter_map(|volume| {
        let agent = AgentRef {
            organization_id: volume.organization.parse().ok()?,
            agent_id: volume.agent.parse().ok()?,
        };
        (volume.name == container::name(agent.agent_id)).then_some(agent)
    });
    let agents: Vec<AgentRef> = agents.collect();
    let mut conn = deps.pool.statements();
    let gone = db::hosts::upkeep::agents_gone(&mut conn, &agents).await?;
    let gone: HashSet<AgentId> = gone.into_iter().collect();
    Ok(gone.into_iter().map(container::name).collect())
}

/// Docker keeps what a container uses.
fn is_removed(removed: Result<(), EngineError>) -> Result<bool, EngineError> {
    match removed {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.reason(), EngineErrorReason::Host(_)) => Err(error),
        Err(_) => Ok(false),
    }
}
