//! What an owner sees of their credit. Only reads.

use crate::db::Database;
use crate::db::{
    self,
    agents::billing::{ScheduledShutdown, SuspendedAgent},
};
use crate::domain::billing::{self, Forecast, Position, Span, UnpaidBackups};
use crate::domain::credit_gate;
use crate::domain::ids::OrganizationId;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// An organization's credit, now and as it is expected to develop.
#[derive(Clone, Debug)]
pub struct CreditSummary {
    /// Without what was metered since the last billing run, which is not charged yet.
    pub balance: Money,
    pub forecast: Forecast,
    /// The balance at which one more agent at the list price can start.
    pub required_for_next_agent: Money,
    pub scheduled_shutdowns: Vec<ScheduledShutdown>,
    pub unpaid_backups: Vec<(SuspendedAgent, UnpaidBackups)>,
}

/// Reads an organization's credit. `None` if its row is gone or its balance is not a valid amount.
pub async fn credit_summary(
    pool: &Database,
    prices: &Prices,
    organization_id: OrganizationId,
) -> sqlx::Result<Option<CreditSummary>> {
    let mut tx = pool.begin().await?;
    // One snapshot for all reads: a billing run that commits in between must not be counted in one and missed in
    // another.
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *tx)
        .await?;
    let Some(balance) =
        db::identity::organizations::organization_balance(&mut tx, organization_id).await?
    else {
        return Ok(None);
    };
    let now = db::clock::billing_clock(&mut tx).await?;
    let settings = db::identity::settings::settings_find(&mut tx, organization_id).await?;
    let account = db::billing::accounts::account_find(&mut tx, organization_id).await?;
    let spans =
        db::billing::spans::spans_uncharged(&mut tx, &[organization_id], account.as_slice(), now)
            .await?;
    let spans: Vec<Span> = spans.into_iter().map(|owned| owned.span).collect();
    let commitment =
        db::agents::commitments::commitment(&mut tx, organization_id, None, prices.running_hourly)
            .await?;
    let scheduled_shutdowns =
        db::agents::billing::scheduled_shutdowns(&mut tx, organization_id).await?;
    let suspended =
        db::agents::billing::suspended_agents_with_backups(&mut tx, organization_id).await?;
    tx.commit().await?;
    let decided_through = account.and_then(|account| account.decided_through);
    let unpaid_backups = suspended.into_iter().filter_map(|agent| {
        let unpaid = billing::unpaid_backups(agent.agent_id, &spans, decided_through?)?;
        Some((agent, unpaid))
    });
    let unpaid_backups = unpaid_backups.collect();
    let position = Position {
        balance,
        carried_debt: account.map_or(Money::ZERO, |account| account.carried_debt),
        own_low_credit_mark: settings.low_credit_mark,
        spans: &spans,
        decided_through,
    };
    let forecast = billing::forecast(&position, now, prices);
    let required_for_next_agent = credit_gate::required(
        forecast.owed,
        commitment.hourly + prices.running_hourly,
        prices,
    );
    Ok(Some(CreditSummary {
        balance,
        forecast,
        required_for_next_agent,
        scheduled_shutdowns,
        unpaid_backups,
    }))
}
