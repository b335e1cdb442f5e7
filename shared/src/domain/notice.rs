//! What became of a notice: an event that leads to a mail. Owns: what its owner is shown when several recipients were
//! addressed, or none.

use chrono::{DateTime, Utc};

use super::mail::{DeliveryState, MailTemplate};

/// An event that leads to a mail.
#[derive(Clone, Copy, Debug)]
pub struct NoticeEvent {
    /// `None` for an event that this version does not know.
    pub template: Option<MailTemplate>,
    pub occurred_at: DateTime<Utc>,
    pub is_handed_over: bool,
    pub is_undeliverable: bool,
}

/// A delivery of its mail.
#[derive(Clone, Copy, Debug)]
pub struct NoticeDelivery {
    pub state: DeliveryState,
    /// Whether something has to be done yet.
    pub is_due: bool,
}

/// The best that is known of the mail. Of several recipients, one who has it counts.
#[must_use]
pub fn notice_state(
    event: &NoticeEvent,
    deliveries: &[NoticeDelivery],
    now: DateTime<Utc>,
) -> DeliveryState {
    let any = |states: &[DeliveryState]| deliveries.iter().any(|one| states.contains(&one.state));
    let waits_for_its_first = || {
        let template = event.template.filter(|_| deliveries.is_empty());
        template.is_some_and(|template| now < event.occurred_at + template.max_age())
    };
    if event.is_undeliverable {
        DeliveryState::Undeliverable
    } else if any(&[DeliveryState::Delivered, DeliveryState::Complained]) {
        DeliveryState::Delivered
    } else if event.is_handed_over {
        DeliveryState::HandedOver
    } else if deliveries.iter().any(|one| one.is_due) || waits_for_its_first() {
        DeliveryState::Pending
    } else if any(&[DeliveryState::Unknown]) {
        DeliveryState::Unknown
    } else {
        DeliveryState::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_772_323_200 + hours * 3_600, 0).expect("a time")
    }

    fn shown(
        is_handed_over: bool,
        is_undeliverable: bool,
        deliveries: &[(DeliveryState, bool)],
        hours: i64,
    ) -> &'static str {
        let event = NoticeEvent {
            template: Some(MailTemplate::CreditLow),
            occurred_at: at(0),
            is_handed_over,
            is_undeliverable,
        };
        let deliveries: Vec<NoticeDelivery> = deliveries
            .iter()
            .map(|(state, is_due)| NoticeDelivery {
                state: *state,
                is_due: *is_due,
            })
            .collect();
        notice_state(&event, &deliveries, at(hours)).as_str()
    }

    #[test]
    fn a_notice_shows_the_best_that_is_known_of_its_mail() {
        use DeliveryState::{
            Bounced, Complained, Delivered, Failed, HandedOver, Pending, Sending, Unknown,
        };
        assert_eq!(shown(false, true, &[(Bounced, false)], 1), "undeliverable");
        for state in [Delivered, Complained] {
            assert_eq!(
                shown(true, false, &[(Bounced, false), (state, false)], 1),
                "delivered"
            );
        }
        assert_eq!(shown(true, false, &[(HandedOver, false)], 1), "handed_over");
        // Its deliveries are not kept any more.
        assert_eq!(shown(true, false, &[], 9_000), "handed_over");
        for state in [Pending, Sending, Unknown] {
            assert_eq!(
                shown(false, false, &[(Failed, false), (state, true)], 1),
                "pending"
            );
        }
        assert_eq!(shown(false, false, &[(Unknown, false)], 1), "unknown");
        assert_eq!(shown(false, false, &[(Failed, false)], 1), "failed");
    }

    #[test]
    fn an_event_without_a_delivery_waits_as_long_as_its_mail_is_worth_sending() {
        assert_eq!(shown(false, false, &[], 23), "pending");
        assert_eq!(shown(false, false, &[], 24), "failed");
    }
}
