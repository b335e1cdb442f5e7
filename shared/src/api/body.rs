//! JSON bodies of requests. Owns: their limits, and that a 400 names every field that is not valid.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::str::FromStr;

use lambda_http::{Body, Request};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Number, Value};
use uuid::Uuid;

use super::problem::{FieldError, Problem};

/// Larger request bodies are refused with 413.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The fields of a JSON object. Each is read by name; [`Fields::finish`] reports all that are not valid. Unknown
/// fields are ignored, and null is the same as absent.
#[derive(Debug)]
pub struct Fields {
    object: Map<String, Value>,
    errors: Vec<FieldError>,
}

/// Reads a body that must be a JSON object.
///
/// # Errors
/// 400, 415.
pub fn object(request: &Request) -> Result<Fields, Problem> {
    let bytes = bytes(request)?;
    let content_type = request.headers().get("content-type");
    if !bytes.is_empty()
        && content_type.is_some_and(|content_type| !content_type.to_str().is_ok_and(is_json))
    {
        return Err(Problem::unsupported_media_type());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(Fields {
            object,
            errors: Vec::new(),
        }),
        Ok(_) => Err(Problem::field("body", "must be a JSON object")),
        Err(_) => Err(Problem::field("body", "must be JSON")),
    }
}

/// The bytes of a body.
///
/// # Errors
/// 500 for a kind of body that a later version of `lambda_http` may add.
pub fn bytes(request: &Request) -> Result<&[u8], Problem> {
    match request.body() {
        Body::Empty => Ok(&[]),
        Body::Text(text) => Ok(text.as_bytes()),
        Body::Binary(bytes) => Ok(bytes),
        _ => Err(Problem::internal()),
    }
}

/// Like [`object`], for a route whose body is optional.
///
/// # Errors
/// 400, 415.
pub fn optional_object(request: &Request) -> Result<Fields, Problem> {
    if request.body().is_empty() {
        return Ok(Fields {
            object: Map::new(),
            errors: Vec::new(),
        });
    }
    object(request)
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

impl Fields {
    /// Records that a field is not valid.
    pub fn refuse(&mut self, field: &'static str, message: impl Into<Cow<'static, str>>) {
        let message = message.into();
        self.errors.push(FieldError { field, message });
    }

    /// A field's value. `None` if it is absent or null.
    pub fn take(&mut self, field: &'static str) -> Option<Value> {
        self.object.remove(field).filter(|value| !value.is_null())
    }

    /// A required text for which `accept` returns true; `rule` is the error text if it does not.
    pub fn text(
        &mut self,
        field: &'static str,
        rule: &'static str,
        accept: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let text = self.optional_text(field, rule, accept);
        if text.is_none() && !self.errors.iter().any(|error| error.field == field) {
            self.refuse(field, "is required");
        }
        text
    }

    /// An optional text.
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

    /// An optional UUID.
    pub fn optional_identifier<T: FromStr>(&mut self, field: &'static str) -> Option<T> {
        let text = self.optional_text(field, "must be a UUID", is_uuid)?;
        text.parse().ok()
    }

    /// A required UUID.
    pub fn identifier<T: FromStr>(&mut self, field: &'static str) -> Option<T> {
        let text = self.text(field, "must be a UUID", is_uuid)?;
        text.parse().ok()
    }

    /// A required number, as exactly the decimal that the JSON text holds.
    pub fn decimal(&mut self, field: &'static str) -> Option<Decimal> {
        if self.object.get(field).is_none_or(Value::is_null) {
            self.refuse(field, "is required");
        }
        self.optional_decimal(field)
    }

    /// An optional number, likewise.
    pub fn optional_decimal(&mut self, field: &'static str) -> Option<Decimal> {
        let Value::Number(number) = self.take(field)? else {
            self.refuse(field, "must be a number");
            return None;
        };
        let decimal = exact_decimal(&number);
        if decimal.is_none() {
            self.refuse(field, "is out of range");
        }
        decimal
    }

    /// An optional whole number within `limits`, which `rule` states. `8.0` is accepted as 8: JSON does not
    /// distinguish them.
    pub fn optional_integer(
        &mut self,
        field: &'static str,
        rule: impl Into<Cow<'static, str>>,
        limits: RangeInclusive<i32>,
    ) -> Option<i32> {
        let value = self.take(field)?;
        let whole = value.as_number().and_then(exact_decimal);
        let whole = whole.filter(|number| number.fract().is_zero());
        let whole = whole.and_then(|number| number.to_i32());
        let accepted = whole.filter(|number| limits.contains(number));
        if accepted.is_none() {
            self.refuse(field, rule);
        }
        accepted
    }

    /// An optional boolean.
    pub fn optional_flag(&mut self, field: &'static str) -> Option<bool> {
        let flag = self.take(field)?.as_bool();
        if flag.is_none() {
            self.refuse(field, "must be true or false");
        }
        flag
    }

    /// Whether a field is null, for fields where that differs from absent. Call it before the field is read.
    #[must_use]
    pub fn is_null(&self, field: &'static str) -> bool {
        self.object.get(field).is_some_and(Value::is_null)
    }

    /// An optional object.
    pub fn optional_map(&mut self, field: &'static str) -> Option<Map<String, Value>> {
        if let Value::Object(object) = self.take(field)? {
            return Some(object);
        }
        self.refuse(field, "must be an object");
        None
    }

    /// # Errors
    /// 400 with one entry per field that was refused.
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::bad_request(self.errors))
        }
    }
}

fn exact_decimal(number: &Number) -> Option<Decimal> {
    let digits = number.to_string();
    let decimal = digits.parse().ok();
    decimal.or_else(|| Decimal::from_scientific(&digits).ok())
}

/// Whether a text is a UUID in the form with dashes, in either case.
#[must_use]
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

/// Whether a text fits in a line: one to `max_chars` characters, none of them a control character, not all of
/// them blank.
#[must_use]
pub fn is_line(text: &str, max_chars: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= max_chars && !text.contains(char::is_control)
}

/// Whether a value contains U+0000 anywhere. Postgres can store it neither in text nor in jsonb.
#[must_use]
pub fn contains_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(contains_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || contains_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
