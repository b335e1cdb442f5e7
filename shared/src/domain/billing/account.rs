//! An organization as a billing run reads it under the organization's lock.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::low_credit::{LowCreditNotice, low_credit_mark};
use super::slice::Span;
use crate::domain::agent::BillingStatus;
use crate::domain::hour::Hour;
use crate::domain::ids::{AgentId, OrganizationId, UserId};
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

#[derive(Clone, Debug)]
pub struct Organization {
    pub id: OrganizationId,
    pub balance: Money,
    /// What refunds took beyond the balance. Paid before anything else.
    pub carried_debt: Money,
    /// Spans that have caught up are charged up to this hour; `None` before the first charge.
    pub charged_through: Option<DateTime<Utc>>,
    /// Since when billing runs have found the balance below the low-credit mark.
    pub low_since: Option<DateTime<Utc>>,
    /// Whether low credit may be announced.
    pub low_notice: LowCreditNotice,
    /// The low-credit mark that the owner has set.
    pub own_low_credit_mark: Option<Money>,
    /// The agents that exist.
    pub agents: Vec<Agent>,
    /// The spans of which something is not charged, including those of deleted agents.
    pub spans: Vec<Span>,
}

impl Organization {
    /// What all open spans cost in an hour: dollars.
    #[must_use]
    pub fn burn(&self) -> Decimal {
        let open = self.spans.iter().filter(|span| span.ended_at.is_none());
        open.map(|span| span.hourly_rate).sum()
    }

    /// Below this balance the owner is warned.
    #[must_use]
    pub fn low_credit_mark(&self, prices: &Prices) -> Money {
        low_credit_mark(self.own_low_credit_mark, self.burn(), prices)
    }

    /// Whether the balance covers everything due and stays at or above the low-credit mark. Then no status changes,
    /// except for agents under dunning, and the agents' rows need not be read.
    #[must_use]
    pub fn stays_above_low_credit(&self, period_end: Hour, prices: &Prices) -> bool {
        let uncharged: Money = self
            .spans
            .iter()
            .map(|span| span.uncharged(period_end.instant()))
            .sum();
        let due = self.carried_debt + uncharged;
        self.balance - due >= self.low_credit_mark(prices) && due <= self.balance
    }
}

/// An agent that exists.
#[derive(Clone, Debug)]
pub struct Agent {
    pub id: AgentId,
    /// The agent's owner, in whose name a stop job is enqueued.
    pub user_id: UserId,
    pub name: Option<String>,
    pub billing: BillingStatus,
    /// Whether a container of the agent exists or may exist.
    pub expects_container: bool,
    /// When the shutdown warning was written.
    pub warned_at: Option<DateTime<Utc>>,
    /// The shutdown date.
    pub shutdown_at: Option<DateTime<Utc>>,
    pub warning: WarningDelivery,
    /// The debt ceiling that the shutdown warning names; `None` if it names none.
    pub warned_ceiling: Option<Money>,
}

/// What became of an agent's shutdown warning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WarningDelivery {
    /// The agent's organization was not warned: another one may have been, from which the agent came.
    #[default]
    Unwritten,
    /// The mail provider has not taken the warning.
    Pending,
    /// When the mail provider took the warning.
    HandedOver(DateTime<Utc>),
    /// The organization has nobody to warn.
    Undeliverable,
}
