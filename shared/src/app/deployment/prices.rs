//! The list prices that the parameters state. Owns: that a price in force is never changed.

use rust_decimal::Decimal;

use crate::db;
use crate::db::Database;
use crate::domain::hour::Hour;
use crate::domain::ids::AgentId;
use crate::domain::pricing::Prices;

/// Records the prices if they differ from the latest: they are valid from the next full hour, so that no time that was
/// used gets another price. The first ones are valid at once, and metering begins. Safe to repeat.
pub async fn publish_prices(database: &Database, prices: &Prices) -> sqlx::Result<()> {
    let mut tx = database.begin().await?;
    sqlx::query!("LOCK TABLE cloud.prices IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await?;
    let latest =
        sqlx::query!("SELECT running, idle FROM cloud.prices ORDER BY valid_from DESC LIMIT 1")
            .fetch_optional(&mut *tx)
            .await?;
    // As the table holds them.
    let (running, idle) = (rate(prices.running_hourly), rate(prices.idle_hourly));
    match latest {
        None => {
            sqlx::query!(
                "INSERT INTO cloud.prices (valid_from, running, idle) VALUES ('1970-01-01 00:00:00+00', $1, $2)",
                running,
                idle
            )
            .execute(&mut *tx)
            .await?;
            // What existed before is metered from now on.
            let mismatches = db::billing::metering::mismatches_of_any_organization(&mut tx).await?;
            let agents: Vec<AgentId> = mismatches
                .iter()
                .map(|mismatch| mismatch.agent_id)
                .collect();
            db::billing::metering::spans_open_missing_of_any_organization(&mut tx, &agents).await?;
        }
        Some(latest) if (latest.running, latest.idle) != (running, idle) => {
            let now = db::clock::billing_clock(&mut tx).await?;
            sqlx::query!(
                "INSERT INTO cloud.prices (valid_from, running, idle) VALUES ($1, $2, $3)
                ON CONFLICT (valid_from) DO UPDATE SET running = excluded.running, idle = excluded.idle",
                Hour::containing(now).next().instant(),
                running,
                idle
            )
            .execute(&mut *tx)
            .await?;
        }
        Some(_) => {}
    }
    tx.commit().await
}

fn rate(price: Decimal) -> Decimal {
    price.round_dp(4)
}
