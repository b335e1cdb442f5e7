//! The fields of the bodies with which super admins change an organization's credit.

use rust_decimal::Decimal;

use crate::api::body::{Fields, is_line};
use crate::api::problem::Problem;
use crate::domain::ids::OrganizationId;
use crate::domain::money::Money;

/// Dollars.
const MAX_AMOUNT: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
pub(super) const MAX_REASON_CHARS: usize = 500;

/// A change of an organization's balance.
pub(super) struct BalanceChange {
    pub(super) organization_id: OrganizationId,
    /// More than 0 and at most a million.
    pub(super) amount: Money,
    pub(super) reason: String,
}

/// # Errors
/// 400.
pub(super) fn balance_change(mut fields: Fields) -> Result<BalanceChange, Problem> {
    let organization_id = fields.identifier("organizationId");
    let amount = amount(&mut fields);
    let reason = reason(&mut fields);
    fields.finish()?;
    Ok(BalanceChange {
        organization_id: given(organization_id)?,
        amount: amount.unwrap_or_default(),
        reason: reason.unwrap_or_default(),
    })
}

/// Whose debt is forgiven, and why.
pub(super) struct Forgiveness {
    pub(super) organization_id: OrganizationId,
    pub(super) reason: String,
}

/// # Errors
/// 400.
pub(super) fn forgiveness(mut fields: Fields) -> Result<Forgiveness, Problem> {
    let organization_id = fields.identifier("organizationId");
    let reason = reason(&mut fields);
    fields.finish()?;
    Ok(Forgiveness {
        organization_id: given(organization_id)?,
        reason: reason.unwrap_or_default(),
    })
}

fn given(organization_id: Option<OrganizationId>) -> Result<OrganizationId, Problem> {
    organization_id.ok_or_else(|| Problem::field("organizationId", "is required"))
}

fn reason(fields: &mut Fields) -> Option<String> {
    let rule = "must be 1 to 500 characters without control characters, not all blank";
    fields.text("reason", rule, |text| is_line(text, MAX_REASON_CHARS))
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
