//! Event patterns, as far as the rules of the template need them.

use anyhow::{Result, bail};
use serde_json::{Map, Value};

/// The top-level fields of an event.
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

/// A parsed pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Vec<(String, Node)>);

#[derive(Clone, Debug)]
enum Node {
    /// A field with fields of its own.
    Fields(Vec<(String, Node)>),
    /// A field that must match one of these.
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
    pub(super) fn parse(pattern: &Value) -> Result<Self> {
        let Value::Object(fields) = pattern else {
            bail!("a pattern must be an object")
        };
        for field in fields.keys() {
            if !FIELDS.contains(&field.as_str()) {
                bail!("events have no field {field}");
            }
        }
        nodes(fields).map(Self)
    }

    pub(super) fn matches(&self, event: &Value) -> bool {
        fields_match(&self.0, Some(event))
    }
}

fn nodes(fields: &Map<String, Value>) -> Result<Vec<(String, Node)>> {
    if fields.is_empty() {
        bail!("a pattern must have fields");
    }
    fields
        .iter()
        .map(|(name, value)| Ok((name.clone(), node(name, value)?)))
        .collect()
}

fn node(name: &str, value: &Value) -> Result<Node> {
    match value {
        _ if name.starts_with('$') => bail!("the pattern field {name} is not supported"),
        Value::Object(fields) => nodes(fields).map(Node::Fields),
        Value::Array(matchers) if !matchers.is_empty() => {
            let matchers: Result<_> = matchers.iter().map(matcher).collect();
            matchers.map(Node::AnyOf)
        }
        _ => bail!("{name} must be an object or a list of matchers"),
    }
}

fn matcher(value: &Value) -> Result<Matcher> {
    let (key, argument) = match value {
        Value::Array(_) => bail!("a matcher cannot be a list"),
        Value::Object(matcher) => match matcher.iter().next() {
            Some(only) if matcher.len() == 1 => only,
            _ => bail!("{value} is not a matcher"),
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
        _ => bail!("the matcher {value} is not supported"),
    }
}

fn fields_match(fields: &[(String, Node)], value: Option<&Value>) -> bool {
    // A list of objects matches if one of them does.
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
            (Self::Exists(must_exist), field) => *must_exist == field.is_some(),
            (_, None) => false,
            // A list matches if one of its elements does.
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
            Self::Exists(must_exist) => *must_exist,
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
    fn event_matches_if_each_field_matches_one_matcher() {
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
    fn event_with_a_field_that_matches_no_matcher_does_not_match() {
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
    fn unsupported_patterns_are_refused() {
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
