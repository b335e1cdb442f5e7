//! `GET /api/v1/notices`: what the caller's organization was told, newest first.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::deps::DatabaseDeps;
use crate::api::list::{self, Entries, Page};
use crate::api::parameters::{CURSOR, LIMIT};
use crate::api::problem::Problem;
use crate::api::route::{ResponseKind, Route, Tag};
use crate::db::clock::billing_clock;
use crate::db::mails::deliveries::{DeliveryRecord, deliveries_of_events};
use crate::db::mails::notices::{NoticeRecord, notices_page};
use crate::domain::mail::{DeliveryState, MailTemplate, masked_address};
use crate::domain::notice::{NoticeDelivery, NoticeEvent, notice_state};
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    description: "One entry per event that its owner is mailed about, also if nobody could be mailed. To whom a mail went \
                  is known for 90 days.",
    parameters: &[LIMIT, CURSOR],
    responses: &[
        ResponseKind::json::<Page<Entries<NoticeJson>>>(200, "One page of notices.").with_etag(),
    ],
    refusals: &[400],
    ..Route::get(
        "notice-list",
        "/api/v1/notices",
        Tag::Credits,
        "List what the organization was told, newest first",
    )
};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Notice")]
struct NoticeJson {
    id: String,
    #[schemars(with = "MailTemplate")]
    kind: String,
    at: Timestamp,
    /// What became of its mail. `handed_over`: the mail provider took it. `delivered`: the recipient's server did.
    /// `undeliverable`: nobody could be addressed. `pending`: it is under way. `unknown`: it may have arrived. `failed`: it
    /// was not sent.
    state: DeliveryState,
    /// Whom the mail was sent to, in that order.
    recipients: Vec<NoticeRecipientJson>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NoticeRecipient")]
struct NoticeRecipientJson {
    /// Shortened.
    address: String,
    #[schemars(with = "DeliveryState")]
    state: String,
    updated_at: Timestamp,
}

impl NoticeJson {
    fn new(notice: NoticeRecord, deliveries: &[DeliveryRecord], now: DateTime<Utc>) -> Self {
        let states = deliveries.iter().filter_map(|delivery| {
            Some(NoticeDelivery {
                state: DeliveryState::parse(&delivery.state)?,
                is_due: delivery.due_at.is_some(),
            })
        });
        let states: Vec<NoticeDelivery> = states.collect();
        let event = NoticeEvent {
            template: MailTemplate::parse(&notice.kind),
            occurred_at: notice.occurred_at,
            is_handed_over: notice.is_handed_over,
            is_undeliverable: notice.is_undeliverable,
        };
        let recipients = deliveries.iter().filter_map(|delivery| {
            Some(NoticeRecipientJson {
                address: masked_address(delivery.recipient.as_deref()?),
                state: delivery.state.clone(),
                updated_at: Timestamp(delivery.updated_at),
            })
        });
        Self {
            id: notice.id.to_string(),
            state: notice_state(&event, &states, now),
            at: Timestamp(notice.occurred_at),
            recipients: recipients.collect(),
            kind: notice.kind,
        }
    }
}

/// # Errors
/// 400 if `limit` or `cursor` is not valid, 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let organization_id = caller.organization_id;
    let limit = list::limit(&request)?;
    let before = list::text_cursor(&request, |text| {
        text.parse::<i64>().ok().filter(|id| *id > 0)
    })?;
    let kinds = MailTemplate::ALL
        .iter()
        .map(|kind| kind.as_str().to_owned());
    let kinds: Vec<String> = kinds.collect();
    let mut conn = deps.pool.statements();
    let now = billing_clock(&mut conn).await?;
    let notices = notices_page(&mut conn, organization_id, &kinds, before, limit + 1).await?;
    let (notices, next_cursor) = list::cut_by(notices, limit, |notice| {
        list::encode_text(&notice.id.to_string())
    });
    let ids: Vec<i64> = notices.iter().map(|notice| notice.id).collect();
    let deliveries = deliveries_of_events(&mut conn, organization_id, &ids).await?;
    drop(conn);
    let mut of_event: HashMap<i64, Vec<DeliveryRecord>> = HashMap::new();
    for delivery in deliveries {
        of_event
            .entry(delivery.event_id)
            .or_default()
            .push(delivery);
    }
    let data = notices.into_iter().map(|notice| {
        let deliveries = of_event.remove(&notice.id).unwrap_or_default();
        NoticeJson::new(notice, &deliveries, now)
    });
    list::respond(&request, &Page::new(Entries(data.collect()), next_cursor))
}
