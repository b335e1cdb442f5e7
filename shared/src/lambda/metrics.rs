//! Metrics in `CloudWatch`'s embedded metric format: a line of the log that becomes a metric. Owns:
//! their names, which the alarms in template.yaml go by.

use chrono::{DateTime, Utc};
use serde_json::json;

/// Counts a complete tick: `CompleteTicks` in namespace `Milady/Billing`, no dimensions. The alarm
/// fires when none was counted for 90 minutes.
pub fn complete_tick(at: DateTime<Utc>) {
    let line = json!({
        "_aws": {
            "Timestamp": at.timestamp_millis(),
            "CloudWatchMetrics": [{
                "Namespace": "Milady/Billing",
                "Dimensions": [[]],
                "Metrics": [{"Name": "CompleteTicks", "Unit": "Count"}],
            }],
        },
        "CompleteTicks": 1,
    });
    println!("{line}");
}
