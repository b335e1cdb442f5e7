//! An operator has a look taken at a host, now.

use std::time::Instant;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::app::error::RequestError;
use crate::app::fleet::inspect::{HOST_WITHIN, Watch, inspect};
use crate::db;
use crate::domain::fleet::{NodeStatus, Reading};
use crate::hosts::Fleet;

/// What a look at a host found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Where the host is.
    pub hostname: String,
    /// How it fared before.
    pub before: NodeStatus,
    /// How it fares.
    pub status: NodeStatus,
    /// What it told.
    pub reading: Reading,
    /// When.
    pub at: DateTime<Utc>,
}

/// Looks at a host, pins its key if none was, and records how it fares.
///
/// # Errors
/// [`RequestError`]; then nothing was recorded.
pub async fn node_check(
    pool: &PgPool,
    fleet: &Fleet,
    node_id: &str,
) -> Result<Checked, RequestError> {
    let mut conn = pool.acquire().await?;
    let node = db::hosts::slots::node_find(&mut conn, node_id).await?;
    let node = node.ok_or(RequestError::NO_NODE)?;
    let now = db::clock::billing_clock(&mut conn).await?;
    drop(conn);
    // Its own time is the only limit: nothing else ends the look.
    let until = Instant::now() + HOST_WITHIN * 2;
    let reading = inspect(pool, fleet, &node, &[], (Watch::begin(now), until)).await;
    let reading = reading.reading;
    let Some(at) = reading.at() else {
        return Err(RequestError::Away("The host was not looked at".to_owned()));
    };
    let status = NodeStatus::of(&reading);
    let mut conn = pool.acquire().await?;
    let before = db::hosts::operator::node_checked(&mut conn, node_id, status.as_str(), at).await?;
    let before = before.ok_or(RequestError::NO_NODE)?;
    Ok(Checked {
        hostname: node.hostname,
        before: NodeStatus::parse(&before),
        status,
        reading,
        at,
    })
}
