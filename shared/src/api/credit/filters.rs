//! The parameters `from` and `to` of credit's lists. Owns: their form and their defaults.

use chrono::TimeDelta;
use lambda_http::Request;

use crate::api::filter::time;
use crate::api::problem::Problem;
use crate::api::route::Parameter;
use crate::api::schema::TimeText;
use crate::db::Database;
use crate::db::clock::billing_clock;
use crate::domain::history::Period;

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
