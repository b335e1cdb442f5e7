//! `GET /api/v1/credits/transactions`: an organization's ledger, newest first.

use lambda_http::{Body, Request, Response};

use super::cursors::{agent_text, history_text, parse_agent, parse_history};
use super::transaction::TransactionJson;
use crate::api::body::is_line;
use crate::api::deps::DatabaseDeps;
use crate::api::filter::{FROM, TO, any_period};
use crate::api::list::{self, Entries, Page};
use crate::api::parameters::{CURSOR, LIMIT};
use crate::api::problem::Problem;
use crate::api::route::{Parameter, ResponseKind, Route, Tag};
use crate::api::schema::TransactionType;
use crate::api::table::{self, PageFormat};
use crate::app::credit::history::{agent_history_page, history_page};
use crate::db::billing::history::entries::Selection;
use crate::domain::history::{AgentPosition, HistoryPosition, Positioned};
use crate::domain::ids::{AgentId, AgentRef};

pub const ROUTE: Route = Route {
    description: "One row per change of the balance, as far as it is known: entries of the ledger, which may charge \
        for many agents, and rows of other applications such as purchases. With `agentId`: what this agent was \
        charged, by the time of use, and after that what an older biller charged for it. `from` and `to` then mean \
        the start of the time that was used.",
    parameters: &[
        Parameter::query::<AgentId>("agentId", "Only charges for this agent.")
            .example(r#""11111111-2222-4333-8444-555555555555""#),
        Parameter::query::<TransactionType>("type", "Only rows of this type.")
            .example(r#""usage""#),
        FROM,
        TO,
        LIMIT,
        CURSOR,
    ],
    responses: &[ResponseKind::json::<Page<Entries<TransactionJson>>>(
        200,
        "One page of the ledger.",
    )
    .with_etag()
    .or_csv()],
    refusals: &[400],
    ..Route::get(
        "credit-history",
        "/api/v1/credits/transactions",
        Tag::Credits,
        "List the ledger's rows, newest first",
    )
};

const MAX_TYPE_CHARS: usize = 100;

/// # Errors
/// 400 if a parameter is not valid, 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let agent_id = list::identifier(&request, "agentId")?;
    let row_type = row_type(&request)?;
    let selection = Selection {
        row_type: row_type.as_deref(),
        period: any_period(&request)?,
    };
    let format = PageFormat::of(&request, list::limit)?;
    let (organization_id, limit) = (caller.organization_id, format.rows());
    let body = |rows, next_cursor| Page::new(Entries(rows), next_cursor);
    let Some(agent_id) = agent_id else {
        let from = list::text_cursor(&request, parse_history)?;
        let from = from.unwrap_or_else(HistoryPosition::newest);
        let rows = history_page(&deps.pool, organization_id, selection, from, limit).await?;
        return table::respond_page(&request, format, as_json(rows), history_text, body);
    };
    let agent = AgentRef {
        organization_id,
        agent_id,
    };
    let from = list::text_cursor(&request, parse_agent)?;
    let from = from.unwrap_or_else(AgentPosition::newest);
    let rows = agent_history_page(&deps.pool, agent, selection, from, limit).await?;
    table::respond_page(&request, format, as_json(rows), agent_text, body)
}

fn as_json<T, P>(rows: Vec<Positioned<T, P>>) -> Vec<Positioned<TransactionJson, P>>
where
    TransactionJson: From<T>,
{
    let rows = rows.into_iter().map(|row| Positioned {
        row: row.row.into(),
        position: row.position,
    });
    rows.collect()
}

fn row_type(request: &Request) -> Result<Option<String>, Problem> {
    let row_type = list::parameter(request, "type");
    match &row_type {
        Some(word) if !is_line(word, MAX_TYPE_CHARS) => {
            let message = "must be 1 to 100 characters without control characters";
            Err(Problem::field("type", message))
        }
        _ => Ok(row_type),
    }
}
