//! Charging. Owns: which slices are charged in which order, and what is written off or stays debt.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::account::Organization;
use super::slice::{Slice, Span};
use crate::domain::hour::Hour;
use crate::domain::ids::{AgentId, SpanId};
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// Debt older than this is written off. The period is long, so that waiting for it is no alternative to paying: agents
/// in debt are suspended long before.
const WRITE_OFF_AFTER: TimeDelta = TimeDelta::days(90);

/// A ledger row for one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Index into the organization's spans.
    pub span_index: usize,
    pub slice: Slice,
    /// Dollars per hour.
    pub rate: Decimal,
    pub balance_before: Money,
    pub balance_after: Money,
}

/// Debt that is written off: one ledger row per span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOff {
    /// Index into the organization's spans.
    pub span_index: usize,
    pub start: DateTime<Utc>,
    /// Exclusive.
    pub end: DateTime<Utc>,
    pub worth: Money,
    /// Dollars per hour.
    pub rate: Decimal,
}

/// How far a span has been billed after this decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanProgress {
    pub id: SpanId,
    /// `billed_through` as it was read. The update applies only if it is still the same (compare-and-set).
    pub previous: Option<DateTime<Utc>>,
    pub billed_through: DateTime<Utc>,
    /// Whether the span has ended and nothing is left to charge.
    pub settled: bool,
}

/// What this decision charges one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentTotal {
    /// The agent may be deleted by now.
    pub id: AgentId,
    pub amount: Money,
    /// The end of the last charged slice.
    pub billed_through: DateTime<Utc>,
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
    spans: &'a [Span],
    /// Per span, the first instant that is not charged or written off.
    unbilled_from: Vec<DateTime<Utc>>,
    pub(super) balance: Money,
    pub(super) charges: Vec<Charge>,
}

impl<'a> Charging<'a> {
    pub(super) fn new(organization: &'a Organization) -> Self {
        Self {
            spans: &organization.spans,
            unbilled_from: organization.spans.iter().map(Span::unbilled_from).collect(),
            balance: organization.balance,
            charges: Vec::new(),
        }
    }

    /// Charges slices in order until the first one that exceeds the balance.
    pub(super) fn charge(&mut self, period_end: Hour, prices: &Prices) {
        let through = period_end.instant();
        let next = |index: usize, from| -> Option<Reverse<QueuedSlice>> {
            let span = &self.spans[index];
            let slice = span.slice_at(from, through, prices)?;
            let order = ChargeOrder {
                hour: slice.hour(),
                agent_created_at: span.agent_created_at,
                agent_id: span.agent_id,
                start: slice.start,
                span_index: index,
            };
            Some(Reverse(QueuedSlice { order, slice }))
        };
        let mut queue: BinaryHeap<_> = (0..self.spans.len())
            .filter_map(|index| next(index, self.unbilled_from[index]))
            .collect();
        while let Some(Reverse(QueuedSlice { order, slice })) = queue.pop() {
            if slice.amount > self.balance {
                return;
            }
            let index = order.span_index;
            let balance_before = self.balance;
            self.balance -= slice.amount;
            self.unbilled_from[index] = slice.end;
            self.charges.push(Charge {
                span_index: index,
                slice,
                rate: self.spans[index].rate(prices),
                balance_before,
                balance_after: self.balance,
            });
            queue.extend(next(index, slice.end));
        }
    }

    /// Writes off debt that fell due too long ago. A slice falls due at the end of its hour.
    pub(super) fn write_off(&mut self, period_end: Hour, prices: &Prices) -> Vec<WriteOff> {
        let written_off_through = period_end.instant() - WRITE_OFF_AFTER;
        let mut write_offs = Vec::new();
        for (index, span) in self.spans.iter().enumerate() {
            let (start, end) = (self.unbilled_from[index], span.end(written_off_through));
            if start < end {
                self.unbilled_from[index] = end;
                write_offs.push(WriteOff {
                    span_index: index,
                    start,
                    end,
                    worth: span.worth(start, written_off_through, prices),
                    rate: span.rate(prices),
                });
            }
        }
        write_offs
    }

    /// The debt of each agent that has any.
    pub(super) fn debts(&self, period_end: Hour, prices: &Prices) -> HashMap<AgentId, Money> {
        let mut debts = HashMap::new();
        for (span, from) in self.spans.iter().zip(&self.unbilled_from) {
            let worth = span.worth(*from, period_end.instant(), prices);
            if worth.is_positive() {
                *debts.entry(span.agent_id).or_default() += worth;
            }
        }
        debts
    }

    pub(super) fn progress(&self, period_end: Hour) -> Vec<SpanProgress> {
        self.spans
            .iter()
            .zip(&self.unbilled_from)
            .filter_map(|(span, &billed_through)| {
                // A span of length zero is settled as soon as its end has passed.
                let settled =
                    span.ended_at == Some(billed_through) && billed_through <= period_end.instant();
                (settled || billed_through > span.unbilled_from()).then_some(SpanProgress {
                    id: span.id,
                    previous: span.billed_through,
                    billed_through,
                    settled,
                })
            })
            .collect()
    }

    pub(super) fn totals(&self) -> Vec<AgentTotal> {
        let mut position_by_agent = HashMap::new();
        let mut totals: Vec<AgentTotal> = Vec::new();
        for charge in &self.charges {
            let id = self.spans[charge.span_index].agent_id;
            let position = *position_by_agent.entry(id).or_insert_with(|| {
                totals.push(AgentTotal {
                    id,
                    amount: Money::ZERO,
                    billed_through: charge.slice.end,
                });
                totals.len() - 1
            });
            let total = &mut totals[position];
            total.amount += charge.slice.amount;
            total.billed_through = total.billed_through.max(charge.slice.end);
        }
        totals
    }
}

/// Ordered by `order` alone.
struct QueuedSlice {
    order: ChargeOrder,
    slice: Slice,
}

impl PartialEq for QueuedSlice {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for QueuedSlice {}
impl PartialOrd for QueuedSlice {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for QueuedSlice {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}
