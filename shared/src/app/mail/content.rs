//! What each mail says. Owns: the sentences, and that names and amounts are shown safely. Does not own: the form
//! (`render`).

use chrono::{DateTime, NaiveDateTime, Utc};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::Deserialize;
use serde_json::{Number, Value};

use crate::domain::billing::{NOTICE_PERIOD, NOTICE_PERIOD_ABOVE_CEILING};
use crate::domain::mail::{MailTemplate, plain_line, unlinked_name, unlinked_sentence};
use crate::domain::webhook::WebhookKind;

/// A mail lists at most this many agents and counts the others.
const MAX_LISTED_AGENTS: usize = 20;

/// The parts of a mail, from which both of its forms are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) subject: String,
    pub(crate) paragraphs: Vec<String>,
    pub(crate) agents: Vec<String>,
    /// Agents that are not listed.
    pub(crate) further_agents: usize,
    pub(crate) organization: String,
    /// What the link is for.
    pub(crate) action: &'static str,
    pub(crate) link: String,
}

/// The payload of an event, as far as mails need it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Payload {
    agents: Vec<Agent>,
    agent_count: usize,
    balance: Option<Number>,
    mark: Option<Number>,
    owed: Option<Number>,
    owed_at_deadline: Option<Number>,
    debt_ceiling: Option<Number>,
    scheduled_shutdown_at: Option<DateTime<Utc>>,
    /// Whether the shutdown waits for the mail, and not for the date of the event.
    #[serde(skip)]
    is_postponed: bool,
    deletion_at: Option<DateTime<Utc>>,
    failing_since: Option<DateTime<Utc>>,
    webhook: Option<WebhookKind>,
    reason: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Agent {
    name: Option<String>,
}

/// Where and for whom a mail is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    pub(super) organization_name: &'a str,
    pub(super) time_zone: &'a str,
    /// [`Payload::date`] in that time zone.
    pub(super) local_date: Option<NaiveDateTime>,
    pub(super) app_url: &'a str,
}

impl Payload {
    /// # Errors
    /// The payload has another form.
    pub(super) fn read(payload: Value) -> serde_json::Result<Self> {
        serde_json::from_value(payload)
    }

    /// Moves a shutdown that is too close for a notice that counts from `noticed_at`, as dunning does.
    pub(super) fn grant_notice(&mut self, noticed_at: DateTime<Utc>) {
        let earliest = noticed_at + NOTICE_PERIOD;
        if self.scheduled_shutdown_at.is_some_and(|at| at < earliest) {
            self.scheduled_shutdown_at = Some(earliest);
            self.is_postponed = true;
        }
    }

    /// The date that the mail is about.
    pub(super) fn date(&self) -> Option<DateTime<Utc>> {
        self.scheduled_shutdown_at.or(self.deletion_at)
    }

    fn agents_text(&self) -> String {
        match self.agent_count.max(self.agents.len()) {
            1 => "1 agent".to_owned(),
            count => format!("{count} agents"),
        }
    }
}

pub(super) fn content(template: MailTemplate, payload: &Payload, setting: &Setting<'_>) -> Content {
    let (subject, paragraphs) = match template {
        MailTemplate::CreditLow => credit_low(payload),
        MailTemplate::ShutdownScheduled => shutdown_scheduled(payload, setting),
        MailTemplate::Suspended => suspended(payload),
        MailTemplate::Resumed => resumed(payload),
        MailTemplate::StartFailed => start_failed(payload),
        MailTemplate::ContainerDied => container_died(payload),
        MailTemplate::StoppedByOperator => stopped_by_operator(payload),
        MailTemplate::StorageDeletion => storage_deletion(payload, setting),
        MailTemplate::WebhookSwitchedOff => webhook_switched_off(payload),
    };
    let (action, page) = match template {
        MailTemplate::Resumed
        | MailTemplate::StartFailed
        | MailTemplate::ContainerDied
        | MailTemplate::StoppedByOperator => ("Look at the agents", "/"),
        MailTemplate::WebhookSwitchedOff => ("Look at the settings", "/settings"),
        _ => ("Look at the credit", "/credits"),
    };
    let listed = payload.agents.iter().take(MAX_LISTED_AGENTS);
    let agents: Vec<String> = listed
        .map(|agent| unlinked_name(agent.name.as_deref().unwrap_or_default()))
        .collect();
    Content {
        subject: plain_line(&subject),
        paragraphs,
        further_agents: payload.agent_count.saturating_sub(agents.len()),
        agents,
        organization: unlinked_name(setting.organization_name),
        action,
        link: format!("{}{page}", setting.app_url),
    }
}

type Texts = (String, Vec<String>);

fn credit_low(payload: &Payload) -> Texts {
    let left = payload.balance.as_ref().map_or(Decimal::ZERO, decimal);
    let mut paragraphs = vec![format!(
        "Your organization has {} of credit left.",
        at_most(left)
    )];
    if let Some(mark) = payload.mark.as_ref().map(decimal) {
        paragraphs.push(format!(
            "You get this mail because that is less than {}. You can set another amount in the settings.",
            at_least(mark)
        ));
    }
    paragraphs.push(
        "When the credit is used up, you get another mail with a date. Agents that are not paid for until then are \
         shut down."
            .to_owned(),
    );
    (format!("Low credit: {} left", at_most(left)), paragraphs)
}

fn shutdown_scheduled(payload: &Payload, setting: &Setting<'_>) -> Texts {
    let agents = payload.agents_text();
    let date = payload.scheduled_shutdown_at;
    // Billing acts on the hour, so after a date that follows from the mail it takes a while.
    let preposition = if payload.is_postponed { "after" } else { "on" };
    let mut paragraphs = vec![format!(
        "The credit of your organization is used up. {agents} will be shut down {preposition} {}.",
        date_text(date, setting)
    )];
    match (&payload.owed, &payload.owed_at_deadline) {
        // Both amounts are of times before the mail and before the date that it names.
        (Some(owed), _) if payload.is_postponed => paragraphs.push(format!(
            "You owed {} when the shutdown was scheduled, and the debt grows while the agents run. To avoid the \
             shutdown, pay the debt before that time.",
            at_least(decimal(owed)),
        )),
        (Some(owed), Some(later)) => paragraphs.push(format!(
            "You owe {} now, and {} then if the agents keep running. To avoid the shutdown, add at least {} before \
             that time.",
            at_least(decimal(owed)),
            at_least(decimal(later)),
            at_least(decimal(later)),
        )),
        _ => paragraphs.push("To avoid the shutdown, add credit before that time.".to_owned()),
    }
    if let Some(ceiling) = &payload.debt_ceiling {
        let notice = if payload.is_postponed {
            let hours = NOTICE_PERIOD_ABOVE_CEILING.num_hours();
            format!(", but not within {hours} hours of this mail")
        } else {
            String::new()
        };
        paragraphs.push(format!(
            "If the debt exceeds {} before, the agents are shut down earlier{notice}.",
            at_least(decimal(ceiling))
        ));
    }
    paragraphs.push("Their state is saved first, and they can be started again.".to_owned());
    (
        format!("{agents} will be shut down {preposition} {}", utc(date)),
        paragraphs,
    )
}

fn suspended(payload: &Payload) -> Texts {
    let agents = payload.agents_text();
    let mut paragraphs = vec![format!(
        "{agents} of your organization were shut down because they were not paid for."
    )];
    if let Some(owed) = &payload.owed {
        paragraphs.push(format!(
            "You owe {}. Add credit to start them again.",
            at_least(decimal(owed))
        ));
    }
    (format!("Shut down: {agents}"), paragraphs)
}

fn resumed(payload: &Payload) -> Texts {
    let agents = payload.agents_text();
    let paragraph =
        format!("The debt is paid. These agents of your organization run again: {agents}.");
    (format!("Running again: {agents}"), vec![paragraph])
}

fn start_failed(payload: &Payload) -> Texts {
    let agents = payload.agents_text();
    let mut paragraphs = vec![format!(
        "Your organization has agents that could not be started: {agents}."
    )];
    if let Some(reason) = &payload.reason {
        paragraphs.push(format!("The reason: {}", unlinked_sentence(reason)));
    }
    paragraphs
        .push("They cost nothing while they do not run, except for stored backups.".to_owned());
    (format!("Not started: {agents}"), paragraphs)
}

fn container_died(payload: &Payload) -> Texts {
    let agents = payload.agents_text();
    let mut paragraphs = vec![format!(
        "Your organization has agents that failed and do not run any more: {agents}."
    )];
    if let Some(reason) = &payload.reason {
        paragraphs.push(format!("The reason: {}", unlinked_sentence(reason)));
    }
    paragraphs.push(
        "The page of the agent shows the last lines of its log. Correct the cause, then start the agent again: \
         nothing else starts it."
            .to_owned(),
    );
    paragraphs
        .push("It costs nothing while it does not run, except for stored backups.".to_owned());
    (format!("Failed: {agents}"), paragraphs)
}

fn stopped_by_operator(payload: &Payload) -> Texts {
    let agents = payload.agents_text();
    let mut paragraphs = vec![format!(
        "An operator of the platform has stopped agents of your organization: {agents}."
    )];
    if let Some(reason) = &payload.reason {
        paragraphs.push(format!("The reason: {}", unlinked_sentence(reason)));
    }
    paragraphs.push(
        "What it has stored is kept. Start it again on its page when the reason is gone: nothing else starts it."
            .to_owned(),
    );
    paragraphs
        .push("It costs nothing while it does not run, except for stored backups.".to_owned());
    (format!("Stopped: {agents}"), paragraphs)
}

fn storage_deletion(payload: &Payload, setting: &Setting<'_>) -> Texts {
    let agents = payload.agents_text();
    let date = payload.deletion_at;
    let mut paragraphs = vec![format!(
        "The backups of {agents} of your organization were not paid for. They will be deleted on {}, and cannot be \
         restored then.",
        date_text(date, setting)
    )];
    if let Some(owed) = &payload.owed {
        paragraphs.push(format!(
            "To keep them, add at least {} before that time.",
            at_least(decimal(owed))
        ));
    }
    (
        format!("Backups of {agents} will be deleted on {}", utc(date)),
        paragraphs,
    )
}

fn webhook_switched_off(payload: &Payload) -> Texts {
    let name = match payload.webhook {
        Some(WebhookKind::Slack) => "Slack",
        Some(WebhookKind::Webhook) | None => "the webhook",
    };
    let mut paragraphs = vec![format!(
        "Events of your organization are no longer sent to {name}."
    )];
    if let Some(since) = payload.failing_since {
        paragraphs.push(format!(
            "Since {} no attempt has succeeded.",
            utc(Some(since))
        ));
    }
    if let Some(reason) = &payload.reason {
        paragraphs.push(format!(
            "Why the last attempt failed: {}",
            unlinked_name(reason)
        ));
    }
    paragraphs.push(
        "To have events sent there again, test it or save it again in the settings. Events until then are not sent \
         there. Mails are sent as before."
            .to_owned(),
    );
    (format!("Switched off: {name}"), paragraphs)
}

fn utc(date: Option<DateTime<Utc>>) -> String {
    date.map_or_else(
        || "a date that follows".to_owned(),
        |date| date.format("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

fn date_text(date: Option<DateTime<Utc>>, setting: &Setting<'_>) -> String {
    let utc = utc(date);
    match setting.local_date {
        Some(local) if setting.time_zone != "UTC" => {
            let local = local.format("%Y-%m-%d %H:%M");
            format!("{utc} ({local} in {})", setting.time_zone)
        }
        _ => utc,
    }
}

fn decimal(number: &Number) -> Decimal {
    let digits = number.to_string();
    let decimal = digits.parse().ok();
    decimal
        .or_else(|| Decimal::from_scientific(&digits).ok())
        .unwrap_or_default()
}

/// What somebody has, in cents: never more than it is.
fn at_most(amount: Decimal) -> String {
    cents(amount, RoundingStrategy::ToNegativeInfinity)
}

/// What somebody owes, in cents: never less than it is.
fn at_least(amount: Decimal) -> String {
    cents(amount, RoundingStrategy::ToPositiveInfinity)
}

fn cents(amount: Decimal, strategy: RoundingStrategy) -> String {
    format!("${:.2}", amount.round_dp_with_strategy(2, strategy))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn setting(name: &str) -> Setting<'_> {
        Setting {
            organization_name: name,
            time_zone: "Europe/Berlin",
            local_date: "2026-03-03T02:00:00".parse().ok(),
            app_url: "https://app.example",
        }
    }

    fn content_of(template: MailTemplate, payload: Value) -> Content {
        let payload = Payload::read(payload).expect("a payload");
        content(template, &payload, &setting("Acme"))
    }

    #[test]
    fn a_shutdown_warning_says_when_and_what_avoids_it() {
        let warning = content_of(
            MailTemplate::ShutdownScheduled,
            json!({"agents": [{"id": "x", "name": "one"}, {"id": "y", "name": null}], "agentCount": 30,
                "owed": 0.021, "owedAtDeadline": 58.8, "scheduledShutdownAt": "2026-03-03T01:00:00Z",
                "debtCeiling": 5.0}),
        );
        assert_eq!(
            warning.subject,
            "30 agents will be shut down on 2026-03-03 01:00 UTC"
        );
        assert_eq!(
            warning.paragraphs[..3],
            [
                "The credit of your organization is used up. 30 agents will be shut down on 2026-03-03 01:00 UTC \
                (2026-03-03 02:00 in Europe/Berlin).",
                "You owe $0.03 now, and $58.80 then if the agents keep running. To avoid the shutdown, add at least \
                $58.80 before that time.",
                "If the debt exceeds $5.00 before, the agents are shut down earlier.",
            ]
        );
        assert_eq!(warning.agents, ["one", "(without a name)"]);
        assert_eq!(warning.further_agents, 28);
        assert_eq!(warning.link, "https://app.example/credits");
    }

    #[test]
    fn a_renewed_warning_names_no_amounts_that_nobody_has_counted() {
        let warning = content_of(
            MailTemplate::ShutdownScheduled,
            json!({"agents": [{"name": "one"}], "agentCount": 1, "owed": null, "owedAtDeadline": null,
                "scheduledShutdownAt": "2026-03-03T01:00:00Z", "debtCeiling": null}),
        );
        assert_eq!(
            warning.paragraphs[1],
            "To avoid the shutdown, add credit before that time."
        );
    }

    #[test]
    fn a_shutdown_less_than_a_day_after_the_mail_is_postponed() {
        for (mailed_at, end) in [
            ("2026-03-02T01:00:00Z", "on 2026-03-03 01:00 UTC"),
            ("2026-03-02T01:00:01Z", "after 2026-03-03 01:00 UTC"),
            ("2026-03-05T04:00:00Z", "after 2026-03-06 04:00 UTC"),
        ] {
            let payload = json!({"scheduledShutdownAt": "2026-03-03T01:00:00Z"});
            let mut payload = Payload::read(payload).expect("a payload");
            payload.grant_notice(mailed_at.parse().expect("a time"));
            let late = content(MailTemplate::ShutdownScheduled, &payload, &setting("Acme"));
            assert!(late.subject.ends_with(end), "{late:?}");
        }
    }

    #[test]
    fn the_mail_about_a_webhook_says_which_why_and_what_to_do() {
        let off = content_of(
            MailTemplate::WebhookSwitchedOff,
            json!({"webhook": "slack", "failingSince": "2026-03-01T00:00:00.000Z",
                "reason": "the receiver answered with HTTP 404"}),
        );
        assert_eq!(off.subject, "Switched off: Slack");
        assert_eq!(
            off.paragraphs[..3],
            [
                "Events of your organization are no longer sent to Slack.",
                "Since 2026-03-01 00:00 UTC no attempt has succeeded.",
                "Why the last attempt failed: the receiver answered with HTTP 404",
            ]
        );
        assert_eq!(off.link, "https://app.example/settings");
    }

    #[test]
    fn the_mail_about_a_container_that_died_says_why_and_what_to_do() {
        let reason = "The agent's container ended 5 times within 10 minutes and was stopped: it needed more memory \
                      than its limit of 1536 MiB";
        let died = content_of(
            MailTemplate::ContainerDied,
            json!({"agents": [{"name": "one"}], "agentCount": 1, "reason": reason, "restarts": 5}),
        );
        assert_eq!(died.subject, "Failed: 1 agent");
        assert_eq!(died.agents, ["one"]);
        assert_eq!(died.paragraphs[1], format!("The reason: {reason}"));
        assert!(
            died.paragraphs[2].contains("start the agent again"),
            "{died:?}"
        );
        assert_eq!(died.link, "https://app.example/");
    }

    #[test]
    fn the_mail_about_an_operators_stop_says_why_and_who_starts_the_agent_again() {
        let stopped = content_of(
            MailTemplate::StoppedByOperator,
            json!({"agents": [{"name": "one"}], "agentCount": 1, "reason": "See https://evil.example"}),
        );
        assert_eq!(stopped.subject, "Stopped: 1 agent");
        assert_eq!(stopped.agents, ["one"]);
        assert_eq!(
            stopped.paragraphs[..2],
            [
                "An operator of the platform has stopped agents of your organization: 1 agent.",
                "The reason: See https: / / evil. example",
            ]
        );
        assert!(
            stopped.paragraphs[2].contains("Start it again"),
            "{stopped:?}"
        );
        assert_eq!(stopped.link, "https://app.example/");
    }

    #[test]
    fn amounts_are_rounded_against_the_owners_surprise() {
        let low = content_of(
            MailTemplate::CreditLow,
            json!({"balance": 1.999_999, "lowSince": "2026-03-01T02:00:00Z", "mark": 2.000_001}),
        );
        assert_eq!(low.subject, "Low credit: $1.99 left");
        assert!(low.paragraphs[1].contains("less than $2.01"), "{low:?}");
    }
}
