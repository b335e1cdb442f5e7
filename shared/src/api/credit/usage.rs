//! `GET /api/v1/credits/usage`: what was used and paid, by the time of use.

use chrono::{DateTime, TimeDelta, Utc};
use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::api::csv::Columns;
use crate::api::deps::DatabaseDeps;
use crate::api::filter::{FROM, TO, recent_period};
use crate::api::list::{self, Page};
use crate::api::parameters::CURSOR;
use crate::api::problem::Problem;
use crate::api::response::number;
use crate::api::route::{Parameter, ResponseKind, Route, Tag};
use crate::api::schema::{Number, PageSize, UsageGroupText};
use crate::api::table::{self, PageFormat};
use crate::app::credit::usage::usage;
use crate::db::billing::history::usage::{Usage, UsageFilter, UsageGroup};
use crate::domain::history::{Period, Positioned, days_around, hours_around};
use crate::domain::ids::AgentId;
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    description: "By the time of use, whenever it was paid; what is still owed is not in it. Groups without use are \
        left out. Days and agents are counted for whole days in UTC, hours for whole hours: `from` is rounded down, \
        `to` up. The period is at most 31 days for hours and 400 days otherwise; without `from` it is 30 days long, \
        without `to` it ends now. Hours are known for 13 months, days for ever.",
    parameters: &[
        Parameter::query::<UsageGroupText>("group", "What a row is about.").example(r#""day""#),
        Parameter::query::<AgentId>("agentId", "Only what this agent used.")
            .example(r#""11111111-2222-4333-8444-555555555555""#),
        FROM,
        TO,
        Parameter::query::<PageSize<MAX_ROWS, MAX_ROWS>>("limit", "The number of rows of a page.")
            .example("1000"),
        CURSOR,
    ],
    responses: &[
        ResponseKind::json::<Page<UsageRows>>(200, "One page of the use.")
            .with_etag()
            .or_csv(),
    ],
    refusals: &[400],
    ..Route::get(
        "credit-usage",
        "/api/v1/credits/usage",
        Tag::Credits,
        "Get what was used, by agent, day or hour",
    )
};

/// More than the hours of 31 days, or 400 days.
const MAX_ROWS: i64 = 1_000;
const MAX_DAYS_BY_HOUR: i64 = 31;
const MAX_DAYS: i64 = 400;

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct UsageRows(#[schemars(length(max = MAX_ROWS))] Vec<UsageJson>);

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Usage")]
struct UsageJson {
    /// The start of the day or hour. Null if agents are grouped.
    at: Option<Timestamp>,
    /// Null if the row is about all agents.
    agent_id: Option<AgentId>,
    agent_name: Option<String>,
    #[schemars(with = "Number")]
    running_seconds: Money,
    /// Without a container, while a backup was stored.
    #[schemars(with = "Number")]
    idle_seconds: Money,
    amount: Money,
}

impl Columns for UsageJson {
    const COLUMNS: &'static [&'static str] = &[
        "at",
        "agentId",
        "agentName",
        "runningSeconds",
        "idleSeconds",
        "amount",
    ];
}

impl From<Usage> for UsageJson {
    fn from(usage: Usage) -> Self {
        Self {
            at: usage.at.map(Timestamp),
            agent_id: usage.agent_id,
            agent_name: usage.agent_name,
            running_seconds: number(usage.running_seconds),
            idle_seconds: number(usage.idle_seconds),
            amount: number(usage.amount),
        }
    }
}

/// The row that a page begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UsagePosition {
    At(DateTime<Utc>),
    Agent(AgentId),
}

/// # Errors
/// 400 if a parameter is not valid, 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let group = group(&request)?;
    let agent_id = list::identifier(&request, "agentId")?;
    let format = PageFormat::of(&request, limit)?;
    let from = list::text_cursor(&request, |text| parse(text, group))?;
    let mut period = whole(recent_period(&request, &deps.pool).await?, group)?;
    let mut from_agent = None;
    match from {
        Some(UsagePosition::At(at)) => period.from = period.from.max(at),
        Some(UsagePosition::Agent(agent_id)) => from_agent = Some(agent_id),
        None => {}
    }
    let filter = UsageFilter {
        organization_id: caller.organization_id,
        period,
        agent_id,
    };
    let rows = usage(&deps.pool, filter, group, from_agent, format.rows()).await?;
    let rows = rows.into_iter().map(|usage| Positioned {
        position: position(&usage),
        row: UsageJson::from(usage),
    });
    let body = |rows, next_cursor| Page::new(UsageRows(rows), next_cursor);
    table::respond_page(&request, format, rows.collect(), cursor, body)
}

fn group(request: &Request) -> Result<UsageGroup, Problem> {
    let Some(word) = list::parameter(request, "group") else {
        return Ok(UsageGroup::Day);
    };
    let group = UsageGroup::parse(&word);
    group.ok_or_else(|| Problem::field("group", "must be agent, day or hour"))
}

fn limit(request: &Request) -> Result<i64, Problem> {
    let Some(text) = list::parameter(request, "limit") else {
        return Ok(MAX_ROWS);
    };
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=MAX_ROWS).contains(limit))
        .ok_or_else(|| Problem::field("limit", "must be a number from 1 to 1000"))
}

/// The whole hours or days of a period that is not too long.
fn whole(period: Period, group: UsageGroup) -> Result<Period, Problem> {
    let (max_days, message) = match group {
        UsageGroup::Hour => (
            MAX_DAYS_BY_HOUR,
            "must be at most 31 days after `from` if hours are grouped",
        ),
        UsageGroup::Day | UsageGroup::Agent => (MAX_DAYS, "must be at most 400 days after `from`"),
    };
    if period.length() > TimeDelta::days(max_days) {
        return Err(Problem::field("to", message));
    }
    Ok(match group {
        UsageGroup::Hour => hours_around(period),
        UsageGroup::Day | UsageGroup::Agent => days_around(period),
    })
}

fn position(usage: &Usage) -> UsagePosition {
    match (usage.at, usage.agent_id) {
        (Some(at), _) => UsagePosition::At(at),
        (None, agent_id) => UsagePosition::Agent(agent_id.unwrap_or(AgentId::new(Uuid::nil()))),
    }
}

fn cursor(position: &UsagePosition) -> String {
    match position {
        UsagePosition::At(at) => format!("t.{}", at.timestamp_micros()),
        UsagePosition::Agent(agent_id) => format!("a.{agent_id}"),
    }
}

/// The position in a cursor of the same group.
fn parse(text: &str, group: UsageGroup) -> Option<UsagePosition> {
    if group == UsageGroup::Agent {
        return Some(UsagePosition::Agent(text.strip_prefix("a.")?.parse().ok()?));
    }
    list::cursor_time(text.strip_prefix("t.")?).map(UsagePosition::At)
}
