//! Where a page of history begins.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::keys::ChargeKey;
use super::period::Period;
use crate::domain::ids::{AgentId, SpanId, TransactionId};

/// A row, and where the page begins that begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positioned<T, P> {
    pub row: T,
    pub position: P,
}

/// A row of another application in `credit_transactions`. Its page holds it and older rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OtherPosition {
    pub created_at: DateTime<Utc>,
    pub id: TransactionId,
}

impl OtherPosition {
    /// Before every row.
    #[must_use]
    pub fn newest() -> Self {
        Self {
            created_at: Period::ever().to,
            id: TransactionId::new(Uuid::max()),
        }
    }
}

/// A page of an organization's history holds the entries up to one number and the rows of other applications from one
/// position on; `None` for those of which there are no more. Both are told apart, because entries are in the order of
/// their numbers, whatever the clock said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryPosition {
    pub entry: Option<i64>,
    pub other: Option<OtherPosition>,
}

impl HistoryPosition {
    /// Before every row.
    #[must_use]
    pub fn newest() -> Self {
        Self {
            entry: Some(i64::MAX),
            other: Some(OtherPosition::newest()),
        }
    }
}

/// A page of an agent's history holds charges, newest first, and after them the rows of an older biller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentPosition {
    Charge(ChargeKey),
    Other(OtherPosition),
}

impl AgentPosition {
    /// Before every row.
    #[must_use]
    pub fn newest() -> Self {
        Self::Charge(ChargeKey {
            period_start: Period::ever().to,
            span: SpanId::new(i64::MAX),
        })
    }
}

/// A charge of an entry, in the order of charging within its hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChargeLinePosition {
    pub agent_created_at: DateTime<Utc>,
    pub agent_id: AgentId,
    pub key: ChargeKey,
}
