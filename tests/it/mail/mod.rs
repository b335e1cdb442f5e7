//! Mails to owners: whom they reach (`chain`), what failed attempts lead to (`attempts`), what SES reports (`feedback`),
//! what remains of a worker that was killed (`crashes`), and what billing makes of it all (`known_failures`).

mod attempts;
mod chain;
mod crashes;
mod feedback;
mod known_failures;

use std::time::Duration;

use chrono::TimeDelta;
use dev::runtime::Outcome;
use serde_json::{Value, json};
use tests::World;
use tests::mail_provider::MailProvider;
use tests::suite::epoch;
use uuid::Uuid;

const SHUTDOWN: &str = "agent.shutdown_scheduled";
const LOW: &str = "credit.low";

/// A delivery: recipient, state, attempts, whether something is due, and why the last attempt failed.
type Row = (Option<String>, String, i32, bool, Option<String>);

/// A world whose mails go to an SMTP server.
async fn smtp_world() -> (World, MailProvider) {
    let (mut world, provider) = (World::new().await, MailProvider::start_smtp().await);
    world
        .settings
        .insert("SMTP_URL".to_owned(), provider.smtp_url());
    (world, provider)
}

/// A world whose mails go to SES.
async fn ses_world() -> (World, MailProvider) {
    let (mut world, provider) = (World::new().await, MailProvider::start_ses().await);
    for (name, value) in [
        ("SMTP_URL", String::new()),
        ("AWS_ENDPOINT_URL_SESV2", provider.http_url()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ("SES_CONFIGURATION_SET", "local-mails".to_owned()),
    ] {
        world.settings.insert(name.to_owned(), value);
    }
    (world, provider)
}

/// An organization whose owner has this address.
async fn organization(world: &World, email: &str) -> Uuid {
    let organization = world.organization("0").await;
    sqlx::query("UPDATE users SET email = $2 WHERE organization_id = $1")
        .bind(organization)
        .bind(email)
        .execute(&world.pool)
        .await
        .expect("an address");
    organization
}

/// Adds a user.
async fn add_user(world: &World, organization: Uuid, role: &str, email: &str, created_at: &str) {
    sqlx::query(
        "INSERT INTO users (organization_id, role, email, created_at) VALUES ($1, $2, $3, $4::timestamp)",
    )
    .bind(organization)
    .bind(role)
    .bind(email)
    .bind(created_at)
    .execute(&world.pool)
    .await
    .expect("a user");
}

/// Writes an event into the outbox, and an agent whose shutdown it announces. Returns its id.
async fn write_event(world: &World, organization: Uuid, kind: &str) -> i64 {
    let payload = match kind {
        LOW => json!({"balance": 1.5, "lowSince": "2026-03-01T00:00:00Z", "mark": 2}),
        _ => json!({"agents": [{"id": Uuid::nil(), "name": "one"}], "agentCount": 1, "owed": 0.02,
            "owedAtDeadline": 0.98, "scheduledShutdownAt": "2026-03-03T00:00:00Z", "debtCeiling": 5}),
    };
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO outbox_events (key, type, organization_id, payload, occurred_at)
        VALUES (gen_random_uuid()::text, $2, $1, $3, billing_clock()) RETURNING id",
    )
    .bind(organization)
    .bind(kind)
    .bind(payload)
    .fetch_one(&world.pool)
    .await
    .expect("an event");
    if kind == SHUTDOWN {
        sqlx::query(
            "INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status, billing_status,
                shutdown_warning_sent_at, scheduled_shutdown_at)
            SELECT e.organization_id, u.id, 'one', 'pending', 'shutdown_pending', e.occurred_at,
                e.occurred_at + interval '2 days'
            FROM outbox_events e JOIN users u ON u.organization_id = e.organization_id WHERE e.id = $1 LIMIT 1",
        )
        .bind(id)
        .execute(&world.pool)
        .await
        .expect("an agent");
    }
    id
}

/// The event as the rule delivers it.
fn delivered(id: i64, kind: &str) -> Value {
    json!({"source": "milady.control-plane", "detail-type": kind, "detail": {"id": id}})
}

async fn invoke(world: &World, event: Value) -> Value {
    let instance = world.instance("notify").await;
    match instance.invoke(event, Duration::from_mins(1)).await {
        Outcome::Success(answer) => answer,
        other => panic!("notify failed: {other:?}"),
    }
}

/// Delivers an event to the function. Returns whether its mail was handed over now.
async fn notify(world: &World, id: i64, kind: &str) -> bool {
    let answer = invoke(world, delivered(id, kind)).await;
    answer["handedOver"].as_bool().expect("an answer")
}

/// What the schedule does. Returns how many mails were handed over.
async fn sweep(world: &World) -> u64 {
    let answer = invoke(world, json!({})).await;
    answer["handedOver"].as_u64().expect("a count")
}

async fn at_minute(world: &World, minute: i64) {
    world.set_clock(epoch() + TimeDelta::minutes(minute)).await;
}

async fn rows(world: &World) -> Vec<Row> {
    sqlx::query_as(
        "SELECT recipient, state, attempts, due_at IS NOT NULL, reason FROM cloud.mail_deliveries
        ORDER BY created_at, recipient",
    )
    .fetch_all(&world.pool)
    .await
    .expect("deliveries")
}

/// Recipients and states.
async fn states(world: &World) -> Vec<(String, String)> {
    let rows = rows(world).await.into_iter();
    rows.map(|row| (row.0.unwrap_or_default(), row.1)).collect()
}

fn state(recipient: &str, state: &str) -> (String, String) {
    (recipient.to_owned(), state.to_owned())
}

/// Since when the event counts as handed over, in minutes; `None` if it does not.
async fn handed_over_at(world: &World, id: i64) -> Option<i64> {
    let at: Option<chrono::DateTime<chrono::Utc>> =
        sqlx::query_scalar("SELECT handed_over_at FROM outbox_events WHERE id = $1")
            .bind(id)
            .fetch_one(&world.pool)
            .await
            .expect("an event");
    at.map(|at| (at - epoch()).num_minutes())
}

async fn is_undeliverable(world: &World, id: i64) -> bool {
    sqlx::query_scalar("SELECT undeliverable_at IS NOT NULL FROM outbox_events WHERE id = $1")
        .bind(id)
        .fetch_one(&world.pool)
        .await
        .expect("an event")
}

/// The id of the only delivery to this recipient.
async fn delivery_id(world: &World, recipient: &str) -> Uuid {
    sqlx::query_scalar("SELECT id FROM cloud.mail_deliveries WHERE recipient = $1")
        .bind(recipient)
        .fetch_one(&world.pool)
        .await
        .expect("a delivery")
}
