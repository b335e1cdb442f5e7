//! The charge planner. Owns: which slices are charged, in which order, and what stays owed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::dunning::{self, Agent, Notice, Standing};
use super::slice::{Slice, Span};
use crate::domain::hour::Hour;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// Debt this old is written off. Not before: paying must never cost more than not paying.
const WRITTEN_OFF_AFTER: TimeDelta = TimeDelta::days(90);

/// One organization as read under its lock.
#[derive(Clone, Debug)]
pub struct Organization {
    /// The organization.
    pub id: Uuid,
    /// Its credit.
    pub balance: Money,
    /// Since when its credit has been low, as ticks saw it.
    pub low_since: Option<DateTime<Utc>>,
    /// Its agents that exist.
    pub agents: Vec<Agent>,
    /// Its spans that are not settled, also of agents that are gone.
    pub spans: Vec<Span>,
}

impl Organization {
    /// Whether its credit covers all that is due and stays at the warning mark or above: then nothing
    /// changes for agents that are not under dunning, and they need not be looked at.
    #[must_use]
    pub fn is_comfortable(&self, period_end: Hour, prices: &Prices) -> bool {
        let due: Money = self
            .spans
            .iter()
            .map(|span| span.worth(span.unbilled_from(), period_end.start(), prices))
            .sum();
        self.balance - due >= prices.low_credit && due <= self.balance
    }
}

/// One ledger row to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Index into the organization's spans.
    pub span: usize,
    /// What is charged.
    pub slice: Slice,
    /// Dollars per hour it was charged at.
    pub rate: Decimal,
    /// Credit before this row.
    pub balance_before: Money,
    /// Credit after it.
    pub balance_after: Money,
}

/// Debt that is given up: one row per span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOff {
    /// Index into the organization's spans.
    pub span: usize,
    /// The first instant that is written off.
    pub start: DateTime<Utc>,
    /// The instant after the last.
    pub end: DateTime<Utc>,
    /// What it was worth.
    pub worth: Money,
    /// Dollars per hour.
    pub rate: Decimal,
}

/// How far a span is charged now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanProgress {
    /// The span.
    pub id: Uuid,
    /// What it was read as: the write is a compare-and-set on it.
    pub was: Option<DateTime<Utc>>,
    /// What it becomes.
    pub billed_through: DateTime<Utc>,
    /// It has ended and nothing is left to charge.
    pub settled: bool,
}

/// What one agent was charged by this decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentTotal {
    /// The agent, which may be gone.
    pub id: Uuid,
    /// The sum of its charges.
    pub amount: Money,
    /// The end of the last slice charged.
    pub billed_through: DateTime<Utc>,
}

/// All that one tick does to one organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Ledger rows in the order of charging.
    pub charges: Vec<Charge>,
    /// Debt given up, after the charges.
    pub write_offs: Vec<WriteOff>,
    /// Spans that moved.
    pub spans: Vec<SpanProgress>,
    /// Sums per agent, in the order of their first charge.
    pub totals: Vec<AgentTotal>,
    /// The sum of all charges.
    pub charged: Money,
    /// What could not be charged.
    pub owed: Money,
    /// Credit after the charges.
    pub balance: Money,
    /// Since when credit has been low, now.
    pub low_since: Option<DateTime<Utc>>,
    /// Agents whose billing status changes.
    pub standings: Vec<Standing>,
    /// What the owner is told.
    pub notices: Vec<Notice>,
}

/// Decides one organization for the tick that charges up to `period_end`. `now` is billing's clock
/// and only sets new deadlines. The order of the input rows makes no difference.
#[must_use]
pub fn decide(
    organization: &Organization,
    period_end: Hour,
    now: DateTime<Utc>,
    prices: &Prices,
) -> Decision {
    let mut ledger = Ledger::new(organization);
    ledger.charge(period_end, prices);
    let write_offs = ledger.write_off(period_end, prices);
    let owed = ledger.owed(period_end, prices);
    let dunned = dunning::dun(organization, &owed, ledger.balance, period_end, now, prices);
    Decision {
        charged: organization.balance - ledger.balance,
        owed: owed.values().copied().sum(),
        write_offs,
        balance: ledger.balance,
        spans: ledger.progress(period_end),
        totals: ledger.totals(),
        charges: ledger.charges,
        low_since: dunned.low_since,
        standings: dunned.standings,
        notices: dunned.notices,
    }
}

/// Charging order: the oldest hour first, in it the oldest agent, then the earlier slice. The index
/// only tells equal slices apart.
type Key = (Hour, DateTime<Utc>, Uuid, DateTime<Utc>, usize);

struct Ledger<'a> {
    spans: &'a [Span],
    /// Per span: the first instant not yet charged.
    unbilled_from: Vec<DateTime<Utc>>,
    balance: Money,
    charges: Vec<Charge>,
}

impl<'a> Ledger<'a> {
    fn new(organization: &'a Organization) -> Self {
        Self {
            spans: &organization.spans,
            unbilled_from: organization.spans.iter().map(Span::unbilled_from).collect(),
            balance: organization.balance,
            charges: Vec::new(),
        }
    }

    /// Charges slices in order until the first that does not fit what is left.
    fn charge(&mut self, period_end: Hour, prices: &Prices) {
        let through = period_end.start();
        let next = |index: usize, from| -> Option<Reverse<(Key, SliceEntry)>> {
            let span = &self.spans[index];
            let slice = span.slice_at(from, through, prices)?;
            let key = (
                slice.hour(),
                span.agent_created_at,
                span.agent_id,
                slice.start,
                index,
            );
            Some(Reverse((key, SliceEntry(slice))))
        };
        let mut queue: BinaryHeap<_> = (0..self.spans.len())
            .filter_map(|index| next(index, self.unbilled_from[index]))
            .collect();
        while let Some(Reverse(((.., index), SliceEntry(slice)))) = queue.pop() {
            if slice.amount > self.balance {
                return;
            }
            let balance_before = self.balance;
            self.balance -= slice.amount;
            self.unbilled_from[index] = slice.end;
            self.charges.push(Charge {
                span: index,
                slice,
                rate: self.spans[index].rate(prices),
                balance_before,
                balance_after: self.balance,
            });
            queue.extend(next(index, slice.end));
        }
    }

    /// Gives up what fell due too long ago. A slice falls due when its hour has ended.
    fn write_off(&mut self, period_end: Hour, prices: &Prices) -> Vec<WriteOff> {
        let before = period_end.start() - WRITTEN_OFF_AFTER;
        let mut write_offs = Vec::new();
        for (index, span) in self.spans.iter().enumerate() {
            let (start, end) = (self.unbilled_from[index], span.end(before));
            if start < end {
                self.unbilled_from[index] = end;
                write_offs.push(WriteOff {
                    span: index,
                    start,
                    end,
                    worth: span.worth(start, before, prices),
                    rate: span.rate(prices),
                });
            }
        }
        write_offs
    }

    /// What each agent still owes.
    fn owed(&self, period_end: Hour, prices: &Prices) -> HashMap<Uuid, Money> {
        let mut owed = HashMap::new();
        for (span, from) in self.spans.iter().zip(&self.unbilled_from) {
            let worth = span.worth(*from, period_end.start(), prices);
            if worth.is_positive() {
                *owed.entry(span.agent_id).or_default() += worth;
            }
        }
        owed
    }

    fn progress(&self, period_end: Hour) -> Vec<SpanProgress> {
        self.spans
            .iter()
            .zip(&self.unbilled_from)
            .filter_map(|(span, &billed_through)| {
                // A span without length is settled as soon as its moment has passed.
                let settled =
                    span.ended_at == Some(billed_through) && billed_through <= period_end.start();
                (settled || billed_through > span.unbilled_from()).then_some(SpanProgress {
                    id: span.id,
                    was: span.billed_through,
                    billed_through,
                    settled,
                })
            })
            .collect()
    }

    fn totals(&self) -> Vec<AgentTotal> {
        let mut index = HashMap::new();
        let mut totals: Vec<AgentTotal> = Vec::new();
        for charge in &self.charges {
            let id = self.spans[charge.span].agent_id;
            let at = *index.entry(id).or_insert_with(|| {
                totals.push(AgentTotal {
                    id,
                    amount: Money::ZERO,
                    billed_through: charge.slice.end,
                });
                totals.len() - 1
            });
            totals[at].amount += charge.slice.amount;
            totals[at].billed_through = totals[at].billed_through.max(charge.slice.end);
        }
        totals
    }
}

/// Rides along in the queue; the key alone orders.
struct SliceEntry(Slice);

impl PartialEq for SliceEntry {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for SliceEntry {}
impl PartialOrd for SliceEntry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for SliceEntry {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}
