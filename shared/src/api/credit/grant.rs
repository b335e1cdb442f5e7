//! `POST /api/v1/admin/credits`: a super admin grants credit to an organization.

use lambda_http::{Body, Request, Response};
use rust_decimal::Decimal;
use serde_json::json;

use crate::api::body::{self, Fields, is_line};
use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::response::number;
use crate::api::{idempotency, response};
use crate::app::credit::grant::{GrantRequest, credit_grant};
use crate::domain::money::Money;
use crate::invocation::Invocation;

/// Dollars.
const MAX_AMOUNT: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
const MAX_REASON_CHARS: usize = 500;

/// # Errors
/// 400, 401, 403, 404, 409, 415, 422, 503.
pub async fn handle(
    deps: &DatabaseDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let key = idempotency::required(&request, &admin, "credit-grant", &invocation)?;
    let mut fields = body::object(&request)?;
    let organization_id = fields.identifier("organizationId");
    let amount = amount(&mut fields);
    let rule = "must be 1 to 500 characters without control characters, not all blank";
    let reason = fields.text("reason", rule, |text| is_line(text, MAX_REASON_CHARS));
    fields.finish()?;
    let Some(organization_id) = organization_id else {
        return Err(Problem::field("organizationId", "is required"));
    };
    let grant = GrantRequest {
        admin_id: admin.user_id,
        organization_id,
        amount: amount.unwrap_or_default(),
        reason: reason.unwrap_or_default(),
    };
    let granted = credit_grant(&deps.pool, &grant, key).await?;
    let data = json!({
        "transactionId": granted.transaction_id, "balance": number(granted.balance),
    });
    response::created(&json!({"success": true, "data": data}))
}

fn amount(fields: &mut Fields) -> Option<Money> {
    let amount = fields.decimal("amount")?;
    if amount <= Decimal::ZERO || amount > MAX_AMOUNT {
        fields.refuse("amount", "must be more than 0 and at most 1000000");
    } else if amount.normalize().scale() > Money::SCALE {
        fields.refuse("amount", "must have at most six decimals");
    }
    Some(Money::rounded(amount))
}
