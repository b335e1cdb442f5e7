//! Renewing the cached snapshot at the end of a run. Owns: what a run takes over from the one before, and that readers
//! keep the previous snapshot if the new one cannot be written. Does not own: the JSON that readers get (`api::admin`).

use std::io;

use chrono::{DateTime, Utc};
use tracing::{error, warn};

use crate::cache::{Cache, CacheError, NewRun, RenderOverview, Section};
use crate::db;
use crate::db::Database;
use crate::db::hosts::leases::FleetLease;
use crate::domain::fleet::{
    FleetContext, FleetOverview, FleetSnapshot, Shard, ShardDigest, is_stale,
};
use crate::failure::Cause;

/// Makes what readers get of hosts and agents.
pub type RenderSections = fn(&FleetSnapshot, &FleetContext) -> io::Result<Vec<Section>>;

#[derive(Clone, Copy, Debug)]
pub struct RenewalDeps<'a> {
    pub cache: &'a Cache,
    pub render_sections: RenderSections,
    pub render_overview: RenderOverview,
    /// The image of agents that name none.
    pub default_image: &'a str,
}

/// A run that has found everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct FinishedRun<'a> {
    pub(super) shard: &'a Shard,
    pub(super) lease: FleetLease,
    pub(super) began_at: DateTime<Utc>,
}

/// What alarms watch of the whole fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetCondition {
    pub unreadable_hosts: usize,
    /// `None` if no host said.
    pub fullest_disk_percent: Option<u64>,
}

impl FleetCondition {
    /// `None` if there is no run over a part of the fleet, or if it is too long ago to say how that part is.
    fn of(overview: &FleetOverview, now: DateTime<Utc>) -> Option<Self> {
        let is_known = overview.is_whole && !is_stale(overview.refreshed_at, now);
        is_known.then_some(Self {
            unreadable_hosts: overview.summary.unreadable_hosts,
            fullest_disk_percent: overview.summary.fullest_disk_percent,
        })
    }
}

/// What became of the snapshot of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// Readers see it.
    Done(Option<FleetCondition>),
    /// The run outlived its lease and another run has begun.
    Overtaken,
    /// Readers see the previous one.
    Failed,
}

/// When the run over the shard before began. A snapshot that cannot be read counts as none: the run replaces it.
///
/// # Errors
/// The cache does not answer.
pub(super) async fn previous_run(
    cache: &Cache,
    shard: &Shard,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, CacheError> {
    match cache.run_began_at(shard, now).await {
        Err(CacheError::Unreadable) => Ok(None),
        Err(error) => {
            error!(%error, "the refresh run does not renew the snapshot");
            Err(error)
        }
        Ok(began_at) => Ok(began_at),
    }
}

/// Caches what a run found.
pub(super) async fn renew(
    deps: RenewalDeps<'_>,
    pool: &Database,
    run: FinishedRun<'_>,
    mut snapshot: FleetSnapshot,
) -> sqlx::Result<Renewal> {
    let mut conn = pool.statements();
    let ids = snapshot.organizations();
    let context = FleetContext {
        default_image: deps.default_image.to_owned(),
        organization_names: db::identity::organizations::organization_names(&mut conn, &ids)
            .await?,
    };
    let is_held = db::hosts::leases::lease_is_held(&mut conn, run.lease).await?;
    drop(conn);
    if !is_held {
        return Ok(overtaken());
    }
    let now = snapshot.refreshed_at;
    match deps.cache.incident_starts(now).await {
        Ok(earlier) => snapshot.continue_incidents(&earlier),
        Err(error) => {
            warn!(%error, "previous fleet snapshot not read; its incidents begin anew");
        }
    }
    let sections = match (deps.render_sections)(&snapshot, &context) {
        Ok(sections) => sections,
        Err(error) => {
            let error = error.class();
            error!(
                error,
                "fleet snapshot not rendered; readers see the previous one"
            );
            return Ok(Renewal::Failed);
        }
    };
    let new = NewRun {
        began_at: run.began_at,
        digest: ShardDigest::of(run.shard.clone(), run.lease.token, &snapshot),
        sections,
    };
    let written = deps.cache.run_write(&new, deps.render_overview, now);
    Ok(match written.await {
        Ok(Some(overview)) => Renewal::Done(FleetCondition::of(&overview, now)),
        Ok(None) => overtaken(),
        Err(error) => {
            error!(%error, "fleet snapshot not written; readers see the previous one");
            Renewal::Failed
        }
    })
}

fn overtaken() -> Renewal {
    warn!("refresh run outlived its lease and another one has begun; its snapshot is discarded");
    Renewal::Overtaken
}
