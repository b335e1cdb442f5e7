//! `EventBridge`. Owns: the client, made when it is first needed, and the form of our events. Does not
//! own: which events there are to send (`app::publish`).

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde_json::Value;
use tokio::sync::OnceCell;
use tracing::warn;

/// What our events say they come from; the rules in template.yaml go by it.
pub const SOURCE: &str = "milady.control-plane";
/// Entries that one call may carry.
pub const BATCH: usize = 10;

/// An event to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened: `job.due`, `credit.low`, ...
    pub kind: String,
    /// The details, a JSON object.
    pub detail: Value,
}

/// What became of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Of each whether it was taken.
    pub taken: Vec<bool>,
    /// `EventBridge` gave no answer: what came after was not tried.
    pub away: bool,
}

/// Sends events to one bus.
#[derive(Debug)]
pub struct Publisher {
    bus: String,
    client: OnceCell<Client>,
}

impl Publisher {
    /// A publisher for the bus of this name. Nothing is opened before the first event.
    #[must_use]
    pub fn new(bus: String) -> Self {
        Self {
            bus,
            client: OnceCell::new(),
        }
    }

    /// Sends events. There are no retries here: what was not taken stays where it came from and is sent
    /// again by the next sweep.
    pub async fn publish(&self, events: &[Event]) -> Sent {
        let mut taken = Vec::with_capacity(events.len());
        let mut away = false;
        for batch in events.chunks(BATCH) {
            // Boxed: the SDK's futures are nested deeper than the compiler likes.
            let Some(batch) = Box::pin(self.publish_batch(batch)).await else {
                // It is away: the rest would only take time.
                away = true;
                break;
            };
            taken.extend(batch);
        }
        taken.resize(events.len(), false);
        Sent { taken, away }
    }

    /// Of each event whether it was taken; none if there was no answer.
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
        let sent = client
            .put_events()
            .set_entries(Some(entries.collect()))
            .send()
            .await;
        match sent {
            Ok(answer) => {
                let refused = answer
                    .entries()
                    .iter()
                    .filter_map(|entry| entry.error_code());
                for code in refused {
                    warn!(code, "EventBridge refused an event");
                }
                let taken = |at: usize| {
                    let entry = answer.entries().get(at);
                    entry.is_some_and(|entry| entry.error_code().is_none())
                };
                Some((0..events.len()).map(taken).collect())
            }
            Err(error) => {
                let kind = match error {
                    aws_sdk_eventbridge::error::SdkError::TimeoutError(_) => "timed out",
                    aws_sdk_eventbridge::error::SdkError::DispatchFailure(_) => "not reachable",
                    _ => "failed",
                };
                let events = events.len();
                warn!(kind, events, "EventBridge did not take events");
                None
            }
        }
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
