//! The figures of a billing run.

use crate::db::billing::runs::RunCounts;
use crate::domain::money::Money;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Organizations decided.
    pub organizations: usize,
    /// Agents with an unsettled span or under dunning.
    pub agents_processed: usize,
    /// Agents charged.
    pub agents_billed: usize,
    /// Ledger rows of charges.
    pub slices: usize,
    /// Agents that got a shutdown date.
    pub warned: usize,
    /// Agents suspended.
    pub suspended: usize,
    /// Organizations and spans skipped because their rows are invalid or their transaction failed.
    pub errors: usize,
    /// Spans that the metering triggers had missed.
    pub repaired_spans: usize,
    /// The sum of all charges.
    pub revenue: Money,
    /// The debt of the organizations decided.
    pub owed: Money,
    /// Debt written off 90 days after it fell due.
    pub written_off: Money,
    /// The debt of deleted organizations.
    pub uncollected: Money,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.organizations += other.organizations;
        self.agents_processed += other.agents_processed;
        self.agents_billed += other.agents_billed;
        self.slices += other.slices;
        self.warned += other.warned;
        self.suspended += other.suspended;
        self.errors += other.errors;
        self.repaired_spans += other.repaired_spans;
        self.revenue += other.revenue;
        self.owed += other.owed;
        self.written_off += other.written_off;
        self.uncollected += other.uncollected;
    }

    pub(super) fn counts(&self) -> RunCounts {
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        RunCounts {
            organizations: count(self.organizations),
            agents_processed: count(self.agents_processed),
            agents_billed: count(self.agents_billed),
            slices: count(self.slices),
            warned: count(self.warned),
            suspended: count(self.suspended),
            errors: count(self.errors),
            repaired_spans: count(self.repaired_spans),
            revenue: self.revenue.to_decimal(),
            owed: self.owed.to_decimal(),
            written_off: self.written_off.to_decimal(),
            uncollected: self.uncollected.to_decimal(),
        }
    }
}
