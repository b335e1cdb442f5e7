//! Reads the credit gate's figures. Owns: that they are read under the organization's lock, so that simultaneous
//! requests see each other's commitments (F10).

use crate::app::error::RequestError;
use crate::db;
use crate::db::Connection;
use crate::db::billing::accounts::BillingAccounts;
use crate::domain::agent::BillingStatus;
use crate::domain::credit_gate::{self, Clearance, Request};
use crate::domain::hour::Hour;
use crate::domain::ids::{AgentRef, OrganizationId};
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// Asks the gate inside the caller's transaction, which holds the organization's row from here on. An invalid balance
/// counts as zero. An organization that was deactivated starts nothing, whatever its balance.
pub async fn ask(
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
    if !organization.is_active {
        return Err(RequestError::ORGANIZATION_INACTIVE);
    }
    let commitment = db::agents::commitments::commitment(
        conn,
        organization_id,
        Some(agent_id),
        prices.running_hourly,
    )
    .await?;
    let exempt = commitment.is_asking_exempt;
    let request = Request {
        organization_id,
        agent_id,
        exempt: exempt.ok_or(RequestError::AGENT_NOT_FOUND)?,
        balance: organization.balance.unwrap_or(Money::ZERO),
        owed: owed(conn, organization_id).await?,
        committed_hourly: commitment.hourly,
    };
    Ok(credit_gate::check(&request, prices)?)
}

/// Asks the gate about an agent that an operator moves, inside the caller's transaction, which holds the agent's lock and
/// the organization's row from here on.
pub async fn ask_for_move(
    conn: &mut Connection,
    agent: AgentRef,
    billing: Option<BillingStatus>,
) -> Result<Clearance, RequestError> {
    let locked =
        db::identity::organizations::organizations_lock(conn, &[agent.organization_id]).await?;
    let organization = locked.first().ok_or(RequestError::AGENT_NOT_FOUND)?;
    if !organization.is_active {
        return Err(RequestError::ORGANIZATION_INACTIVE);
    }
    Ok(credit_gate::check_move(agent, billing)?)
}

/// All that is due and not paid: up to the current full hour, whether or not a run has tried to charge it (F62).
async fn owed(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> Result<Money, sqlx::Error> {
    let BillingAccounts { now, accounts } =
        db::billing::accounts::accounts_read(conn, &[organization_id]).await?;
    let carried_debt = accounts
        .first()
        .map_or(Money::ZERO, |account| account.carried_debt);
    let through = Hour::containing(now).instant();
    let spans =
        db::billing::spans::spans_uncharged(conn, &[organization_id], &accounts, through).await?;
    let uncharged: Money = spans
        .iter()
        .map(|owned| owned.span.uncharged(through))
        .sum();
    Ok(carried_debt + uncharged)
}
