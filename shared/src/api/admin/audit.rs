//! `GET /api/v1/admin/audit`: what operators did, newest first.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::api::body::is_line;
use crate::api::deps::DatabaseDeps;
use crate::api::filter::{FROM, TO, any_period};
use crate::api::list::{self, Entries, Page};
use crate::api::parameters::{CURSOR, LIMIT};
use crate::api::problem::Problem;
use crate::api::route::{CallerKind, Parameter, ResponseKind, Route, Tag};
use crate::api::schema::{FilterText, Json};
use crate::db::requests::audit_log::{AuditRecord, AuditSelection, audit_page};
use crate::domain::ids::UserId;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    description: "An entry whose `result` is `begun` belongs to an action that is under way, or whose outcome nobody knows.",
    caller: CallerKind::SuperAdmin,
    parameters: &[
        Parameter::query::<UserId>("actor", "Only what this user did."),
        Parameter::query::<FilterText>("action", "Only entries with this action.")
            .example(r#""credit.grant""#),
        Parameter::query::<FilterText>("subject", "Only entries about this id or name.")
            .example(r#""node-1""#),
        FROM,
        TO,
        LIMIT,
        CURSOR,
    ],
    responses: &[
        ResponseKind::json::<Page<Entries<EntryJson>>>(200, "One page of entries.").with_etag(),
    ],
    refusals: &[400],
    ..Route::get(
        "audit-list",
        "/api/v1/admin/audit",
        Tag::Admin,
        "List what operators did, newest first",
    )
};

const MAX_FILTER_CHARS: usize = 200;

/// Something that an operator did.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AuditEntry")]
struct EntryJson {
    /// A number as text.
    id: String,
    /// The nil UUID for what the control plane did by itself.
    actor_id: UserId,
    /// Null for a user without a name, or who is deleted.
    actor_name: Option<String>,
    action: String,
    /// The id or the name of what was acted on.
    subject: String,
    /// The members depend on `action`.
    #[schemars(with = "Json")]
    details: Value,
    result: String,
    at: Timestamp,
}

impl From<AuditRecord> for EntryJson {
    fn from(row: AuditRecord) -> Self {
        Self {
            id: row.id.to_string(),
            actor_id: row.user_id,
            // Some identity providers put the mail address there.
            actor_name: row.user_name.filter(|name| !name.contains('@')),
            action: row.action,
            subject: row.subject,
            details: row.details,
            result: row.result,
            at: Timestamp(row.created_at),
        }
    }
}

/// # Errors
/// 400 if a filter, `limit` or `cursor` is not valid, 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let (action, subject) = (text(&request, "action")?, text(&request, "subject")?);
    let selection = AuditSelection {
        user_id: list::identifier(&request, "actor")?,
        action: action.as_deref(),
        subject: subject.as_deref(),
        period: any_period(&request)?,
    };
    let limit = list::limit(&request)?;
    let before = list::text_cursor(&request, |text| text.parse().ok())?;
    let mut conn = deps.pool.statements();
    let entries = audit_page(&mut conn, selection, before, limit + 1).await?;
    drop(conn);
    let (entries, next_cursor) = list::cut_by(entries, limit, |entry| {
        list::encode_text(&entry.id.to_string())
    });
    let data = Entries(entries.into_iter().map(EntryJson::from).collect());
    list::respond(&request, &Page::new(data, next_cursor))
}

fn text(request: &Request, name: &'static str) -> Result<Option<String>, Problem> {
    let text = list::parameter(request, name);
    if text
        .as_ref()
        .is_some_and(|text| !is_line(text, MAX_FILTER_CHARS))
    {
        let message = "must be 1 to 200 characters without control characters";
        return Err(Problem::field(name, message));
    }
    Ok(text)
}
