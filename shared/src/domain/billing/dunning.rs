//! What follows for those who owe. Owns: warnings, deadlines, suspension, what the owner is told.
//! Does not own: sending it.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::planner::Organization;
use super::slice::{amount, microseconds};
use crate::domain::agent::BillingStatus;
use crate::domain::hour::Hour;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// A notice lists at most this many agents, and counts all.
const LISTED: usize = 50;
/// The mail provider must have had the warning this long.
const NOTICE_PERIOD: TimeDelta = TimeDelta::hours(24);
/// A mail provider that stays down delays a suspension no longer than this after the warning.
const LONGEST_DELAY: TimeDelta = TimeDelta::days(7);

/// What became of an agent's shutdown warning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handover {
    /// Nobody has it yet.
    #[default]
    Pending,
    /// The mail provider took it then.
    HandedOver(DateTime<Utc>),
    /// There was nobody to address.
    Undeliverable,
}

/// An agent that exists, as read under its lock.
#[derive(Clone, Debug)]
pub struct Agent {
    /// The agent.
    pub id: Uuid,
    /// Its name.
    pub name: Option<String>,
    /// Its billing status.
    pub billing: BillingStatus,
    /// There is, or may be, a container to stop.
    pub expects_container: bool,
    /// When its shutdown warning was written.
    pub warned_at: Option<DateTime<Utc>>,
    /// When it is to be shut down.
    pub shutdown_at: Option<DateTime<Utc>>,
    /// What became of that warning.
    pub warning: Handover,
}

/// An agent's new billing status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The agent.
    pub id: Uuid,
    /// Its billing status from now on.
    pub billing: BillingStatus,
    /// When its shutdown warning was written.
    pub warned_at: Option<DateTime<Utc>>,
    /// When it is to be shut down.
    pub shutdown_at: Option<DateTime<Utc>>,
    /// A stop job goes with it.
    pub stop: bool,
}

/// An agent in a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedAgent {
    /// The agent.
    pub id: Uuid,
    /// Its name.
    pub name: Option<String>,
}

/// What the owner is told: at most one of each per organization and tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
#[expect(
    missing_docs,
    reason = "the fields are the event's payload, named as they are read"
)]
pub enum Notice {
    /// Credit fell below the warning mark.
    CreditLow {
        balance: Money,
        low_since: DateTime<Utc>,
    },
    /// Agents will be shut down unless the debt is paid.
    ShutdownScheduled {
        agents: Vec<ListedAgent>,
        agent_count: usize,
        owed: Money,
        owed_at_deadline: Money,
        scheduled_shutdown_at: DateTime<Utc>,
    },
    /// Agents were suspended.
    Suspended {
        agents: Vec<ListedAgent>,
        agent_count: usize,
        owed: Money,
    },
}

impl Notice {
    /// The event's type.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::CreditLow { .. } => "credit.low",
            Self::ShutdownScheduled { .. } => "agent.shutdown_scheduled",
            Self::Suspended { .. } => "agent.suspended",
        }
    }
}

pub(super) struct Dunned {
    pub low_since: Option<DateTime<Utc>>,
    pub standings: Vec<Standing>,
    pub notices: Vec<Notice>,
}

/// Applied after the charges, so that money that arrived in time counts before any deadline (F07).
pub(super) fn dun(
    organization: &Organization,
    owed: &HashMap<Uuid, Money>,
    balance: Money,
    period_end: Hour,
    now: DateTime<Utc>,
    prices: &Prices,
) -> Dunned {
    let low = balance < prices.low_credit;
    let deadline = Hour::at_or_after(now + TimeDelta::hours(prices.grace_hours)).start();
    let mut agents: Vec<&Agent> = organization.agents.iter().collect();
    agents.sort_by_key(|agent| agent.id);
    let mut standings = Vec::new();
    let (mut warned, mut suspended) = (Vec::new(), Vec::new());
    for agent in agents {
        let in_debt = owed.contains_key(&agent.id);
        let next = match agent.billing {
            BillingStatus::Exempt | BillingStatus::Suspended => continue,
            _ if !in_debt && low => BillingStatus::Warning,
            _ if !in_debt => BillingStatus::Active,
            BillingStatus::ShutdownPending if deadline_passed(agent, period_end) => {
                suspended.push(agent);
                BillingStatus::Suspended
            }
            _ => BillingStatus::ShutdownPending,
        };
        let pending = next == BillingStatus::ShutdownPending;
        let newly = pending
            && (agent.billing != next || agent.warned_at.is_none() || agent.shutdown_at.is_none());
        if newly {
            warned.push(agent);
        }
        let keeps = next == BillingStatus::Suspended || (pending && !newly);
        let standing = Standing {
            id: agent.id,
            billing: next,
            warned_at: if newly {
                Some(now)
            } else {
                agent.warned_at.filter(|_| keeps)
            },
            shutdown_at: if newly {
                Some(deadline)
            } else {
                agent.shutdown_at.filter(|_| keeps)
            },
            stop: next == BillingStatus::Suspended && agent.expects_container,
        };
        let changed = next != agent.billing
            || standing.warned_at != agent.warned_at
            || standing.shutdown_at != agent.shutdown_at;
        if changed {
            standings.push(standing);
        }
    }
    let total = owed.values().copied().sum();
    let mut notices = Vec::new();
    if !warned.is_empty() {
        notices.push(Notice::ShutdownScheduled {
            agents: listed(&warned),
            agent_count: warned.len(),
            owed: total,
            owed_at_deadline: total + accruing(organization, period_end, deadline, prices),
            scheduled_shutdown_at: deadline,
        });
    }
    if !suspended.is_empty() {
        let agents = listed(&suspended);
        notices.push(Notice::Suspended {
            agents,
            agent_count: suspended.len(),
            owed: total,
        });
    }
    let low_since = if low {
        organization.low_since.or(Some(period_end.start()))
    } else {
        None
    };
    if let (Some(since), None, true) = (low_since, organization.low_since, warned.is_empty()) {
        notices.push(Notice::CreditLow {
            balance,
            low_since: since,
        });
    }
    Dunned {
        low_since,
        standings,
        notices,
    }
}

/// Nobody unwarned is suspended (F06): the warning must have been with the mail provider for a day,
/// unless there was nobody to address or the provider has been down for a week.
fn deadline_passed(agent: &Agent, period_end: Hour) -> bool {
    let (Some(warned_at), Some(shutdown_at)) = (agent.warned_at, agent.shutdown_at) else {
        return false;
    };
    let at = period_end.start();
    let noticed = match agent.warning {
        Handover::HandedOver(handed_over) => at >= handed_over + NOTICE_PERIOD,
        Handover::Undeliverable => true,
        Handover::Pending => false,
    };
    at >= shutdown_at && (noticed || at >= warned_at + LONGEST_DELAY)
}

/// What the spans still open will have added by the deadline.
fn accruing(
    organization: &Organization,
    period_end: Hour,
    deadline: DateTime<Utc>,
    prices: &Prices,
) -> Money {
    let left = microseconds(period_end.start(), deadline).max(0);
    let open = organization
        .spans
        .iter()
        .filter(|span| span.ended_at.is_none());
    open.map(|span| amount(span.rate(prices), left)).sum()
}

fn listed(agents: &[&Agent]) -> Vec<ListedAgent> {
    let listed = agents.iter().take(LISTED);
    listed
        .map(|agent| ListedAgent {
            id: agent.id,
            name: agent.name.clone(),
        })
        .collect()
}
