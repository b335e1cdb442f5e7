//! Identifiers. Each kind of row has a type of its own: two identifiers cannot be swapped by accident.
//! Owns: the types, and the order of identifiers that are written by the thousand.

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
    /// A row of `milady_sandboxes`.
    AgentId,
    /// A row of another application's `user_characters`.
    CharacterId,
    BackupId,
    JobId,
    /// A row of `docker_nodes`. On the wire and in logs a host goes by its name, `nodeId`.
    HostId,
    /// A row of `agent_usage_spans`.
    SpanId,
    /// A row of `credit_transactions`.
    TransactionId,
    /// One attempt to carry out a request with an idempotency key.
    ClaimId,
    InvocationId,
}

/// An agent together with the organization that owns it: what a query on one tenant's agent takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentRef {
    pub organization_id: OrganizationId,
    pub agent_id: AgentId,
}

/// A version 7 UUID. Rows written together get identifiers that sort together, so a billing run touches
/// few pages of the primary key's index. The time is `at`, the order within a millisecond is `index`
/// modulo 4,096, and the rest is `distinguisher`, which must differ for rows of the same time and index.
#[must_use]
pub fn sequential_transaction_id(
    at: DateTime<Utc>,
    index: usize,
    distinguisher: u128,
) -> TransactionId {
    let mut rest = [0; 10];
    let order = u16::try_from(index % 4_096).unwrap_or_default();
    rest[..2].copy_from_slice(&order.to_be_bytes());
    rest[2..].copy_from_slice(&distinguisher.to_be_bytes()[8..]);
    let milliseconds = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    TransactionId(Builder::from_unix_timestamp_millis(milliseconds, &rest).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_then_index_and_differ_by_distinguisher() {
        let at = |ms: i64| DateTime::from_timestamp_millis(1_772_323_200_000 + ms).expect("a time");
        let ids = [
            sequential_transaction_id(at(0), 0, 5),
            sequential_transaction_id(at(0), 0, 6),
            sequential_transaction_id(at(0), 1, 1),
            sequential_transaction_id(at(0), 4_095, 0),
            sequential_transaction_id(at(1), 0, 0),
        ];
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(ids[0].uuid().get_version_num(), 7);
    }
}
