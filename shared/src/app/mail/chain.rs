//! The recipients of an event's mail, one after the other. Owns: who is next, and what it means that nobody is.

use chrono::{DateTime, Utc};
use tracing::error;

use crate::db;
use crate::db::Connection;
use crate::db::mails::events::MailEvent;
use crate::domain::ids::DeliveryId;
use crate::domain::mail::is_mail_address;

/// Opens a delivery to the first address of the chain that was not addressed for this event. Without one the event is
/// undeliverable, which is an incident: agents are suspended although nobody was warned. The caller holds the event's lock.
pub(super) async fn address_next(
    conn: &mut Connection,
    event: &MailEvent,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DeliveryId>> {
    let organization_id = event.event.organization_id;
    let addresses = db::mails::recipients::recipients(conn, organization_id).await?;
    let deliveries = db::mails::deliveries::deliveries_of_event(conn, event.event).await?;
    let tried: Vec<String> = deliveries
        .into_iter()
        .filter_map(|delivery| delivery.recipient)
        .collect();
    if let Some(address) = next_address(&addresses, &tried) {
        return db::mails::deliveries::delivery_insert(
            conn,
            event.event,
            &event.kind,
            Some(address),
            now,
        )
        .await;
    }
    db::mails::events::event_undeliverable(conn, event.event, now).await?;
    let name = db::identity::organizations::organization_name(conn, organization_id).await?;
    // Nobody misses the mails of an organization that is deleted.
    if name.is_some() {
        db::mails::deliveries::delivery_insert(conn, event.event, &event.kind, None, now).await?;
        error!(
            organization.id = %organization_id,
            event = event.kind,
            "nobody of organization {organization_id} can be mailed; its owner does not know of this event"
        );
    }
    Ok(None)
}

fn next_address<'a>(addresses: &'a [String], tried: &[String]) -> Option<&'a str> {
    let is_new = |address: &&String| {
        is_mail_address(address) && !tried.iter().any(|old| old.eq_ignore_ascii_case(address))
    };
    addresses.iter().find(is_new).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_address_is_the_first_valid_one_that_was_not_tried() {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let addresses: Vec<String> = list(&["none", "A@b.co", "a@b.co", "c@d.co"]);
        for (tried, next) in [
            (vec![], Some("A@b.co")),
            (list(&["a@B.co"]), Some("c@d.co")),
            (list(&["a@b.co", "c@d.co"]), None),
        ] {
            assert_eq!(next_address(&addresses, &tried), next, "{tried:?}");
        }
    }
}
