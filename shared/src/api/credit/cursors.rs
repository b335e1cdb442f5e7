//! The cursors of credit's lists. Owns: their texts.

use std::str::{FromStr, Split};

use chrono::{DateTime, Utc};

use crate::api::list::cursor_time;
use crate::domain::history::{
    AgentPosition, ChargeKey, ChargeLinePosition, HistoryPosition, OtherPosition,
};
use crate::domain::ids::SpanId;

/// Parts of a cursor, separated by dots.
struct Parts<'a>(Split<'a, char>);

impl<'a> Parts<'a> {
    fn new(text: &'a str) -> Self {
        Self(text.split('.'))
    }

    fn parse<T: FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }

    fn time(&mut self) -> Option<DateTime<Utc>> {
        cursor_time(self.0.next()?)
    }

    fn other(&mut self) -> Option<OtherPosition> {
        Some(OtherPosition {
            created_at: self.time()?,
            id: self.parse()?,
        })
    }

    fn key(&mut self) -> Option<ChargeKey> {
        Some(ChargeKey {
            period_start: self.time()?,
            span: SpanId::new(self.parse()?),
        })
    }

    /// `value`, if nothing is left.
    fn end<T>(mut self, value: T) -> Option<T> {
        self.0.next().is_none().then_some(value)
    }
}

fn other_text(position: &OtherPosition) -> String {
    format!("{}.{}", position.created_at.timestamp_micros(), position.id)
}

fn key_text(key: &ChargeKey) -> String {
    format!("{}.{}", key.period_start.timestamp_micros(), key.span.get())
}

/// `h.<entry>.<microseconds>.<id>`, with `-` for what there is no more of.
pub fn history_text(position: &HistoryPosition) -> String {
    let entry = position
        .entry
        .map_or_else(|| "-".to_owned(), |entry| entry.to_string());
    let other = position
        .other
        .as_ref()
        .map_or_else(|| "-".to_owned(), other_text);
    format!("h.{entry}.{other}")
}

pub fn parse_history(text: &str) -> Option<HistoryPosition> {
    let rest = text.strip_prefix("h.")?;
    let (entry, other) = rest.split_once('.')?;
    let entry = match entry {
        "-" => None,
        entry => Some(entry.parse().ok()?),
    };
    let other = match other {
        "-" => None,
        other => {
            let mut parts = Parts::new(other);
            let other = parts.other()?;
            Some(parts.end(other)?)
        }
    };
    Some(HistoryPosition { entry, other })
}

/// `c.<microseconds>.<span>` or `o.<microseconds>.<id>`.
pub fn agent_text(position: &AgentPosition) -> String {
    match position {
        AgentPosition::Charge(key) => format!("c.{}", key_text(key)),
        AgentPosition::Other(other) => format!("o.{}", other_text(other)),
    }
}

pub fn parse_agent(text: &str) -> Option<AgentPosition> {
    let (kind, rest) = text.split_once('.')?;
    let mut parts = Parts::new(rest);
    let position = match kind {
        "c" => AgentPosition::Charge(parts.key()?),
        "o" => AgentPosition::Other(parts.other()?),
        _ => return None,
    };
    parts.end(position)
}

/// `l.<microseconds>.<span>.<microseconds>.<agent>`.
pub fn line_text(position: &ChargeLinePosition) -> String {
    let created_at = position.agent_created_at.timestamp_micros();
    format!(
        "l.{}.{created_at}.{}",
        key_text(&position.key),
        position.agent_id
    )
}

pub fn parse_line(text: &str) -> Option<ChargeLinePosition> {
    let mut parts = Parts::new(text.strip_prefix("l.")?);
    let position = ChargeLinePosition {
        key: parts.key()?,
        agent_created_at: parts.time()?,
        agent_id: parts.parse()?,
    };
    parts.end(position)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::{AgentId, TransactionId};

    fn key() -> ChargeKey {
        ChargeKey {
            period_start: "2026-03-01T10:20:30.123456Z".parse().expect("a time"),
            span: SpanId::new(42),
        }
    }

    fn other() -> OtherPosition {
        OtherPosition {
            created_at: key().period_start,
            id: TransactionId::new(Uuid::from_u128(7)),
        }
    }

    #[test]
    fn parsing_reverses_writing() {
        for entry in [None, Some(1), Some(i64::MAX)] {
            for other in [None, Some(other()), Some(OtherPosition::newest())] {
                let position = HistoryPosition { entry, other };
                assert_eq!(parse_history(&history_text(&position)), Some(position));
            }
        }
        for position in [
            AgentPosition::Charge(key()),
            AgentPosition::Other(other()),
            AgentPosition::newest(),
        ] {
            assert_eq!(parse_agent(&agent_text(&position)), Some(position));
        }
        let line = ChargeLinePosition {
            agent_created_at: key().period_start,
            agent_id: AgentId::new(Uuid::from_u128(9)),
            key: key(),
        };
        assert_eq!(parse_line(&line_text(&line)), Some(line));
    }

    #[test]
    fn other_texts_are_no_cursors() {
        for text in [
            "",
            "h",
            "h.",
            "h.1",
            "h.x.-",
            "h.1.2",
            "h.1.2.3",
            "c.1",
            "c.1.x",
            "c.1.2.3",
            "o.1.2",
            "x.1.2",
            "l.1.2.3",
            "c.9223372036854775807.1",
            "c.-9223372036854775808.1",
        ] {
            assert_eq!(parse_history(text), None, "{text}");
            assert_eq!(parse_agent(text), None, "{text}");
            assert_eq!(parse_line(text), None, "{text}");
        }
    }
}
