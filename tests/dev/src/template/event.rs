//! Parses the `Events` of a function.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_norway::{Mapping, Value};

use super::queue::{self, Queue};
use super::value::Scope;
use super::{Function, Route, Rule, Schedule, check_keys, text};

/// The keys that SAM knows in the properties of an `HttpApi` event.
const HTTP_API: &[&str] = &[
    "ApiId",
    "Auth",
    "Method",
    "Path",
    "PayloadFormatVersion",
    "RouteSettings",
    "TimeoutInMillis",
];

/// The keys that SAM knows in the properties of a `ScheduleV2` event.
const SCHEDULE: &[&str] = &[
    "DeadLetterConfig",
    "Description",
    "EndDate",
    "FlexibleTimeWindow",
    "GroupName",
    "Input",
    "KmsKeyArn",
    "Name",
    "OmitName",
    "PermissionsBoundary",
    "RetryPolicy",
    "RoleArn",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "State",
];

/// The keys that SAM knows in the properties of an `EventBridgeRule` event.
const RULE: &[&str] = &[
    "DeadLetterConfig",
    "EventBusName",
    "Input",
    "InputPath",
    "Pattern",
    "RetryPolicy",
    "RuleName",
    "State",
    "Target",
];

/// Adds one event to its function.
pub(super) fn read(
    event: &Value,
    scope: &Scope,
    queues: &mut BTreeMap<String, Queue>,
    function: &mut Function,
) -> Result<()> {
    let event = event.as_mapping().context("an event must be a mapping")?;
    check_keys(event, &["Type", "Properties"])?;
    let kind = event.get("Type").and_then(Value::as_str);
    let empty = Mapping::new();
    let properties = match event.get("Properties") {
        None => &empty,
        Some(properties) => properties
            .as_mapping()
            .context("Properties must be a mapping")?,
    };
    match kind {
        Some("HttpApi") => {
            check_keys(properties, HTTP_API)?;
            function.routes.push(route(properties, scope)?);
        }
        Some("ScheduleV2") => {
            check_keys(properties, SCHEDULE)?;
            let expression = text(properties, "ScheduleExpression", scope)?;
            function.schedules.push(Schedule {
                expression: expression.context("ScheduleExpression is missing")?,
                input: text(properties, "Input", scope)?,
            });
        }
        Some("EventBridgeRule") => {
            check_keys(properties, RULE)?;
            function.rules.push(rule(properties, scope)?);
        }
        Some("SQS") => queue::read_event(properties, scope, queues, function)?,
        other => bail!("events of type {other:?} are not supported"),
    }
    Ok(())
}

fn rule(properties: &Mapping, scope: &Scope) -> Result<Rule> {
    for key in ["Input", "InputPath", "State"] {
        if properties.contains_key(key) {
            bail!("{key} is not supported: rules are enabled and deliver the whole event");
        }
    }
    let bus = text(properties, "EventBusName", scope)?;
    let pattern = properties.get("Pattern").context("Pattern is missing")?;
    Ok(Rule {
        bus: bus.unwrap_or_else(|| "default".to_owned()),
        pattern: scope.json(pattern).context("Pattern is not JSON")?,
    })
}

/// Without a path and a method the event is the API's default route.
fn route(properties: &Mapping, scope: &Scope) -> Result<Route> {
    let path = text(properties, "Path", scope)?;
    let method = text(properties, "Method", scope)?;
    if path.is_some() != method.is_some() {
        bail!("Path and Method must be given together or not at all");
    }
    Ok(Route {
        path: path.unwrap_or_else(|| "$default".to_owned()),
        method: method.map_or_else(|| "ANY".to_owned(), |method| method.to_uppercase()),
        is_streamed: false,
    })
}
