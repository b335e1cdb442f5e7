//! A stand-in for sending mail: prints each outbox event that leads to a mail and marks it as
//! handed over.

use std::fmt::Write;

use anyhow::Result;
use serde_json::Value;
use sqlx::PgPool;

use super::format::{dollars, json_minute};

#[derive(sqlx::FromRow)]
struct Event {
    id: i64,
    #[sqlx(rename = "type")]
    kind: String,
    organization: Option<String>,
    payload: Value,
}

/// The events that lead to mails. The other events are for functions only.
const MAIL_EVENTS: [&str; 3] = ["credit.low", "agent.shutdown_scheduled", "agent.suspended"];

/// Prints every pending mail and marks its event as handed over.
pub(super) async fn print_pending(pool: &PgPool) -> Result<()> {
    let events: Vec<Event> = sqlx::query_as(
        "SELECT event.id, event.type, organizations.name AS organization, event.payload
         FROM outbox_events AS event
         LEFT JOIN organizations ON organizations.id = event.organization_id
         WHERE event.handed_over_at IS NULL AND event.type = ANY($1)
         ORDER BY event.id",
    )
    .bind(MAIL_EVENTS)
    .fetch_all(pool)
    .await?;
    for event in events {
        let to = event.organization.as_deref().unwrap_or("(deleted)");
        println!("  mail to {to}: {}", sentence(&event.kind, &event.payload));
        sqlx::query("UPDATE outbox_events SET handed_over_at = billing_clock() WHERE id = $1")
            .bind(event.id)
            .execute(pool)
            .await?;
    }
    Ok(())
}

fn sentence(kind: &str, payload: &Value) -> String {
    let owed = dollars(&payload["owed"]);
    match kind {
        "credit.low" => format!(
            "credit is low, {} left at {}",
            dollars(&payload["balance"]),
            json_minute(&payload["lowSince"])
        ),
        "agent.shutdown_scheduled" => {
            let at = json_minute(&payload["scheduledShutdownAt"]);
            let by_then = &payload["owedAtDeadline"];
            // Adoption renews warnings before anybody has counted the debt.
            let debt = if by_then.is_null() {
                String::new()
            } else {
                format!("; {owed} is owed now, {} by then", dollars(by_then))
            };
            format!("{} will be shut down at {at}{debt}", agents(payload))
        }
        "agent.suspended" => format!("{} shut down; {owed} is owed", agents(payload)),
        other => format!("{other} {payload}"),
    }
}

fn agents(payload: &Value) -> String {
    let named: Vec<&str> = payload["agents"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|agent| agent["name"].as_str())
        .collect();
    let count = payload["agentCount"].as_u64().unwrap_or_default();
    let noun = if count == 1 { "agent" } else { "agents" };
    let mut text = format!("{count} {noun} ({}", named.join(", "));
    let unnamed = usize::try_from(count)
        .unwrap_or_default()
        .saturating_sub(named.len());
    if unnamed > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, " and {unnamed} more");
    }
    text.push(')');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_described_in_sentences() {
        let low = json!({"balance": 1.26, "lowSince": "2026-11-02T14:00:00.000Z"});
        assert_eq!(
            sentence("credit.low", &low),
            "credit is low, $1.26 left at 2026-11-02 14:00"
        );
        let scheduled = json!({
            "agents": [{"id": "a", "name": "one"}, {"id": "b", "name": "two"}],
            "agentCount": 3,
            "owed": 0.87,
            "owedAtDeadline": "42.63",
            "scheduledShutdownAt": "2026-11-04T16:00:00Z",
        });
        assert_eq!(
            sentence("agent.shutdown_scheduled", &scheduled),
            "3 agents (one, two and 1 more) will be shut down at 2026-11-04 16:00; \
             $0.87 is owed now, $42.63 by then"
        );
        let renewed = json!({
            "agents": [{"id": "a", "name": "one"}],
            "agentCount": 1,
            "owed": null,
            "owedAtDeadline": null,
            "scheduledShutdownAt": "2026-11-04T16:00:00Z",
        });
        assert_eq!(
            sentence("agent.shutdown_scheduled", &renewed),
            "1 agent (one) will be shut down at 2026-11-04 16:00"
        );
    }
}
