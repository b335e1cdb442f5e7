//! The figures of a billing run.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::db::billing::runs::RunCounts;
use crate::domain::ids::{AgentId, OrganizationId};
use crate::domain::money::Money;

/// A run's record names at most this many organizations that failed.
const MAX_FAILURES: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Organizations decided.
    pub organizations: usize,
    /// Agents with an uncharged span or under dunning.
    pub agents_processed: usize,
    /// Agents charged.
    pub agents_billed: usize,
    /// Slices charged.
    pub slices: usize,
    /// Agents that got a shutdown date.
    pub warned: usize,
    /// Agents suspended.
    pub suspended: usize,
    /// Agents suspended although the mail provider never took their warning.
    pub unwarned: usize,
    /// Organizations that could not be decided, whose metering could not be repaired, or whose row holds no valid
    /// balance.
    pub errors: usize,
    /// The first hundred of the organizations counted in `errors`.
    pub failures: Vec<Failure>,
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

/// An organization that could not be decided, or whose metering could not be repaired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub organization_id: OrganizationId,
    /// The class of the error.
    pub reason: String,
}

/// The figures of one part. Its agents may be charged again in the next.
#[derive(Clone, Debug, Default)]
pub(super) struct PartTally {
    pub figures: Tally,
    /// The agents charged.
    pub billed: HashSet<AgentId>,
}

impl Tally {
    pub(super) fn fail(&mut self, organization_id: OrganizationId, reason: String) {
        self.errors += 1;
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(Failure {
                organization_id,
                reason,
            });
        }
    }

    /// Counts an organization that failed, unless it has failed in a way that is recorded already.
    pub(super) fn fail_unless_named(&mut self, organization_id: OrganizationId, reason: String) {
        let is_named = self
            .failures
            .iter()
            .any(|failure| failure.organization_id == organization_id);
        if !is_named {
            self.fail(organization_id, reason);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.organizations += other.organizations;
        self.agents_processed += other.agents_processed;
        self.agents_billed += other.agents_billed;
        self.slices += other.slices;
        self.warned += other.warned;
        self.suspended += other.suspended;
        self.unwarned += other.unwarned;
        self.errors += other.errors;
        let room = MAX_FAILURES - self.failures.len();
        self.failures
            .extend(other.failures.iter().take(room).cloned());
        self.repaired_spans += other.repaired_spans;
        self.revenue += other.revenue;
        self.owed += other.owed;
        self.written_off += other.written_off;
        self.uncollected += other.uncollected;
    }

    pub(super) fn counts(&self, oldest_undecided: Option<DateTime<Utc>>) -> RunCounts {
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
            failures: serde_json::to_value(&self.failures).unwrap_or_default(),
            oldest_undecided,
        }
    }
}
