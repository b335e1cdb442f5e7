//! Rolling out a new version of the default image to the agents that run another one (F69). Owns: its beginning, its
//! pauses and its end, and which agents are restarted next. Does not own: restarting them (`image_restarts`).
//!
//! Agents that stand still get the newest version at their next start anyway.

use serde_json::json;
use tracing::{info, warn};

use super::image_restarts::restarts_continue;
use crate::app::error::RequestError;
use crate::db;
use crate::db::agents::image_restarts::{RestartCounts, UnchangedAgent, Version};
use crate::db::hosts::roll_outs::{NewRollOut, RollOut};
use crate::db::requests::audit_log::AuditEntry;
use crate::db::{Connection, Database};
use crate::domain::agent::StatusConflict;
use crate::domain::ids::UserId;
use crate::domain::roll_out::RollOutState;

/// What can be rolled out, and how far the last roll-out is.
#[derive(Clone, Debug)]
pub struct RollOutProgress {
    /// The version of the default image that most hosts have. `None` if no host has pulled it.
    pub digest: Option<String>,
    /// How many agents run another version than that one.
    pub outdated: i64,
    pub last: Option<LastRollOut>,
}

#[derive(Clone, Debug)]
pub struct LastRollOut {
    pub roll_out: RollOut,
    /// Agents that it has not begun to restart. None once it has ended.
    pub waiting: i64,
    pub counts: RestartCounts,
    /// The agents that failed or were skipped.
    pub unchanged: Vec<UnchangedAgent>,
}

/// # Errors
/// [`RequestError::Database`].
pub async fn roll_out_progress(
    pool: &Database,
    default_image: &str,
) -> Result<RollOutProgress, RequestError> {
    let mut conn = pool.statements();
    let digest = db::hosts::roll_outs::most_common_digest(&mut conn, default_image).await?;
    let outdated = match &digest {
        Some(digest) => {
            let version = Version {
                image: default_image,
                digest,
            };
            db::agents::image_restarts::agents_outdated_of_any_organization(&mut conn, version)
                .await?
        }
        None => 0,
    };
    let last = match db::hosts::roll_outs::roll_out_find(&mut conn).await? {
        Some(roll_out) => Some(LastRollOut {
            waiting: waiting(&mut conn, &roll_out).await?,
            counts: db::agents::image_restarts::restarts_count_of_any_organization(&mut conn)
                .await?,
            unchanged: db::agents::image_restarts::agents_unchanged_of_any_organization(&mut conn)
                .await?,
            roll_out,
        }),
        None => None,
    };
    Ok(RollOutProgress {
        digest,
        outdated,
        last,
    })
}

async fn waiting(conn: &mut Connection, roll_out: &RollOut) -> sqlx::Result<i64> {
    if !roll_out.is_open() {
        return Ok(0);
    }
    let version = version(roll_out);
    db::agents::image_restarts::agents_waiting_of_any_organization(conn, version).await
}

fn version(roll_out: &RollOut) -> Version<'_> {
    Version {
        image: &roll_out.image,
        digest: &roll_out.digest,
    }
}

/// What an operator rolls out.
#[derive(Clone, Copy, Debug)]
pub struct RollOutRequest<'a> {
    pub default_image: &'a str,
    /// One of the versions of the default image that hosts have.
    pub digest: &'a str,
    pub restarts_at_once: i32,
}

/// Starts a roll-out, in place of the last one.
///
/// # Errors
/// [`RequestError::StatusConflict`] if the last roll-out has not ended, or if no host has this version.
pub async fn roll_out_start(
    pool: &Database,
    admin_id: UserId,
    request: RollOutRequest<'_>,
) -> Result<(), RequestError> {
    let RollOutRequest {
        default_image,
        digest,
        restarts_at_once,
    } = request;
    let mut tx = pool.begin().await?;
    if let Some(last) = db::hosts::roll_outs::roll_out_lock(&mut tx).await? {
        let counts =
            db::agents::image_restarts::restarts_count_of_any_organization(&mut tx).await?;
        if last.is_open() {
            return Err(StatusConflict("A roll-out is under way; cancel it first").into());
        }
        if counts.open > 0 {
            return Err(StatusConflict("Restarts of the last roll-out are still under way").into());
        }
    }
    if !db::hosts::roll_outs::any_host_has_digest(&mut tx, default_image, digest).await? {
        return Err(StatusConflict("No host has this version of the default image").into());
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    db::agents::image_restarts::restarts_delete_of_any_organization(&mut tx).await?;
    let new = NewRollOut {
        image: default_image,
        digest,
        requested_by: admin_id,
        restarts_at_once,
    };
    db::hosts::roll_outs::roll_out_begin(&mut tx, new, now).await?;
    let action = AuditEntry {
        user_id: admin_id,
        action: "image_roll_out.start",
        subject: default_image,
        details: json!({"digest": digest, "restartsAtOnce": restarts_at_once}),
        result: "accepted",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    tx.commit().await?;
    Ok(())
}

/// What an operator does with the roll-out under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollOutChange {
    /// No further restart is begun.
    Pause,
    /// Earlier failures count no more.
    Resume,
    /// Restarts whose agents are stopped already go on.
    Cancel,
}

/// # Errors
/// [`RequestError::StatusConflict`] if the roll-out is in a state that does not allow the change.
pub async fn roll_out_change(
    pool: &Database,
    admin_id: UserId,
    change: RollOutChange,
) -> Result<(), RequestError> {
    use RollOutState::{Cancelled, Paused, Running};
    let mut tx = pool.begin().await?;
    let roll_out = db::hosts::roll_outs::roll_out_lock(&mut tx).await?;
    let roll_out = roll_out.filter(RollOut::is_open);
    let roll_out = roll_out.ok_or(StatusConflict("No roll-out is under way"))?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let action = match change {
        RollOutChange::Pause if roll_out.state == Some(Running) => {
            db::hosts::roll_outs::roll_out_pause(&mut tx, None).await?;
            "image_roll_out.pause"
        }
        RollOutChange::Pause => return Err(StatusConflict("The roll-out is paused already").into()),
        RollOutChange::Resume if roll_out.state == Some(Paused) => {
            db::hosts::roll_outs::roll_out_resume(&mut tx, now).await?;
            "image_roll_out.resume"
        }
        RollOutChange::Resume => return Err(StatusConflict("The roll-out is not paused").into()),
        RollOutChange::Cancel => {
            db::hosts::roll_outs::roll_out_end(&mut tx, Cancelled, now).await?;
            db::agents::image_restarts::restarts_cancel_of_any_organization(&mut tx).await?;
            "image_roll_out.cancel"
        }
    };
    let entry = AuditEntry {
        user_id: admin_id,
        action,
        subject: &roll_out.image,
        details: json!({"digest": roll_out.digest, "pauseReason": roll_out.pause_reason}),
        result: "accepted",
    };
    db::requests::audit_log::audit_append(&mut tx, &entry, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Begins the restarts that may begin, and takes the next step of each open one. Returns how many steps were taken. Until an
/// existing deployment is adopted, nothing is restarted.
///
/// # Errors
/// The first error of the database, after every restart was attempted.
pub async fn roll_out_continue(pool: &Database) -> sqlx::Result<usize> {
    let mut conn = pool.statements();
    if db::clock::readiness(&mut conn).await?.adoption_required {
        return Ok(0);
    }
    drop(conn);
    let begun = begin_restarts(pool).await;
    let steps = restarts_continue(pool).await?;
    begun?;
    Ok(steps)
}

/// Begins as many restarts as may be under way, unless too many have failed, and ends a roll-out that has nothing left to do.
async fn begin_restarts(pool: &Database) -> sqlx::Result<()> {
    let mut tx = pool.begin().await?;
    // Another sweep at the same moment waits, and then counts the restarts that this one has begun.
    let roll_out = db::hosts::roll_outs::roll_out_lock(&mut tx).await?;
    let Some(roll_out) = roll_out.filter(|found| found.state == Some(RollOutState::Running)) else {
        return Ok(());
    };
    let now = db::clock::billing_clock(&mut tx).await?;
    let recent = db::agents::image_restarts::restarts_recent_of_any_organization(
        &mut tx,
        roll_out.resumed_at,
    )
    .await?;
    if let Some(reason) = recent.pause_reason() {
        db::hosts::roll_outs::roll_out_pause(&mut tx, Some(&reason)).await?;
        tx.commit().await?;
        warn!(
            image = roll_out.image,
            digest = roll_out.digest,
            "the roll-out of {} has paused: {reason}",
            roll_out.image
        );
        return Ok(());
    }
    let counts = db::agents::image_restarts::restarts_count_of_any_organization(&mut tx).await?;
    let free = i64::from(roll_out.restarts_at_once) - counts.open;
    if free > 0 {
        let agents = db::agents::image_restarts::agents_to_restart_of_any_organization(
            &mut tx,
            version(&roll_out),
            free,
        )
        .await?;
        for agent in &agents {
            db::agents::image_restarts::restart_begin(&mut tx, *agent, now).await?;
        }
        let has_ended =
            agents.is_empty() && counts.open == 0 && waiting(&mut tx, &roll_out).await? == 0;
        if has_ended {
            db::hosts::roll_outs::roll_out_end(&mut tx, RollOutState::Done, now).await?;
            info!(
                image = roll_out.image,
                digest = roll_out.digest,
                "the roll-out of {} is done",
                roll_out.image
            );
        }
    }
    tx.commit().await
}
