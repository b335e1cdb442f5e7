//! Reads what the texts about an event depend on.

use chrono::{DateTime, Utc};

use super::content::{Content, Payload, Setting, content};
use crate::db;
use crate::db::Database;
use crate::db::mails::events::MailFacts;
use crate::domain::mail::MailTemplate;

/// What is said of an event, in a mail whose notice counts from `noticed_at`, or elsewhere. `None` if the event has
/// another form.
pub(crate) async fn compose(
    pool: &Database,
    template: MailTemplate,
    facts: MailFacts,
    app_url: &str,
    noticed_at: Option<DateTime<Utc>>,
) -> sqlx::Result<Option<Content>> {
    let Ok(mut payload) = Payload::read(facts.payload) else {
        return Ok(None);
    };
    if let Some(at) = noticed_at {
        payload.grant_notice(at);
    }
    let local_date = match payload.date() {
        Some(date) => {
            let mut conn = pool.statements();
            db::mails::events::local_time(&mut conn, date, &facts.time_zone).await?
        }
        None => None,
    };
    let setting = Setting {
        organization_name: facts.organization_name.as_deref().unwrap_or_default(),
        time_zone: &facts.time_zone,
        local_date,
        app_url,
    };
    Ok(Some(content(template, &payload, &setting)))
}
