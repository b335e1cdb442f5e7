//! Attributes of `DynamoDB` items. Owns: their names and types.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) const PK: &str = "pk";
pub(super) const SK: &str = "sk";
/// When `DynamoDB` may delete the item, in seconds since 1970: the form that its TTL needs.
pub(super) const EXPIRES_AT: &str = "expires_at";
pub(super) const TOKEN: &str = "token";
/// Which of the two buffers holds the parts. The table calls it `place`.
pub(super) const BUFFER: &str = "place";
/// [`SNAPSHOT_FORMAT`](super::stored::SNAPSHOT_FORMAT) of the writer.
pub(super) const FORMAT: &str = "format";

/// Both keys of the lease.
pub(super) const LEASE: &str = "lease";
/// The partition key of the head, and the beginning of those of the parts.
pub(super) const SNAPSHOT: &str = "snapshot";
/// The sort key of the head.
pub(super) const HEAD: &str = "head";
/// Both keys of the last request for a refresh run.
pub(super) const REQUEST: &str = "request";

/// The partition key of the parts in one of the two buffers, 0 and 1.
pub(super) fn buffer_key(buffer: u64) -> String {
    format!("{SNAPSHOT}#{buffer}")
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl ToString + Copy) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Milliseconds since 1970.
pub(super) fn time(at: DateTime<Utc>) -> AttributeValue {
    number(at.timestamp_millis())
}

pub(super) fn read_number<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

pub(super) fn read_time(item: &Item, name: &str) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(read_number(item, name)?)
}

pub(super) fn read_text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}
