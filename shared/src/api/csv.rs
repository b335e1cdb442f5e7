//! Lists as CSV (RFC 4180). Owns: which requests want it, its form, and how much of it one answer holds.

use lambda_http::Request;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Map, Value};

use super::accept::weight;
use super::problem::{Problem, log_internal};
use crate::domain::payload::{MAX_PAYLOAD_BYTES, escaped_length};

/// The most rows that one answer holds.
pub const MAX_LINES: i64 = 20_000;

/// A row with the names of its members, in the order of the columns.
pub trait Columns: Serialize {
    const COLUMNS: &'static [&'static str];
}

/// Whether the client names CSV and does not prefer JSON.
#[must_use]
pub fn is_wanted(request: &Request) -> bool {
    let csv = weight(request.headers(), "text/csv");
    csv > Decimal::ZERO && csv >= weight(request.headers(), "application/json")
}

/// The header line and as many rows as one answer holds. Returns how many these are.
///
/// # Errors
/// 500 if a row has no JSON form.
pub fn encode<T: Columns>(rows: &[T]) -> Result<(String, usize), Problem> {
    let mut text = T::COLUMNS.join(",") + "\r\n";
    let mut bytes = escaped_length(&text);
    for (count, row) in rows.iter().enumerate() {
        let line = line(row)?;
        bytes += escaped_length(&line);
        if bytes > MAX_PAYLOAD_BYTES {
            return Ok((text, count));
        }
        text.push_str(&line);
    }
    Ok((text, rows.len()))
}

fn line<T: Columns>(row: &T) -> Result<String, Problem> {
    let value = serde_json::to_value(row).map_err(log_internal("row has no JSON form"))?;
    let members = match value {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let fields = T::COLUMNS
        .iter()
        .map(|column| members.get(*column).map_or_else(String::new, field));
    Ok(fields.collect::<Vec<_>>().join(",") + "\r\n")
}

fn field(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => quote(&without_formula(text)),
        Value::Number(number) => plain(&number.to_string()),
        other => quote(&other.to_string()),
    }
}

/// A number without an exponent.
fn plain(number: &str) -> String {
    match Decimal::from_scientific(number) {
        Ok(decimal) if number.contains(['e', 'E']) => decimal.to_string(),
        _ => number.to_owned(),
    }
}

/// Spreadsheets calculate a text that begins like a formula. With an apostrophe before it they show it.
fn without_formula(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

fn quote(text: &str) -> String {
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use lambda_http::Body;

    use super::*;

    #[derive(Serialize)]
    struct Row {
        name: Option<&'static str>,
        amount: Value,
    }

    impl Columns for Row {
        const COLUMNS: &'static [&'static str] = &["name", "amount"];
    }

    #[test]
    fn fields_are_quoted_and_formulas_are_text() {
        for (name, expected) in [
            (Some("plain"), "plain"),
            (None, ""),
            (Some("a, b"), "\"a, b\""),
            (Some("say \"hi\""), "\"say \"\"hi\"\"\""),
            (Some("two\r\nlines"), "\"two\r\nlines\""),
            (Some("=1+1"), "'=1+1"),
            (Some("@sum(a1,a2)"), "\"'@sum(a1,a2)\""),
            (Some("-2"), "'-2"),
            (Some("\tx"), "'\tx"),
        ] {
            let row = Row {
                name,
                amount: Value::from(-2),
            };
            let (text, count) = encode(&[row]).expect("CSV");
            assert_eq!(text, format!("name,amount\r\n{expected},-2\r\n"));
            assert_eq!(count, 1);
        }
    }

    #[test]
    fn numbers_have_no_exponent() {
        for (number, expected) in [
            ("0.000001", "0.000001"),
            ("-2.5e-5", "-0.000025"),
            ("5.0", "5.0"),
        ] {
            let amount = serde_json::from_str(number).expect("a number");
            let (text, _) = encode(&[Row { name: None, amount }]).expect("CSV");
            assert_eq!(text, format!("name,amount\r\n,{expected}\r\n"));
        }
    }

    #[test]
    fn an_answer_ends_before_it_is_too_long() {
        let long: &'static str = Box::leak("\u{1}\"é".repeat(200_000).into_boxed_str());
        let rows: Vec<Row> = std::iter::repeat_with(|| Row {
            name: Some(long),
            amount: Value::Null,
        })
        .take(5)
        .collect();
        let (text, count) = encode(&rows).expect("CSV");
        assert!(count < rows.len(), "{count}");
        let returned = serde_json::to_string(&text).expect("JSON");
        let length = returned.len() - 2;
        assert!(length <= MAX_PAYLOAD_BYTES, "{length}");
    }

    #[test]
    fn csv_is_wanted_if_accept_names_it_and_does_not_prefer_json() {
        for (accept, expected) in [
            ("text/csv", true),
            ("TEXT/CSV; header=present", true),
            ("application/json, text/csv", true),
            ("application/json;q=0.5, text/csv;q=0.9", true),
            ("application/json, text/csv;q=0.9", false),
            ("text/csv;q=0", false),
            ("text/csv;q=x", false),
            ("*/*", false),
            ("text/html", false),
            ("", false),
        ] {
            let request = Request::new(Body::Empty);
            let (mut parts, body) = request.into_parts();
            parts
                .headers
                .insert("accept", accept.parse().expect("a header"));
            let request = Request::from_parts(parts, body);
            assert_eq!(is_wanted(&request), expected, "{accept}");
        }
    }
}
