//! The event that starts the hourly tick: the Scheduler's `{"scheduledTime": ".."}`, or the classic
//! scheduled event with its `time`.

use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgPool;
use tracing::warn;

use super::TickAnswer;
use crate::app::billing::tick::{Tick, TickError, billing_tick};
use crate::domain::pricing::Prices;
use crate::lambda::{Invocation, metrics};

/// What the tick needs.
#[derive(Debug)]
pub struct Deps {
    /// Four connections.
    pub pool: PgPool,
    /// The price list.
    pub prices: Prices,
}

/// Runs the tick of the event's hour. An event without a usable time charges up to the current hour.
///
/// # Errors
/// [`TickError`]: the invocation fails and is tried again.
pub async fn handle(
    deps: &Deps,
    event: Value,
    invocation: Invocation,
) -> Result<TickAnswer, TickError> {
    let started = Instant::now();
    let period_end = scheduled_time(&event);
    if period_end.is_none() {
        warn!("the event names no usable time: charging up to the current hour");
    }
    let tick = Tick {
        period_end,
        source: "schedule",
        deadline: invocation.deadline,
        concurrency: super::PAGES_AT_A_TIME,
    };
    let report = billing_tick(&deps.pool, &deps.prices, &tick).await?;
    metrics::complete_tick(report.finished_at);
    Ok(TickAnswer::new(&report, started.elapsed()))
}

fn scheduled_time(event: &Value) -> Option<DateTime<Utc>> {
    let text = event
        .get("scheduledTime")
        .or_else(|| event.get("time"))?
        .as_str()?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_event_shapes_name_the_hour() {
        let ten = "2026-03-01T10:00:00Z".parse().ok();
        assert_eq!(
            scheduled_time(&json!({"scheduledTime": "2026-03-01T10:00:00Z"})),
            ten
        );
        assert_eq!(
            scheduled_time(&json!({"source": "aws.events", "time": "2026-03-01T10:00:00Z"})),
            ten
        );
        for event in [
            json!({}),
            json!(null),
            json!([1]),
            json!({"time": 3}),
            json!({"time": "<aws.scheduler.scheduled-time>"}),
        ] {
            assert_eq!(scheduled_time(&event), None, "{event}");
        }
    }
}
