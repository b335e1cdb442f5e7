//! `billing_findings`. Owns: one open row per kind and subject, from when it is found until it is not found any more.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::audit::Violation;
use crate::db::session::Connection;
use crate::domain::billing::OpenFindings;
use crate::domain::ids::OrganizationId;

/// Records what was found. What is open already keeps the time when it was found first.
pub async fn findings_record(
    conn: &mut Connection,
    violations: &[Violation],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let kinds: Vec<&str> = violations.iter().map(|found| found.kind.as_str()).collect();
    let subjects: Vec<&str> = violations
        .iter()
        .map(|found| found.subject.as_str())
        .collect();
    let organization_ids: Vec<Option<OrganizationId>> = violations
        .iter()
        .map(|found| found.organization_id)
        .collect();
    let details: Vec<Value> = violations.iter().map(detail).collect();
    sqlx::query!(
        "INSERT INTO cloud.billing_findings AS f (kind, subject, organization_id, detail, found_at, last_seen_at)
        SELECT DISTINCT ON (kind, subject) kind, subject, organization_id, detail, $1::timestamptz, $1
        FROM UNNEST($2::text[], $3::text[], $4::uuid[], $5::jsonb[]) AS d (kind, subject, organization_id, detail)
        ON CONFLICT (kind, subject) WHERE resolved_at IS NULL DO UPDATE
        SET last_seen_at = excluded.last_seen_at, detail = excluded.detail",
        now,
        &kinds as &[&str],
        &subjects as &[&str],
        &organization_ids as &[Option<OrganizationId>],
        &details
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The time that the row is about keeps it in the window of later audits.
fn detail(violation: &Violation) -> Value {
    let mut detail = violation.detail.clone();
    if let (Some(fields), Some(at)) = (detail.as_object_mut(), violation.at) {
        fields.insert("at".to_owned(), json!(at));
    }
    detail
}

/// Closes the open findings of these kinds that are not among `violations`. Returns how many.
pub async fn findings_resolve(
    conn: &mut Connection,
    kinds: &[&str],
    violations: &[Violation],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let found_kinds: Vec<&str> = violations.iter().map(|found| found.kind.as_str()).collect();
    let subjects: Vec<&str> = violations
        .iter()
        .map(|found| found.subject.as_str())
        .collect();
    let result = sqlx::query!(
        "UPDATE cloud.billing_findings f SET resolved_at = $1
        WHERE f.resolved_at IS NULL AND f.kind = ANY($2) AND NOT EXISTS (
            SELECT FROM UNNEST($3::text[], $4::text[]) AS d (kind, subject)
            WHERE d.kind = f.kind AND d.subject = f.subject)",
        now,
        kinds as &[&str],
        &found_kinds as &[&str],
        &subjects as &[&str]
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// The open findings that are errors, by kind.
pub async fn findings_open(conn: &mut Connection) -> sqlx::Result<Vec<OpenFindings>> {
    sqlx::query_as!(
        OpenFindings,
        r#"SELECT kind, count(*) AS "count!" FROM cloud.billing_findings
        WHERE resolved_at IS NULL AND kind <> 'external_change' GROUP BY kind ORDER BY kind"#
    )
    .fetch_all(conn)
    .await
}

#[derive(Clone, Debug)]
pub struct FindingRecord {
    pub id: i64,
    pub kind: String,
    pub subject: String,
    /// The organization may be deleted by now.
    pub organization_id: Option<OrganizationId>,
    pub detail: Value,
    pub found_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
}

/// Where a page of findings ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FindingPosition {
    pub is_open: bool,
    pub id: i64,
}

/// One page of findings after a position: open ones first, the newest first. `is_open` limits them.
pub async fn findings_page(
    conn: &mut Connection,
    is_open: Option<bool>,
    after: Option<FindingPosition>,
    limit: i64,
) -> sqlx::Result<Vec<FindingRecord>> {
    sqlx::query_as!(
        FindingRecord,
        "SELECT id, kind, subject, organization_id, detail, found_at, last_seen_at, resolved_at
        FROM cloud.billing_findings
        WHERE ($1::bool IS NULL OR (resolved_at IS NULL) = $1)
            AND ($2::bool IS NULL OR ((resolved_at IS NULL), id) < ($2, $3::bigint))
        ORDER BY (resolved_at IS NULL) DESC, id DESC LIMIT $4",
        is_open,
        after.map(|position| position.is_open),
        after.map(|position| position.id),
        limit
    )
    .fetch_all(conn)
    .await
}
