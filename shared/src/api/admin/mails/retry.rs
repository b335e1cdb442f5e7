//! `POST /api/v1/admin/mails/{mailId}/retry`: a super admin has a mail sent again.

use lambda_http::{Body, Request, Response};

use super::view::MailJson;
use crate::api::deps::DatabaseDeps;
use crate::api::path;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::app::mail::retry::mail_retry;
use crate::domain::ids::DeliveryId;

pub const ROUTE: Route = Route {
    description: "The mail is sent within a minute. Its address is not suppressed for the organization any more. For a \
                  mail that reached nobody, the addresses of the organization are looked at again. A mail that is under \
                  way or was handed over is not sent again.",
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Data<MailJson>>(
        200,
        "The mail that is due now.",
    )],
    refusals: &[400, 404, 409],
    ..Route::post(
        "mail-retry",
        "/api/v1/admin/mails/{mailId}/retry",
        Tag::Admin,
        "Send a mail again",
    )
};

/// # Errors
/// 400, 401, 403, 404, 409, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let id: DeliveryId = path::identifier(&request, "mailId")?;
    let mail = mail_retry(&deps.pool, admin.user_id, id).await?;
    response::ok(MailJson::from(mail))
}
