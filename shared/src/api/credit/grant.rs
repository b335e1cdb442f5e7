//! `POST /api/v1/admin/credits`: an operator gives an organization credit.

use lambda_http::{Body, Request, Response};
use rust_decimal::Decimal;
use serde_json::json;
use sqlx::PgPool;

use crate::api::auth::Auth;
use crate::api::body::{self, Fields, is_line};
use crate::api::json::number;
use crate::api::problem::Problem;
use crate::api::{idempotency, json};
use crate::app::credit::grant::{Gift, credit_grant};
use crate::domain::money::Money;
use crate::lambda::Invocation;

/// What the route needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
}

const MOST: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
const LONGEST_REASON: usize = 500;

/// Gives credit.
///
/// # Errors
/// 400, 401, 403, 404, 409, 415, 422, 503.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let repeatable = idempotency::required(&request, &admin, "credit-grant", &invocation)?;
    let mut fields = body::object(&request)?;
    let organization_id = fields.uuid("organizationId");
    let amount = amount(&mut fields);
    let rule = "must be 1 to 500 characters without control characters, not all blank";
    let reason = fields.text("reason", rule, |text| is_line(text, LONGEST_REASON));
    fields.finish()?;
    let gift = Gift {
        admin_id: admin.user_id,
        organization_id: organization_id.unwrap_or_default(),
        amount: amount.unwrap_or_default(),
        reason: reason.unwrap_or_default(),
    };
    let granted = credit_grant(&deps.pool, &gift, repeatable).await?;
    let data = json!({
        "transactionId": granted.transaction_id, "balance": number(granted.balance),
    });
    json::created(&json!({"success": true, "data": data}))
}

fn amount(fields: &mut Fields) -> Option<Money> {
    let amount = fields.decimal("amount")?;
    if amount <= Decimal::ZERO || amount > MOST {
        fields.refuse("amount", "must be more than 0 and at most 1000000");
    } else if amount.normalize().scale() > Money::SCALE {
        fields.refuse("amount", "must have at most six decimals");
    }
    Some(Money::rounded(amount))
}
