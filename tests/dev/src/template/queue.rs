//! Parses queues: which events rules send to them, and how they deliver to functions.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_norway::{Mapping, Value};

use super::value::{Scope, entries};
use super::{Function, Rule, check_keys, text};

/// The keys that SAM knows in the properties of an `SQS` event, as far as the template uses them.
const SQS: &[&str] = &["BatchSize", "Queue", "ScalingConfig"];

/// A queue that delivers events of rules to a function, one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The resource's name in the template.
    pub resource: String,
    /// Which events are sent to it.
    pub rules: Vec<Rule>,
    /// How long an event waits before it is dropped.
    pub retention: Duration,
    /// How many events the function has at a time.
    pub max_concurrency: usize,
}

/// The queues by their resources' names. `max_concurrency` is not known yet.
pub(super) fn read_all(resources: &Value, scope: &Scope) -> Result<BTreeMap<String, Queue>> {
    let mut queues = BTreeMap::new();
    for (name, resource) in entries(resources)? {
        if resource["Type"].as_str() != Some("AWS::SQS::Queue") {
            continue;
        }
        let retention = &resource["Properties"]["MessageRetentionPeriod"];
        let queue = Queue {
            resource: name.clone(),
            rules: Vec::new(),
            // Four days are the default of SQS.
            retention: Duration::from_secs(retention.as_u64().unwrap_or(345_600)),
            max_concurrency: 0,
        };
        queues.insert(name, queue);
    }
    for (name, resource) in entries(resources)? {
        // Where nothing is deployed there is no condition, and what depends on one is not there.
        let is_unconditional = resource["Condition"].is_null();
        if resource["Type"].as_str() == Some("AWS::Events::Rule") && is_unconditional {
            add_rule(&resource["Properties"], scope, &mut queues)
                .with_context(|| format!("in resource {name}"))?;
        }
    }
    Ok(queues)
}

fn add_rule(properties: &Value, scope: &Scope, queues: &mut BTreeMap<String, Queue>) -> Result<()> {
    let properties = properties
        .as_mapping()
        .context("Properties must be a mapping")?;
    check_keys(properties, &["EventBusName", "EventPattern", "Targets"])?;
    let bus = text(properties, "EventBusName", scope)?;
    let pattern = properties
        .get("EventPattern")
        .context("EventPattern is missing")?;
    let rule = Rule {
        bus: bus.unwrap_or_else(|| "default".to_owned()),
        pattern: scope.json(pattern).context("EventPattern is not JSON")?,
    };
    let targets = properties.get("Targets").and_then(Value::as_sequence);
    for target in targets.context("Targets must be a list")? {
        queue_of(&target["Arn"], queues)?.rules.push(rule.clone());
    }
    Ok(())
}

/// Adds the queue of an `SQS` event to its function.
pub(super) fn read_event(
    properties: &Mapping,
    scope: &Scope,
    queues: &mut BTreeMap<String, Queue>,
    function: &mut Function,
) -> Result<()> {
    check_keys(properties, SQS)?;
    let batch = text(properties, "BatchSize", scope)?;
    ensure!(
        batch.as_deref() == Some("1"),
        "BatchSize must be 1: functions take one event at a time"
    );
    let arn = properties.get("Queue").context("Queue is missing")?;
    let scaling = properties.get("ScalingConfig").and_then(Value::as_mapping);
    let scaling = scaling.context("ScalingConfig is missing")?;
    check_keys(scaling, &["MaximumConcurrency"])?;
    let maximum = text(scaling, "MaximumConcurrency", scope)?;
    let queue = queue_of(arn, queues)?;
    queue.max_concurrency = maximum
        .and_then(|maximum| maximum.parse().ok())
        .context("MaximumConcurrency is not a number")?;
    function.queues.push(queue.clone());
    Ok(())
}

/// The queue that a `!GetAtt <queue>.Arn` names.
fn queue_of<'a>(arn: &Value, queues: &'a mut BTreeMap<String, Queue>) -> Result<&'a mut Queue> {
    let attribute = match arn {
        Value::Tagged(tagged) if tagged.tag == "GetAtt" => tagged.value.as_str(),
        _ => None,
    };
    let name = attribute.and_then(|attribute| attribute.strip_suffix(".Arn"));
    queues
        .get_mut(name.unwrap_or_default())
        .context("a queue's Arn must be a !GetAtt of a queue of the template")
}
