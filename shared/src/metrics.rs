//! Metrics in `CloudWatch`'s embedded metric format: a log line that `CloudWatch` turns into a metric. Owns: the
//! names of the metrics, which the alarms in `template.yaml` refer to.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// The figures of a billing run, complete or not.
#[derive(Clone, Debug)]
pub struct BillingRun {
    pub at: DateTime<Utc>,
    pub complete: bool,
    /// Dollars, as JSON.
    pub charged: Value,
    /// Dollars, as JSON.
    pub owed: Value,
    /// Organizations that could not be decided, or whose metering could not be repaired.
    pub errors: usize,
    /// How long the organization that has waited longest has been undecided; zero if all are decided.
    pub undecided: TimeDelta,
    pub duration: Duration,
}

/// Records a billing run in the namespace `Milady/Billing`, without dimensions: `CompleteRuns`, `Charged`, `Owed`,
/// `Errors`, `UndecidedMinutes` and `Duration`. Alarms fire when no run was complete for 90 minutes, when there are
/// errors, and when an organization has waited for three hours.
pub fn record_billing_run(run: &BillingRun) {
    let metrics = [
        ("CompleteRuns", "Count", json!(u8::from(run.complete))),
        ("Charged", "None", run.charged.clone()),
        ("Owed", "None", run.owed.clone()),
        ("Errors", "Count", json!(run.errors)),
        (
            "UndecidedMinutes",
            "None",
            json!(run.undecided.num_minutes().max(0)),
        ),
        ("Duration", "Milliseconds", json!(run.duration.as_millis())),
    ];
    record("Milady/Billing", &metrics, run.at);
}

/// Counts the open findings of the audit of billing that are errors: `Findings` in the namespace `Milady/Billing`, without
/// dimensions, after each audit. The alarm fires while there is one.
pub fn count_billing_findings(count: usize, at: DateTime<Utc>) {
    self::count("Milady/Billing", "Findings", count, at);
}

/// Counts the agents' databases that are too large or cannot be measured: `TooLarge` in the namespace
/// `Milady/AgentDatabases`, without dimensions. The alarm fires while there is one.
pub fn count_too_large_databases(count: usize, at: DateTime<Utc>) {
    self::count("Milady/AgentDatabases", "TooLarge", count, at);
}

/// Counts the events of the last day of which nobody could be told: `Undeliverable` in the namespace `Milady/Mails`, without
/// dimensions, after each sweep of the mails. The alarm fires while there is one.
pub fn count_undeliverable_mails(count: usize, at: DateTime<Utc>) {
    self::count("Milady/Mails", "Undeliverable", count, at);
}

fn count(namespace: &str, name: &'static str, value: usize, at: DateTime<Utc>) {
    record(namespace, &[(name, "Count", json!(value))], at);
}

/// Writes metrics, each with its name, unit and value.
fn record(namespace: &str, metrics: &[(&'static str, &'static str, Value)], at: DateTime<Utc>) {
    let definitions: Vec<Value> = metrics
        .iter()
        .map(|(name, unit, _)| json!({"Name": name, "Unit": unit}))
        .collect();
    let mut line = json!({
        "_aws": {
            "Timestamp": at.timestamp_millis(),
            "CloudWatchMetrics": [
                {"Namespace": namespace, "Dimensions": [[]], "Metrics": definitions},
            ],
        },
    });
    for (name, _, value) in metrics {
        line[*name] = value.clone();
    }
    println!("{line}");
}
