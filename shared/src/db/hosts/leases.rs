//! `cloud.fleet_leases`: the leases of refresh runs. Owns: that at most one run at a time has a shard, and that tokens grow.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::InvocationId;

/// The right to work on a shard of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetLease {
    pub shard: i32,
    /// The fencing token, larger than that of any lease of the shard before. An owner whose lease is over has an old one.
    pub token: i64,
}

/// Takes the lease of a shard. `None` if another owner holds it. The owner may take its own again: a call that got no answer
/// is repeated.
pub async fn lease_take(
    conn: &mut Connection,
    shard: i32,
    owner: InvocationId,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Option<FleetLease>> {
    // The tokens are at least the time in milliseconds, which nobody takes leases as fast as. So they go on growing after
    // the database was restored from a backup, while the cache has newer ones.
    let token = sqlx::query_scalar!(
        "INSERT INTO cloud.fleet_leases AS l (shard, token, owner, until) VALUES ($1, $3, $2, $5)
        ON CONFLICT (shard) DO UPDATE SET token = greatest(l.token + 1, excluded.token), owner = excluded.owner,
            until = excluded.until
        WHERE l.until IS NULL OR l.until <= $4 OR l.owner = excluded.owner
        RETURNING token",
        shard,
        owner.uuid(),
        now.timestamp_millis(),
        now,
        until
    )
    .fetch_optional(conn)
    .await?;
    Ok(token.map(|token| FleetLease { shard, token }))
}

/// Whether nobody has taken the lease since.
pub async fn lease_is_held(conn: &mut Connection, lease: FleetLease) -> sqlx::Result<bool> {
    let token = sqlx::query_scalar!(
        "SELECT token FROM cloud.fleet_leases WHERE shard = $1",
        lease.shard
    )
    .fetch_optional(conn)
    .await?;
    Ok(token == Some(lease.token))
}

/// Gives the lease back before it is over. Does nothing if another owner holds it by now.
pub async fn lease_return(conn: &mut Connection, lease: FleetLease) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.fleet_leases SET owner = NULL, until = NULL WHERE shard = $1 AND token = $2",
        lease.shard,
        lease.token
    )
    .execute(conn)
    .await?;
    Ok(())
}
