//! JSON bodies. Owns: their limits, and that every wrong field is named, not only the first.

use std::ops::RangeInclusive;

use lambda_http::{Body, Request};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Number, Value};
use uuid::Uuid;

use super::problem::{Detail, Problem};

/// The longest body there may be, in bytes.
pub const LONGEST: usize = 1024 * 1024;

/// The fields of a JSON object. Unknown ones are ignored; null is the same as absent.
#[derive(Debug)]
pub struct Fields {
    object: Map<String, Value>,
    details: Vec<Detail>,
}

/// Reads a body that must be a JSON object.
///
/// # Errors
/// 400, 415.
pub fn object(request: &Request) -> Result<Fields, Problem> {
    let bytes = bytes(request)?;
    let kind = request.headers().get("content-type");
    if !bytes.is_empty() && kind.is_some_and(|kind| !kind.to_str().is_ok_and(is_json)) {
        return Err(Problem::unsupported_media_type());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(Fields {
            object,
            details: Vec::new(),
        }),
        Ok(_) => Err(Problem::field("body", "must be a JSON object")),
        Err(_) => Err(Problem::field("body", "must be JSON")),
    }
}

/// A body as it is.
///
/// # Errors
/// 500 for a kind of body that this version does not know.
pub fn bytes(request: &Request) -> Result<&[u8], Problem> {
    match request.body() {
        Body::Empty => Ok(&[]),
        Body::Text(text) => Ok(text.as_bytes()),
        Body::Binary(bytes) => Ok(bytes),
        _ => Err(Problem::internal()),
    }
}

/// The same where the body may be left out.
///
/// # Errors
/// 400, 415.
pub fn optional_object(request: &Request) -> Result<Fields, Problem> {
    if request.body().is_empty() {
        return Ok(Fields {
            object: Map::new(),
            details: Vec::new(),
        });
    }
    object(request)
}

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

impl Fields {
    /// Adds a refusal.
    pub fn refuse(&mut self, field: &'static str, message: &'static str) {
        self.details.push(Detail { field, message });
    }

    /// A field's value; null is absent.
    pub fn take(&mut self, field: &'static str) -> Option<Value> {
        self.object.remove(field).filter(|value| !value.is_null())
    }

    /// A text that must be there and that `accept` accepts; `rule` says what it accepts.
    pub fn text(
        &mut self,
        field: &'static str,
        rule: &'static str,
        accept: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let text = self.optional_text(field, rule, accept);
        if text.is_none() && !self.details.iter().any(|detail| detail.field == field) {
            self.refuse(field, "is required");
        }
        text
    }

    /// The same where it may be absent.
    pub fn optional_text(
        &mut self,
        field: &'static str,
        rule: &'static str,
        accept: impl Fn(&str) -> bool,
    ) -> Option<String> {
        match self.take(field)? {
            Value::String(text) if accept(&text) => return Some(text),
            Value::String(_) => self.refuse(field, rule),
            _ => self.refuse(field, "must be a string"),
        }
        None
    }

    /// A UUID that may be absent.
    pub fn optional_uuid(&mut self, field: &'static str) -> Option<Uuid> {
        let text = self.optional_text(field, "must be a UUID", is_uuid)?;
        text.parse().ok()
    }

    /// A UUID that must be there.
    pub fn uuid(&mut self, field: &'static str) -> Option<Uuid> {
        let text = self.text(field, "must be a UUID", is_uuid)?;
        text.parse().ok()
    }

    /// A number that must be there, as the very decimal that was written, as far as a JSON number
    /// carries it.
    pub fn decimal(&mut self, field: &'static str) -> Option<Decimal> {
        let Some(value) = self.take(field) else {
            self.refuse(field, "is required");
            return None;
        };
        let Value::Number(number) = value else {
            self.refuse(field, "must be a number");
            return None;
        };
        let decimal = exact(&number);
        if decimal.is_none() {
            self.refuse(field, "is out of range");
        }
        decimal
    }

    /// A whole number within limits, which `rule` tells, that may be absent. JSON knows no difference
    /// between `8` and `8.0`.
    pub fn optional_integer(
        &mut self,
        field: &'static str,
        rule: &'static str,
        limits: RangeInclusive<i32>,
    ) -> Option<i32> {
        let value = self.take(field)?;
        let whole = value.as_number().and_then(exact);
        let whole = whole.filter(|number| number.fract().is_zero());
        let whole = whole.and_then(|number| number.to_i32());
        let accepted = whole.filter(|number| limits.contains(number));
        if accepted.is_none() {
            self.refuse(field, rule);
        }
        accepted
    }

    /// A truth value that may be absent.
    pub fn optional_flag(&mut self, field: &'static str) -> Option<bool> {
        let flag = self.take(field)?.as_bool();
        if flag.is_none() {
            self.refuse(field, "must be true or false");
        }
        flag
    }

    /// Whether a field is there and null, where that says something else than leaving it out.
    #[must_use]
    pub fn is_null(&self, field: &'static str) -> bool {
        self.object.get(field).is_some_and(Value::is_null)
    }

    /// An object that may be absent.
    pub fn optional_map(&mut self, field: &'static str) -> Option<Map<String, Value>> {
        if let Value::Object(object) = self.take(field)? {
            return Some(object);
        }
        self.refuse(field, "must be an object");
        None
    }

    /// Ends reading.
    ///
    /// # Errors
    /// 400 with one entry per refused field.
    pub fn finish(self) -> Result<(), Problem> {
        if self.details.is_empty() {
            Ok(())
        } else {
            Err(Problem::bad_request(self.details))
        }
    }
}

/// A number as the very decimal that was written.
fn exact(number: &Number) -> Option<Decimal> {
    let digits = number.to_string();
    let plain = digits.parse().ok();
    plain.or_else(|| Decimal::from_scientific(&digits).ok())
}

/// The usual form with dashes, in either case.
#[must_use]
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

/// Whether a text fits in a line: one to `most` characters, none of them a control character, not
/// all of them blank.
#[must_use]
pub fn is_line(text: &str, most: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= most && !text.contains(char::is_control)
}

/// Whether a value holds U+0000 anywhere, which Postgres stores in neither text nor jsonb.
#[must_use]
pub fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
