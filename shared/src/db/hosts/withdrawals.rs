//! `cloud.host_withdrawals`: hosts that are drained or declared lost. Does not own: the moves of their agents
//! (`agents::moves`), nor what a loss does to agents (`agents::losses`).

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::UserId;
use crate::domain::withdrawal::WithdrawalKind;

/// The drain or the loss of a host.
#[derive(Clone, Debug)]
pub struct Withdrawal {
    /// `None` for a word that this version does not know.
    pub kind: Option<WithdrawalKind>,
    pub requested_by: UserId,
    pub requested_at: DateTime<Utc>,
    pub moves_at_once: i32,
    /// Whether the host is enabled when the withdrawal ends.
    pub was_enabled: bool,
    /// When a lost host was read last.
    pub last_read_at: Option<DateTime<Utc>>,
    /// When a drained host was empty, or a lost host answered again.
    pub done_at: Option<DateTime<Utc>>,
}

impl Withdrawal {
    #[must_use]
    pub fn is_drain(&self) -> bool {
        self.kind == Some(WithdrawalKind::Drain)
    }

    #[must_use]
    pub fn is_loss(&self) -> bool {
        self.kind == Some(WithdrawalKind::Loss)
    }
}

/// A host's withdrawal. Whoever decides on it holds the host's lock.
pub async fn withdrawal_find(
    conn: &mut Connection,
    node_id: &str,
) -> sqlx::Result<Option<Withdrawal>> {
    let row = sqlx::query!(
        "SELECT kind, requested_by, requested_at, moves_at_once, was_enabled, last_read_at, done_at
        FROM cloud.host_withdrawals WHERE node_id = $1",
        node_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Withdrawal {
        kind: WithdrawalKind::parse(&row.kind),
        requested_by: row.requested_by,
        requested_at: row.requested_at,
        moves_at_once: row.moves_at_once,
        was_enabled: row.was_enabled,
        last_read_at: row.last_read_at,
        done_at: row.done_at,
    }))
}

/// A withdrawal that begins.
#[derive(Clone, Copy, Debug)]
pub struct NewWithdrawal<'a> {
    pub node_id: &'a str,
    pub kind: WithdrawalKind,
    pub requested_by: UserId,
    pub moves_at_once: i32,
    pub was_enabled: bool,
    pub last_read_at: Option<DateTime<Utc>>,
}

/// Begins a withdrawal, in place of an earlier one of the host.
pub async fn withdrawal_set(
    conn: &mut Connection,
    new: NewWithdrawal<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.host_withdrawals (node_id, kind, requested_by, requested_at, moves_at_once, was_enabled,
            last_read_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (node_id) DO UPDATE SET kind = excluded.kind, requested_by = excluded.requested_by,
            requested_at = excluded.requested_at, moves_at_once = excluded.moves_at_once,
            was_enabled = excluded.was_enabled, last_read_at = excluded.last_read_at, done_at = NULL",
        new.node_id,
        new.kind.as_str(),
        new.requested_by.uuid(),
        now,
        new.moves_at_once,
        new.was_enabled,
        new.last_read_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Changes how many agents a drain moves at the same time.
pub async fn moves_at_once_set(
    conn: &mut Connection,
    node_id: &str,
    moves_at_once: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.host_withdrawals SET moves_at_once = $2 WHERE node_id = $1",
        node_id,
        moves_at_once
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that a drained host is empty, or that a lost host answers again. Returns `false` if that is recorded already
/// or the host has no such withdrawal.
pub async fn withdrawal_finish(
    conn: &mut Connection,
    node_id: &str,
    kind: WithdrawalKind,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE cloud.host_withdrawals SET done_at = $3
        WHERE node_id = $1 AND kind = $2 AND done_at IS NULL",
        node_id,
        kind.as_str(),
        now
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Records that a drained host is not empty any more.
pub(super) async fn drain_reopen(conn: &mut Connection, node_id: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.host_withdrawals SET done_at = NULL WHERE node_id = $1 AND kind = 'drain'",
        node_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn withdrawal_delete(conn: &mut Connection, node_id: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.host_withdrawals WHERE node_id = $1",
        node_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The hosts that are lost, or whose drain is not done, by name.
pub async fn withdrawn_hosts(
    conn: &mut Connection,
    kind: WithdrawalKind,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "SELECT node_id FROM cloud.host_withdrawals WHERE kind = $1 AND (kind = 'loss' OR done_at IS NULL)
        ORDER BY node_id",
        kind.as_str()
    )
    .fetch_all(conn)
    .await
}

/// Whether an agent of this host could be placed on another one, as far as the rows say. `left_nodes`: hosts whose volumes
/// hold older state of the agent, which would be refused.
pub async fn other_host_has_slot(
    conn: &mut Connection,
    node_id: &str,
    left_nodes: &[String],
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM public.docker_nodes
            WHERE node_id <> $1 AND node_id <> ALL($2) AND enabled AND allocated_count < capacity
                AND status <> 'offline') AS "any!""#,
        node_id,
        left_nodes
    )
    .fetch_one(conn)
    .await
}
