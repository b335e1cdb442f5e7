//! `cloud.image_roll_outs`: the last roll-out of a new default image. Owns: its state, and which versions of the image the
//! hosts have. Does not own: the agents that it restarts (`agents::image_restarts`).

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::UserId;
use crate::domain::roll_out::RollOutState;

#[derive(Clone, Debug)]
pub struct RollOut {
    pub image: String,
    /// `sha256:...`
    pub digest: String,
    pub requested_by: UserId,
    pub requested_at: DateTime<Utc>,
    pub restarts_at_once: i32,
    /// `None` for a word that this version does not know.
    pub state: Option<RollOutState>,
    /// `None` if an operator paused it.
    pub pause_reason: Option<String>,
    /// Restarts that failed before this time do not pause it.
    pub resumed_at: DateTime<Utc>,
    pub done_at: Option<DateTime<Utc>>,
}

impl RollOut {
    /// Whether it has not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.done_at.is_none()
    }
}

struct RollOutRow {
    image: String,
    digest: String,
    requested_by: UserId,
    requested_at: DateTime<Utc>,
    restarts_at_once: i32,
    state: String,
    pause_reason: Option<String>,
    resumed_at: DateTime<Utc>,
    done_at: Option<DateTime<Utc>>,
}

impl From<RollOutRow> for RollOut {
    fn from(row: RollOutRow) -> Self {
        Self {
            image: row.image,
            digest: row.digest,
            requested_by: row.requested_by,
            requested_at: row.requested_at,
            restarts_at_once: row.restarts_at_once,
            state: RollOutState::parse(&row.state),
            pause_reason: row.pause_reason,
            resumed_at: row.resumed_at,
            done_at: row.done_at,
        }
    }
}

pub async fn roll_out_find(conn: &mut Connection) -> sqlx::Result<Option<RollOut>> {
    let row = sqlx::query_as!(
        RollOutRow,
        "SELECT image, digest, requested_by, requested_at, restarts_at_once, state, pause_reason, resumed_at, done_at
        FROM cloud.image_roll_outs"
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(RollOut::from))
}

/// The same, locked: whoever changes the roll-out or begins restarts holds its lock.
pub async fn roll_out_lock(conn: &mut Connection) -> sqlx::Result<Option<RollOut>> {
    let row = sqlx::query_as!(
        RollOutRow,
        "SELECT image, digest, requested_by, requested_at, restarts_at_once, state, pause_reason, resumed_at, done_at
        FROM cloud.image_roll_outs FOR UPDATE"
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(RollOut::from))
}

/// Why the roll-out has paused by itself.
pub async fn roll_out_pause_reason(conn: &mut Connection) -> sqlx::Result<Option<String>> {
    let reason = sqlx::query_scalar!(
        "SELECT pause_reason FROM cloud.image_roll_outs WHERE state = $1",
        RollOutState::Paused.as_str()
    )
    .fetch_optional(conn)
    .await?;
    Ok(reason.flatten())
}

/// A roll-out that begins.
#[derive(Clone, Copy, Debug)]
pub struct NewRollOut<'a> {
    pub image: &'a str,
    pub digest: &'a str,
    pub requested_by: UserId,
    pub restarts_at_once: i32,
}

/// Begins a roll-out, in place of the last one.
pub async fn roll_out_begin(
    conn: &mut Connection,
    new: NewRollOut<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.image_roll_outs (image, digest, requested_by, requested_at, restarts_at_once, state,
            resumed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $4)
        ON CONFLICT (is_last) DO UPDATE SET image = excluded.image, digest = excluded.digest,
            requested_by = excluded.requested_by, requested_at = excluded.requested_at,
            restarts_at_once = excluded.restarts_at_once, state = excluded.state,
            resumed_at = excluded.resumed_at, pause_reason = NULL, done_at = NULL",
        new.image,
        new.digest,
        new.requested_by.uuid(),
        now,
        new.restarts_at_once,
        RollOutState::Running.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Pauses the roll-out, for this reason if not for an operator.
pub async fn roll_out_pause(conn: &mut Connection, reason: Option<&str>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.image_roll_outs SET state = $1, pause_reason = $2",
        RollOutState::Paused.as_str(),
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn roll_out_resume(conn: &mut Connection, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.image_roll_outs SET state = $1, pause_reason = NULL, resumed_at = $2",
        RollOutState::Running.as_str(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the roll-out in this state.
pub async fn roll_out_end(
    conn: &mut Connection,
    state: RollOutState,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.image_roll_outs SET state = $1, pause_reason = NULL, done_at = $2",
        state.as_str(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The version of an image that most hosts have; of several, the one that was found last. `None` if no host has pulled it.
pub async fn most_common_digest(
    conn: &mut Connection,
    image: &str,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        r#"SELECT image_digest AS "digest!" FROM cloud.host_upkeep WHERE image = $1 AND image_digest IS NOT NULL
        GROUP BY image_digest ORDER BY count(*) DESC, max(checked_at) DESC LIMIT 1"#,
        image
    )
    .fetch_optional(conn)
    .await
}

/// Whether any host has this version of an image.
pub async fn any_host_has_digest(
    conn: &mut Connection,
    image: &str,
    digest: &str,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM cloud.host_upkeep WHERE image = $1 AND image_digest = $2) AS "any!""#,
        image,
        digest
    )
    .fetch_one(conn)
    .await
}
