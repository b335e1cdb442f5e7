//! The webhooks of organizations: what they are sent (`delivery`), what failures lead to (`failures`), what remains of a
//! worker that was killed (`crashes`), and what is stored (`secrets`). How they are registered and tested is in
//! `api::webhooks`.

mod crashes;
mod delivery;
mod failures;
mod secrets;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dev::runtime::{Instance, Outcome};
use serde_json::{Value, json};
use tests::World;
use tests::suite::{Request, epoch};
use uuid::Uuid;

use crate::jobs::webhook::{Call, WebhookReceiver};

const SETTINGS: &str = "/api/v1/settings";
const SUSPENDED: &str = "agent.suspended";
const LOW: &str = "credit.low";
/// A name that is a mention, a mark and a link in Slack if nobody prevents it.
const EVIL_NAME: &str = "<!channel> *R&D* evil.example";

/// What a run of the function did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    delivered: u64,
    failed: u64,
}

fn sent(delivered: u64, failed: u64) -> Sent {
    Sent { delivered, failed }
}

const NOTHING: Sent = Sent {
    delivered: 0,
    failed: 0,
};

/// A world whose webhooks may be on this machine.
pub(crate) async fn webhook_world() -> World {
    let mut world = World::new().await;
    let name = "ALLOW_PRIVATE_WEBHOOKS".to_owned();
    world.settings.insert(name, "true".to_owned());
    world
}

/// Changes the settings of the key's organization. Returns the answer's data.
pub(crate) async fn save(world: &World, key: &str, body: &Value) -> Value {
    let request = Request::new("PATCH", SETTINGS).key(key);
    let response = world.call(request.json(body)).await;
    assert_eq!(response.status(), 200, "{response:?}");
    response.json()["data"].clone()
}

/// An organization with a receiver for its webhook and one for Slack.
struct Tenant {
    organization: Uuid,
    key: String,
    own: WebhookReceiver,
    slack: WebhookReceiver,
    /// The key that signs.
    secret: String,
}

impl Tenant {
    async fn new(world: &World) -> Self {
        let (organization, key) = world.tenant("5").await;
        let own = WebhookReceiver::answering(200).await;
        let slack = WebhookReceiver::answering(200).await;
        let body = json!({"webhookUrl": own.url(), "slackUrl": slack.url()});
        let saved = save(world, &key, &body).await;
        let secret = saved["webhookSecret"]
            .as_str()
            .expect("a secret")
            .to_owned();
        Self {
            organization,
            key,
            own,
            slack,
            secret,
        }
    }

    /// One with a webhook only.
    async fn without_slack(world: &World) -> Self {
        let tenant = Self::new(world).await;
        save(world, &tenant.key, &json!({"slackUrl": null})).await;
        tenant
    }

    /// How the settings show the webhook.
    async fn shown(&self, world: &World) -> Value {
        world.get(&self.key, SETTINGS).await.json()["data"]["webhook"].clone()
    }
}

/// Writes an event into the outbox.
async fn write_event(world: &World, organization: Uuid, kind: &str) {
    let payload = match kind {
        LOW => json!({"balance": 1.5, "lowSince": "2026-03-01T00:00:00Z", "mark": 2}),
        _ => {
            json!({"agents": [{"id": Uuid::nil(), "name": EVIL_NAME}], "agentCount": 1, "owed": 0.5})
        }
    };
    sqlx::query(
        "INSERT INTO outbox_events (key, type, organization_id, payload, occurred_at)
        VALUES (gen_random_uuid()::text, $2, $1, $3, billing_clock())",
    )
    .bind(organization)
    .bind(kind)
    .bind(payload)
    .execute(&world.pool)
    .await
    .expect("an event");
}

/// The event as the rule delivers it.
fn announced(organization: Uuid) -> Value {
    json!({"source": "milady.control-plane", "detail-type": SUSPENDED,
        "detail": {"id": 1, "organizationId": organization}})
}

async fn invoke_on(instance: &Instance, event: Value) -> Sent {
    match instance.invoke(event, Duration::from_mins(1)).await {
        Outcome::Success(answer) => Sent {
            delivered: answer["delivered"].as_u64().expect("a count"),
            failed: answer["failed"].as_u64().expect("a count"),
        },
        other => panic!("webhook-deliver failed: {other:?}"),
    }
}

async fn announce(world: &World, organization: Uuid) -> Sent {
    let instance = world.instance("webhook-deliver").await;
    invoke_on(&instance, announced(organization)).await
}

/// What the schedule does.
async fn sweep(world: &World) -> Sent {
    let instance = world.instance("webhook-deliver").await;
    invoke_on(&instance, json!({})).await
}

fn minute(minute: i64) -> DateTime<Utc> {
    epoch() + TimeDelta::minutes(minute)
}

/// The body of a call.
fn body(call: &Call) -> Value {
    serde_json::from_str(&call.body).expect("JSON")
}

/// The identifiers and types of the events that a receiver got, in order.
fn events(receiver: &WebhookReceiver) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let calls = receiver.calls();
    let bodies = calls.iter().map(body);
    bodies
        .map(|body| (text(&body["id"]), text(&body["event"])))
        .collect()
}

/// The types alone.
fn types(receiver: &WebhookReceiver) -> Vec<String> {
    let events = events(receiver).into_iter();
    events.map(|(_, kind)| kind).collect()
}
