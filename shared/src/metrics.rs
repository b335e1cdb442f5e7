//! Metrics in `CloudWatch`'s embedded metric format: a log line that `CloudWatch` turns into a metric. Owns: the
//! names of the metrics, which the alarms in `template.yaml` refer to.

use chrono::{DateTime, Utc};
use serde_json::json;

/// Counts a complete billing run: `CompleteRuns` in the namespace `Milady/Billing`, without dimensions. The
/// alarm fires when none was counted for 90 minutes.
pub fn count_complete_billing_run(at: DateTime<Utc>) {
    let line = json!({
        "_aws": {
            "Timestamp": at.timestamp_millis(),
            "CloudWatchMetrics": [{
                "Namespace": "Milady/Billing",
                "Dimensions": [[]],
                "Metrics": [{"Name": "CompleteRuns", "Unit": "Count"}],
            }],
        },
        "CompleteRuns": 1,
    });
    println!("{line}");
}
