//! Query parameters that several lists have. Owns: their form and their defaults.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use lambda_http::Request;

use super::list;
use super::problem::{FieldError, Problem};
use super::route::Parameter;
use super::schema::TimeText;
use crate::db::Database;
use crate::db::clock::billing_clock;
use crate::domain::agent::AgentStatus;
use crate::domain::history::Period;

/// As much of a wrong value is repeated in the refusal.
const MAX_SHOWN_CHARS: usize = 64;

/// `status`: the status of an agent.
///
/// # Errors
/// 400.
pub fn agent_status(request: &Request) -> Result<Option<AgentStatus>, Problem> {
    let Some(word) = list::parameter(request, "status") else {
        return Ok(None);
    };
    let status = AgentStatus::parse_or_unknown(&word);
    if status == AgentStatus::Unknown {
        let shortened: String = word.chars().take(MAX_SHOWN_CHARS).collect();
        let error = FieldError {
            field: "status",
            message: "must be pending, provisioning, running, stopped, disconnected or error"
                .into(),
        };
        let message = format!("Invalid status filter: {shortened}");
        return Err(Problem::bad_value(message, error));
    }
    Ok(Some(status))
}

/// A time, or a day that begins at it.
///
/// # Errors
/// 400.
pub fn time(request: &Request, name: &'static str) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(text) = list::parameter(request, name) else {
        return Ok(None);
    };
    let time = parse(&text);
    time.map(Some).ok_or_else(|| {
        Problem::field(
            name,
            "must be a time like 2026-11-01T00:00:00Z or a day like 2026-11-01",
        )
    })
}

/// A time of the years 1900 to 9999.
fn parse(text: &str) -> Option<DateTime<Utc>> {
    let time = if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        time.to_utc()
    } else {
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        day.and_time(NaiveTime::MIN).and_utc()
    };
    Some(time).filter(|time| Period::ever().contains(*time))
}

pub const FROM: Parameter =
    Parameter::query::<TimeText>("from", "The start of the period: a time or a day in UTC.")
        .example(r#""2026-11-01T00:00:00Z""#);

pub const TO: Parameter = Parameter::query::<TimeText>(
    "to",
    "The end of the period, not in it: a time or a day in UTC.",
)
.example(r#""2026-11-15T00:00:00Z""#);

const DEFAULT_LENGTH: TimeDelta = TimeDelta::days(30);

/// `from` and `to` of a list that has all rows without them.
///
/// # Errors
/// 400.
pub fn any_period(request: &Request) -> Result<Period, Problem> {
    let ever = Period::ever();
    ordered(Period {
        from: time(request, "from")?.unwrap_or(ever.from).max(ever.from),
        to: time(request, "to")?.unwrap_or(ever.to).min(ever.to),
    })
}

/// `from` and `to` of a report: the last 30 days without them.
///
/// # Errors
/// 400, 503.
pub async fn recent_period(request: &Request, pool: &Database) -> Result<Period, Problem> {
    let (from, to) = (time(request, "from")?, time(request, "to")?);
    let to = match to {
        Some(to) => to,
        None => billing_clock(&mut pool.statements()).await?,
    };
    ordered(Period {
        from: from.unwrap_or(to - DEFAULT_LENGTH),
        to,
    })
}

fn ordered(period: Period) -> Result<Period, Problem> {
    if period.from < period.to {
        Ok(period)
    } else {
        Err(Problem::field("from", "must be before `to`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_days_of_the_years_1900_to_9999_are_accepted() {
        for (text, expected) in [
            ("2026-11-01T10:20:30Z", Some("2026-11-01T10:20:30Z")),
            (
                "2026-11-01T10:20:30.123456Z",
                Some("2026-11-01T10:20:30.123456Z"),
            ),
            ("2026-11-01T10:20:30+02:00", Some("2026-11-01T08:20:30Z")),
            ("2026-11-01", Some("2026-11-01T00:00:00Z")),
            ("1900-01-01", Some("1900-01-01T00:00:00Z")),
            ("9999-12-31", Some("9999-12-31T00:00:00Z")),
            ("1899-12-31", None),
            ("10000-01-01", None),
            ("+12026-11-01", None),
            ("2026-02-30", None),
            ("2026-11-01T10:20", None),
            ("yesterday", None),
            ("", None),
        ] {
            let expected = expected.map(|text| text.parse::<DateTime<Utc>>().expect("a time"));
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
