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
/// Grows with each head.
pub(super) const VERSION: &str = "version";
/// [`SNAPSHOT_FORMAT`](super::stored::SNAPSHOT_FORMAT) of the writer.
pub(super) const FORMAT: &str = "format";

/// The partition key of the fences. The sort key is the number of the shard.
pub(super) const FENCE: &str = "fence";
/// The partition key of the head.
pub(super) const SNAPSHOT: &str = "snapshot";
/// The sort key of the head. Runs of versions without shards write `head`: while a deployment shifts to this version, they
/// must not take the snapshot away from readers.
pub(super) const HEAD: &str = "head-of-shards";
/// Both keys of the last request for a refresh run.
pub(super) const REQUEST: &str = "request";

// The beginnings of the partition keys of parts.
pub(super) const SECTIONS: &str = "sections";
pub(super) const DIGEST: &str = "digest";
pub(super) const OVERVIEW: &str = "overview";

/// The partition key of the parts of `kind` in a buffer of a shard.
pub(super) fn buffer_key(kind: &str, shard: i32, buffer: u64) -> String {
    format!("{kind}#{shard}#{buffer}")
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

pub(super) fn read_text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}
