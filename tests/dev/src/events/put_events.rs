//! Parses and validates `PutEvents` requests, entry by entry.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

/// Per request, as in `EventBridge`.
const MAX_ENTRIES: usize = 10;

/// All entries of one request together, as in `EventBridge`.
const MAX_REQUEST_BYTES: usize = 256 * 1024;

/// An accepted event as rules and functions see it, and its bus.
#[derive(Clone, Debug)]
pub(super) struct AcceptedEvent {
    pub(super) bus: String,
    pub(super) event: Value,
}

/// Why a request or an entry was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
}

fn refusal(code: &'static str, message: impl Into<String>) -> Refusal {
    let message = message.into();
    Refusal { code, message }
}

/// Parses a request. Each entry is accepted or refused separately.
pub(super) fn read(
    body: &[u8],
    buses: &[String],
    now: DateTime<Utc>,
) -> Result<Vec<Result<AcceptedEvent, Refusal>>, Refusal> {
    let request: Value = serde_json::from_slice(body)
        .map_err(|error| refusal("SerializationException", error.to_string()))?;
    let Some(entries) = request["Entries"].as_array() else {
        return Err(refusal("ValidationException", "Entries must be a list"));
    };
    if entries.is_empty() || entries.len() > MAX_ENTRIES {
        let message = format!("{} entries; 1 to {MAX_ENTRIES} are allowed", entries.len());
        return Err(refusal("ValidationException", message));
    }
    let bytes: usize = entries.iter().map(size).sum();
    if bytes > MAX_REQUEST_BYTES {
        let message = "Total size of the entries in the request is over the limit.";
        return Err(refusal("ValidationException", message));
    }
    Ok(entries
        .iter()
        .map(|entry| accept(entry, buses, now))
        .collect())
}

/// The size of an entry as `EventBridge` counts it.
fn size(entry: &Value) -> usize {
    let text = |key: &str| entry[key].as_str().map_or(0, str::len);
    let resources = entry["Resources"].as_array().into_iter().flatten();
    let resources: usize = resources.filter_map(Value::as_str).map(str::len).sum();
    let time = if entry["Time"].is_null() { 0 } else { 14 };
    text("Source") + text("DetailType") + text("Detail") + resources + time
}

fn accept(entry: &Value, buses: &[String], now: DateTime<Utc>) -> Result<AcceptedEvent, Refusal> {
    let required = |key: &str| match entry[key].as_str() {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(refusal(
            "InvalidArgument",
            format!("Parameter {key} is not valid. Reason: {key} is a required argument."),
        )),
    };
    let (source, detail_type) = (required("Source")?, required("DetailType")?);
    if source.starts_with("aws.") {
        let message = format!("Not authorized for the source {source}.");
        return Err(refusal("NotAuthorizedForSourceException", message));
    }
    let detail = serde_json::from_str(required("Detail")?)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| refusal("MalformedDetail", "Detail is malformed."))?;
    // The name may be the last part of an ARN.
    let bus = entry["EventBusName"].as_str().unwrap_or("default");
    let bus = bus.rsplit('/').next().unwrap_or(bus);
    if bus != "default" && !buses.iter().any(|known| known == bus) {
        let message = format!("Event bus {bus} does not exist.");
        return Err(refusal("ResourceNotFoundException", message));
    }
    let time = entry["Time"]
        .as_f64()
        .and_then(|seconds| DateTime::from_timestamp_millis(milliseconds(seconds)))
        .unwrap_or(now);
    let event = json!({
        "version": "0",
        "id": Uuid::new_v4(),
        "detail-type": detail_type,
        "source": source,
        "account": "123456789012",
        "time": time.to_rfc3339_opts(SecondsFormat::Secs, true),
        "region": "us-east-1",
        "resources": entry["Resources"].as_array().cloned().unwrap_or_default(),
        "detail": detail,
    });
    let bus = bus.to_owned();
    Ok(AcceptedEvent { bus, event })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the time of an event is far inside the range"
)]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1_000.0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn put(entries: &Value) -> Result<Vec<Result<AcceptedEvent, Refusal>>, Refusal> {
        let body = json!({ "Entries": entries }).to_string();
        read(body.as_bytes(), &["ours".to_owned()], NOW)
    }

    fn entry() -> Value {
        json!({"Source": "me", "DetailType": "it", "Detail": "{\"n\":1}", "EventBusName": "ours"})
    }

    #[test]
    fn entry_becomes_an_event() {
        let accepted = put(&json!([entry()])).unwrap().remove(0).unwrap();
        assert_eq!(accepted.bus, "ours");
        let mut event = accepted.event;
        assert!(event["id"].as_str().unwrap().parse::<Uuid>().is_ok());
        event["id"] = Value::Null;
        assert_eq!(
            event,
            json!({
                "version": "0", "id": null, "detail-type": "it", "source": "me",
                "account": "123456789012", "time": "1970-01-01T00:00:00Z", "region": "us-east-1",
                "resources": [], "detail": {"n": 1},
            })
        );
    }

    #[test]
    fn only_the_invalid_entry_is_refused() {
        for (key, value, code) in [
            ("Source", json!(null), "InvalidArgument"),
            (
                "Source",
                json!("aws.ec2"),
                "NotAuthorizedForSourceException",
            ),
            ("DetailType", json!(""), "InvalidArgument"),
            ("Detail", json!(null), "InvalidArgument"),
            ("Detail", json!("[1]"), "MalformedDetail"),
            ("Detail", json!("{"), "MalformedDetail"),
            ("EventBusName", json!("theirs"), "ResourceNotFoundException"),
        ] {
            let mut faulty = entry();
            faulty[key] = value;
            let results = put(&json!([entry(), faulty])).unwrap();
            assert!(results[0].is_ok());
            assert_eq!(results[1].as_ref().unwrap_err().code, code, "{faulty}");
        }
    }

    #[test]
    fn requests_over_the_limits_are_refused() {
        for (count, is_accepted) in [(0, false), (1, true), (10, true), (11, false)] {
            assert_eq!(
                put(&json!(vec![entry(); count])).is_ok(),
                is_accepted,
                "{count}"
            );
        }
        let fits = MAX_REQUEST_BYTES - "me".len() - "it".len() - r#"{"t":""}"#.len();
        for (length, is_accepted) in [(fits, true), (fits + 1, false)] {
            let mut long = entry();
            long["Detail"] = json!(json!({"t": "x".repeat(length)}).to_string());
            assert_eq!(put(&json!([long])).is_ok(), is_accepted, "{length}");
        }
        assert!(put(&json!("none")).is_err());
    }
}
