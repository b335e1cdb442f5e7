//! A row of an organization's history on the wire.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::csv::Columns;
use crate::api::response::number;
use crate::api::schema::Number;
use crate::app::credit::history::{AgentRow, ExplainedCharge, HistoryRow};
use crate::db::billing::history::entries::LedgerEntry;
use crate::db::billing::history::others::OtherTransaction;
use crate::domain::billing::SpanKind;
use crate::domain::history::Merged;
use crate::domain::ids::{AgentId, LedgerPosition, TransactionId, ledger_transaction_id};
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;

/// Dollars per hour: more than any price, and less than a number in JSON can hold exactly.
const MAX_RATE: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);

/// A change of the balance: an entry of the ledger, or a row of another application such as a purchase. With `agentId`, a
/// charge for the agent, which is a part of an entry.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Transaction")]
pub struct TransactionJson {
    pub id: TransactionId,
    /// The entry that a charge is a part of. Only in charges.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TransactionId")]
    pub transaction_id: Option<TransactionId>,
    /// Negative if it was taken from the balance.
    pub amount: Money,
    /// `usage` for agents, `write_off`, `debt_payment`, `grant`, `top_up`, `refund`, `adjustment`, or the word of another
    /// application.
    pub r#type: String,
    pub description: Option<String>,
    /// The time that was used.
    pub period_start: Option<Timestamp>,
    pub period_end: Option<Timestamp>,
    /// The number of agents that an entry charges for.
    #[schemars(range(min = 0))]
    pub agents: Option<i32>,
    /// Null in entries: their charges name the agents.
    pub agent_id: Option<AgentId>,
    pub kind: Option<SpanKind>,
    pub hourly_rate: Option<Money>,
    #[schemars(with = "Option<Number>")]
    pub seconds: Option<Money>,
    /// Null in charges and in rows of other applications.
    pub balance_before: Option<Money>,
    pub balance_after: Option<Money>,
    /// When the balance changed.
    pub created_at: Timestamp,
}

impl Columns for TransactionJson {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "transactionId",
        "amount",
        "type",
        "description",
        "periodStart",
        "periodEnd",
        "agents",
        "agentId",
        "kind",
        "hourlyRate",
        "seconds",
        "balanceBefore",
        "balanceAfter",
        "createdAt",
    ];
}

impl From<HistoryRow> for TransactionJson {
    fn from(row: HistoryRow) -> Self {
        match row {
            Merged::Entry(entry) => entry.into(),
            Merged::Other(other) => other.into(),
        }
    }
}

impl From<AgentRow> for TransactionJson {
    fn from(row: AgentRow) -> Self {
        match row {
            AgentRow::Charge(charge) => charge.into(),
            AgentRow::Other(other) => other.into(),
        }
    }
}

impl From<LedgerEntry> for TransactionJson {
    fn from(entry: LedgerEntry) -> Self {
        let position = LedgerPosition {
            created_at: entry.created_at,
            seq: entry.seq,
        };
        let of_agents = |agents: i32| match agents {
            1 => "Usage of 1 agent".to_owned(),
            _ => format!("Usage of {agents} agents"),
        };
        let usage = entry.agents.filter(|_| entry.entry_type == "usage");
        Self {
            id: ledger_transaction_id(position),
            transaction_id: None,
            amount: number(entry.amount),
            r#type: entry.entry_type,
            description: usage.map(of_agents).or(entry.reason),
            period_start: entry.period_start.map(Timestamp),
            period_end: entry.period_end.map(Timestamp),
            agents: entry.agents,
            agent_id: None,
            kind: None,
            hourly_rate: None,
            seconds: None,
            balance_before: Some(number(entry.balance_before)),
            balance_after: Some(number(entry.balance_after)),
            created_at: Timestamp(entry.created_at),
        }
    }
}

impl From<OtherTransaction> for TransactionJson {
    fn from(other: OtherTransaction) -> Self {
        let rate = other
            .hourly_rate
            .as_deref()
            .and_then(|rate| rate.parse().ok());
        let rate = rate.filter(|rate| (Decimal::ZERO..MAX_RATE).contains(rate));
        Self {
            id: other.id,
            transaction_id: None,
            amount: number(other.amount),
            r#type: other.row_type,
            description: other.description,
            period_start: None,
            period_end: None,
            agents: None,
            agent_id: other.agent_id.and_then(|id| id.parse().ok()),
            kind: other.billing_type.as_deref().and_then(|word| match word {
                "milady_running" => Some(SpanKind::Running),
                "milady_idle" => Some(SpanKind::Idle),
                _ => None,
            }),
            hourly_rate: rate.map(number),
            seconds: None,
            balance_before: None,
            balance_after: None,
            created_at: Timestamp(other.created_at),
        }
    }
}

impl From<ExplainedCharge> for TransactionJson {
    fn from(explained: ExplainedCharge) -> Self {
        let (charge, span) = (explained.charge, explained.span);
        let entry = LedgerPosition {
            created_at: charge.created_at,
            seq: charge.entry,
        };
        let length = charge.period_end - charge.key.period_start;
        let label = match span.kind {
            SpanKind::Running => "Milady agent hosting (running)",
            SpanKind::Idle => "Milady agent storage (idle)",
        };
        Self {
            id: TransactionId::new(charge.key.uuid()),
            transaction_id: Some(ledger_transaction_id(entry)),
            amount: number(-charge.amount),
            r#type: "usage".to_owned(),
            description: Some(match span.agent_name {
                Some(name) => format!("{label}: {name}"),
                None => label.to_owned(),
            }),
            period_start: Some(Timestamp(charge.key.period_start)),
            period_end: Some(Timestamp(charge.period_end)),
            agents: None,
            agent_id: Some(span.agent_id),
            kind: Some(span.kind),
            hourly_rate: Some(number(span.hourly_rate)),
            seconds: Some(number(Decimal::new(
                length.num_microseconds().unwrap_or_default(),
                6,
            ))),
            balance_before: None,
            balance_after: None,
            created_at: Timestamp(charge.created_at),
        }
    }
}
