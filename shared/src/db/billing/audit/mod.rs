//! The audit of billing as queries. Owns: one function per group of invariants, which returns what violates them. Each
//! is one statement, so it sees one state of the database. Does not own: recording findings (`findings`).

mod balances;
mod charges;
mod days;
mod entries;
mod spans;
mod tables;

pub use balances::{
    accounts_violations_of_any_organization, external_changes_of_any_organization,
    totals_violations_of_any_organization, values_violations_of_any_organization,
    warnings_violations_of_any_organization,
};
pub use charges::{
    charges_violations_of_any_organization, overlapping_charges_of_any_organization,
};
pub use days::{
    ledger_days_violations_of_any_organization, opening_balances_violations_of_any_organization,
    usage_days_violations_of_any_organization,
};
pub use entries::{
    entries_violations_of_any_organization, entry_sums_violations_of_any_organization,
};
pub use spans::{
    open_spans_violations_of_any_organization, overlapping_spans_of_any_organization,
    spans_violations_of_any_organization,
};
pub use tables::{audit_bounds_of_any_organization, tables_violations};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::domain::ids::OrganizationId;

/// No check returns more than this.
pub const MAX_VIOLATIONS: usize = 1_000;

/// A row that violates an invariant.
#[derive(Clone, Debug)]
pub struct Violation {
    /// A word of `FindingKind`.
    pub kind: String,
    /// Which row.
    pub subject: String,
    pub organization_id: Option<OrganizationId>,
    /// The time that the row is about; `None` if the check always looks at all rows.
    pub at: Option<DateTime<Utc>>,
    pub detail: Value,
}

/// What can be audited.
#[derive(Clone, Copy, Debug)]
pub struct AuditBounds {
    /// Billing's clock.
    pub now: DateTime<Utc>,
    /// Charges and entries of earlier times are dropped.
    pub charges_kept_since: Option<DateTime<Utc>>,
    pub entries_kept_since: Option<DateTime<Utc>>,
    /// The earliest time that an open finding is about.
    pub oldest_finding: Option<DateTime<Utc>>,
}

/// The first time that an audit looks at: a full day.
#[derive(Clone, Copy, Debug)]
pub struct AuditWindow {
    pub charges_since: DateTime<Utc>,
    pub entries_since: DateTime<Utc>,
    /// Charges of earlier times are dropped.
    pub charges_kept_since: DateTime<Utc>,
}
