//! `GET /api/v1/admin/billing/runs`: the billing runs, newest first.

use std::collections::HashMap;

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::deps::DatabaseDeps;
use crate::api::list::{self, Entries, Page};
use crate::api::parameters::{CURSOR, LIMIT};
use crate::api::problem::Problem;
use crate::api::response::number;
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::db::billing::runs::{RunRecord, runs_page};
use crate::db::identity::organizations::organization_names;
use crate::domain::ids::OrganizationId;
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    description: "A run decides every organization that is due up to a full hour. One that could not decide \
                  somebody, or not repair the metering of somebody's agents, is not complete; the next run tries again.",
    caller: CallerKind::SuperAdmin,
    parameters: &[LIMIT, CURSOR],
    responses: &[
        ResponseKind::json::<Page<Entries<RunJson>>>(200, "One page of runs.").with_etag(),
    ],
    refusals: &[400],
    ..Route::get(
        "billing-run-list",
        "/api/v1/admin/billing/runs",
        Tag::Admin,
        "List the billing runs, newest first",
    )
};

/// A billing run. Amounts are sums over all organizations.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "BillingRunEntry")]
struct RunJson {
    /// A number as text.
    id: String,
    /// The full hour up to which the run charged.
    hour: Timestamp,
    /// What caused the run.
    source: String,
    started_at: Timestamp,
    /// Null for a run that has not ended, or has died.
    finished_at: Option<Timestamp>,
    /// Whether everybody who was due was decided, and all metering that was wrong was repaired.
    complete: bool,
    organizations: i32,
    agents_processed: i32,
    agents_billed: i32,
    charges: i32,
    warned: i32,
    suspended: i32,
    /// Organizations that could not be decided, or whose metering could not be repaired.
    errors: i32,
    repaired_spans: i32,
    charged: Money,
    /// What could not be charged.
    owed: Money,
    written_off: Money,
    /// The debt of deleted organizations.
    uncollected: Money,
    /// The hour up to which the organization that has waited longest is decided. Null if everybody is.
    oldest_undecided: Option<Timestamp>,
    /// The first 100 of the organizations counted in `errors`.
    failures: Vec<FailureJson>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct FailureJson {
    organization_id: OrganizationId,
    /// Null if the organization is deleted.
    organization_name: Option<String>,
    reason: String,
}

impl RunJson {
    fn new(run: &RunRecord, names: &HashMap<OrganizationId, String>) -> Self {
        let failures = run.failures().into_iter().map(|failure| FailureJson {
            organization_id: failure.organization_id,
            organization_name: names.get(&failure.organization_id).cloned(),
            reason: failure.reason,
        });
        let counts = &run.counts;
        Self {
            id: run.id.to_string(),
            hour: Timestamp(run.period_end),
            source: run.source.clone(),
            started_at: Timestamp(run.started_at),
            finished_at: run.finished_at.map(Timestamp),
            complete: run.complete,
            organizations: counts.organizations,
            agents_processed: counts.agents_processed,
            agents_billed: counts.agents_billed,
            charges: counts.slices,
            warned: counts.warned,
            suspended: counts.suspended,
            errors: counts.errors,
            repaired_spans: counts.repaired_spans,
            charged: number(counts.revenue),
            owed: number(counts.owed),
            written_off: number(counts.written_off),
            uncollected: number(counts.uncollected),
            oldest_undecided: counts.oldest_undecided.map(Timestamp),
            failures: failures.collect(),
        }
    }
}

/// # Errors
/// 400 if `limit` or `cursor` is not valid, 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let limit = list::limit(&request)?;
    let before = list::text_cursor(&request, |text| text.parse().ok())?;
    let mut conn = deps.pool.statements();
    let runs = runs_page(&mut conn, before, limit + 1).await?;
    let (runs, next_cursor) =
        list::cut_by(runs, limit, |run| list::encode_text(&run.id.to_string()));
    let failures = runs.iter().flat_map(RunRecord::failures);
    let ids: Vec<OrganizationId> = failures.map(|failure| failure.organization_id).collect();
    let names = organization_names(&mut conn, &ids).await?;
    drop(conn);
    let runs = runs.iter().map(|run| RunJson::new(run, &names));
    list::respond(&request, &Page::new(Entries(runs.collect()), next_cursor))
}
