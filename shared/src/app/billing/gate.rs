//! Reads the credit gate's figures. Owns: that they are read under the organization's lock, so that simultaneous
//! requests see each other's commitments (F10).

use crate::app::error::RequestError;
use crate::db;
use crate::db::Connection;
use crate::domain::credit_gate::{self, Clearance, Request};
use crate::domain::ids::{AgentRef, OrganizationId};
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// Asks the gate inside the caller's transaction, which holds the organization's row from here on. An invalid balance
/// counts as zero.
pub async fn clear(
    conn: &mut Connection,
    prices: &Prices,
    agent: AgentRef,
) -> Result<Clearance, RequestError> {
    let AgentRef {
        organization_id,
        agent_id,
    } = agent;
    let locked = db::identity::organizations::organizations_lock(conn, &[organization_id]).await?;
    let organization = locked.first().ok_or(RequestError::AGENT_NOT_FOUND)?;
    let commitment = db::agents::commitments::agent_commitment(conn, agent, prices.running_hourly)
        .await?
        .ok_or(RequestError::AGENT_NOT_FOUND)?;
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

/// The debt: what billing runs could not charge.
async fn owed(
    conn: &mut Connection,
    prices: &Prices,
    organization_id: OrganizationId,
) -> Result<Money, sqlx::Error> {
    let Some(through) =
        db::billing::accounts::account_decided_through(conn, organization_id).await?
    else {
        return Ok(Money::ZERO);
    };
    let spans = db::billing::spans::spans_unsettled(conn, &[organization_id], through).await?;
    let spans = spans.into_iter().filter_map(|owned| owned.span);
    Ok(spans
        .map(|span| span.worth(span.unbilled_from(), through, prices))
        .sum())
}
