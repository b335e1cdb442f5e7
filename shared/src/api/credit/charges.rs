//! `GET /api/v1/credits/transactions/{transactionId}/charges`: what an entry of the ledger consists of.

use lambda_http::{Body, Request, Response};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

use super::cursors::{line_text, parse_line};
use crate::api::csv::Columns;
use crate::api::deps::DatabaseDeps;
use crate::api::list::{self, MAX_PAGE, Page};
use crate::api::parameters::{CURSOR, LIMIT};
use crate::api::path;
use crate::api::problem::Problem;
use crate::api::response::number;
use crate::api::route::{ResponseKind, Route, Tag};
use crate::api::schema::Number;
use crate::api::table::{self, PageFormat};
use crate::db::billing::history::charges::{
    ChargedEntry, EntryCharge, charges_of_entry, charges_sum,
};
use crate::db::billing::history::entries::entry_find;
use crate::domain::billing::SpanKind;
use crate::domain::history::{Period, Positioned};
use crate::domain::ids::{AgentId, TransactionId, ledger_position};
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    description: "In the order of charging: by hour, and within an hour the older agent first. `createdAt` of the \
        transaction says when it was paid, the lines say when it was used. Charges are kept for 13 months.",
    parameters: &[LIMIT, CURSOR],
    responses: &[
        ResponseKind::json::<Page<ChargesJson>>(200, "One page of the charges.")
            .with_etag()
            .or_csv(),
    ],
    refusals: &[400, 404],
    ..Route::get(
        "credit-charges",
        "/api/v1/credits/transactions/{transactionId}/charges",
        Tag::Credits,
        "List the charges of a transaction",
    )
};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Charges")]
struct ChargesJson {
    transaction_id: TransactionId,
    /// As in the list of transactions: negative for usage.
    amount: Money,
    /// None for transactions that are not of the type `usage`.
    #[schemars(length(max = MAX_PAGE))]
    lines: Vec<ChargeJson>,
    /// The sum of all lines, on the last page only. For usage it is `amount` with the other sign, unless a part of the
    /// charges is no longer kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Money")]
    sum: Option<Money>,
}

/// What one agent used within one hour.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Charge")]
struct ChargeJson {
    agent_id: AgentId,
    agent_name: Option<String>,
    kind: Option<SpanKind>,
    hourly_rate: Money,
    period_start: Timestamp,
    period_end: Timestamp,
    #[schemars(with = "Number")]
    seconds: Money,
    amount: Money,
}

impl Columns for ChargeJson {
    const COLUMNS: &'static [&'static str] = &[
        "agentId",
        "agentName",
        "kind",
        "hourlyRate",
        "periodStart",
        "periodEnd",
        "seconds",
        "amount",
    ];
}

impl From<EntryCharge> for ChargeJson {
    fn from(charge: EntryCharge) -> Self {
        let start = charge.position.key.period_start;
        let microseconds = (charge.period_end - start).num_microseconds();
        Self {
            agent_id: charge.position.agent_id,
            agent_name: charge.agent_name,
            kind: charge.kind,
            hourly_rate: number(charge.hourly_rate),
            period_start: Timestamp(start),
            period_end: Timestamp(charge.period_end),
            seconds: number(Decimal::new(microseconds.unwrap_or_default(), 6)),
            amount: number(charge.amount),
        }
    }
}

/// # Errors
/// 400, 401, 403, 404 if it is no entry of the organization's ledger or its charges are no longer kept, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let transaction_id: TransactionId = path::identifier(&request, "transactionId")?;
    let from = list::text_cursor(&request, parse_line)?;
    let format = PageFormat::of(&request, list::limit)?;
    let not_found = || Problem::not_found("Transaction not found");
    let position = ledger_position(transaction_id).ok_or_else(not_found)?;
    // The charges of an entry are in one month, or in two.
    let mut conn = deps.pool.statements_planned_for_values();
    let found = entry_find(&mut conn, caller.organization_id, position).await?;
    let found = found.ok_or_else(not_found)?;
    // An entry that is about no time has no charges.
    let start = found.period_start.unwrap_or(position.created_at);
    let entry = ChargedEntry {
        organization_id: caller.organization_id,
        seq: position.seq,
        period: Period {
            from: start,
            to: found.period_end.unwrap_or(start),
        },
    };
    let charges = charges_of_entry(&mut conn, entry, from, format.rows()).await?;
    let is_last_page = charges.len() < usize::try_from(format.rows()).unwrap_or(usize::MAX);
    let sum = if is_last_page {
        Some(charges_sum(&mut conn, entry).await?)
    } else {
        None
    };
    if charges.is_empty() && from.is_none() && found.is_usage {
        let text = "The charges of this transaction are no longer kept";
        return Err(Problem::not_found(text));
    }
    let rows = charges.into_iter().map(|charge| Positioned {
        position: charge.position,
        row: charge.into(),
    });
    let body = |lines, next_cursor| {
        let charges = ChargesJson {
            transaction_id,
            amount: number(found.amount),
            lines,
            sum: sum.map(number),
        };
        Page::new(charges, next_cursor)
    };
    table::respond_page(&request, format, rows.collect(), line_text, body)
}
