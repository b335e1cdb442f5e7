//! Mails to owners. Owns: which mails there are, how urgent each is, the states of a delivery, when an attempt is
//! repeated, and what an address and a name may look like in a mail. Does not own: the texts (`app::mail`), sending.

mod address;
mod text;

use chrono::TimeDelta;

pub use address::{is_mail_address, masked_address};
pub use text::{plain_line, unlinked_name, unlinked_sentence};

use crate::domain::words::words;

words! {
    /// A mail, by the type of the event that it tells of.
    pub enum MailTemplate {
        CreditLow = "credit.low",
        ShutdownScheduled = "agent.shutdown_scheduled",
        Suspended = "agent.suspended",
        Resumed = "agent.resumed",
        StartFailed = "agent.start_failed",
        /// Its container died, and is not started again.
        ContainerDied = "agent.container_died",
        StoppedByOperator = "agent.stopped_by_operator",
        StorageDeletion = "agent.storage_deletion_scheduled",
        WebhookSwitchedOff = "webhook.switched_off",
    }

    /// What became of an attempt to reach one recipient.
    pub enum DeliveryState {
        /// Waits for its next attempt.
        Pending = "pending",
        /// An attempt is under way, or its worker died.
        Sending = "sending",
        /// The mail provider took the mail.
        HandedOver = "handed_over",
        /// The recipient's server took the mail.
        Delivered = "delivered",
        /// The recipient's server refused the mail after the provider had taken it.
        Bounced = "bounced",
        /// The recipient called the mail spam.
        Complained = "complained",
        /// The provider may have taken the mail: its answer was lost.
        Unknown = "unknown",
        /// The provider refused the mail, or was asked in vain for too long.
        Failed = "failed",
        /// There is nobody left to address.
        Undeliverable = "undeliverable",
    }
}

/// How long the outcome of an attempt may stay unknown. SES reports what it took within minutes; an SMTP server reports
/// nothing.
pub const OUTCOME_TIMEOUT: TimeDelta = TimeDelta::minutes(15);

/// What to do when the outcome of an attempt stays unknown: nobody can promise that a mail is sent exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownOutcome {
    /// A lost mail would be worse than a second one.
    SendAgain,
    /// A second mail would be worse than a lost one.
    LetGo,
}

impl MailTemplate {
    #[must_use]
    pub fn unknown_outcome(self) -> UnknownOutcome {
        match self {
            // Two warn before agents stop or backups are deleted: a second mail only repeats a date. The third alone says
            // why agents stopped and what to pay.
            Self::ShutdownScheduled | Self::StorageDeletion | Self::Suspended => {
                UnknownOutcome::SendAgain
            }
            // After low credit a shutdown warning follows before anything stops, and the owner gets one such mail a day
            // at most. What was resumed, failed, stopped or switched off can be seen elsewhere, and two mails look as if it had
            // happened twice.
            Self::CreditLow
            | Self::Resumed
            | Self::StartFailed
            | Self::ContainerDied
            | Self::StoppedByOperator
            | Self::WebhookSwitchedOff => UnknownOutcome::LetGo,
        }
    }

    /// How long after its event the mail is still worth sending.
    #[must_use]
    pub fn max_age(self) -> TimeDelta {
        match self.unknown_outcome() {
            // As long as an unwarned agent is not suspended.
            UnknownOutcome::SendAgain => TimeDelta::days(7),
            UnknownOutcome::LetGo => TimeDelta::days(1),
        }
    }

    /// The names of the mails that are sent again when their outcome stays unknown.
    #[must_use]
    pub fn sent_again() -> Vec<String> {
        let all = Self::ALL.iter();
        all.filter(|template| template.unknown_outcome() == UnknownOutcome::SendAgain)
            .map(|template| template.as_str().to_owned())
            .collect()
    }
}

impl DeliveryState {
    /// Whether an operator may have the mail sent again: nothing is under way, and nobody has it for certain.
    #[must_use]
    pub fn allows_retry(self) -> bool {
        matches!(
            self,
            Self::Bounced | Self::Complained | Self::Unknown | Self::Failed | Self::Undeliverable
        )
    }
}

/// How long to wait after this many attempts that failed for now.
#[must_use]
pub fn retry_delay(attempts: i32) -> TimeDelta {
    match attempts {
        ..=1 => TimeDelta::minutes(1),
        2 => TimeDelta::minutes(5),
        3 => TimeDelta::minutes(15),
        _ => TimeDelta::hours(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_an_hour() {
        let minutes: Vec<i64> = (1..=6).map(|n| retry_delay(n).num_minutes()).collect();
        assert_eq!(minutes, [1, 5, 15, 60, 60, 60]);
    }

    #[test]
    fn warnings_are_rather_sent_twice_than_lost() {
        assert_eq!(
            MailTemplate::sent_again(),
            [
                "agent.shutdown_scheduled",
                "agent.suspended",
                "agent.storage_deletion_scheduled"
            ]
        );
    }
}
