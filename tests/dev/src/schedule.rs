//! Computes when a schedule of the template is due: `rate(..)` and the six fields of AWS'
//! `cron(..)`, in UTC.

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};

/// A parsed schedule expression.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// A fixed interval, counted from midnight of 1 January 1970.
    Rate(TimeDelta),
    Cron(Box<cron::Schedule>),
}

impl Schedule {
    /// Parses an expression. Fields out of range are an error.
    pub fn parse(expression: &str) -> Result<Self> {
        Self::parse_expression(expression).with_context(|| format!("the schedule {expression:?}"))
    }

    fn parse_expression(expression: &str) -> Result<Self> {
        let Some((kind, rest)) = expression.trim().split_once('(') else {
            bail!("must be rate(..) or cron(..)");
        };
        let inner = rest.strip_suffix(')').context("has no closing bracket")?;
        match kind {
            "rate" => rate(inner),
            "cron" if inner.split_whitespace().count() != 6 => bail!("needs six fields"),
            // The crate expects a leading seconds field. Otherwise it counts as AWS does: Sunday is
            // 1.
            "cron" => Ok(Self::Cron(Box::new(cron::Schedule::from_str(&format!(
                "0 {inner}"
            ))?))),
            _ => bail!("must be rate(..) or cron(..)"),
        }
    }

    /// The first due time after `after`. `None` if no time of a cron expression lies in the future.
    #[must_use]
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Rate(every) => {
                let seconds = every.num_seconds();
                let due = (after.timestamp().div_euclid(seconds) + 1) * seconds;
                DateTime::from_timestamp(due, 0)
            }
            Self::Cron(schedule) => schedule.after(&after).next(),
        }
    }
}

fn rate(text: &str) -> Result<Schedule> {
    let (number, unit) = text
        .trim()
        .split_once(' ')
        .context("a rate must be a number and a unit")?;
    let number: i64 = number.parse().context("a rate must begin with a number")?;
    let every = match unit.trim() {
        "minute" | "minutes" => TimeDelta::try_minutes(number),
        "hour" | "hours" => TimeDelta::try_hours(number),
        "day" | "days" => TimeDelta::try_days(number),
        _ => bail!("the unit of a rate must be minutes, hours or days"),
    };
    every
        .filter(|every| *every > TimeDelta::zero())
        .map(Schedule::Rate)
        .context("a rate must be positive")
}

/// The event that a schedule delivers at `due`: its input with the Scheduler's context attribute
/// replaced.
pub fn event(input: Option<&str>, due: DateTime<Utc>) -> Result<serde_json::Value> {
    let at = due.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let text = input
        .unwrap_or("{}")
        .replace("<aws.scheduler.scheduled-time>", &at);
    serde_json::from_str(&text).context("the input of the schedule is not JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, after: &str) -> String {
        let after = after.parse().unwrap();
        let due = Schedule::parse(expression).unwrap().next(after).unwrap();
        due.format("%a %Y-%m-%dT%H:%M:%SZ").to_string()
    }

    #[test]
    fn next_returns_the_first_due_time_after_the_argument() {
        for (expression, after, expected) in [
            (
                "cron(0 * * * ? *)",
                "2026-11-02T12:00:00Z",
                "Mon 2026-11-02T13:00:00Z",
            ),
            (
                "cron(0 * * * ? *)",
                "2026-11-02T12:59:59Z",
                "Mon 2026-11-02T13:00:00Z",
            ),
            (
                "cron(0 * * * ? *)",
                "2026-12-31T23:30:00Z",
                "Fri 2027-01-01T00:00:00Z",
            ),
            (
                "cron(0/15 * * * ? *)",
                "2026-11-02T12:16:00Z",
                "Mon 2026-11-02T12:30:00Z",
            ),
            (
                "cron(30 8 ? * 2 *)",
                "2026-11-02T12:00:00Z",
                "Mon 2026-11-09T08:30:00Z",
            ),
            (
                "cron(30 8 ? * MON-FRI *)",
                "2026-11-06T12:00:00Z",
                "Mon 2026-11-09T08:30:00Z",
            ),
            (
                "cron(0 0 1 * ? *)",
                "2026-11-02T12:00:00Z",
                "Tue 2026-12-01T00:00:00Z",
            ),
            (
                "rate(1 minute)",
                "2026-11-02T12:00:00Z",
                "Mon 2026-11-02T12:01:00Z",
            ),
            (
                "rate(5 minutes)",
                "2026-11-02T12:01:07Z",
                "Mon 2026-11-02T12:05:00Z",
            ),
            (
                "rate(1 hour)",
                "2026-11-02T12:01:07Z",
                "Mon 2026-11-02T13:00:00Z",
            ),
        ] {
            assert_eq!(next(expression, after), expected, "{expression}");
        }
    }

    #[test]
    fn invalid_expressions_are_refused() {
        for expression in [
            "",
            "hourly",
            "rate(0 minutes)",
            "rate(5)",
            "rate(1 fortnight)",
            "cron(0 * * * ?)",
            "cron(61 * * * ? *)",
            "cron(0 * * * ? *",
            "at(2026-11-02T12:00:00)",
        ] {
            assert!(Schedule::parse(expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn event_contains_the_scheduled_time() {
        let due = "2026-11-02T13:00:00Z".parse().unwrap();
        let input = r#"{"scheduledTime":"<aws.scheduler.scheduled-time>"}"#;
        let filled = event(Some(input), due).unwrap();
        assert_eq!(filled["scheduledTime"], "2026-11-02T13:00:00Z");
    }
}
