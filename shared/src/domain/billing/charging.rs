//! Charging. Owns: which slices are charged in which order, how far that moves the marks, and what is written off or
//! stays debt.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

use super::account::Organization;
use super::slice::{Slice, Span};
use crate::domain::hour::Hour;
use crate::domain::ids::{AgentId, SpanId};
use crate::domain::money::Money;

/// Debt older than this is written off. The period is long, so that waiting for it is no alternative to paying: agents
/// in debt are suspended long before.
const WRITE_OFF_AFTER: TimeDelta = TimeDelta::days(90);

/// A slice that is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Index into the organization's spans.
    pub span_index: usize,
    pub slice: Slice,
}

/// A part of a span that is written off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOff {
    /// Index into the organization's spans.
    pub span_index: usize,
    /// The span is charged up to here.
    pub start: DateTime<Utc>,
    /// Exclusive: the end of the span if all that is left of it is written off, otherwise the date up to which debt is
    /// written off.
    pub end: DateTime<Utc>,
    pub worth: Money,
}

/// What changes in a span's row. Spans that have caught up need no change while their organization pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanProgress {
    pub id: SpanId,
    /// `billed_through` as it was read. The update applies only if it is still the same (compare-and-set).
    pub previous: Option<DateTime<Utc>>,
    pub billed_through: Option<DateTime<Utc>>,
    pub caught_up: bool,
}

/// The order of charging: the oldest hour first, within it the oldest agent, then the earlier slice. `span_index`
/// only breaks ties between slices with the same hour, agent and start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ChargeOrder {
    hour: Hour,
    agent_created_at: DateTime<Utc>,
    agent_id: AgentId,
    start: DateTime<Utc>,
    span_index: usize,
}

/// Charges one organization's spans to its balance.
pub(super) struct Charging<'a> {
    organization: &'a Organization,
    period_end: DateTime<Utc>,
    /// Per span, the first instant that is not charged or written off.
    marks: Vec<DateTime<Utc>>,
    pub(super) balance: Money,
    pub(super) carried_debt: Money,
    pub(super) charges: Vec<Charge>,
    /// Whether charging stopped at `max_charges`, not because of the balance.
    pub(super) is_full: bool,
}

impl<'a> Charging<'a> {
    pub(super) fn new(organization: &'a Organization, period_end: Hour) -> Self {
        Self {
            organization,
            period_end: period_end.instant(),
            marks: organization.spans.iter().map(|span| span.mark).collect(),
            balance: organization.balance,
            carried_debt: organization.carried_debt,
            charges: Vec::new(),
            is_full: false,
        }
    }

    fn spans(&self) -> &'a [Span] {
        &self.organization.spans
    }

    /// Pays carried debt, in part if the balance does not suffice. Returns what was paid.
    pub(super) fn pay_carried_debt(&mut self) -> Money {
        let paid = self.carried_debt.min(self.balance);
        self.balance -= paid;
        self.carried_debt -= paid;
        paid
    }

    /// Charges slices in order until the first one that exceeds the balance, or until there are `max_charges` and an
    /// hour is complete. Nothing is charged while carried debt is left.
    pub(super) fn charge(&mut self, max_charges: usize) {
        if self.carried_debt.is_positive() {
            return;
        }
        let mut queue: BinaryHeap<Reverse<QueuedSlice>> = (0..self.spans().len())
            .filter_map(|index| self.next_slice(index))
            .collect();
        while let Some(Reverse(QueuedSlice { order, slice })) = queue.pop() {
            let begins_hour = self
                .charges
                .last()
                .is_some_and(|last| last.slice.hour() < order.hour);
            if begins_hour && self.charges.len() >= max_charges {
                self.is_full = true;
                return;
            }
            if slice.amount > self.balance {
                return;
            }
            self.balance -= slice.amount;
            self.marks[order.span_index] = slice.end;
            self.charges.push(Charge {
                span_index: order.span_index,
                slice,
            });
            queue.extend(self.next_slice(order.span_index));
        }
    }

    /// The first slice of a span that is not charged yet.
    fn next_slice(&self, span_index: usize) -> Option<Reverse<QueuedSlice>> {
        let span = &self.spans()[span_index];
        let slice = span.slice_at(self.marks[span_index], self.period_end)?;
        let order = ChargeOrder {
            hour: slice.hour(),
            agent_created_at: span.agent_created_at,
            agent_id: span.agent_id,
            start: slice.start,
            span_index,
        };
        Some(Reverse(QueuedSlice { order, slice }))
    }

    /// Writes off debt that fell due too long ago. A slice falls due at the end of its hour.
    pub(super) fn write_off(&mut self) -> Vec<WriteOff> {
        let written_off_through = self.period_end - WRITE_OFF_AFTER;
        let mut write_offs = Vec::new();
        for (span_index, span) in self.spans().iter().enumerate() {
            let (start, end) = (self.marks[span_index], span.end(written_off_through));
            if start < end {
                self.marks[span_index] = end;
                write_offs.push(WriteOff {
                    span_index,
                    start,
                    end,
                    worth: span.worth(start, written_off_through),
                });
            }
        }
        write_offs
    }

    /// The debt of each agent that has any.
    pub(super) fn debts(&self) -> HashMap<AgentId, Money> {
        let mut debts = HashMap::new();
        for (span, mark) in self.spans().iter().zip(&self.marks) {
            let worth = span.worth(*mark, self.period_end);
            if worth.is_positive() {
                *debts.entry(span.agent_id).or_default() += worth;
            }
        }
        debts
    }

    /// The hour up to which everything is charged. It never goes back: a span that is discovered late has its own mark.
    pub(super) fn charged_through(&self) -> DateTime<Utc> {
        let spans = self.spans().iter().zip(&self.marks);
        let first_uncharged = spans
            .filter(|(span, mark)| **mark < span.end(self.period_end))
            .map(|(_, mark)| Hour::containing(*mark).instant())
            .min();
        let reached = first_uncharged.unwrap_or(self.period_end);
        self.organization
            .charged_through
            .map_or(reached, |before| before.max(reached))
    }

    /// The rows of spans that change. Spans of which something is written off are left out: they are cut, which writes
    /// their rows.
    pub(super) fn progress(&self, write_offs: &[WriteOff]) -> Vec<SpanProgress> {
        let charged_through = self.charged_through();
        let mut cut = write_offs
            .iter()
            .map(|write_off| write_off.span_index)
            .peekable();
        let mut progress = Vec::new();
        for (index, (span, &mark)) in self.spans().iter().zip(&self.marks).enumerate() {
            if cut.next_if_eq(&index).is_some() {
                continue;
            }
            let caught_up = span.caught_up || mark >= span.end(charged_through);
            let own = span
                .started_at
                .max(span.billed_through.unwrap_or(span.started_at));
            let mark_by_account = if caught_up {
                own.max(span.end(charged_through))
            } else {
                own
            };
            let billed_through = if mark > mark_by_account {
                Some(mark)
            } else {
                span.billed_through
            };
            if (billed_through, caught_up) != (span.billed_through, span.caught_up) {
                progress.push(SpanProgress {
                    id: span.id,
                    previous: span.billed_through,
                    billed_through,
                    caught_up,
                });
            }
        }
        progress
    }
}

/// Ordered by `order`, which is unique.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct QueuedSlice {
    order: ChargeOrder,
    slice: Slice,
}
