//! `GET /api/v1/credits/transactions`: an organization's ledger, newest first.

use lambda_http::{Body, Request, Response};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::deps::DatabaseDeps;
use crate::api::list::{self, Entries, Page};
use crate::api::parameters::{CURSOR, LIMIT};
use crate::api::problem::Problem;
use crate::api::response::number;
use crate::api::route::{Parameter, ResponseKind, Route, Tag};
use crate::api::schema::Number;
use crate::db::billing::history::{LedgerEntry, ledger_page};
use crate::db::page::PagePosition;
use crate::domain::billing::SpanKind;
use crate::domain::ids::{AgentId, TransactionId};
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    parameters: &[
        Parameter::query::<AgentId>("agentId", "Only rows of this agent.")
            .example(r#""11111111-2222-4333-8444-555555555555""#),
        LIMIT,
        CURSOR,
    ],
    responses: &[ResponseKind::json::<Page<Entries<TransactionJson>>>(
        200,
        "One page of the ledger.",
    )
    .with_etag()],
    refusals: &[400],
    ..Route::get(
        "credit-history",
        "/api/v1/credits/transactions",
        Tag::Credits,
        "List the ledger's rows, newest first",
    )
};

/// A row of the ledger. In rows of other applications, such as purchases, `agentId` to `balanceAfter` are null.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Transaction")]
struct TransactionJson {
    id: TransactionId,
    /// Negative for a charge.
    amount: Money,
    /// `debit` and `write_off` for agents. Other applications write other words.
    r#type: String,
    description: Option<String>,
    agent_id: Option<AgentId>,
    period_start: Option<Timestamp>,
    period_end: Option<Timestamp>,
    #[schemars(with = "Option<SpanKind>")]
    kind: Option<String>,
    hourly_rate: Option<Money>,
    #[schemars(with = "Option<Number>")]
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
    let mut conn = deps.pool.statements();
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
    let data = Entries(entries.into_iter().map(TransactionJson::from).collect());
    list::respond(&request, &Page::new(data, next_cursor))
}
