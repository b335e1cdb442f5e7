//! `billing_accounts`. Owns: which organizations a billing run has to decide, and what it has decided for each. A
//! row is written under its organization's lock only, or under its own if the organization is deleted.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::db::session::Connection;
use crate::domain::billing::LowCreditNotice;
use crate::domain::ids::OrganizationId;
use crate::domain::money::Money;

/// An organization that a billing run has to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueOrganization {
    /// The organization may be deleted by now.
    pub organization_id: OrganizationId,
    /// The number of spans and of agents under dunning: how much the run has to read.
    pub weight: usize,
    /// An upper bound of the slices that are not charged: every span is counted as if it were as old as the oldest.
    pub slices: usize,
}

/// The organizations with an uncharged slice, an agent under dunning or carried debt that no run has decided up to `through`. Those
/// that were decided least recently come first.
pub async fn organizations_due(
    conn: &mut Connection,
    through: DateTime<Utc>,
) -> sqlx::Result<Vec<DueOrganization>> {
    let rows = sql!(query!(
        r#"SELECT due.organization_id AS "organization_id!: OrganizationId", sum(due.weight)::bigint AS "weight!",
            sum(due.slices)::bigint AS "slices!"
        FROM (
            SELECT s.organization_id, count(*) AS weight,
                count(*) * ceil(date_part('epoch', $1 - min("#
            + SPAN_MARK
            + ")) / 3600) AS slices
            FROM cloud.usage_spans s LEFT JOIN cloud.billing_accounts a USING (organization_id)
            WHERE NOT s.settled AND "
            + SPAN_MARK
            + " < least(s.ended_at, $1)
            GROUP BY s.organization_id
            UNION ALL
            SELECT organization_id, count(*), 0 FROM public.milady_sandboxes
            WHERE billing_status IN ('warning', 'shutdown_pending') GROUP BY organization_id
            UNION ALL
            SELECT organization_id, 1, 0 FROM cloud.billing_accounts WHERE carried_debt > 0
        ) AS due
        LEFT JOIN cloud.billing_accounts a USING (organization_id)
        WHERE a.decided_through IS NULL OR a.decided_through < $1
        GROUP BY due.organization_id, a.decided_through
        ORDER BY a.decided_through NULLS FIRST, due.organization_id",
        through
    ))
    .fetch_all(conn)
    .await?;
    let organizations = rows.into_iter().map(|row| DueOrganization {
        organization_id: row.organization_id,
        weight: usize::try_from(row.weight).unwrap_or(usize::MAX),
        slices: usize::try_from(row.slices).unwrap_or(usize::MAX),
    });
    Ok(organizations.collect())
}

#[derive(Clone, Copy, Debug)]
pub struct BillingAccount {
    pub organization_id: OrganizationId,
    /// The end of the last period that a run decided; `None` if no run has.
    pub decided_through: Option<DateTime<Utc>>,
    /// Spans that have caught up are charged up to this hour.
    pub charged_through: Option<DateTime<Utc>>,
    /// Since when billing runs have found the balance below the low-credit mark.
    pub low_since: Option<DateTime<Utc>>,
    pub low_notice: LowCreditNotice,
    pub carried_debt: Money,
}

/// The accounts of some organizations; those without one are left out.
#[derive(Clone, Debug)]
pub struct BillingAccounts {
    /// The time of billing's clock when they were read.
    pub now: DateTime<Utc>,
    pub accounts: Vec<BillingAccount>,
}

/// Opens the account of an organization that this transaction adds, and that has no credit yet.
pub async fn account_open(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.billing_accounts (organization_id, opening_balance, opened_at)
        VALUES ($1, 0, cloud.billing_clock())",
        organization_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks accounts in the order of their ids. A writer that ends a span and has not committed shares the lock of its
/// account: this waits for it, and sees where the span ended. A writer that comes later waits for us, and ends its span
/// after what we charge.
pub async fn accounts_lock(conn: &mut Connection, ids: &[OrganizationId]) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT FROM cloud.billing_accounts WHERE organization_id = ANY($1)
        ORDER BY organization_id FOR NO KEY UPDATE",
        ids as &[OrganizationId]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Reads accounts and, in the same statement, billing's clock. The caller must hold the locks of the organizations:
/// then the entries of one organization are in the order of the clock.
pub async fn accounts_read(
    conn: &mut Connection,
    ids: &[OrganizationId],
) -> sqlx::Result<BillingAccounts> {
    let rows = sqlx::query!(
        r#"SELECT clock.now AS "now!", a.organization_id AS "organization_id?", a.decided_through,
            a.charged_through, a.low_since, a.low_noticed_at, a.low_armed AS "low_armed?",
            a.carried_debt AS "carried_debt?"
        FROM (SELECT cloud.billing_clock() AS now) AS clock
        LEFT JOIN cloud.billing_accounts a ON a.organization_id = ANY($1)"#,
        ids as &[OrganizationId]
    )
    .fetch_all(conn)
    .await?;
    let now = rows
        .first()
        .map(|row| row.now)
        .ok_or(sqlx::Error::RowNotFound)?;
    let accounts = rows.into_iter().filter_map(|row| {
        Some(BillingAccount {
            organization_id: row.organization_id?,
            decided_through: row.decided_through,
            charged_through: row.charged_through,
            low_since: row.low_since,
            low_notice: LowCreditNotice {
                noticed_at: row.low_noticed_at,
                is_armed: row.low_armed.unwrap_or(true),
            },
            carried_debt: row.carried_debt.map_or(Money::ZERO, Money::rounded),
        })
    });
    Ok(BillingAccounts {
        now,
        accounts: accounts.collect(),
    })
}

/// What a part of a run changes in accounts, as columns of equal length.
#[derive(Debug, Default)]
pub struct AccountUpdates {
    pub organization_ids: Vec<OrganizationId>,
    pub charged_through: Vec<DateTime<Utc>>,
    pub carried_debt: Vec<Decimal>,
    /// Whether this is the run's last part for the organization: it is decided.
    pub is_decided: Vec<bool>,
    /// Of decided ones.
    pub low_since: Vec<Option<DateTime<Utc>>>,
    /// Of decided ones.
    pub low_noticed_at: Vec<Option<DateTime<Utc>>>,
    /// Of decided ones.
    pub low_armed: Vec<bool>,
    /// The balances before this transaction. A new account starts from it.
    pub opening_balances: Vec<Decimal>,
}

/// Writes the accounts, and opens those that are missing.
pub async fn accounts_update(
    conn: &mut Connection,
    through: DateTime<Utc>,
    now: DateTime<Utc>,
    updates: &AccountUpdates,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.billing_accounts AS a
            (organization_id, decided_through, charged_through, low_since, low_noticed_at, low_armed, carried_debt,
            opening_balance, opened_at)
        SELECT u.id, CASE WHEN u.is_decided THEN $1::timestamptz END, u.charged_through, u.low_since,
            u.low_noticed_at, u.low_armed, u.carried_debt, u.opening, $2
        FROM UNNEST($3::uuid[], $4::timestamptz[], $5::numeric[], $6::bool[], $7::timestamptz[], $8::numeric[],
                $9::timestamptz[], $10::bool[])
            AS u (id, charged_through, carried_debt, is_decided, low_since, opening, low_noticed_at, low_armed)
        ON CONFLICT (organization_id) DO UPDATE
        SET decided_through = coalesce(excluded.decided_through, a.decided_through),
            low_since = CASE WHEN excluded.decided_through IS NULL THEN a.low_since ELSE excluded.low_since END,
            low_noticed_at = CASE WHEN excluded.decided_through IS NULL THEN a.low_noticed_at
                ELSE excluded.low_noticed_at END,
            low_armed = CASE WHEN excluded.decided_through IS NULL THEN a.low_armed ELSE excluded.low_armed END,
            charged_through = excluded.charged_through, carried_debt = excluded.carried_debt",
        through,
        now,
        &updates.organization_ids as &[OrganizationId],
        &updates.charged_through,
        &updates.carried_debt,
        &updates.is_decided,
        &updates.low_since as &[Option<DateTime<Utc>>],
        &updates.opening_balances,
        &updates.low_noticed_at as &[Option<DateTime<Utc>>],
        &updates.low_armed
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that these organizations carry no debt. They are deleted, and the caller has locked their accounts.
pub async fn carried_debts_clear(
    conn: &mut Connection,
    organization_ids: &[OrganizationId],
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.billing_accounts SET carried_debt = 0 WHERE organization_id = ANY($1)",
        organization_ids as &[OrganizationId]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One organization's account; `None` if it has none.
pub async fn account_find(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<Option<BillingAccount>> {
    let row = sqlx::query!(
        "SELECT organization_id, decided_through, charged_through, low_since, low_noticed_at, low_armed,
            carried_debt
        FROM cloud.billing_accounts WHERE organization_id = $1",
        organization_id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| BillingAccount {
        organization_id: row.organization_id,
        decided_through: row.decided_through,
        charged_through: row.charged_through,
        low_since: row.low_since,
        low_notice: LowCreditNotice {
            noticed_at: row.low_noticed_at,
            is_armed: row.low_armed,
        },
        carried_debt: Money::rounded(row.carried_debt),
    }))
}

/// The period up to which the organization that has waited longest is decided, among those that are due for `through`.
pub async fn oldest_undecided_of_any_organization(
    conn: &mut Connection,
    through: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT min(coalesce(a.decided_through, s.started_at))
        FROM cloud.usage_spans s LEFT JOIN cloud.billing_accounts a USING (organization_id)
        WHERE NOT s.settled AND s.started_at < $1 AND (a.decided_through IS NULL OR a.decided_through < $1)
            AND (s.ended_at IS NULL OR NOT s.caught_up OR s.ended_at > a.charged_through)",
        through
    )
    .fetch_one(conn)
    .await
}
