//! The sample events of `events/`.

use serde_json::Value;

/// The sample event of a function.
#[must_use]
pub fn sample_event(function: &str) -> Value {
    let path = dev::build::workspace().join(format!("events/{function}.json"));
    let text = std::fs::read_to_string(path).expect("a sample event");
    serde_json::from_str(&text).expect("JSON")
}
