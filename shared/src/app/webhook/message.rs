//! What webhooks are sent. Owns: the body of an event, and that a name can be neither a mention nor a link nor a mark in
//! Slack. Does not own: the sentences (`app::mail::content`).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::app::mail::content::Content;
use crate::domain::ids::WebhookDeliveryId;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::WebhookRef;

/// The type of the event that a test sends.
const TEST: &str = "webhook.test";

/// An event for a server of the organization's own.
pub(super) fn event_body(
    webhook: WebhookRef,
    id: WebhookDeliveryId,
    kind: &str,
    occurred_at: DateTime<Utc>,
    data: &Value,
) -> String {
    json!({
        "id": id, "event": kind, "organizationId": webhook.organization_id,
        "occurredAt": Timestamp(occurred_at), "data": data,
    })
    .to_string()
}

pub(super) fn test_body(webhook: WebhookRef, id: WebhookDeliveryId, now: DateTime<Utc>) -> String {
    event_body(webhook, id, TEST, now, &json!({}))
}

/// What a mail says, for Slack.
pub(super) fn slack_body(content: &Content) -> String {
    let mut lines = vec![content.subject.clone()];
    lines.extend(content.paragraphs.iter().cloned());
    lines.extend(content.agents.iter().map(|agent| format!("- {agent}")));
    if content.further_agents > 0 {
        lines.push(format!("- and {} more", content.further_agents));
    }
    lines.push(format!("{}: {}", content.action, content.link));
    lines.push(format!("Organization: {}", content.organization));
    slack_message(&lines.join("\n"))
}

pub(super) fn slack_test_body() -> String {
    slack_message("This is a test. Events of your organization are sent here.")
}

/// Slack reads `<..>` as a link or a mention, and knows no escape for marks such as `*`. So formatting is off for the whole
/// message.
fn slack_message(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    json!({"text": text, "mrkdwn": false}).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::mail::unlinked_name;

    fn content(name: &str) -> Content {
        Content {
            subject: "Shut down: 3 agents".to_owned(),
            paragraphs: vec!["They were not paid for.".to_owned()],
            agents: vec![unlinked_name(name)],
            further_agents: 2,
            organization: unlinked_name(name),
            action: "Look at the credit",
            link: "https://app.example/credits".to_owned(),
        }
    }

    fn sent(name: &str) -> Value {
        serde_json::from_str(&slack_body(&content(name))).expect("JSON")
    }

    #[test]
    fn a_message_for_slack_has_the_sentences_of_the_mail_in_lines() {
        assert_eq!(
            sent("<!channel> *R&D*"),
            json!({
                "mrkdwn": false,
                "text": "Shut down: 3 agents\nThey were not paid for.\n- &lt;!channel&gt; *R&amp;D*\n- and 2 more\n\
                    Look at the credit: https://app.example/credits\nOrganization: &lt;!channel&gt; *R&amp;D*",
            })
        );
    }

    proptest! {
        #[test]
        fn no_name_is_a_mention_a_link_a_mark_or_a_line_in_slack(
            name in prop_oneof![any::<String>(), "[<>&!@#|*_~`:./a-z \n]{0,40}"],
        ) {
            let sent = sent(&name);
            prop_assert_eq!(sent["mrkdwn"].as_bool(), Some(false));
            let text = sent["text"].as_str().expect("a text");
            prop_assert!(!text.contains(['<', '>']), "{}", text);
            for rest in text.split('&').skip(1) {
                let is_entity = ["amp;", "lt;", "gt;"].iter().any(|entity| rest.starts_with(entity));
                prop_assert!(is_entity, "{}", text);
            }
            prop_assert_eq!(text.lines().count(), 6, "{}", text);
            // The only link leads to the dashboard.
            let links = text.matches("://").count();
            prop_assert_eq!(links, 1, "{}", text);
        }
    }
}
