//! Event patterns, as far as rules here use them.

use anyhow::{Result, bail};
use serde_json::{Map, Value};

/// The fields an event has at its top.
const FIELDS: [&str; 9] = [
    "account",
    "detail",
    "detail-type",
    "id",
    "region",
    "resources",
    "source",
    "time",
    "version",
];

/// A pattern that was understood.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Vec<(String, Node)>);

#[derive(Clone, Debug)]
enum Node {
    /// A field that has fields of its own.
    Fields(Vec<(String, Node)>),
    /// A field one of these must match.
    AnyOf(Vec<Matcher>),
}

#[derive(Clone, Debug)]
enum Matcher {
    Exactly(Value),
    Prefix(String),
    Suffix(String),
    Exists(bool),
    AnythingBut(Vec<Value>),
}

impl Pattern {
    /// Understands a pattern.
    pub(super) fn parse(pattern: &Value) -> Result<Self> {
        let Value::Object(fields) = pattern else {
            bail!("a pattern is an object")
        };
        for field in fields.keys() {
            if !FIELDS.contains(&field.as_str()) {
                bail!("events have no field {field}");
            }
        }
        nodes(fields).map(Self)
    }

    /// Whether an event matches.
    pub(super) fn matches(&self, event: &Value) -> bool {
        fields_match(&self.0, Some(event))
    }
}

fn nodes(fields: &Map<String, Value>) -> Result<Vec<(String, Node)>> {
    if fields.is_empty() {
        bail!("a pattern without fields matches nothing");
    }
    fields
        .iter()
        .map(|(name, value)| Ok((name.clone(), node(name, value)?)))
        .collect()
}

fn node(name: &str, value: &Value) -> Result<Node> {
    match value {
        _ if name.starts_with('$') => bail!("{name} is not understood here"),
        Value::Object(fields) => nodes(fields).map(Node::Fields),
        Value::Array(matchers) if !matchers.is_empty() => {
            let matchers: Result<_> = matchers.iter().map(matcher).collect();
            matchers.map(Node::AnyOf)
        }
        _ => bail!("{name} must be an object or a list of what it may be"),
    }
}

fn matcher(value: &Value) -> Result<Matcher> {
    let (key, argument) = match value {
        Value::Array(_) => bail!("a list inside a list"),
        Value::Object(matcher) => match matcher.iter().next() {
            Some(only) if matcher.len() == 1 => only,
            _ => bail!("{value} is no matcher"),
        },
        exact => return Ok(Matcher::Exactly(exact.clone())),
    };
    let scalar = |value: &Value| !value.is_array() && !value.is_object();
    match (key.as_str(), argument) {
        ("prefix", Value::String(text)) => Ok(Matcher::Prefix(text.clone())),
        ("suffix", Value::String(text)) => Ok(Matcher::Suffix(text.clone())),
        ("exists", Value::Bool(exists)) => Ok(Matcher::Exists(*exists)),
        ("anything-but", Value::Array(values))
            if !values.is_empty() && values.iter().all(scalar) =>
        {
            Ok(Matcher::AnythingBut(values.clone()))
        }
        ("anything-but", value) if scalar(value) => Ok(Matcher::AnythingBut(vec![value.clone()])),
        _ => bail!("the matcher {value} is not understood here"),
    }
}

fn fields_match(fields: &[(String, Node)], value: Option<&Value>) -> bool {
    // A list of objects matches when one of them does.
    if let Some(Value::Array(elements)) = value {
        return elements
            .iter()
            .any(|element| fields_match(fields, Some(element)));
    }
    fields.iter().all(|(name, node)| {
        let field = value.and_then(|value| value.get(name));
        match node {
            Node::Fields(fields) => fields_match(fields, field),
            Node::AnyOf(matchers) => matchers.iter().any(|matcher| matcher.matches(field)),
        }
    })
}

impl Matcher {
    fn matches(&self, field: Option<&Value>) -> bool {
        match (self, field) {
            (Self::Exists(wanted), field) => *wanted == field.is_some(),
            (_, None) => false,
            // A list has what the rule asks for when one of its elements is it.
            (_, Some(Value::Array(elements))) => {
                elements.iter().any(|element| self.matches_one(element))
            }
            (_, Some(value)) => self.matches_one(value),
        }
    }

    fn matches_one(&self, value: &Value) -> bool {
        match self {
            Self::Exactly(exact) => exact == value,
            Self::Prefix(prefix) => value.as_str().is_some_and(|text| text.starts_with(prefix)),
            Self::Suffix(suffix) => value.as_str().is_some_and(|text| text.ends_with(suffix)),
            Self::Exists(wanted) => *wanted,
            Self::AnythingBut(values) => !values.contains(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event() -> Value {
        json!({
            "source": "shop", "detail-type": "order.placed", "resources": ["a", "b"],
            "detail": {"amount": 5, "to": {"city": "Oslo"}, "note": null, "lines": [{"n": 1}, {"n": 2}]},
        })
    }

    #[test]
    fn an_event_matches_when_each_named_field_is_one_of_what_is_listed() {
        for pattern in [
            json!({"source": ["shop"]}),
            json!({"source": ["store", "shop"], "detail-type": ["order.placed"]}),
            json!({"detail": {"to": {"city": ["Oslo", "Rome"]}}}),
            json!({"detail": {"amount": [5], "note": [null]}}),
            json!({"detail": {"lines": {"n": [2]}}}),
            json!({"resources": ["b"]}),
            json!({"detail-type": [{"prefix": "order."}]}),
            json!({"detail-type": [{"suffix": ".placed"}]}),
            json!({"detail": {"amount": [{"exists": true}], "gone": [{"exists": false}]}}),
            json!({"source": [{"anything-but": "store"}]}),
            json!({"source": [{"anything-but": ["store", "stall"]}]}),
        ] {
            assert!(
                Pattern::parse(&pattern).unwrap().matches(&event()),
                "{pattern}"
            );
        }
    }

    #[test]
    fn an_event_without_it_does_not_match() {
        for pattern in [
            json!({"source": ["store"]}),
            json!({"source": ["shop"], "detail-type": ["order.sent"]}),
            json!({"detail": {"amount": ["5"]}}),
            json!({"detail": {"to": {"city": [null]}}}),
            json!({"detail": {"from": {"city": ["Oslo"]}}}),
            json!({"detail": {"lines": {"n": [3]}}}),
            json!({"detail": {"amount": [{"prefix": "5"}]}}),
            json!({"detail": {"amount": [{"exists": false}]}}),
            json!({"detail": {"gone": [{"anything-but": 1}]}}),
            json!({"source": [{"anything-but": ["store", "shop"]}]}),
        ] {
            assert!(
                !Pattern::parse(&pattern).unwrap().matches(&event()),
                "{pattern}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for pattern in [
            json!([]),
            json!({}),
            json!({"Source": ["shop"]}),
            json!({"source": "shop"}),
            json!({"source": []}),
            json!({"source": [["shop"]]}),
            json!({"detail": {}}),
            json!({"detail": {"amount": [{"numeric": [">", 1]}]}}),
            json!({"detail": {"amount": [{"prefix": 5}]}}),
            json!({"source": [{"anything-but": {"prefix": "s"}}]}),
            json!({"source": [{"prefix": "s", "suffix": "p"}]}),
            json!({"detail": {"$or": [{"a": [1]}]}}),
        ] {
            assert!(Pattern::parse(&pattern).is_err(), "{pattern}");
        }
    }
}
