//! Events for product analytics, in the form that PostHog takes. Owns: which ones there are, and that they hold figures
//! and identifiers only. Does not own: sending them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::{Builder, Uuid};

use super::billing::Notice;
use super::ids::OrganizationId;
use super::money::Money;
use super::timestamp::Timestamp;

/// How many events are sent together: ten batches stay below the 256 KB that one call of `EventBridge` may have.
pub const MAX_BATCH_EVENTS: usize = 50;

/// What happened, with its properties. These are all events that there are: another one becomes a variant here, so that
/// no text from elsewhere gets into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ProductEvent {
    /// A billing run has charged the organization: one event per organization and run.
    HourlyBilled {
        agents: usize,
        amount: Money,
        new_balance: Money,
        owed: Money,
    },
    CreditLow {
        balance: Money,
    },
    ShutdownScheduled {
        agents: usize,
        owed: Option<Money>,
    },
    Suspended {
        agents: usize,
        owed: Money,
    },
}

impl ProductEvent {
    /// What the owner is told, as an event.
    #[must_use]
    pub fn of_notice(notice: &Notice) -> Self {
        match notice {
            Notice::CreditLow { balance, .. } => Self::CreditLow { balance: *balance },
            Notice::ShutdownScheduled {
                agent_count, owed, ..
            } => Self::ShutdownScheduled {
                agents: *agent_count,
                owed: *owed,
            },
            Notice::Suspended {
                agent_count, owed, ..
            } => Self::Suspended {
                agents: *agent_count,
                owed: *owed,
            },
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::HourlyBilled { .. } => "milady_hourly_billed",
            Self::CreditLow { .. } => "milady_credit_low",
            Self::ShutdownScheduled { .. } => "milady_shutdown_scheduled",
            Self::Suspended { .. } => "milady_suspended",
        }
    }

    /// The event of this organization at this time.
    #[must_use]
    pub fn capture(self, organization_id: OrganizationId, at: DateTime<Utc>) -> CapturedEvent {
        CapturedEvent {
            event: self.name(),
            distinct_id: organization_id,
            uuid: event_id(organization_id, at),
            timestamp: Timestamp(at),
            properties: Properties {
                event: self,
                organization_id,
                groups: Groups {
                    organization: organization_id,
                },
                process_person_profile: false,
                geoip_disable: true,
            },
        }
    }
}

/// One element of the `batch` that PostHog takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CapturedEvent {
    event: &'static str,
    distinct_id: OrganizationId,
    uuid: Uuid,
    timestamp: Timestamp,
    properties: Properties,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Properties {
    #[serde(flatten)]
    event: ProductEvent,
    organization_id: OrganizationId,
    #[serde(rename = "$groups")]
    groups: Groups,
    /// An organization is no person.
    #[serde(rename = "$process_person_profile")]
    process_person_profile: bool,
    /// The address that sends the event says nothing about the organization.
    #[serde(rename = "$geoip_disable")]
    geoip_disable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Groups {
    organization: OrganizationId,
}

/// The same for the same event, and another for every other second: PostHog drops an event that comes twice if name, day,
/// organization and this identifier are the same.
fn event_id(organization_id: OrganizationId, at: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(at.timestamp()).unwrap_or_default();
    let value = organization_id.uuid().as_u128() ^ u128::from(seconds);
    Builder::from_custom_bytes(value.to_be_bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;
    use serde_json::{Value, json};

    use super::*;

    fn captured(event: ProductEvent) -> Value {
        let organization = OrganizationId::new(Uuid::from_u128(7));
        let at = "2026-03-01T01:00:00Z".parse().expect("a time");
        serde_json::to_value(event.capture(organization, at)).expect("JSON")
    }

    fn usd(cents: i64) -> Money {
        Money::rounded(Decimal::new(cents, 2))
    }

    #[test]
    fn an_event_has_posthogs_form_and_names_nobody() {
        let event = captured(ProductEvent::HourlyBilled {
            agents: 3,
            amount: usd(6),
            new_balance: usd(494),
            owed: Money::ZERO,
        });
        let organization = "00000000-0000-0000-0000-000000000007";
        assert_eq!(
            event,
            json!({
                "event": "milady_hourly_billed", "distinct_id": organization,
                "uuid": "00000000-0000-8000-8000-000069a38f97", "timestamp": "2026-03-01T01:00:00.000Z",
                "properties": {
                    "agents": 3, "amount": 0.06, "new_balance": 4.94, "owed": 0.0,
                    "organization_id": organization, "$groups": {"organization": organization},
                    "$process_person_profile": false, "$geoip_disable": true,
                },
            })
        );
    }

    #[test]
    fn events_of_other_hours_and_organizations_have_other_identifiers() {
        let id = |organization, hour: i64| {
            let at = DateTime::from_timestamp(1_772_323_200 + hour * 3_600, 0).expect("a time");
            event_id(OrganizationId::new(Uuid::from_u128(organization)), at)
        };
        assert_eq!(id(7, 1), id(7, 1));
        let ids = [id(7, 1), id(7, 2), id(7, 25), id(8 << 70, 1)];
        for (index, one) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(one), "{ids:?}");
        }
    }

    #[test]
    fn notices_become_events_without_the_names_in_them() {
        let notice = Notice::Suspended {
            agents: vec![crate::domain::billing::ListedAgent {
                id: crate::domain::ids::AgentId::new(Uuid::nil()),
                name: Some("secret plan".to_owned()),
            }],
            agent_count: 1,
            owed: usd(150),
        };
        let event = captured(ProductEvent::of_notice(&notice));
        assert_eq!(event["event"], "milady_suspended");
        assert_eq!(event["properties"]["owed"], 1.5);
        assert!(!event.to_string().contains("secret"), "{event}");
    }

    #[test]
    fn ten_full_batches_fit_into_one_call_of_eventbridge() {
        let most = Money::rounded(Decimal::new(-9_999_999_999_999_999, 6));
        let event = captured(ProductEvent::HourlyBilled {
            agents: usize::MAX,
            amount: most,
            new_balance: most,
            owed: most,
        });
        let bytes = event.to_string().len() + 1;
        assert!(
            10 * (bytes * MAX_BATCH_EVENTS + 100) < 256 * 1024,
            "{bytes}"
        );
    }
}
