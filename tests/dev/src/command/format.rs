//! Formats amounts, times and billing runs for the terminal.

use std::str::FromStr;

use anyhow::Result;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::PgPool;

use super::seed::{DEMOS, FORGETFUL};

/// Formats an amount from JSON, a number or a string, with at least two decimals.
pub(super) fn dollars(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Decimal::from_str(&text)
        .or_else(|_| Decimal::from_scientific(&text))
        .map_or_else(|_| "$?".to_owned(), amount)
}

fn amount(amount: Decimal) -> String {
    let mut amount = amount.normalize();
    if amount.scale() < 2 {
        amount.rescale(2);
    }
    format!("${amount}")
}

pub(super) fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

/// The line about a completed billing run.
pub(super) fn billing_run(due: DateTime<Utc>, answer: &Value, balances: &str) -> String {
    let count = |key: &str| answer[key].as_u64().unwrap_or_default();
    let incomplete = match answer["complete"].as_bool() {
        Some(false) => "  INCOMPLETE",
        _ => "",
    };
    format!(
        "{}  charged {} of {} agents  revenue {}  owed {}  warned {}  suspended {}  errors {}  \
         {} ms{incomplete}  |  {balances}",
        minute(due),
        count("sandboxesBilled"),
        count("sandboxesProcessed"),
        dollars(&answer["totalRevenue"]),
        dollars(&answer["owed"]),
        count("warningsSent"),
        count("sandboxesShutdown"),
        count("errors"),
        answer["duration"],
    )
}

/// Names and balances of the demo organizations that exist.
pub(super) async fn balances(pool: &PgPool) -> Result<String> {
    let slugs: Vec<&str> = DEMOS
        .iter()
        .chain([&FORGETFUL])
        .map(|demo| demo.slug)
        .collect();
    let rows: Vec<(String, Decimal)> = sqlx::query_as(
        "SELECT name, credit_balance FROM organizations WHERE slug = ANY($1)
         ORDER BY array_position($1, slug)",
    )
    .bind(slugs)
    .fetch_all(pool)
    .await?;
    let texts: Vec<String> = rows
        .into_iter()
        .map(|(name, balance)| format!("{name} {}", amount(balance)))
        .collect();
    Ok(texts.join("  "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_have_at_least_two_decimals() {
        for (value, text) in [
            (json!(0), "$0.00"),
            (json!(2.5), "$2.50"),
            (json!(0.0025), "$0.0025"),
            (json!(1e-6), "$0.000001"),
            (json!("24.847500"), "$24.8475"),
            (json!(null), "$?"),
        ] {
            assert_eq!(dollars(&value), text);
        }
    }

    #[test]
    fn billing_run_is_formatted_as_one_line() {
        let due = "2026-11-02T14:00:00Z".parse().unwrap();
        let answer = json!({
            "sandboxesProcessed": 6, "sandboxesBilled": 5, "warningsSent": 1,
            "sandboxesShutdown": 0, "totalRevenue": 0.9625, "errors": 0, "duration": 12,
            "complete": true, "owed": 0,
        });
        assert_eq!(
            billing_run(due, &answer, "Demo $25.00"),
            "2026-11-02 14:00  charged 5 of 6 agents  revenue $0.9625  owed $0.00  warned 1  \
             suspended 0  errors 0  12 ms  |  Demo $25.00"
        );
    }
}
