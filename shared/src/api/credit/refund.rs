//! `POST /api/v1/admin/credits/refund`: a super admin takes back credit of an organization.

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
use crate::app::credit::refund::{RefundRequest, credit_refund};
use crate::domain::ids::{OrganizationId, TransactionId};
use crate::domain::money::Money;
use crate::invocation::Invocation;

pub const ROUTE: Route = Route {
    description: "For a purchase that was refunded or disputed. What exceeds the balance becomes debt, which is paid \
                  before anything else.",
    caller: CallerKind::SuperAdmin,
    parameters: &[IDEMPOTENCY_KEY.required().example(r#""5f0c7a1e-refund""#)],
    body: Some(RequestBody::required::<CreditRefundRequest>(EXAMPLE)),
    responses: &[ResponseKind::json::<Data<CreditRefunded>>(
        201,
        "The credit was taken back.",
    )],
    refusals: &[404, 409, 422],
    ..Route::post(
        "credit-refund",
        "/api/v1/admin/credits/refund",
        Tag::Admin,
        "Take back credit of an organization",
    )
};

const EXAMPLE: &str = r#"{
    "organizationId": "33333333-4444-4555-8666-777777777777",
    "amount": 25,
    "reason": "The purchase of 12 March was disputed"
}"#;

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct CreditRefundRequest {
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
struct CreditRefunded {
    transaction_id: TransactionId,
    /// What was taken from the balance.
    refunded: Money,
    /// All that the organization owes because of this refund and earlier ones.
    carried_debt: Money,
    /// The organization's balance after the refund.
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
    let key = idempotency::required(&request, &admin, "credit-refund", &invocation)?;
    let change = fields::balance_change(body::object(&request)?)?;
    let refund = RefundRequest {
        admin_id: admin.user_id,
        organization_id: change.organization_id,
        amount: change.amount,
        reason: change.reason,
    };
    let refunded = credit_refund(&deps.pool, &refund, key).await?;
    response::created(CreditRefunded {
        transaction_id: refunded.transaction_id,
        refunded: number(refunded.refunded),
        carried_debt: number(refunded.carried_debt),
        balance: number(refunded.balance),
    })
}
