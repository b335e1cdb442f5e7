//! The two ways to start a billing run: the hourly schedule, and a request. Owns: the form of the result.

pub mod hourly;
pub mod trigger;

use std::time::Duration;

use serde::Serialize;

use crate::app::billing::run::RunReport;
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;

/// How many batches of organizations a run works on at the same time. Measured with two cores behind the
/// database: three are as fast as four and take fewer sessions.
const MAX_CONCURRENT_BATCHES: usize = 3;

/// Counts only: no names, no ids.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunResult {
    sandboxes_processed: usize,
    sandboxes_billed: usize,
    warnings_sent: usize,
    sandboxes_shutdown: usize,
    total_revenue: Money,
    owed: Money,
    written_off: Money,
    uncollected: Money,
    slices: usize,
    repaired_spans: usize,
    errors: usize,
    /// Milliseconds.
    duration: u128,
    timestamp: Timestamp,
    period_end: Timestamp,
    complete: bool,
}

impl RunResult {
    fn new(report: &RunReport, duration: Duration) -> Self {
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
