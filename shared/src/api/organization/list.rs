//! `GET /api/v1/admin/organizations`: the organizations and their credit, newest first.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::body::is_line;
use crate::api::deps::DatabaseDeps;
use crate::api::list::{self, Entries, Page};
use crate::api::parameters::{CURSOR, LIMIT};
use crate::api::problem::Problem;
use crate::api::response::number;
use crate::api::route::{CallerKind, Parameter, ResponseKind, Route, Tag};
use crate::api::schema::FilterText;
use crate::app::credit::organizations::{OrganizationCredit, organizations_page};
use crate::db::page::PagePosition;
use crate::domain::ids::OrganizationId;
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    caller: CallerKind::SuperAdmin,
    parameters: &[
        Parameter::query::<FilterText>(
            "q",
            "A part of the name, in upper or lower case, or the id of an organization.",
        )
        .example(r#""acme""#),
        LIMIT,
        CURSOR,
    ],
    responses: &[ResponseKind::json::<Page<Entries<OrganizationJson>>>(
        200,
        "One page of organizations.",
    )
    .with_etag()],
    refusals: &[400],
    ..Route::get(
        "organization-list",
        "/api/v1/admin/organizations",
        Tag::Admin,
        "List the organizations and their credit, newest first",
    )
};

const MAX_SEARCH_CHARS: usize = 200;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Organization")]
struct OrganizationJson {
    id: OrganizationId,
    name: String,
    /// Null if another application has written an amount that is none.
    balance: Option<Money>,
    /// Debt that the hourly runs could not charge.
    owed: Money,
    /// The number of its agents, in any state.
    #[schemars(range(min = 0))]
    agents: i64,
    /// Whether it may use the service.
    active: bool,
    created_at: Timestamp,
}

impl From<OrganizationCredit> for OrganizationJson {
    fn from(organization: OrganizationCredit) -> Self {
        let record = organization.record;
        Self {
            id: record.id,
            name: record.name,
            balance: record.balance.map(number),
            owed: organization.owed,
            agents: record.agents,
            active: record.is_active,
            created_at: Timestamp(record.created_at),
        }
    }
}

/// # Errors
/// 400 if `q`, `limit` or `cursor` is not valid, 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let search = list::parameter(&request, "q");
    if search
        .as_ref()
        .is_some_and(|text| !is_line(text, MAX_SEARCH_CHARS))
    {
        let message = "must be 1 to 200 characters without control characters";
        return Err(Problem::field("q", message));
    }
    let limit = list::limit(&request)?;
    let after = list::cursor(&request)?;
    let page = organizations_page(&deps.pool, search.as_deref(), after, limit + 1).await?;
    let (page, next_cursor) = list::cut(page, limit, |organization| PagePosition {
        created_at: organization.record.created_at,
        id: organization.record.id.uuid(),
    });
    let data = Entries(page.into_iter().map(OrganizationJson::from).collect());
    list::respond(&request, &Page::new(data, next_cursor))
}
