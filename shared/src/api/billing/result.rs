//! The result of a billing run in JSON, and how much a run does at the same time.

use std::time::Duration;

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::app::billing::run::RunReport;
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;
use crate::metrics::{self, BillingRun};

/// How many batches of organizations a run works on at the same time. Measured with two cores behind the
/// database: three are as fast as four and take fewer sessions.
pub(super) const MAX_CONCURRENT_BATCHES: usize = 3;

/// Counts only: no names, no ids.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "BillingRun")]
pub struct RunResult {
    sandboxes_processed: usize,
    sandboxes_billed: usize,
    warnings_sent: usize,
    sandboxes_shutdown: usize,
    total_revenue: Money,
    /// Amounts that are due and that the credit does not cover.
    owed: Money,
    /// Debt that was written off.
    written_off: Money,
    /// Debt of organizations that no longer exist.
    uncollected: Money,
    /// The number of charges: one for each metered part of a clock hour.
    slices: usize,
    /// The number of metered spans that were repaired.
    repaired_spans: usize,
    errors: usize,
    /// Milliseconds.
    duration: u128,
    timestamp: Timestamp,
    /// The full hour up to which time was charged.
    period_end: Timestamp,
    /// False if time ran out or organizations failed. The next run charges the rest.
    complete: bool,
}

/// Records the run's figures as metrics.
pub(super) fn record(report: &RunReport, duration: Duration) {
    metrics::record_billing_run(&BillingRun {
        at: report.finished_at,
        complete: report.complete,
        charged: json!(report.tally.revenue),
        owed: json!(report.tally.owed),
        errors: report.tally.errors,
        undecided: report
            .oldest_undecided
            .map_or(TimeDelta::zero(), |at| report.period_end.instant() - at),
        duration,
    });
}

impl RunResult {
    pub(super) fn new(report: &RunReport, duration: Duration) -> Self {
        let tally = &report.tally;
        Self {
            sandboxes_processed: tally.agents_processed,
            sandboxes_billed: tally.agents_billed,
            warnings_sent: tally.warned,
            sandboxes_shutdown: tally.suspended,
            total_revenue: tally.revenue,
            owed: tally.owed,
            written_off: tally.written_off,
            uncollected: tally.uncollected,
            slices: tally.slices,
            repaired_spans: tally.repaired_spans,
            errors: tally.errors,
            duration: duration.as_millis(),
            timestamp: Timestamp(report.finished_at),
            period_end: Timestamp(report.period_end.instant()),
            complete: report.complete,
        }
    }
}
