//! Compares a JSON value with a shape: JSON that has a word for a type where the value has its data.
//!
//! | shape | value |
//! |---|---|
//! | `"text"`, `"id"`, `"time"`, `"url"`, `"count"`, `"integer"`, `"number"`, `"money"`, `"flag"`, `"object"`, `"any"` | of that type |
//! | `"text?"` | null, too |
//! | `"=one\|other"` | one of these texts |
//! | `"@name"` | the shape of this name |
//! | `[shape]`, `[shape, "*"]` | a list, which may be empty in the second form |
//! | `{"name": shape, "name?": shape}` | an object with at least these members; the second may be absent |
//! | `{"...": "@name", ..}` | an object with the members of that shape, too |
//! | everything else | the same |

use std::sync::LazyLock;

use regex::Regex;
use rust_decimal::Decimal;
use serde_json::{Map, Number, Value};
use uuid::Uuid;

const MAX_DECIMALS: u32 = 6;

static TIME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$").expect("a pattern")
});
/// Also a date in another form.
static ANY_DATE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\d{4}-\d{2}-\d{2}([T ]\d|$)").expect("a pattern"));
static CAMEL_CASE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[a-z][A-Za-z0-9]*$").expect("a pattern"));

/// Where `value` differs from `shape`.
pub(super) fn differences(
    shapes: &Map<String, Value>,
    shape: &Value,
    value: &Value,
) -> Vec<String> {
    let mut comparison = Comparison {
        shapes,
        differences: Vec::new(),
    };
    comparison.compare(shape, value, "");
    comparison.check_conventions(value, "");
    comparison.differences
}

struct Comparison<'a> {
    shapes: &'a Map<String, Value>,
    differences: Vec<String>,
}

impl Comparison<'_> {
    fn add(&mut self, at: &str, difference: &str) {
        self.differences.push(format!("{at}: {difference}"));
    }

    fn compare(&mut self, shape: &Value, value: &Value, at: &str) {
        match shape {
            Value::String(word) => self.compare_word(word, value, at),
            Value::Array(shapes) => {
                let Some(values) = value.as_array() else {
                    return self.add(at, "is not a list");
                };
                if values.is_empty() && shapes.len() == 1 {
                    self.add(at, "is empty: nothing was compared");
                }
                for (index, value) in values.iter().enumerate() {
                    self.compare(&shapes[0], value, &format!("{at}[{index}]"));
                }
            }
            Value::Object(members) => self.compare_members(members, value, at),
            literal => {
                if literal != value {
                    self.add(at, &format!("is {value} and not {literal}"));
                }
            }
        }
    }

    fn compare_word(&mut self, word: &str, value: &Value, at: &str) {
        if let Some(name) = word.strip_prefix('@') {
            let shapes = self.shapes;
            return self.compare(&shapes[name], value, at);
        }
        let is_right = if let Some(texts) = word.strip_prefix('=') {
            value
                .as_str()
                .is_some_and(|text| texts.split('|').any(|allowed| allowed == text))
        } else if let Some(kind) = word.strip_suffix('?') {
            value.is_null() || is_of_kind(kind, value)
        } else {
            is_of_kind(word, value)
        };
        if !is_right {
            self.add(at, &format!("is {value} and not {word}"));
        }
    }

    fn compare_members(&mut self, members: &Map<String, Value>, value: &Value, at: &str) {
        let Some(object) = value.as_object() else {
            return self.add(at, "is not an object");
        };
        for (name, shape) in members {
            if name == "..." {
                self.compare(shape, value, at);
                continue;
            }
            let (name, is_optional) = match name.strip_suffix('?') {
                Some(name) => (name, true),
                None => (name.as_str(), false),
            };
            let at = format!("{at}.{name}");
            match object.get(name) {
                Some(member) => self.compare(shape, member, &at),
                None if is_optional => {}
                None => self.add(&at, "is missing"),
            }
        }
    }

    /// What holds for every answer: how members are named, and how dates and numbers are written.
    fn check_conventions(&mut self, value: &Value, at: &str) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let at = format!("{at}.{name}");
                    // Clients know the token's members in snake case.
                    if !CAMEL_CASE.is_match(name) && !name.starts_with("token_") {
                        self.add(&at, "is not in camel case");
                    }
                    self.check_conventions(member, &at);
                }
            }
            Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    self.check_conventions(value, &format!("{at}[{index}]"));
                }
            }
            // A log begins with a date and goes on.
            Value::String(text)
                if text.len() < 40 && ANY_DATE.is_match(text) && !TIME.is_match(text) =>
            {
                self.add(at, &format!("is a date in another form: {text}"));
            }
            Value::Number(number) if !has_few_decimals(number) => {
                self.add(at, &format!("has too many decimals: {number}"));
            }
            _ => {}
        }
    }
}

fn is_of_kind(kind: &str, value: &Value) -> bool {
    let is_text = |accept: &dyn Fn(&str) -> bool| value.as_str().is_some_and(accept);
    match kind {
        "any" => true,
        "text" => value.is_string(),
        "id" => is_text(&|text| Uuid::try_parse(text).is_ok()),
        "time" => is_text(&|text| TIME.is_match(text)),
        "url" => is_text(&|text| text.starts_with("https://")),
        "count" => value.is_u64(),
        "integer" => value.is_i64(),
        "number" | "money" => value.is_number(),
        "flag" => value.is_boolean(),
        "object" => value.is_object(),
        other => panic!("no type has the name {other}"),
    }
}

fn has_few_decimals(number: &Number) -> bool {
    let digits = number.to_string();
    let decimal = digits
        .parse()
        .or_else(|_| Decimal::from_scientific(&digits));
    decimal.is_ok_and(|decimal: Decimal| decimal.normalize().scale() <= MAX_DECIMALS)
}

#[test]
fn a_difference_between_an_answer_and_its_shape_is_found() {
    let shape = serde_json::json!({"...": "@base", "at": "time", "one": "=a|b", "rows": [{"n": "count"}],
        "gone?": "flag", "null": "text?"});
    let shapes = serde_json::json!({"base": {"id": "id", "amount": "money"}});
    let shapes = shapes.as_object().expect("shapes");
    let right = serde_json::json!({"id": Uuid::nil(), "amount": -0.000_001, "at": "2026-03-01T00:00:00.000Z",
        "one": "b", "rows": [{"n": 1}], "null": null, "more": 7});
    assert_eq!(differences(shapes, &shape, &right), [""; 0]);
    for (member, wrong, difference) in [
        ("id", serde_json::json!("7"), ".id: is"),
        ("amount", serde_json::json!("1"), ".amount: is"),
        (
            "amount",
            serde_json::json!(0.123_456_7),
            ".amount: has too many",
        ),
        ("at", serde_json::json!("2026-03-01T00:00:00Z"), ".at: is"),
        ("at", Value::Null, ".at: is null"),
        ("one", serde_json::json!("c"), ".one: is"),
        ("rows", serde_json::json!([]), ".rows: is empty"),
        (
            "rows",
            serde_json::json!([{"n": 1.5}]),
            ".rows[0].n: is 1.5",
        ),
        (
            "rows",
            serde_json::json!([{"m": 1}]),
            ".rows[0].n: is missing",
        ),
        ("gone", serde_json::json!(1), ".gone: is 1"),
        ("null", serde_json::json!(1), ".null: is 1"),
        ("snake_case", serde_json::json!(1), ".snake_case: is not"),
        ("more", serde_json::json!("2026-03-01"), ".more: is a date"),
    ] {
        let mut value = right.clone();
        value[member] = wrong;
        let found = differences(shapes, &shape, &value);
        assert!(
            found.iter().any(|text| text.starts_with(difference)),
            "{member}: {found:?}"
        );
    }
}
