//! Attributes of items. Owns: their names and types.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};

/// An item.
pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) const PK: &str = "pk";
pub(super) const SK: &str = "sk";
/// When `DynamoDB` may delete the item: seconds since 1970, the form its TTL wants.
pub(super) const EXPIRES_AT: &str = "expires_at";
pub(super) const TOKEN: &str = "token";

/// The lease.
pub(super) const LEASE: &str = "lease";
/// What says which snapshot holds.
pub(super) const SNAPSHOT: &str = "snapshot";
pub(super) const HEAD: &str = "head";
/// Who asked for another snapshot last.
pub(super) const REQUEST: &str = "request";

/// The parts of the snapshot that is kept in this place, 0 or 1.
pub(super) fn place(at: u64) -> String {
    format!("{SNAPSHOT}#{at}")
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl ToString + Copy) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A point in time, in milliseconds.
pub(super) fn moment(at: DateTime<Utc>) -> AttributeValue {
    number(at.timestamp_millis())
}

pub(super) fn read_number<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

pub(super) fn read_moment(item: &Item, name: &str) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(read_number(item, name)?)
}

pub(super) fn read_text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}
