//! What an owner sees of their credit. Reads only.

use sqlx::PgPool;
use uuid::Uuid;

use crate::db::{self, agents::billing::ScheduledShutdown};
use crate::domain::billing::{self, Forecast, Span};
use crate::domain::credit_gate;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// An organization's credit, now and as it will be.
#[derive(Clone, Debug)]
pub struct CreditSummary {
    /// Credit as it stands; time metered since the last tick is not yet taken off.
    pub balance: Money,
    /// The outlook.
    pub forecast: Forecast,
    /// What the balance must be for one more agent at the list price to start.
    pub required_for_next_agent: Money,
    /// Agents with a shutdown date.
    pub scheduled_shutdowns: Vec<ScheduledShutdown>,
}

/// Reads an organization's credit; none where its row is gone or holds no valid amount.
///
/// # Errors
/// Database errors.
pub async fn credit_summary(
    pool: &PgPool,
    prices: &Prices,
    organization_id: Uuid,
) -> sqlx::Result<Option<CreditSummary>> {
    let mut tx = pool.begin().await?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *tx)
        .await?;
    let Some(balance) = db::identity::organizations::organization_balance(&mut tx, organization_id).await?
    else {
        return Ok(None);
    };
    let now = db::clock::billing_clock(&mut tx).await?;
    let decided = db::billing::accounts::account_decided_through(&mut tx, organization_id).await?;
    let spans = db::billing::spans::spans_unsettled(&mut tx, &[organization_id], now).await?;
    let spans: Vec<Span> = spans.into_iter().filter_map(|owned| owned.span).collect();
    let hourly =
        db::agents::billing::committed_hourly(&mut tx, organization_id, prices.running_hourly).await?;
    let scheduled_shutdowns = db::agents::billing::scheduled_shutdowns(&mut tx, organization_id).await?;
    tx.commit().await?;
    let forecast = billing::forecast(balance, &spans, decided, now, prices);
    let required_for_next_agent =
        credit_gate::required(forecast.owed, hourly + prices.running_hourly, prices);
    Ok(Some(CreditSummary {
        balance,
        forecast,
        required_for_next_agent,
        scheduled_shutdowns,
    }))
}
