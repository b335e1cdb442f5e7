//! `GET /api/v1/admin/mails`: the mails to owners, newest first.

use lambda_http::{Body, Request, Response};

use super::view::MailJson;
use crate::api::deps::DatabaseDeps;
use crate::api::list::{self, Entries, Page};
use crate::api::parameters::{CURSOR, LIMIT};
use crate::api::problem::Problem;
use crate::api::route::{CallerKind, Parameter, ResponseKind, Route, Tag};
use crate::db::mails::deliveries::{DeliveryRecord, deliveries_page_of_any_organization};
use crate::domain::mail::DeliveryState;

pub const ROUTE: Route = Route {
    description: "One entry per recipient that was addressed. `handed_over` means that the mail provider took the mail, \
                  `delivered` that the recipient's server did. Entries are kept for 90 days.",
    caller: CallerKind::SuperAdmin,
    parameters: &[
        Parameter::query::<DeliveryState>("state", "Only mails in this state.")
            .example(r#""bounced""#),
        LIMIT,
        CURSOR,
    ],
    responses: &[
        ResponseKind::json::<Page<Entries<MailJson>>>(200, "One page of mails.").with_etag(),
    ],
    refusals: &[400],
    ..Route::get(
        "mail-list",
        "/api/v1/admin/mails",
        Tag::Admin,
        "List the mails to owners, newest first",
    )
};

/// # Errors
/// 400 if `state`, `limit` or `cursor` is not valid, 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let state = list::parameter(&request, "state");
    let state = state.map(|word| {
        let state = DeliveryState::parse(&word);
        state.ok_or_else(|| Problem::field("state", "is not a state of mails"))
    });
    let state = state.transpose()?.map(DeliveryState::as_str);
    let limit = list::limit(&request)?;
    let after = list::cursor(&request)?;
    let mut conn = deps.pool.statements();
    let mails = deliveries_page_of_any_organization(&mut conn, state, after, limit + 1).await?;
    drop(conn);
    let (mails, next_cursor) = list::cut(mails, limit, DeliveryRecord::position);
    let data = Entries(mails.into_iter().map(MailJson::from).collect());
    list::respond(&request, &Page::new(data, next_cursor))
}
