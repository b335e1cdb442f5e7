//! The daily event: states the days that are over, makes partitions, removes what is old enough, and audits. `{}` is all
//! it takes; `{"full": true}` audits everything that is kept instead of the last days.

use serde::Serialize;
use serde_json::Value;

use crate::app::billing::audit::{AuditScope, audit_billing};
use crate::app::billing::retention::remove_old;
use crate::app::billing::statement::{StatementReport, state_days};
use crate::db::billing::days::today;
use crate::db::billing::partitions::ensure_partitions;
use crate::db::{self, Database};
use crate::invocation::Invocation;
use crate::metrics;

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
}

/// Counts only: no names, no ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditResult {
    /// Days of organizations that were stated.
    organization_days: usize,
    partitions_made: i32,
    partitions_dropped: usize,
    spans_deleted: usize,
    /// Open findings that are errors.
    findings: usize,
    findings_resolved: u64,
}

/// What was done before stays; another invocation goes on.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("the database request failed ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
    /// The rest was done.
    #[error("not all days were stated ({} organizations failed); the next invocation states the rest", .0.failed)]
    Incomplete(StatementReport),
}

/// # Errors
/// The invocation fails, and Lambda tries it again.
pub async fn handle(
    deps: &Deps,
    event: Value,
    invocation: Invocation,
) -> Result<AuditResult, AuditError> {
    let pool = &deps.pool;
    let scope = match event.get("full") {
        Some(Value::Bool(true)) => AuditScope::Full,
        _ => AuditScope::Recent,
    };
    let today = today(&mut pool.statements()).await?;
    let stated = state_days(pool, today, invocation.deadline).await?;
    let partitions_made = ensure_partitions(pool).await?;
    let removed = remove_old(pool).await?;
    let audit = audit_billing(pool, scope).await?;
    metrics::count_billing_findings(audit.errors(), audit.audited_at);
    if !stated.complete || stated.failed > 0 {
        return Err(AuditError::Incomplete(stated));
    }
    Ok(AuditResult {
        organization_days: stated.organization_days,
        partitions_made,
        partitions_dropped: removed.dropped_partitions,
        spans_deleted: removed.deleted_spans,
        findings: audit.errors(),
        findings_resolved: audit.resolved,
    })
}
