//! The audit: compares what billing has written with its invariants, and records what violates them. Owns: which time is
//! looked at, and what becomes of findings. It changes nothing else.

use chrono::{DateTime, Days, NaiveTime, Utc};
use tracing::error;

use crate::db::billing::audit::{self, AuditBounds, AuditWindow, MAX_VIOLATIONS, Violation};
use crate::db::billing::findings;
use crate::db::{Connection, Database};
use crate::domain::billing::{FindingKind, OpenFindings};

/// An audit that is not full looks at what was used and written on this many days before the current one.
const AUDITED_DAYS: u64 = 3;

/// How much an audit looks at. Open spans, accounts and totals are always looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditScope {
    /// The last days, and those of open findings.
    Recent,
    /// Everything that is kept.
    Full,
}

#[derive(Clone, Debug)]
pub struct AuditReport {
    /// Billing's clock.
    pub audited_at: DateTime<Utc>,
    /// The open findings that are errors, by kind.
    pub open: Vec<OpenFindings>,
    /// Findings that are not found any more.
    pub resolved: u64,
}

impl AuditReport {
    /// The open findings that are errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        let count: i64 = self.open.iter().map(|open| open.count).sum();
        usize::try_from(count).unwrap_or_default()
    }
}

/// Runs the audit.
pub async fn audit_billing(pool: &Database, scope: AuditScope) -> sqlx::Result<AuditReport> {
    let mut conn = pool.statements();
    let bounds = audit::audit_bounds_of_any_organization(&mut conn).await?;
    let window = window(&bounds, scope);
    let mut violations = Vec::new();
    // Of these, there are more than were returned.
    let mut truncated = Vec::new();
    for check in CHECKS {
        let found = check.run(&mut conn, &window).await?;
        if found.len() >= MAX_VIOLATIONS {
            truncated.extend(found.iter().map(|found| found.kind.clone()));
        }
        violations.extend(found);
    }
    let kinds: Vec<&str> = FindingKind::ALL
        .iter()
        .map(|kind| kind.as_str())
        .filter(|kind| !truncated.iter().any(|truncated| truncated == kind))
        .collect();
    let mut tx = pool.begin().await?;
    findings::findings_record(&mut tx, &violations, bounds.now).await?;
    let resolved = findings::findings_resolve(&mut tx, &kinds, &violations, bounds.now).await?;
    let open = findings::findings_open(&mut tx).await?;
    tx.commit().await?;
    let report = AuditReport {
        audited_at: bounds.now,
        open,
        resolved,
    };
    if !report.open.is_empty() {
        let kinds = OpenFindings::summary(&report.open);
        error!(
            findings = report.errors(),
            kinds, "billing does not add up: {kinds}"
        );
    }
    Ok(report)
}

fn window(bounds: &AuditBounds, scope: AuditScope) -> AuditWindow {
    let charges_kept_since = bounds.charges_kept_since.unwrap_or(bounds.now);
    let entries_kept_since = bounds.entries_kept_since.unwrap_or(bounds.now);
    let since = match scope {
        AuditScope::Full => DateTime::UNIX_EPOCH,
        AuditScope::Recent => {
            let recent = bounds
                .now
                .checked_sub_days(Days::new(AUDITED_DAYS))
                .unwrap_or_default();
            let since = bounds.oldest_finding.map_or(recent, |at| at.min(recent));
            since.date_naive().and_time(NaiveTime::MIN).and_utc()
        }
    };
    AuditWindow {
        charges_since: since.max(charges_kept_since),
        entries_since: since.max(entries_kept_since),
        charges_kept_since,
    }
}

/// One check: a statement.
#[derive(Clone, Copy)]
enum Check {
    Tables,
    Entries,
    EntrySums,
    Charges,
    OverlappingCharges,
    Spans,
    OverlappingSpans,
    OpenSpans,
    UsageDays,
    LedgerDays,
    OpeningBalances,
    Totals,
    Accounts,
    Values,
    Warnings,
    ExternalChanges,
}

const CHECKS: [Check; 16] = [
    Check::Tables,
    Check::Entries,
    Check::EntrySums,
    Check::Charges,
    Check::OverlappingCharges,
    Check::Spans,
    Check::OverlappingSpans,
    Check::OpenSpans,
    Check::UsageDays,
    Check::LedgerDays,
    Check::OpeningBalances,
    Check::Totals,
    Check::Accounts,
    Check::Values,
    Check::Warnings,
    Check::ExternalChanges,
];

impl Check {
    async fn run(
        self,
        conn: &mut Connection,
        window: &AuditWindow,
    ) -> sqlx::Result<Vec<Violation>> {
        match self {
            Self::Tables => audit::tables_violations(conn).await,
            Self::Entries => audit::entries_violations_of_any_organization(conn, window).await,
            Self::EntrySums => audit::entry_sums_violations_of_any_organization(conn, window).await,
            Self::Charges => audit::charges_violations_of_any_organization(conn, window).await,
            Self::OverlappingCharges => {
                audit::overlapping_charges_of_any_organization(conn, window).await
            }
            Self::Spans => audit::spans_violations_of_any_organization(conn, window).await,
            Self::OverlappingSpans => {
                audit::overlapping_spans_of_any_organization(conn, window).await
            }
            Self::OpenSpans => audit::open_spans_violations_of_any_organization(conn).await,
            Self::UsageDays => audit::usage_days_violations_of_any_organization(conn, window).await,
            Self::LedgerDays => {
                audit::ledger_days_violations_of_any_organization(conn, window).await
            }
            Self::OpeningBalances => {
                audit::opening_balances_violations_of_any_organization(conn).await
            }
            Self::Totals => audit::totals_violations_of_any_organization(conn).await,
            Self::Accounts => audit::accounts_violations_of_any_organization(conn).await,
            Self::Values => audit::values_violations_of_any_organization(conn).await,
            Self::Warnings => audit::warnings_violations_of_any_organization(conn).await,
            Self::ExternalChanges => {
                audit::external_changes_of_any_organization(conn, window).await
            }
        }
    }
}
