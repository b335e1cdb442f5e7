//! Metrics in `CloudWatch`'s embedded metric format: a log line that `CloudWatch` turns into a metric. Owns: the
//! names of the metrics, which the alarms in `template.yaml` refer to.

use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// The dimension of every metric: without it, the metrics of one stack would silence the alarms of another one in the same
/// account.
const STACK: &str = "Stack";

static STACK_NAME: OnceLock<String> = OnceLock::new();

/// Names the stack whose metrics this process writes. Without a name they have no dimension. Only the first call counts.
pub fn set_stack(name: String) {
    let _ = STACK_NAME.set(name);
}

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

/// Records a billing run in the namespace `Milady/Billing`: `CompleteRuns`, `Charged`, `Owed`, `Errors`,
/// `UndecidedMinutes` and `Duration`. Alarms fire when no run was complete for 90 minutes, when there are errors, when an
/// organization has waited for three hours, and when organizations owe much.
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

/// Counts the open findings of the audit of billing that are errors: `Findings` in the namespace `Milady/Billing`, after
/// each audit. The alarm fires while there is one.
pub fn count_billing_findings(count: usize, at: DateTime<Utc>) {
    self::count("Milady/Billing", "Findings", count, at);
}

/// Counts the agents' databases that are too large or cannot be measured: `TooLarge` in the namespace
/// `Milady/AgentDatabases`. The alarm fires while there is one.
pub fn count_too_large_databases(count: usize, at: DateTime<Utc>) {
    self::count("Milady/AgentDatabases", "TooLarge", count, at);
}

/// Records the mails in the namespace `Milady/Mails`, after each sweep: `Undeliverable`, the events of the last day of which
/// nobody could be told, and `OldestWait`, how long the oldest unsettled mail has waited. Alarms fire while there is an
/// undeliverable one, when a mail has waited for an hour, and when no sweep was complete for 15 minutes.
pub fn record_mails(undeliverable: usize, oldest_wait: TimeDelta, at: DateTime<Utc>) {
    let metrics = [
        ("Undeliverable", "Count", json!(undeliverable)),
        ("OldestWait", "Seconds", json!(oldest_wait.num_seconds())),
    ];
    record("Milady/Mails", &metrics, at);
}

/// The jobs of a lane.
#[derive(Clone, Copy, Debug)]
pub struct LaneMetrics {
    pub due: u64,
    pub running: u64,
    /// How long the oldest job has waited.
    pub oldest: TimeDelta,
}

#[derive(Clone, Copy, Debug)]
pub struct BacklogMetrics {
    pub stops: LaneMetrics,
    pub starts: LaneMetrics,
}

/// Records the jobs of both lanes in the namespace `Milady/Jobs`, after each sweep: `StopsDue`,
/// `StopsRunning`, `OldestStop`, and the same of starts. The alarm fires when a stop has waited for ten minutes.
pub fn record_backlog(backlog: &BacklogMetrics, at: DateTime<Utc>) {
    let BacklogMetrics { stops, starts } = backlog;
    let seconds = |time: TimeDelta| json!(time.num_seconds());
    let metrics = [
        ("StopsDue", "Count", json!(stops.due)),
        ("StopsRunning", "Count", json!(stops.running)),
        ("OldestStop", "Seconds", seconds(stops.oldest)),
        ("StartsDue", "Count", json!(starts.due)),
        ("StartsRunning", "Count", json!(starts.running)),
        ("OldestStart", "Seconds", seconds(starts.oldest)),
    ];
    record("Milady/Jobs", &metrics, at);
}

/// Records how many of the connections to the database that the deployment allows are open, after each sweep:
/// `ConnectionsPercent` in the namespace `Milady/Postgres`. The alarm fires above 80.
pub fn record_connections(percent: i32, at: DateTime<Utc>) {
    let metric = ("ConnectionsPercent", "Percent", json!(percent));
    record("Milady/Postgres", &[metric], at);
}

/// What the newest refresh runs over all shards found.
#[derive(Clone, Copy, Debug)]
pub struct FleetMetrics {
    /// Hosts of the whole fleet that could not be read.
    pub unreadable_hosts: usize,
    /// The use of the fullest disk of all hosts, in percent. `None` if no host said.
    pub fullest_disk: Option<u64>,
}

/// Records a complete refresh run, while those over all other shards are recent, too, in the namespace `Milady/Fleet`:
/// `UnreadableHosts` and `FullestDisk`. Alarms fire when a host could not be read for ten minutes, when a disk was too full
/// for an hour, and when nothing was recorded for five minutes. All three would miss a shard whose figures were recorded
/// alone, beside shards that are well.
pub fn record_fleet(fleet: FleetMetrics, at: DateTime<Utc>) {
    let mut metrics = vec![("UnreadableHosts", "Count", json!(fleet.unreadable_hosts))];
    if let Some(percent) = fleet.fullest_disk {
        metrics.push(("FullestDisk", "Percent", json!(percent)));
    }
    record("Milady/Fleet", &metrics, at);
}

/// Counts the hosts whose upkeep failed in a run: `FailedUpkeeps` in the namespace `Milady/Fleet`. The alarm fires when
/// there are several in an hour.
pub fn count_failed_upkeeps(count: usize, at: DateTime<Utc>) {
    self::count("Milady/Fleet", "FailedUpkeeps", count, at);
}

fn count(namespace: &str, name: &'static str, value: usize, at: DateTime<Utc>) {
    record(namespace, &[(name, "Count", json!(value))], at);
}

/// Writes metrics, each with its name, unit and value.
fn record(namespace: &str, metrics: &[(&'static str, &'static str, Value)], at: DateTime<Utc>) {
    let stack = STACK_NAME.get();
    let dimensions: Vec<&str> = stack.map(|_| STACK).into_iter().collect();
    let definitions: Vec<Value> = metrics
        .iter()
        .map(|(name, unit, _)| json!({"Name": name, "Unit": unit}))
        .collect();
    let mut line = json!({
        "_aws": {
            "Timestamp": at.timestamp_millis(),
            "CloudWatchMetrics": [
                {"Namespace": namespace, "Dimensions": [dimensions], "Metrics": definitions},
            ],
        },
    });
    if let Some(stack) = stack {
        line[STACK] = json!(stack);
    }
    for (name, _, value) in metrics {
        line[*name] = value.clone();
    }
    println!("{line}");
}
