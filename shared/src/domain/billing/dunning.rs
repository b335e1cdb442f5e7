//! Dunning: warning, shutdown date and suspension of agents in debt. Owns: the rules and what the owner is told. Does
//! not own: sending it.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::Serialize;

use super::account::{Agent, Organization, WarningDelivery};
use super::low_credit::LowCreditNotice;
use super::slice::{amount, microseconds};
use super::terms::Terms;
use crate::domain::agent::BillingStatus;
use crate::domain::hour::Hour;
use crate::domain::ids::{AgentId, UserId};
use crate::domain::money::Money;

/// A notice lists at most this many agents and counts all, so that an event stays below EventBridge's 256 KB.
pub const MAX_LISTED_AGENTS: usize = 50;
/// The mail provider must have had a warning for this long before an agent is suspended.
pub const NOTICE_PERIOD: TimeDelta = TimeDelta::hours(24);
/// A warning that the mail provider does not take delays a suspension for at most this long after it was written.
const MAX_DELAY: TimeDelta = TimeDelta::days(7);
/// [`NOTICE_PERIOD`] for a debt above the ceiling.
pub const NOTICE_PERIOD_ABOVE_CEILING: TimeDelta = TimeDelta::hours(6);
/// [`MAX_DELAY`] for a debt above the ceiling.
const MAX_DELAY_ABOVE_CEILING: TimeDelta = TimeDelta::days(4);
/// The debt ceiling: what the organization's agents cost in this many hours at the rates of the time of the warning, or
/// [`MIN_CEILING`] if that is more.
const CEILING_HOURS: i64 = 72;
/// Dollars.
const MIN_CEILING: Decimal = Decimal::from_parts(5, 0, 0, false, 0);

/// An agent's new billing status with its warning columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillingUpdate {
    pub id: AgentId,
    pub billing: BillingStatus,
    pub warned_at: Option<DateTime<Utc>>,
    pub shutdown_at: Option<DateTime<Utc>>,
    /// `None` if no container has to be stopped.
    pub stop: Option<StopTarget>,
    /// Whether the agent is suspended although the mail provider never took its warning.
    pub is_unwarned: bool,
}

/// What a stop job says about the agent besides its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopTarget {
    pub user_id: UserId,
    pub agent_name: Option<String>,
}

/// An agent in a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedAgent {
    pub id: AgentId,
    pub name: Option<String>,
}

/// What the owner is told, as the event's payload: at most one of each kind per organization and run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Notice {
    /// The balance fell below the low-credit mark.
    CreditLow {
        balance: Money,
        low_since: DateTime<Utc>,
        /// The low-credit mark.
        mark: Money,
    },
    /// Agents will be shut down unless the debt is paid.
    ShutdownScheduled {
        agents: Vec<ListedAgent>,
        agent_count: usize,
        /// `None`, as the other amounts, if the older biller warned and no run has counted the debt yet.
        owed: Option<Money>,
        #[serde(rename = "owedAtDeadline")]
        owed_at_shutdown: Option<Money>,
        scheduled_shutdown_at: DateTime<Utc>,
        /// Agents are suspended earlier if the debt exceeds this.
        debt_ceiling: Option<Money>,
    },
    /// Agents were suspended.
    Suspended {
        agents: Vec<ListedAgent>,
        agent_count: usize,
        owed: Money,
    },
}

impl Notice {
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::CreditLow { .. } => "credit.low",
            Self::ShutdownScheduled { .. } => "agent.shutdown_scheduled",
            Self::Suspended { .. } => "agent.suspended",
        }
    }
}

/// What follows from the charges and the debt of one organization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consequences {
    /// Since when the balance has been below the low-credit mark.
    pub low_since: Option<DateTime<Utc>>,
    /// Whether low credit may be announced next time.
    pub low_notice: LowCreditNotice,
    /// Agents whose billing status or shutdown date changes.
    pub updates: Vec<BillingUpdate>,
    pub notices: Vec<Notice>,
}

/// What dunning knows about an organization after it was charged.
pub(super) struct Assessment<'a> {
    pub organization: &'a Organization,
    /// The debt of each agent that has any.
    pub debts: &'a HashMap<AgentId, Money>,
    /// The debt of all agents, and carried debt.
    pub owed: Money,
    /// The balance after the charges.
    pub balance: Money,
    pub terms: &'a Terms<'a>,
}

/// The agents that change, each list in the order of the agents' ids.
#[derive(Default)]
struct Changes<'a> {
    updates: Vec<BillingUpdate>,
    warned: Vec<&'a Agent>,
    suspended: Vec<&'a Agent>,
}

impl<'a> Assessment<'a> {
    /// Decided after the charges, so money that arrived in time counts before any shutdown date (F07).
    pub(super) fn consequences(&self) -> Consequences {
        let changes = self.changes();
        let period_end = self.terms.period_end.instant();
        let low_since = self
            .is_low()
            .then(|| self.organization.low_since.unwrap_or(period_end));
        let (low_notice, announces_low_credit) = self.organization.low_notice.after(
            self.organization.low_since,
            low_since.is_some(),
            !changes.warned.is_empty(),
            period_end,
        );
        let low_since_if_announced = low_since.filter(|_| announces_low_credit);
        Consequences {
            low_since,
            low_notice,
            notices: self.notices(&changes, low_since_if_announced),
            updates: changes.updates,
        }
    }

    fn is_low(&self) -> bool {
        self.balance < self.organization.low_credit_mark(self.terms.prices)
    }

    /// The shutdown date of agents that are warned now.
    fn shutdown_date(&self) -> DateTime<Utc> {
        Hour::at_or_after(self.terms.now + TimeDelta::hours(self.terms.prices.grace_hours))
            .instant()
    }

    fn changes(&self) -> Changes<'a> {
        let mut agents: Vec<&Agent> = self.organization.agents.iter().collect();
        agents.sort_by_key(|agent| agent.id);
        let mut changes = Changes::default();
        for agent in agents {
            let Some(status) = self.next_status(agent) else {
                continue;
            };
            if status == BillingStatus::Suspended {
                changes.suspended.push(agent);
            }
            let mut update = update(agent, status);
            update.is_unwarned = status == BillingStatus::Suspended
                && !matches!(agent.warning, WarningDelivery::HandedOver(_));
            let is_warned = update.warned_at.is_some()
                && update.shutdown_at.is_some()
                && agent.warning != WarningDelivery::Unwritten;
            if status == BillingStatus::ShutdownPending && (agent.billing != status || !is_warned) {
                update.warned_at = Some(self.terms.now);
                update.shutdown_at = Some(self.shutdown_date());
                changes.warned.push(agent);
            }
            let is_change = update.billing != agent.billing
                || update.warned_at != agent.warned_at
                || update.shutdown_at != agent.shutdown_at;
            if is_change {
                changes.updates.push(update);
            }
        }
        changes
    }

    /// `None` for agents that dunning leaves alone.
    fn next_status(&self, agent: &Agent) -> Option<BillingStatus> {
        let is_in_debt = self.debts.contains_key(&agent.id);
        match agent.billing {
            BillingStatus::Exempt | BillingStatus::Suspended => None,
            _ if !is_in_debt && self.is_low() => Some(BillingStatus::Warning),
            _ if !is_in_debt => Some(BillingStatus::Active),
            BillingStatus::ShutdownPending if self.is_suspension_due(agent) => {
                Some(BillingStatus::Suspended)
            }
            _ => Some(BillingStatus::ShutdownPending),
        }
    }

    /// A suspension waits for the shutdown date, and until the mail provider has had the warning for a while (F06). If
    /// the provider has not taken it, the suspension waits for the maximal delay instead, unless there was nobody to
    /// warn. Only a warning that was handed over frees a debt above the ceiling from the date (F64). An organization that
    /// got an agent together with its warning is warned itself first.
    fn is_suspension_due(&self, agent: &Agent) -> bool {
        let (Some(warned_at), Some(shutdown_at)) = (agent.warned_at, agent.shutdown_at) else {
            return false;
        };
        let at = self.terms.period_end.instant();
        // What the owner was told holds: spans that ended since and are paid for are not read any more.
        let ceiling = agent
            .warned_ceiling
            .unwrap_or_else(|| self.ceiling(warned_at));
        let is_above_ceiling = self.owed > ceiling;
        let (notice_period, max_delay) = if is_above_ceiling {
            (NOTICE_PERIOD_ABOVE_CEILING, MAX_DELAY_ABOVE_CEILING)
        } else {
            (NOTICE_PERIOD, MAX_DELAY)
        };
        match agent.warning {
            WarningDelivery::HandedOver(handed_over) => {
                at >= handed_over + notice_period && (is_above_ceiling || at >= shutdown_at)
            }
            WarningDelivery::Undeliverable => at >= shutdown_at,
            WarningDelivery::Pending => at >= warned_at + max_delay && at >= shutdown_at,
            WarningDelivery::Unwritten => false,
        }
    }

    /// The most that an organization warned at `at` may owe, by the spans that are not charged completely.
    fn ceiling(&self, at: DateTime<Utc>) -> Money {
        let spans = self.organization.spans.iter();
        let metered =
            spans.filter(|span| span.started_at <= at && span.ended_at.is_none_or(|end| end > at));
        let hourly_cost: Decimal = metered.map(|span| span.hourly_rate).sum();
        Money::rounded(MIN_CEILING.max(hourly_cost * Decimal::from(CEILING_HOURS)))
    }

    /// `low_since` is `None` unless low credit is announced.
    fn notices(&self, changes: &Changes<'_>, low_since: Option<DateTime<Utc>>) -> Vec<Notice> {
        let owed = self.owed;
        let mut notices = Vec::new();
        if !changes.warned.is_empty() {
            let shutdown_date = self.shutdown_date();
            notices.push(Notice::ShutdownScheduled {
                agents: listed(&changes.warned),
                agent_count: changes.warned.len(),
                owed: Some(owed),
                owed_at_shutdown: Some(owed + self.accruing_until(shutdown_date)),
                scheduled_shutdown_at: shutdown_date,
                debt_ceiling: Some(self.ceiling(self.terms.now)),
            });
        }
        if !changes.suspended.is_empty() {
            notices.push(Notice::Suspended {
                agents: listed(&changes.suspended),
                agent_count: changes.suspended.len(),
                owed,
            });
        }
        if let Some(low_since) = low_since {
            notices.push(Notice::CreditLow {
                balance: self.balance,
                low_since,
                mark: self.organization.low_credit_mark(self.terms.prices),
            });
        }
        notices
    }

    /// What the open spans will add to the debt until the shutdown date.
    fn accruing_until(&self, shutdown_date: DateTime<Utc>) -> Money {
        let remaining = microseconds(self.terms.period_end.instant(), shutdown_date).max(0);
        let spans = self.organization.spans.iter();
        spans
            .filter(|span| span.ended_at.is_none())
            .map(|span| amount(span.hourly_rate, remaining))
            .sum()
    }
}

/// The update to a new status. The warning columns stay while a shutdown is pending and after a suspension; other
/// statuses clear them.
fn update(agent: &Agent, status: BillingStatus) -> BillingUpdate {
    let keeps_warning = matches!(
        status,
        BillingStatus::Suspended | BillingStatus::ShutdownPending
    );
    let needs_stop = status == BillingStatus::Suspended && agent.expects_container;
    BillingUpdate {
        id: agent.id,
        billing: status,
        warned_at: agent.warned_at.filter(|_| keeps_warning),
        shutdown_at: agent.shutdown_at.filter(|_| keeps_warning),
        stop: needs_stop.then(|| StopTarget {
            user_id: agent.user_id,
            agent_name: agent.name.clone(),
        }),
        is_unwarned: false,
    }
}

fn listed(agents: &[&Agent]) -> Vec<ListedAgent> {
    agents
        .iter()
        .take(MAX_LISTED_AGENTS)
        .map(|agent| ListedAgent {
            id: agent.id,
            name: agent.name.clone(),
        })
        .collect()
}
