//! What an owner sees of their credit. Only reads.

use crate::db::Database;
use crate::db::{self, agents::billing::ScheduledShutdown};
use crate::domain::billing::{self, Forecast, Span};
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
    let decided_through =
        db::billing::accounts::account_decided_through(&mut tx, organization_id).await?;
    let spans = db::billing::spans::spans_unsettled(&mut tx, &[organization_id], now).await?;
    let spans: Vec<Span> = spans.into_iter().filter_map(|owned| owned.span).collect();
    let committed_hourly =
        db::agents::commitments::committed_hourly(&mut tx, organization_id, prices.running_hourly)
            .await?;
    let scheduled_shutdowns =
        db::agents::billing::scheduled_shutdowns(&mut tx, organization_id).await?;
    tx.commit().await?;
    let forecast = billing::forecast(balance, &spans, decided_through, now, prices);
    let required_for_next_agent = credit_gate::required(
        forecast.owed,
        committed_hourly + prices.running_hourly,
        prices,
    );
    Ok(Some(CreditSummary {
        balance,
        forecast,
        required_for_next_agent,
        scheduled_shutdowns,
    }))
}
