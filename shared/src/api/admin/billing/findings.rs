//! `GET /api/v1/admin/billing/findings`: what the audit of billing found, open findings first, newest first.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::api::deps::DatabaseDeps;
use crate::api::list::{self, Entries, Page};
use crate::api::parameters::{CURSOR, LIMIT};
use crate::api::problem::Problem;
use crate::api::route::{CallerKind, Parameter, ResponseKind, Route, Tag};
use crate::api::schema::{FindingState, Json};
use crate::db::billing::findings::{FindingPosition, FindingRecord, findings_page};
use crate::domain::ids::OrganizationId;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    description: "The audit runs once a day. It closes a finding when it does not find it any more.",
    caller: CallerKind::SuperAdmin,
    parameters: &[
        Parameter::query::<FindingState>(
            "state",
            "Only open or only resolved findings; `all` if absent.",
        )
        .example(r#""open""#),
        LIMIT,
        CURSOR,
    ],
    responses: &[
        ResponseKind::json::<Page<Entries<FindingJson>>>(200, "One page of findings.").with_etag(),
    ],
    refusals: &[400],
    ..Route::get(
        "finding-list",
        "/api/v1/admin/billing/findings",
        Tag::Admin,
        "List what the audit of billing found, open findings first",
    )
};

/// A row of billing that violates an invariant, or a change of a balance by another application
/// (`external_change`, which is no error).
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Finding")]
struct FindingJson {
    /// A number as text.
    id: String,
    kind: String,
    /// The row.
    subject: String,
    organization_id: Option<OrganizationId>,
    /// What the row says and what it should say. The members depend on `kind`.
    #[schemars(with = "Json")]
    detail: Value,
    found_at: Timestamp,
    last_seen_at: Timestamp,
    resolved_at: Option<Timestamp>,
}

impl From<FindingRecord> for FindingJson {
    fn from(row: FindingRecord) -> Self {
        Self {
            id: row.id.to_string(),
            kind: row.kind,
            subject: row.subject,
            organization_id: row.organization_id,
            detail: row.detail,
            found_at: Timestamp(row.found_at),
            last_seen_at: Timestamp(row.last_seen_at),
            resolved_at: row.resolved_at.map(Timestamp),
        }
    }
}

/// # Errors
/// 400 if `state`, `limit` or `cursor` is not valid, 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let is_open = is_open(&request)?;
    let limit = list::limit(&request)?;
    let after = list::name_cursor(&request)?;
    let after = after.as_deref().map(position).transpose()?;
    let mut conn = deps.pool.statements();
    let findings = findings_page(&mut conn, is_open, after, limit + 1).await?;
    drop(conn);
    let (findings, next_cursor) = list::cut_by(findings, limit, cursor);
    let data = Entries(findings.into_iter().map(FindingJson::from).collect());
    list::respond(&request, &Page::new(data, next_cursor))
}

fn is_open(request: &Request) -> Result<Option<bool>, Problem> {
    match list::parameter(request, "state").as_deref() {
        None | Some("all") => Ok(None),
        Some("open") => Ok(Some(true)),
        Some("resolved") => Ok(Some(false)),
        Some(_) => Err(Problem::field("state", "must be open, resolved or all")),
    }
}

fn cursor(finding: &FindingRecord) -> String {
    let state = if finding.resolved_at.is_none() {
        "open"
    } else {
        "resolved"
    };
    list::encode_name(&format!("{state}.{}", finding.id))
}

fn position(cursor: &str) -> Result<FindingPosition, Problem> {
    let invalid = || Problem::field("cursor", "is not valid; start again without it");
    let (state, id) = cursor.split_once('.').ok_or_else(invalid)?;
    let is_open = match state {
        "open" => true,
        "resolved" => false,
        _ => return Err(invalid()),
    };
    let id = id.parse().map_err(|_| invalid())?;
    Ok(FindingPosition { is_open, id })
}
