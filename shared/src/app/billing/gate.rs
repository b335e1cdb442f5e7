//! The credit gate's figures. Owns: that they are read while the organization's row is held, so that
//! simultaneous requests see each other's commitments (F10).

use sqlx::PgConnection;
use uuid::Uuid;

use crate::app::error::RequestError;
use crate::db;
use crate::domain::credit_gate::{self, Clearance, Request};
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// Asks the gate inside the caller's transaction, which from here on holds the organization's row.
/// A balance that is no valid amount covers nothing.
///
/// # Errors
/// The organization or the agent is not there, the credit does not suffice, or the database failed.
pub async fn clear(
    conn: &mut PgConnection,
    prices: &Prices,
    organization_id: Uuid,
    agent_id: Uuid,
) -> Result<Clearance, RequestError> {
    let locked = db::identity::organizations::organizations_lock(conn, &[organization_id]).await?;
    let organization = locked.first().ok_or(RequestError::NO_AGENT)?;
    let commitment =
        db::agents::billing::agent_commitment(conn, organization_id, agent_id, prices.running_hourly)
            .await?
            .ok_or(RequestError::NO_AGENT)?;
    let request = Request {
        organization_id,
        agent_id,
        exempt: commitment.exempt,
        balance: organization.balance.unwrap_or(Money::ZERO),
        owed: owed(conn, prices, organization_id).await?,
        committed_hourly: commitment.hourly,
    };
    Ok(credit_gate::check(&request, prices)?)
}

/// What ticks could not charge.
async fn owed(
    conn: &mut PgConnection,
    prices: &Prices,
    organization_id: Uuid,
) -> Result<Money, sqlx::Error> {
    let Some(through) = db::billing::accounts::account_decided_through(conn, organization_id).await? else {
        return Ok(Money::ZERO);
    };
    let spans = db::billing::spans::spans_unsettled(conn, &[organization_id], through).await?;
    let spans = spans.into_iter().filter_map(|owned| owned.span);
    Ok(spans
        .map(|span| span.worth(span.unbilled_from(), through, prices))
        .sum())
}
