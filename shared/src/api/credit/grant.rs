//! `POST /api/v1/admin/credits`: a super admin grants credit to an organization.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::fields::{self, MAX_REASON_CHARS};
use crate::api::deps::DatabaseDeps;
use crate::api::parameters::IDEMPOTENCY_KEY;
use crate::api::problem::Problem;
use crate::api::response::{Data, number};
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::{Number, PlainText};
use crate::api::{body, idempotency, response};
use crate::app::credit::grant::{GrantRequest, credit_grant};
use crate::domain::ids::{OrganizationId, TransactionId};
use crate::domain::money::Money;
use crate::invocation::Invocation;

pub const ROUTE: Route = Route {
    caller: CallerKind::SuperAdmin,
    parameters: &[IDEMPOTENCY_KEY.required().example(r#""5f0c7a1e-grant""#)],
    body: Some(RequestBody::required::<CreditGrantRequest>(EXAMPLE)),
    responses: &[ResponseKind::json::<Data<CreditGranted>>(
        201,
        "The credit was granted.",
    )],
    refusals: &[404, 409, 422],
    ..Route::post(
        "credit-grant",
        "/api/v1/admin/credits",
        Tag::Admin,
        "Grant credit to an organization",
    )
};

const EXAMPLE: &str = r#"{
    "organizationId": "33333333-4444-4555-8666-777777777777",
    "amount": 25,
    "reason": "Credit for the outage of 12 March"
}"#;

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct CreditGrantRequest {
    organization_id: OrganizationId,
    /// US dollars, with at most six decimals. A number with more decimals is refused.
    #[schemars(extend("minimum" = 0.000_001, "maximum" = 1_000_000))]
    amount: Number,
    /// The reason, for the ledger. No control characters, not only spaces.
    #[schemars(with = "PlainText", extend("minLength" = 1, "maxLength" = MAX_REASON_CHARS))]
    reason: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct CreditGranted {
    transaction_id: TransactionId,
    /// The organization's balance after the grant.
    balance: Money,
}

/// # Errors
/// 400, 401, 403, 404, 409, 415, 422, 503.
pub async fn handle(
    deps: &DatabaseDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let key = idempotency::required(&request, &admin, "credit-grant", &invocation)?;
    let change = fields::balance_change(body::object(&request)?)?;
    let grant = GrantRequest {
        admin_id: admin.user_id,
        organization_id: change.organization_id,
        amount: change.amount,
        reason: change.reason,
    };
    let granted = credit_grant(&deps.pool, &grant, key).await?;
    response::created(CreditGranted {
        transaction_id: granted.transaction_id,
        balance: number(granted.balance),
    })
}
