//! Metrics in `CloudWatch`'s embedded metric format: a log line that `CloudWatch` turns into a metric. Owns: the
//! names of the metrics, which the alarms in `template.yaml` refer to.

use chrono::{DateTime, Utc};
use serde_json::json;

/// Counts a complete billing run: `CompleteRuns` in the namespace `Milady/Billing`, without dimensions. The
/// alarm fires when none was counted for 90 minutes.
pub fn count_complete_billing_run(at: DateTime<Utc>) {
    count("Milady/Billing", "CompleteRuns", 1, at);
}

/// Counts the agents' databases that are too large or cannot be measured: `TooLarge` in the namespace
/// `Milady/AgentDatabases`, without dimensions. The alarm fires while there is one.
pub fn count_too_large_databases(count: usize, at: DateTime<Utc>) {
    self::count("Milady/AgentDatabases", "TooLarge", count, at);
}

fn count(namespace: &str, name: &str, value: usize, at: DateTime<Utc>) {
    let line = json!({
        "_aws": {
            "Timestamp": at.timestamp_millis(),
            "CloudWatchMetrics": [{
                "Namespace": namespace,
                "Dimensions": [[]],
                "Metrics": [{"Name": name, "Unit": "Count"}],
            }],
        },
        name: value,
    });
    println!("{line}");
}
