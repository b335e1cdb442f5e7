//! `GET /api/v1/milady/agents`: an organization's agents, newest first.

use chrono::{DateTime, TimeDelta, Utc};
use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::view::{AgentSummary, ViewContext};
use crate::api::auth::Auth;
use crate::api::filter;
use crate::api::list::{self, Entries};
use crate::api::parameters::{CURSOR, LIMIT};
use crate::api::problem::Problem;
use crate::api::route::{Parameter, ResponseKind, Route, Tag};
use crate::api::schema::{Cursor, KnownAgentStatus, Succeeded, TimeText};
use crate::app::agent::read::agents_listed;
use crate::db::Database;
use crate::db::agents::records::AgentSelection;
use crate::db::page::PagePosition;
use crate::domain::pricing::Prices;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    description: "The `ETag` does not change with `lastHeartbeatAt` and `asOf`. A client that gets 304 knows that no other \
                  agent is silent than those whose `silentSince` it has.\n\n\
                  To follow changes, repeat the request with `changedSince`, the `asOf` of the last response: only \
                  changed agents are listed. Ask for the whole list when `total` is not the number of agents you know, \
                  because then some were deleted, and once a minute, because a heartbeat is no change.",
    parameters: &[STATUS, CHANGED_SINCE, LIMIT, CURSOR],
    responses: &[ResponseKind::json::<AgentPage>(200, "One page of agents.").with_etag()],
    refusals: &[400],
    ..Route::get(
        "agent-list",
        "/api/v1/milady/agents",
        Tag::Agents,
        "List the organization's agents, newest first",
    )
};

const STATUS: Parameter =
    Parameter::query::<KnownAgentStatus>("status", "Only agents with this status.")
        .example(r#""running""#);
const CHANGED_SINCE: Parameter = Parameter::query::<TimeText>(
    "changedSince",
    "Only agents that have changed since, or up to half a minute before. Not together with `status`.",
)
.example(r#""2026-11-01T00:00:00Z""#);

/// A change is dated when its transaction begins, and seen when it commits. No request takes longer.
const COMMIT_DELAY: TimeDelta = TimeDelta::seconds(30);

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub auth: Auth,
    /// For agents without a price of their own.
    pub prices: Prices,
    /// The image of agents that name none.
    pub default_image: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct AgentPage {
    success: Succeeded,
    data: Entries<AgentSummary>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Cursor")]
    next_cursor: Option<String>,
    /// The number of the organization's agents on all pages, with `status` if that is given, and whether or not they
    /// have changed.
    #[schemars(range(min = 0))]
    total: i64,
    /// When the list was read, by the server's clock.
    as_of: Timestamp,
}

impl AgentPage {
    /// What a client must not miss. The `ETag` is that of this.
    fn version(&self) -> Self {
        let agents = self.data.0.iter().map(AgentSummary::version);
        Self {
            success: Succeeded,
            data: Entries(agents.collect()),
            next_cursor: self.next_cursor.clone(),
            total: self.total,
            as_of: Timestamp(DateTime::UNIX_EPOCH),
        }
    }
}

/// # Errors
/// 400 if a filter, `limit` or `cursor` is not valid, 401, 403, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let authenticated = deps
        .auth
        .authenticate(&deps.pool, &request, ROUTE.caller)
        .await?;
    let organization_id = authenticated.caller.organization_id;
    let selection = selection(&request)?;
    let limit = list::limit(&request)?;
    let after = list::cursor(&request)?;
    let (agents, total) =
        agents_listed(&deps.pool, organization_id, selection, after, limit + 1).await?;
    let (agents, next_cursor) = list::cut(agents, limit, |agent| PagePosition {
        created_at: agent.created_at,
        id: agent.id.uuid(),
    });
    let context = ViewContext {
        prices: &deps.prices,
        default_image: &deps.default_image,
        now: authenticated.now,
    };
    let agents = agents
        .into_iter()
        .map(|agent| AgentSummary::new(agent, context));
    let page = AgentPage {
        success: Succeeded,
        data: Entries(agents.collect()),
        next_cursor,
        total,
        as_of: Timestamp(authenticated.now),
    };
    list::respond_versioned(&request, &page, &page.version())
}

fn selection(request: &Request) -> Result<AgentSelection, Problem> {
    let status = filter::agent_status(request)?;
    let changed_since: Option<DateTime<Utc>> = filter::time(request, "changedSince")?;
    if status.is_some() && changed_since.is_some() {
        // An agent that got another status would be missing from the changes.
        return Err(Problem::field(
            "changedSince",
            "must not be given together with `status`",
        ));
    }
    Ok(AgentSelection {
        status,
        changed_since: changed_since.map(|at| at - COMMIT_DELAY),
    })
}
