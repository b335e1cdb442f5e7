//! What a day's statement consists of. Owns: adding up; no SQL.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use sqlx::types::Json;
use uuid::Builder;

use crate::db::billing::days::{DayEntries, LedgerDays, SpanUsage, UsageDays};
use crate::db::billing::stated::{AgentCharges, DailyDebits, DebitMetadata, StatedSpans};
use crate::domain::billing::SpanKind;
use crate::domain::ids::{AgentId, OrganizationId, SpanId, TransactionId};
use crate::domain::money::Money;

/// Everything that the statement writes, as columns.
#[derive(Debug, Default)]
pub(super) struct Stated {
    pub usage: UsageDays,
    pub ledger: LedgerDays,
    pub agents: AgentCharges,
    pub spans: StatedSpans,
    pub debits: DailyDebits,
}

/// What the ledger says of an organization's day.
pub(super) struct OrganizationDay<'a> {
    pub entries: &'a DayEntries,
    /// `None` if the organization is deleted, or if its row holds no valid balance.
    pub balance: Option<Money>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct UsageKey {
    organization_id: OrganizationId,
    day: NaiveDate,
    agent_id: AgentId,
    kind: &'static str,
}

#[derive(Default)]
struct Usage {
    seconds: Decimal,
    amount: Decimal,
}

struct Total {
    amount: Decimal,
    through: DateTime<Utc>,
}

/// What an agent was charged on the day for one kind of usage. Name and rate are those of the latest charge.
struct Debit {
    agent_name: Option<String>,
    hourly_rate: Decimal,
    amount: Decimal,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct DebitKey {
    organization_id: OrganizationId,
    agent_id: AgentId,
    kind: &'static str,
}

/// Adds up one day of some organizations.
pub(super) struct DayStatement {
    day: NaiveDate,
    ledger: LedgerDays,
    usage: BTreeMap<UsageKey, Usage>,
    agents: BTreeMap<AgentId, Total>,
    spans: BTreeMap<SpanId, DateTime<Utc>>,
    debits: BTreeMap<DebitKey, Debit>,
}

impl DayStatement {
    pub(super) fn new(day: NaiveDate) -> Self {
        Self {
            day,
            ledger: LedgerDays::default(),
            usage: BTreeMap::new(),
            agents: BTreeMap::new(),
            spans: BTreeMap::new(),
            debits: BTreeMap::new(),
        }
    }

    /// Adds how the balance changed. A day on which nothing happened gets no row.
    pub(super) fn push_organization(&mut self, organization: &OrganizationDay<'_>) {
        let entries = organization.entries;
        let later_balance = entries
            .following_balance
            .or(organization.balance.map(Money::to_decimal));
        let closing = later_balance
            .map(|balance| balance - entries.changed_after)
            .or(entries.last_balance)
            .unwrap_or(entries.opening);
        if entries.count == 0 && closing == entries.opening {
            return;
        }
        let ledger = &mut self.ledger;
        ledger.organization_ids.push(entries.organization_id);
        ledger.openings.push(entries.opening);
        ledger.charged.push(entries.charged);
        ledger.credited.push(entries.credited);
        ledger.closings.push(closing);
    }

    /// Adds what a span was charged. Must be called in the order of time: the last call names the debit. The older
    /// application has no rows of organizations that do not exist.
    pub(super) fn push_usage(&mut self, usage: SpanUsage, organization_exists: bool) {
        let kind = usage.kind.as_str();
        let usage_of_day = self.usage.entry(UsageKey {
            organization_id: usage.organization_id,
            day: usage.day,
            agent_id: usage.agent_id,
            kind,
        });
        let usage_of_day = usage_of_day.or_default();
        usage_of_day.seconds += usage.seconds;
        usage_of_day.amount += usage.amount;
        let total = self.agents.entry(usage.agent_id).or_insert(Total {
            amount: Decimal::ZERO,
            through: usage.through,
        });
        total.amount += usage.amount;
        total.through = total.through.max(usage.through);
        let through = self.spans.entry(usage.span_id).or_insert(usage.through);
        *through = usage.through.max(*through);
        if organization_exists {
            let key = DebitKey {
                organization_id: usage.organization_id,
                agent_id: usage.agent_id,
                kind,
            };
            let debit = self.debits.entry(key).or_insert(Debit {
                agent_name: None,
                hourly_rate: Decimal::ZERO,
                amount: Decimal::ZERO,
            });
            debit.amount += usage.amount;
            debit.agent_name = usage.agent_name;
            debit.hourly_rate = usage.hourly_rate;
        }
    }

    pub(super) fn finish(self) -> Stated {
        let mut stated = Stated {
            ledger: self.ledger,
            ..Stated::default()
        };
        for (key, usage) in self.usage {
            let rows = &mut stated.usage;
            rows.organization_ids.push(key.organization_id);
            rows.days.push(key.day);
            rows.agent_ids.push(key.agent_id);
            rows.kinds.push(key.kind);
            rows.seconds.push(usage.seconds);
            rows.amounts.push(usage.amount);
        }
        for (id, total) in self.agents {
            stated.agents.ids.push(id);
            stated.agents.amounts.push(total.amount);
            stated.agents.through.push(total.through);
        }
        for (id, through) in self.spans {
            stated.spans.ids.push(id);
            stated.spans.through.push(through);
        }
        for (key, debit) in self.debits {
            push_debit(&mut stated.debits, key, debit, self.day);
        }
        stated
    }
}

/// Adds a row of the form that the older biller wrote.
fn push_debit(debits: &mut DailyDebits, key: DebitKey, debit: Debit, day: NaiveDate) {
    let (label, billing_type) = if key.kind == SpanKind::Idle.as_str() {
        ("Milady agent storage (idle)", "milady_idle")
    } else {
        ("Milady agent hosting (running)", "milady_running")
    };
    let shown_name = debit
        .agent_name
        .clone()
        .unwrap_or_else(|| key.agent_id.to_string());
    debits.ids.push(debit_id(key, day));
    debits.organization_ids.push(key.organization_id);
    debits.amounts.push(-debit.amount);
    debits.descriptions.push(format!("{label}: {shown_name}"));
    debits.metadata.push(Json(DebitMetadata {
        sandbox_id: key.agent_id,
        agent_name: debit.agent_name,
        billing_type,
        hourly_rate: Money::rounded(debit.hourly_rate),
        billing_day: day,
    }));
}

/// Identifies a day's debit: a version 8 UUID, the digest of what it is for. The 12 bits after the version are all set;
/// in the identifier of an entry they never are.
fn debit_id(key: DebitKey, day: NaiveDate) -> TransactionId {
    let DebitKey {
        organization_id,
        agent_id,
        kind,
    } = key;
    let digest = Sha256::digest(format!("{organization_id} {agent_id} {kind} {day}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    (bytes[6], bytes[7]) = (0xff, 0xff);
    TransactionId::new(Builder::from_custom_bytes(bytes).into_uuid())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::ledger_position;

    #[test]
    fn the_identifier_of_a_debit_is_unique_and_never_that_of_an_entry() {
        let key = |agent: u128, kind| DebitKey {
            organization_id: OrganizationId::new(Uuid::from_u128(1)),
            agent_id: AgentId::new(Uuid::from_u128(agent)),
            kind,
        };
        let day = |n| NaiveDate::from_ymd_opt(2026, 3, n).expect("a day");
        let id = debit_id(key(2, "running"), day(1));
        assert_eq!(id, debit_id(key(2, "running"), day(1)));
        assert_eq!(ledger_position(id), None);
        for other in [
            debit_id(key(3, "running"), day(1)),
            debit_id(key(2, "idle"), day(1)),
            debit_id(key(2, "running"), day(2)),
        ] {
            assert_ne!(id, other);
        }
    }
}
