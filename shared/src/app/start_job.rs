//! Starting an agent: the credit gate and the job in one transaction that holds the organization's
//! row, so that simultaneous requests see each other's commitments (F10).

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::db;
use crate::domain::credit_gate::{self, Clearance, Refusal, Request};
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// How a start was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// This job will do it.
    Enqueued(Uuid),
    /// A start job is under way already.
    AlreadyInProgress,
}

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The organization has no such agent.
    #[error("Agent not found")]
    NotFound,
    /// Not enough credit.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed; nothing was enqueued.
    #[error("the database did not answer")]
    Database(#[from] sqlx::Error),
}

/// Lets an agent through the gate and enqueues its provisioning.
///
/// # Errors
/// [`StartError`].
pub async fn start_agent(
    pool: &PgPool,
    prices: &Prices,
    organization_id: Uuid,
    agent_id: Uuid,
) -> Result<Started, StartError> {
    let mut tx = pool.begin().await?;
    let (clearance, user_id) = clear(&mut tx, prices, organization_id, agent_id).await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let job = db::jobs::provision_enqueue(&mut tx, clearance, user_id, now).await?;
    tx.commit().await?;
    Ok(job.map_or(Started::AlreadyInProgress, Started::Enqueued))
}

/// Asks the gate inside the caller's transaction, which from here on holds the organization's row.
/// Answers the clearance and the agent's user.
///
/// # Errors
/// [`StartError`]. A balance that is no valid amount covers nothing.
pub async fn clear(
    conn: &mut PgConnection,
    prices: &Prices,
    organization_id: Uuid,
    agent_id: Uuid,
) -> Result<(Clearance, Uuid), StartError> {
    let locked = db::organizations::organizations_lock(conn, &[organization_id]).await?;
    let organization = locked.first().ok_or(StartError::NotFound)?;
    let commitment =
        db::agents::agent_commitment(conn, organization_id, agent_id, prices.running_hourly)
            .await?
            .ok_or(StartError::NotFound)?;
    let request = Request {
        organization_id,
        agent_id,
        exempt: commitment.exempt,
        balance: organization.balance.unwrap_or(Money::ZERO),
        owed: owed(conn, prices, organization_id).await?,
        committed_hourly: commitment.hourly,
    };
    Ok((credit_gate::check(&request, prices)?, commitment.user_id))
}

/// What ticks could not charge.
async fn owed(
    conn: &mut PgConnection,
    prices: &Prices,
    organization_id: Uuid,
) -> Result<Money, sqlx::Error> {
    let Some(through) = db::accounts::account_decided_through(conn, organization_id).await? else {
        return Ok(Money::ZERO);
    };
    let spans = db::spans::spans_unsettled(conn, &[organization_id], through).await?;
    let spans = spans.into_iter().filter_map(|owned| owned.span);
    Ok(spans
        .map(|span| span.worth(span.unbilled_from(), through, prices))
        .sum())
}
