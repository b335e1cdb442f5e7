//! `GET /api/v1/credits/transactions`: an organization's ledger, newest first.

use lambda_http::{Body, Request, Response};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use crate::api::auth::Auth;
use crate::api::json::{Date, number};
use crate::api::list;
use crate::api::problem::Problem;
use crate::db::billing::ledger::{Entry, Position, ledger_page};
use crate::domain::money::Money;

/// What the route needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    success: bool,
    data: Vec<Transaction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Transaction {
    id: Uuid,
    amount: Money,
    r#type: String,
    description: Option<String>,
    agent_id: Option<Uuid>,
    period_start: Option<Date>,
    period_end: Option<Date>,
    kind: Option<String>,
    hourly_rate: Option<Money>,
    seconds: Option<Money>,
    balance_before: Option<Money>,
    balance_after: Option<Money>,
    created_at: Date,
}

impl From<Entry> for Transaction {
    fn from(entry: Entry) -> Self {
        let amount = |value: Option<Decimal>| value.map(number);
        Self {
            id: entry.id,
            amount: number(entry.amount),
            r#type: entry.kind_of_row,
            description: entry.description,
            agent_id: entry.agent_id,
            period_start: entry.period_start.map(Date),
            period_end: entry.period_end.map(Date),
            kind: entry.kind,
            hourly_rate: amount(entry.rate),
            seconds: amount(entry.seconds),
            balance_before: amount(entry.balance_before),
            balance_after: amount(entry.balance_after),
            created_at: Date(entry.created_at),
        }
    }
}

/// Answers one page.
///
/// # Errors
/// 400 for a bad `agentId`, `limit` or `cursor`, 401, 403, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent_id = list::uuid(&request, "agentId")?;
    let (limit, after) = (list::limit(&request)?, list::cursor(&request)?);
    let mut conn = deps.pool.acquire().await?;
    let entries = ledger_page(
        &mut conn,
        caller.organization_id,
        agent_id,
        after,
        limit + 1,
    )
    .await?;
    let (entries, next_cursor) = list::cut(entries, limit, |entry| Position {
        created_at: entry.created_at,
        seq: entry.seq,
        id: entry.id,
    });
    let data = entries.into_iter().map(Transaction::from).collect();
    list::answer(
        &request,
        &Page {
            success: true,
            data,
            next_cursor,
        },
    )
}
