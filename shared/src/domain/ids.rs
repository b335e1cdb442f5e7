//! Identifiers. Each kind of row has a type of its own: two identifiers cannot be swapped by accident.
//! Owns: the types, and what the identifier of a ledger entry carries.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            #[must_use]
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

identifiers! {
    OrganizationId,
    UserId,
    ApiKeyId,
    /// A session of the dashboard, from signing in until it ends.
    SessionId,
    /// A row of `milady_sandboxes`.
    AgentId,
    /// A row of another application's `user_characters`.
    CharacterId,
    BackupId,
    JobId,
    /// A row of `docker_nodes`. On the wire and in logs a host goes by its name, `nodeId`.
    HostId,
    /// An entry of the ledger, or a row of another application's `credit_transactions`.
    TransactionId,
    /// One attempt to carry out a request with an idempotency key.
    ClaimId,
    InvocationId,
    /// A stream that somebody reads, or another request that holds its connection for long.
    StreamId,
    /// A request for a snapshot.
    SnapshotRequestId,
    /// An attempt to reach one recipient with one mail.
    DeliveryId,
    /// One event that is sent to one webhook.
    WebhookDeliveryId,
}

/// An agent together with the organization that owns it: what a query on one tenant's agent takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentRef {
    pub organization_id: OrganizationId,
    pub agent_id: AgentId,
}

impl AgentRef {
    /// The same agent while it belonged to this organization.
    #[must_use]
    pub const fn while_of(self, organization_id: OrganizationId) -> Self {
        Self {
            organization_id,
            ..self
        }
    }
}

/// A row of `usage_spans`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(i64);

impl SpanId {
    #[must_use]
    pub const fn new(id: i64) -> Self {
        Self(id)
    }

    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// Where an entry is in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LedgerPosition {
    pub created_at: DateTime<Utc>,
    pub seq: i64,
}

const MICROSECONDS_PER_MILLISECOND: u64 = 1_000;

/// An entry's identifier on the wire: a version 8 UUID. Its first 48 bits are the milliseconds since 1970, the 12 bits
/// after the version are the microseconds beyond, and the last 62 bits are the entry's number.
#[must_use]
pub fn ledger_transaction_id(position: LedgerPosition) -> TransactionId {
    let micros = u64::try_from(position.created_at.timestamp_micros()).unwrap_or_default();
    let (millis, rest) = (
        micros / MICROSECONDS_PER_MILLISECOND,
        micros % MICROSECONDS_PER_MILLISECOND,
    );
    let seq = u64::try_from(position.seq).unwrap_or_default();
    let value = u128::from(millis) << 80 | u128::from(rest) << 64 | u128::from(seq);
    TransactionId(Builder::from_custom_bytes(value.to_be_bytes()).into_uuid())
}

/// Reads [`ledger_transaction_id`] back; `None` for the identifier of another application's row.
#[must_use]
pub fn ledger_position(id: TransactionId) -> Option<LedgerPosition> {
    let uuid = id.0;
    let value = uuid.as_u128();
    let millis = u64::try_from(value >> 80).ok()?;
    let rest = u64::try_from(value >> 64 & 0xfff).ok()?;
    let seq = i64::try_from(value & (u128::from(u64::MAX) >> 2)).ok()?;
    let micros = i64::try_from(millis * MICROSECONDS_PER_MILLISECOND + rest).ok()?;
    let is_entry = uuid.get_version_num() == 8 && rest < MICROSECONDS_PER_MILLISECOND && seq > 0;
    let created_at = DateTime::from_timestamp_micros(micros).filter(|_| is_entry)?;
    Some(LedgerPosition { created_at, seq })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identifier_of_an_entry_carries_its_time_and_number() {
        for micros in [
            0,
            1,
            999,
            1_000,
            1_772_323_200_123_456,
            253_402_300_799_999_999,
        ] {
            for seq in [1, 2, 4_096, i64::MAX >> 1] {
                let created_at = DateTime::from_timestamp_micros(micros).expect("a time");
                let position = LedgerPosition { created_at, seq };
                let id = ledger_transaction_id(position);
                assert_eq!(ledger_position(id), Some(position), "{id}");
                assert_eq!(id.uuid().get_version_num(), 8);
            }
        }
        for other in [
            Uuid::nil(),
            Uuid::max(),
            Uuid::from_u128(7),
            Uuid::from_u128(0x4000 << 64 | 7),
        ] {
            assert_eq!(ledger_position(TransactionId(other)), None, "{other}");
        }
    }

    #[test]
    fn identifiers_of_entries_sort_as_the_ledger_does() {
        let id = |micros, seq| {
            let created_at = DateTime::from_timestamp_micros(micros).expect("a time");
            ledger_transaction_id(LedgerPosition { created_at, seq })
        };
        let ids = [
            id(999, 9),
            id(1_000, 1),
            id(1_000, 2),
            id(1_001, 1),
            id(2_000_000, 1),
        ];
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
