//! `GET /api/v1/milady/agents/{agentId}/logs`.

use chrono::{DateTime, TimeDelta, Utc};
use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::reach::Deps;
use crate::api::json::Date;
use crate::api::problem::Problem;
use crate::api::{json, list, path};
use crate::app::agent_logs::{Part, Since, agent_logs};

/// Lines, when the client asks for none in particular and at most.
const LINES: u32 = 200;
const MOST_LINES: u32 = 5_000;

/// Answers what the agent's container wrote last.
///
/// # Errors
/// 400, 401, 403, 404, 409 for an agent without a container, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent_id = path::uuid(&request, "agentId")?;
    let part = Part {
        tail: lines(&request, "tail")?,
        since: since(&request)?,
    };
    let agent = (caller.organization_id, agent_id);
    let logs = agent_logs(&deps.pool, &deps.fleet, agent, part).await?;
    let data = json!({"logs": logs.text, "fetchedAt": Date(logs.fetched_at)});
    json::ok(&json!({"success": true, "data": data}))
}

fn lines(request: &Request, name: &'static str) -> Result<u32, Problem> {
    let Some(text) = list::parameter(request, name) else {
        return Ok(LINES);
    };
    let lines = text.parse().ok();
    lines
        .filter(|lines| (1..=MOST_LINES).contains(lines))
        .ok_or_else(|| Problem::field(name, "must be a number from 1 to 5000"))
}

fn since(request: &Request) -> Result<Option<Since>, Problem> {
    let Some(text) = list::parameter(request, "since") else {
        return Ok(None);
    };
    let since = read_since(&text);
    let refused = || {
        Problem::field(
            "since",
            "must be an ISO 8601 date or an age such as 90s, 30m, 1h, 7d",
        )
    };
    since.map(Some).ok_or_else(refused)
}

/// A date, or how long ago.
fn read_since(text: &str) -> Option<Since> {
    if let Ok(at) = text.parse::<DateTime<Utc>>() {
        return Some(Since::At(at));
    }
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: i64 = number.parse().ok()?;
    let ago = match unit {
        "s" => TimeDelta::try_seconds(number),
        "m" => TimeDelta::try_minutes(number),
        "h" => TimeDelta::try_hours(number),
        "d" => TimeDelta::try_days(number),
        _ => None,
    };
    let most = TimeDelta::days(36_500);
    ago.filter(|ago| *ago <= most).map(Since::Ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_ages_are_read() {
        let at: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().expect("a time");
        for (text, since) in [
            ("2026-03-01T12:00:00Z", Some(Since::At(at))),
            ("2026-03-01T13:00:00.000+01:00", Some(Since::At(at))),
            ("90s", Some(Since::Ago(TimeDelta::seconds(90)))),
            ("1h", Some(Since::Ago(TimeDelta::hours(1)))),
            ("7d", Some(Since::Ago(TimeDelta::days(7)))),
            ("", None),
            ("h", None),
            ("-1h", None),
            ("1.5h", None),
            ("1w", None),
            ("1€", None),
            ("99999999999999999999s", None),
            ("9223372036854775807s", None),
            ("yesterday", None),
        ] {
            assert_eq!(read_since(text), since, "{text}");
        }
    }
}
