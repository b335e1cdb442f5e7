//! The event that starts the hourly billing run: the Scheduler's `{"scheduledTime": ".."}`, or a scheduled event
//! of `EventBridge` with its `time`.

use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tracing::warn;

use super::result::{MAX_CONCURRENT_BATCHES, RunResult, record};
use crate::api::deps::BillingDeps;
use crate::app::billing::run::{MAX_CHARGES, RunError, RunRequest, billing_run};
use crate::invocation::Invocation;

/// Bills the event's hour. If the event holds no valid time, bills up to the current hour.
///
/// # Errors
/// The invocation fails, and Lambda tries it again.
pub async fn handle(
    deps: &BillingDeps,
    event: Value,
    invocation: Invocation,
) -> Result<RunResult, RunError> {
    let started = Instant::now();
    let period_end = scheduled_time(&event);
    if period_end.is_none() {
        warn!("event holds no valid time; charging up to the current hour");
    }
    let request = RunRequest {
        period_end,
        source: "schedule",
        deadline: invocation.deadline,
        concurrency: MAX_CONCURRENT_BATCHES,
        max_charges: MAX_CHARGES,
    };
    let result = billing_run(&deps.pool, &deps.prices, &request).await;
    let duration = started.elapsed();
    match &result {
        Ok(report) => record(report, duration),
        Err(RunError::Incomplete(report)) => record(report, duration),
        Err(_) => {}
    }
    Ok(RunResult::new(&result?, duration))
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
    fn scheduled_time_is_read_from_both_forms_of_event() {
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
