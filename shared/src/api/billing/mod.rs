//! The two ways a billing tick is started, and its answer.

pub mod hourly;
pub mod trigger;

use serde::Serialize;
use std::time::Duration;

use super::json::Date;
use crate::app::billing::tick::Report;
use crate::domain::money::Money;

/// Pages a tick works on at a time. Measured: with two cores behind the database three are as fast as
/// four, and take fewer sessions.
const PAGES_AT_A_TIME: usize = 3;

/// A tick's answer: counts only, no names, no ids.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TickAnswer {
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
    timestamp: Date,
    period_end: Date,
    complete: bool,
}

impl TickAnswer {
    fn new(report: &Report, took: Duration) -> Self {
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
            duration: took.as_millis(),
            timestamp: Date(report.finished_at),
            period_end: Date(report.period_end.start()),
            complete: report.complete,
        }
    }
}
