//! `EventBridge`. Owns: the client, which is built at first use, and the form of our events. Does not own: which
//! events are sent (`app::publish`).

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde_json::Value;
use tokio::sync::OnceCell;
use tracing::warn;

use crate::failure::Cause;

/// The source field of our events. The rules in template.yaml match it.
pub const SOURCE: &str = "milady.control-plane";
/// The most entries that `PutEvents` accepts.
pub const MAX_BATCH: usize = 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The detail type: `job.due`, `credit.low`, ...
    pub kind: String,
    /// A JSON object.
    pub detail: Value,
}

/// What `EventBridge` did with a list of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishOutcome {
    /// Whether each event was accepted, in the order of the list.
    pub accepted: Vec<bool>,
    /// A call failed. The events after that were not sent.
    pub is_unreachable: bool,
}

/// Sends events to one bus.
#[derive(Debug)]
pub struct Publisher {
    bus: String,
    client: OnceCell<Client>,
}

impl Publisher {
    /// Publishes to the bus of this name. Connects to nothing before the first event.
    #[must_use]
    pub fn new(bus: String) -> Self {
        Self {
            bus,
            client: OnceCell::new(),
        }
    }

    /// Sends events, without retries: the next sweep sends unpublished rows of the outbox and due jobs again,
    /// and the next reader of a stale snapshot repeats the request for a refresh.
    pub async fn publish(&self, events: &[Event]) -> PublishOutcome {
        let mut accepted = Vec::with_capacity(events.len());
        let mut is_unreachable = false;
        for batch in events.chunks(MAX_BATCH) {
            // Boxed: the SDK's futures are nested deeper than the compiler's recursion limit.
            let Some(batch) = Box::pin(self.publish_batch(batch)).await else {
                // Further batches would only wait for the same timeout.
                is_unreachable = true;
                break;
            };
            accepted.extend(batch);
        }
        accepted.resize(events.len(), false);
        PublishOutcome {
            accepted,
            is_unreachable,
        }
    }

    /// Whether each event was accepted. `None` if the call failed.
    async fn publish_batch(&self, events: &[Event]) -> Option<Vec<bool>> {
        let client = self.client.get_or_init(client).await;
        let entries = events.iter().map(|event| {
            PutEventsRequestEntry::builder()
                .event_bus_name(&self.bus)
                .source(SOURCE)
                .detail_type(&event.kind)
                .detail(event.detail.to_string())
                .build()
        });
        let result = client
            .put_events()
            .set_entries(Some(entries.collect()))
            .send()
            .await;
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                let cause = error.class();
                let events = events.len();
                warn!(
                    cause,
                    events, "the call of EventBridge failed; the events are not published"
                );
                return None;
            }
        };
        let error_code = |index: usize| response.entries().get(index)?.error_code();
        for code in (0..events.len()).filter_map(error_code) {
            warn!(code, "EventBridge refused an event; it is not published");
        }
        let is_accepted = |index: usize| {
            let entry = response.entries().get(index);
            entry.is_some_and(|entry| entry.error_code().is_none())
        };
        Some((0..events.len()).map(is_accepted).collect())
    }
}

async fn client() -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_timeout(Duration::from_secs(3))
        .build();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled())
        .load()
        .await;
    Client::new(&config)
}
