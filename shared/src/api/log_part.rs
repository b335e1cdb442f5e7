//! Which part of a container's log a client asks for. Owns: its form in a query and in a body.

use chrono::{DateTime, TimeDelta, Utc};
use lambda_http::Request;
use schemars::json_schema;

use super::body::Fields;
use super::list;
use super::problem::Problem;
use super::schema::schemas;
use crate::app::agent::logs::{LogPart, Since};

const DEFAULT_LINES: u32 = 200;
pub(super) const MAX_LINES: i32 = 5_000;
/// A hundred years: a date that is further back could not be represented.
const MAX_AGE: TimeDelta = TimeDelta::days(36_500);

const LINES_RULE: &str = "must be a number from 1 to 5000";
const SINCE_RULE: &str = "must be an ISO 8601 date or an age such as 90s, 30m, 1h, 7d";

/// A number of lines in a query.
#[derive(Clone, Copy, Debug)]
pub struct LogLines;

schemas! {
    LogLines, "LogLines", json_schema!({
        "type": "integer", "minimum": 1, "maximum": MAX_LINES, "default": DEFAULT_LINES,
    });
}

/// The part that a query asks for. `lines` is the name of the parameter with the number of lines.
///
/// # Errors
/// 400.
pub fn of_query(request: &Request, lines: &'static str) -> Result<LogPart, Problem> {
    let tail = match list::parameter(request, lines) {
        None => DEFAULT_LINES,
        Some(text) => text
            .parse()
            .ok()
            .filter(|lines| (1..=MAX_LINES).contains(lines))
            .and_then(|lines| u32::try_from(lines).ok())
            .ok_or_else(|| Problem::field(lines, LINES_RULE))?,
    };
    let since = match list::parameter(request, "since") {
        None => None,
        Some(text) => {
            let since = parse_since(&text);
            Some(since.ok_or_else(|| Problem::field("since", SINCE_RULE))?)
        }
    };
    Ok(LogPart { tail, since })
}

/// The part that a body asks for with `lines` and `since`.
pub fn of_body(fields: &mut Fields) -> LogPart {
    let lines = fields.optional_integer("lines", LINES_RULE, 1..=MAX_LINES);
    let tail = lines.and_then(|lines| u32::try_from(lines).ok());
    let is_since = |text: &str| parse_since(text).is_some();
    let since = fields.optional_text("since", SINCE_RULE, is_since);
    LogPart {
        tail: tail.unwrap_or(DEFAULT_LINES),
        since: since.and_then(|text| parse_since(&text)),
    }
}

/// A date, or an age such as `90s`, `30m`, `1h`, `7d`.
fn parse_since(text: &str) -> Option<Since> {
    if let Ok(at) = text.parse::<DateTime<Utc>>() {
        return Some(Since::At(at));
    }
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: i64 = number.parse().ok()?;
    let age = match unit {
        "s" => TimeDelta::try_seconds(number),
        "m" => TimeDelta::try_minutes(number),
        "h" => TimeDelta::try_hours(number),
        "d" => TimeDelta::try_days(number),
        _ => None,
    };
    age.filter(|age| *age <= MAX_AGE).map(Since::Ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_date_or_an_age() {
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
            assert_eq!(parse_since(text), since, "{text}");
        }
    }
}
