//! `POST /api/v1/admin/credits/write-off`: a super admin writes off what an organization owes.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::fields::{self, MAX_REASON_CHARS};
use crate::api::deps::DatabaseDeps;
use crate::api::parameters::IDEMPOTENCY_KEY;
use crate::api::problem::Problem;
use crate::api::response::{Data, number};
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::PlainText;
use crate::api::{body, idempotency, response};
use crate::app::credit::write_off::{WriteOffRequest, credit_write_off};
use crate::domain::ids::{OrganizationId, TransactionId};
use crate::domain::money::Money;
use crate::invocation::Invocation;

pub const ROUTE: Route = Route {
    description: "Writes off what billing runs could not charge. What was used since the last run stays due, because the \
                  balance may still pay for it. The balance stays as it is. 409 if nothing is owed.",
    caller: CallerKind::SuperAdmin,
    parameters: &[IDEMPOTENCY_KEY
        .required()
        .example(r#""5f0c7a1e-write-off""#)],
    body: Some(RequestBody::required::<WriteOffBody>(EXAMPLE)),
    responses: &[ResponseKind::json::<Data<WriteOffJson>>(
        201,
        "The debt was written off.",
    )],
    refusals: &[404, 409, 422],
    ..Route::post(
        "credit-write-off",
        "/api/v1/admin/credits/write-off",
        Tag::Admin,
        "Write off what an organization owes",
    )
};

const EXAMPLE: &str = r#"{
    "organizationId": "33333333-4444-4555-8666-777777777777",
    "reason": "Agents that ran during the outage of 12 March"
}"#;

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", rename = "WriteOffRequest")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct WriteOffBody {
    organization_id: OrganizationId,
    /// The reason, for the ledger. No control characters, not only spaces.
    #[schemars(with = "PlainText", extend("minLength" = 1, "maxLength" = MAX_REASON_CHARS))]
    reason: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct WriteOffJson {
    transaction_id: TransactionId,
    /// What the organization owed.
    written_off: Money,
    balance: Money,
}

/// # Errors
/// 400, 401, 403, 404, 409 if nothing is owed, 415, 422, 503.
pub async fn handle(
    deps: &DatabaseDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let key = idempotency::required(&request, &admin, "credit-write-off", &invocation)?;
    let forgiveness = fields::forgiveness(body::object(&request)?)?;
    let write_off = WriteOffRequest {
        admin_id: admin.user_id,
        organization_id: forgiveness.organization_id,
        reason: forgiveness.reason,
    };
    let written_off = credit_write_off(&deps.pool, &write_off, key).await?;
    response::created(WriteOffJson {
        transaction_id: written_off.transaction_id,
        written_off: number(written_off.written_off),
        balance: number(written_off.balance),
    })
}
