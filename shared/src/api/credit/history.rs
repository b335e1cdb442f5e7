//! `GET /api/v1/credits/transactions`: an organization's ledger, newest first.

use lambda_http::{Body, Request, Response};
use rust_decimal::Decimal;
use serde::Serialize;

use crate::api::deps::DatabaseDeps;
use crate::api::list;
use crate::api::problem::Problem;
use crate::api::response::number;
use crate::db::billing::history::{LedgerEntry, ledger_page};
use crate::db::page::PagePosition;
use crate::domain::ids::{AgentId, TransactionId};
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    success: bool,
    data: Vec<TransactionJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TransactionJson {
    id: TransactionId,
    amount: Money,
    r#type: String,
    description: Option<String>,
    agent_id: Option<AgentId>,
    period_start: Option<Timestamp>,
    period_end: Option<Timestamp>,
    kind: Option<String>,
    hourly_rate: Option<Money>,
    seconds: Option<Money>,
    balance_before: Option<Money>,
    balance_after: Option<Money>,
    created_at: Timestamp,
}

impl From<LedgerEntry> for TransactionJson {
    fn from(entry: LedgerEntry) -> Self {
        let amount = |value: Option<Decimal>| value.map(number);
        Self {
            id: entry.id,
            amount: number(entry.amount),
            r#type: entry.kind_of_row,
            description: entry.description,
            agent_id: entry.agent_id,
            period_start: entry.period_start.map(Timestamp),
            period_end: entry.period_end.map(Timestamp),
            kind: entry.kind,
            hourly_rate: amount(entry.rate),
            seconds: amount(entry.seconds),
            balance_before: amount(entry.balance_before),
            balance_after: amount(entry.balance_after),
            created_at: Timestamp(entry.created_at),
        }
    }
}

/// # Errors
/// 400 if `agentId`, `limit` or `cursor` is not valid, 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent_id = list::identifier(&request, "agentId")?;
    let limit = list::limit(&request)?;
    let after = list::cursor(&request)?;
    let mut conn = deps.pool.acquire().await?;
    let entries = ledger_page(
        &mut conn,
        caller.organization_id,
        agent_id,
        after,
        limit + 1,
    )
    .await?;
    let (entries, next_cursor) = list::cut(entries, limit, |entry| PagePosition {
        created_at: entry.created_at,
        seq: entry.seq,
        id: entry.id.uuid(),
    });
    let data = entries.into_iter().map(TransactionJson::from).collect();
    list::respond(
        &request,
        &Page {
            success: true,
            data,
            next_cursor,
        },
    )
}
