//! Mails: the events of the outbox that lead to one, SES's reports about those that it took, and a sweep every minute.

use serde::Serialize;
use serde_json::Value;

use crate::app::mail::MailDeps;
use crate::app::mail::feedback::{Feedback, FeedbackKind, feedback_record};
use crate::app::mail::notify::mail_event;
use crate::app::mail::sweep::mail_sweep;
use crate::db;
use crate::db::Database;
use crate::mail::{Mailer, SES_TAG};
use crate::metrics;

const SES: &str = "aws.ses";

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub mailer: Mailer,
    /// The address of the dashboard, without a slash at its end.
    pub app_url: String,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum NotifyResult {
    /// An event of the outbox.
    Mail {
        /// Whether the provider took its mail now.
        handed_over: bool,
    },
    /// A report of SES.
    Feedback {
        /// Whether it said something new about a mail that this product sent.
        recorded: bool,
    },
    Sweep {
        handed_over: usize,
        settled: u64,
        deleted: u64,
        undeliverable: usize,
    },
}

/// What is left to do is in the database: the next sweep does it.
#[derive(Debug, thiserror::Error)]
#[error("the database request failed ({})", db::error_class(.0))]
pub struct NotifyError(#[from] sqlx::Error);

/// Any event that is neither of the outbox nor of SES starts a sweep. A repeated event sends nothing twice.
pub async fn handle(deps: &Deps, event: Value) -> Result<NotifyResult, NotifyError> {
    let mail_deps = MailDeps {
        pool: &deps.pool,
        mailer: &deps.mailer,
        app_url: &deps.app_url,
    };
    if event["source"] == SES {
        let recorded = match read_feedback(&event) {
            Some(feedback) => Box::pin(feedback_record(mail_deps, &feedback)).await?,
            None => false,
        };
        return Ok(NotifyResult::Feedback { recorded });
    }
    if let Some(id) = event["detail"]["id"].as_i64() {
        let handed_over = Box::pin(mail_event(mail_deps, id)).await?;
        return Ok(NotifyResult::Mail { handed_over });
    }
    let swept = Box::pin(mail_sweep(mail_deps)).await?;
    metrics::record_mails(swept.undeliverable, swept.oldest_wait, swept.at);
    Ok(NotifyResult::Sweep {
        handed_over: swept.handed_over,
        settled: swept.settled,
        deleted: swept.deleted,
        undeliverable: swept.undeliverable,
    })
}

/// The report in an event of SES. `None` for a mail without our tag, and for other kinds of reports.
fn read_feedback(event: &Value) -> Option<Feedback> {
    let detail = &event["detail"];
    let mail = &detail["mail"];
    let kind = match event["detail-type"].as_str()? {
        "Email Sent" => FeedbackKind::Sent,
        "Email Delivered" => FeedbackKind::Delivered,
        "Email Bounced" => FeedbackKind::Bounced {
            is_permanent: detail["bounce"]["bounceType"] == "Permanent",
        },
        "Email Complaint Received" => FeedbackKind::Complained,
        "Email Rejected" => FeedbackKind::Rejected,
        _ => return None,
    };
    Some(Feedback {
        delivery_id: mail["tags"][SES_TAG][0].as_str()?.parse().ok()?,
        provider_id: mail["messageId"].as_str().map(str::to_owned),
        kind,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::DeliveryId;

    fn event(detail_type: &str, detail: &Value) -> Value {
        let mut event = json!({"source": "aws.ses", "detail-type": detail_type, "detail": detail});
        event["detail"]["mail"] = json!({
            "messageId": "0102-x", "destination": ["a@b.co"],
            "tags": {"ses:configuration-set": ["x"], "milady-delivery": [Uuid::nil()]},
        });
        event
    }

    #[test]
    fn reports_are_read_by_our_tag() {
        let permanent = json!({"bounce": {"bounceType": "Permanent", "bounceSubType": "General"}});
        let full = json!({"bounce": {"bounceType": "Transient", "bounceSubType": "MailboxFull"}});
        for (detail_type, detail, kind) in [
            ("Email Sent", json!({}), Some(FeedbackKind::Sent)),
            ("Email Delivered", json!({}), Some(FeedbackKind::Delivered)),
            (
                "Email Bounced",
                permanent,
                Some(FeedbackKind::Bounced { is_permanent: true }),
            ),
            (
                "Email Bounced",
                full,
                Some(FeedbackKind::Bounced {
                    is_permanent: false,
                }),
            ),
            (
                "Email Complaint Received",
                json!({}),
                Some(FeedbackKind::Complained),
            ),
            ("Email Rejected", json!({}), Some(FeedbackKind::Rejected)),
            ("Email Opened", json!({}), None),
        ] {
            let expected = kind.map(|kind| Feedback {
                delivery_id: DeliveryId::new(Uuid::nil()),
                provider_id: Some("0102-x".to_owned()),
                kind,
            });
            assert_eq!(
                read_feedback(&event(detail_type, &detail)),
                expected,
                "{detail_type}"
            );
        }
        let mut foreign = event("Email Sent", &json!({}));
        foreign["detail"]["mail"]["tags"] = json!({});
        assert_eq!(read_feedback(&foreign), None);
    }
}
