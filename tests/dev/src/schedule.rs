//! When a schedule of the template is due: `rate(..)` and the six fields of AWS' `cron(..)`, in UTC.

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};

/// A schedule expression that was understood.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// Every so often, counted from midnight of 1 January 1970.
    Rate(TimeDelta),
    /// At the times of a cron expression.
    Cron(Box<cron::Schedule>),
}

impl Schedule {
    /// Understands an expression.
    ///
    /// # Errors
    /// When it is neither form, or a field is out of range.
    pub fn parse(expression: &str) -> Result<Self> {
        Self::understand(expression).with_context(|| format!("the schedule {expression:?}"))
    }

    fn understand(expression: &str) -> Result<Self> {
        let Some((kind, rest)) = expression.trim().split_once('(') else {
            bail!("is neither rate(..) nor cron(..)");
        };
        let inner = rest.strip_suffix(')').context("has no closing bracket")?;
        match kind {
            "rate" => rate(inner),
            "cron" if inner.split_whitespace().count() != 6 => bail!("needs six fields"),
            // The crate wants seconds in front and otherwise counts as AWS does, Sunday being 1.
            "cron" => Ok(Self::Cron(Box::new(cron::Schedule::from_str(&format!(
                "0 {inner}"
            ))?))),
            _ => bail!("is neither rate(..) nor cron(..)"),
        }
    }

    /// The first time it is due after `after`; none for a cron expression that lies in the past.
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
        .context("a rate is a number and a unit")?;
    let number: i64 = number.parse().context("a rate begins with a number")?;
    let every = match unit.trim() {
        "minute" | "minutes" => TimeDelta::try_minutes(number),
        "hour" | "hours" => TimeDelta::try_hours(number),
        "day" | "days" => TimeDelta::try_days(number),
        _ => bail!("the unit of a rate is minutes, hours or days"),
    };
    every
        .filter(|every| *every > TimeDelta::zero())
        .map(Schedule::Rate)
        .context("a rate is more than nothing")
}

/// The event a schedule delivers at `due`: its input with the Scheduler's context attribute filled in.
///
/// # Errors
/// When the input is not JSON.
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
    fn the_next_time_is_after_the_given_one() {
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
    fn what_is_not_a_schedule_is_refused() {
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
    fn the_scheduled_time_is_filled_in() {
        let due = "2026-11-02T13:00:00Z".parse().unwrap();
        let input = r#"{"scheduledTime":"<aws.scheduler.scheduled-time>"}"#;
        let filled = event(Some(input), due).unwrap();
        assert_eq!(filled["scheduledTime"], "2026-11-02T13:00:00Z");
    }
}
