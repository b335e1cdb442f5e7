//! `billing_accounts`. Owns: which organizations a billing run has to decide, and what it has decided for each. A
//! row is written under its organization's lock only.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::db::session::Connection;
use crate::domain::ids::OrganizationId;

/// An organization that a billing run has to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueOrganization {
    /// The organization may be deleted by now.
    pub organization_id: OrganizationId,
    /// The number of spans and of agents under dunning: how much the run has to read.
    pub weight: usize,
}

/// The organizations with an unbilled slice or an agent under dunning that no run has decided up to `through`. Those
/// that were decided least recently come first.
pub async fn organizations_due(
    conn: &mut Connection,
    through: DateTime<Utc>,
) -> sqlx::Result<Vec<DueOrganization>> {
    let rows = sqlx::query!(
        r#"SELECT due.organization_id AS "organization_id!: OrganizationId", count(*) AS "weight!"
        FROM (
            SELECT organization_id FROM cloud.agent_usage_spans
            WHERE NOT settled AND started_at < $1
                AND (billed_through IS NULL OR billed_through < $1)
            UNION ALL
            SELECT organization_id FROM public.milady_sandboxes
            WHERE billing_status IN ('warning', 'shutdown_pending')
        ) AS due
        LEFT JOIN cloud.billing_accounts a USING (organization_id)
        WHERE a.decided_through IS NULL OR a.decided_through < $1
        GROUP BY due.organization_id, a.decided_through
        ORDER BY a.decided_through NULLS FIRST, due.organization_id"#,
        through
    )
    .fetch_all(conn)
    .await?;
    let organizations = rows.into_iter().map(|row| DueOrganization {
        organization_id: row.organization_id,
        weight: usize::try_from(row.weight).unwrap_or(usize::MAX),
    });
    Ok(organizations.collect())
}

#[derive(Clone, Copy, Debug)]
pub struct BillingAccount {
    pub organization_id: OrganizationId,
    /// The end of the last period that a run decided; `None` if no run has.
    pub decided_through: Option<DateTime<Utc>>,
    /// Since when billing runs have found the balance below the warning mark.
    pub low_since: Option<DateTime<Utc>>,
}

/// The accounts of some organizations; those without one are left out.
#[derive(Clone, Debug)]
pub struct BillingAccounts {
    /// The time of billing's clock when they were read.
    pub now: DateTime<Utc>,
    pub accounts: Vec<BillingAccount>,
}

/// Reads accounts and, in the same statement, billing's clock. The caller must hold the locks of the organizations:
/// then the ledger rows of one organization are in the order of the clock.
pub async fn accounts_read(
    conn: &mut Connection,
    ids: &[OrganizationId],
) -> sqlx::Result<BillingAccounts> {
    let rows = sqlx::query!(
        r#"SELECT clock.now AS "now!", a.organization_id AS "organization_id?", a.decided_through,
            a.low_since
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
            low_since: row.low_since,
        })
    });
    Ok(BillingAccounts {
        now,
        accounts: accounts.collect(),
    })
}

/// What a run has decided for some organizations, as columns of equal length.
#[derive(Debug, Default)]
pub struct DecidedAccounts {
    pub organization_ids: Vec<OrganizationId>,
    pub low_since: Vec<Option<DateTime<Utc>>>,
    /// The balances before this transaction. A new account starts from it.
    pub opening_balances: Vec<Decimal>,
}

/// Records that a run has decided these organizations, and opens accounts for those that had none.
pub async fn accounts_decide(
    conn: &mut Connection,
    through: DateTime<Utc>,
    now: DateTime<Utc>,
    decided: &DecidedAccounts,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.billing_accounts
            (organization_id, decided_through, low_since, opening_balance, opened_at)
        SELECT d.id, $1, d.low_since, d.opening, $2
        FROM UNNEST($3::uuid[], $4::timestamptz[], $5::numeric[]) AS d (id, low_since, opening)
        ON CONFLICT (organization_id) DO UPDATE
        SET decided_through = excluded.decided_through, low_since = excluded.low_since",
        through,
        now,
        &decided.organization_ids as &[OrganizationId],
        &decided.low_since as &[Option<DateTime<Utc>>],
        &decided.opening_balances
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The end of the last period that a run decided for an organization.
pub async fn account_decided_through(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let decided = sqlx::query_scalar!(
        "SELECT decided_through FROM cloud.billing_accounts WHERE organization_id = $1",
        organization_id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(decided.flatten())
}
