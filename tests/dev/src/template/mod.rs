//! Parses `template.yaml`: functions with their routes, schedules, rules, queues, limits and
//! settings; event buses; tables. And `functions/edge.yaml`, which stands in front of it.
//!
//! The local stack takes these from the templates only. The parser is stricter than the usual
//! checkers, which ignore unknown keys inside an event: here they are errors.

mod cors;
mod edge;
mod event;
mod queue;
mod url;
mod value;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_norway::{Mapping, Value};

use crate::build;
pub use cors::Cors;
pub use edge::{Edge, EdgeKey, EdgeRefusal, EdgeRule};
pub use queue::Queue;
use value::{Scope, entries, scalar};

/// Lambda's default.
const DEFAULT_RETRIES: u32 = 2;

/// The parts of a template, in its order.
#[derive(Clone, Debug)]
pub struct Template {
    /// Every `AWS::Serverless::Function` resource.
    pub functions: Vec<Function>,
    /// The name of every `AWS::Events::EventBus` resource.
    pub buses: Vec<String>,
    /// Every `AWS::DynamoDB::Table` resource.
    pub tables: Vec<Table>,
    /// The cross-origin settings of the API, if it has any.
    pub cors: Option<Cors>,
    /// What stands in front of the API.
    pub edge: Edge,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    /// The input of `CreateTable`, without the name.
    pub definition: serde_json::Value,
    /// The input of `UpdateTimeToLive`; null if nothing in the table expires.
    pub ttl: serde_json::Value,
}

#[derive(Clone, Debug)]
pub struct Function {
    /// From `CodeUri: target/lambda/<name>/`; the same as the file in `functions/src/bin/`.
    pub name: String,
    /// The resource's name in the template.
    pub resource: String,
    /// The limit of one invocation.
    pub timeout: Duration,
    pub memory_mib: u32,
    /// Settings whose values are known here: plain values and parameter defaults.
    pub env: BTreeMap<String, String>,
    /// Names of the settings that refer to secrets.
    pub secrets: Vec<String>,
    pub routes: Vec<Route>,
    pub schedules: Vec<Schedule>,
    pub rules: Vec<Rule>,
    pub queues: Vec<Queue>,
    /// How often a failed asynchronous invocation is retried.
    pub retries: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `ANY` for all methods.
    pub method: String,
    /// With `{parameters}`, or `$default`.
    pub path: String,
    /// Whether the route goes to the function's own URL, which streams, and not through the API.
    pub is_streamed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// `rate(..)` or `cron(..)`.
    pub expression: String,
    /// The event, before the Scheduler's context attributes are replaced.
    pub input: Option<String>,
}

/// The events of a bus that invoke a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub bus: String,
    pub pattern: serde_json::Value,
}

impl Template {
    /// The template of this repository, behind the edge that it recommends.
    pub fn load() -> Result<Self> {
        let mut template = Self::read(&build::workspace().join("template.yaml"))?;
        template.edge = Edge::load(&[])?;
        Ok(template)
    }

    /// A template with nothing in front of it.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// Parses a template. Errors name the resource.
    pub fn parse(text: &str) -> Result<Self> {
        let document: Value = serde_norway::from_str(text).context("the file is not YAML")?;
        let scope = Scope::new(&document)?;
        let globals = &document["Globals"]["Function"];
        let mut queues = queue::read_all(&document["Resources"], &scope)?;
        let mut template = Self {
            functions: Vec::new(),
            buses: scope.buses(),
            tables: Vec::new(),
            cors: None,
            edge: Edge::default(),
        };
        for (name, resource) in entries(&document["Resources"])? {
            let properties = &resource["Properties"];
            match resource["Type"].as_str() {
                Some("AWS::Serverless::Function") => {
                    let function = function(&name, resource, globals, &scope, &mut queues);
                    let function = function.with_context(|| format!("in resource {name}"))?;
                    template.functions.push(function);
                }
                Some("AWS::Serverless::HttpApi") => {
                    let cors = cors::read(properties, &scope);
                    template.cors = cors.with_context(|| format!("in resource {name}"))?;
                }
                Some("AWS::DynamoDB::Table") => {
                    let table = table(properties, &scope);
                    let table = table.with_context(|| format!("in resource {name}"))?;
                    template.tables.push(table);
                }
                _ => {}
            }
        }
        Ok(template)
    }

    #[must_use]
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }
}

fn table(properties: &Value, scope: &Scope) -> Result<Table> {
    let mut definition = serde_json::Map::new();
    for key in ["AttributeDefinitions", "KeySchema", "BillingMode"] {
        let value = serde_json::to_value(&properties[key])?;
        definition.insert(key.to_owned(), value);
    }
    let name = scope.resolve(&properties["TableName"]);
    Ok(Table {
        name: name.context("TableName cannot be resolved without deploying")?,
        definition: definition.into(),
        ttl: serde_json::to_value(&properties["TimeToLiveSpecification"])?,
    })
}

fn function(
    name: &str,
    resource: &Value,
    globals: &Value,
    scope: &Scope,
    queues: &mut BTreeMap<String, Queue>,
) -> Result<Function> {
    let properties = &resource["Properties"];
    let pick = |key: &str| properties.get(key).or_else(|| globals.get(key));
    let number = |key: &str, default: u64| match pick(key) {
        None => Ok(default),
        Some(value) => scope
            .resolve(value)
            .and_then(|text| text.parse().ok())
            .with_context(|| format!("{key} is not a number")),
    };
    let uri = properties["CodeUri"].as_str().unwrap_or_default();
    let Some(folder) = uri
        .strip_prefix("target/lambda/")
        .and_then(|rest| rest.strip_suffix('/'))
    else {
        bail!("CodeUri must be target/lambda/<function>/, but is {uri:?}");
    };
    let mut function = Function {
        name: folder.to_owned(),
        resource: name.to_owned(),
        timeout: Duration::from_secs(number("Timeout", 3)?),
        memory_mib: u32::try_from(number("MemorySize", 128)?)?,
        env: BTreeMap::new(),
        secrets: Vec::new(),
        routes: url::read(resource)?,
        schedules: Vec::new(),
        rules: Vec::new(),
        queues: Vec::new(),
        retries: match &properties["EventInvokeConfig"]["MaximumRetryAttempts"] {
            Value::Null => DEFAULT_RETRIES,
            value => scalar(value)
                .and_then(|text| text.parse().ok())
                .context("MaximumRetryAttempts is not a number")?,
        },
    };
    // A function's own values replace those that all functions have, and an empty one takes a setting away.
    let own = entries(&properties["Environment"]["Variables"])?;
    let common = entries(&globals["Environment"]["Variables"])?;
    let is_common = |key: &str| common.iter().any(|(name, _)| name == key);
    let is_replaced = |key: &str| own.iter().any(|(name, _)| name == key);
    let taken_away =
        |(key, value): &&(String, &Value)| is_common(key) && value.as_str() == Some("");
    let common = common.iter().filter(|(key, _)| !is_replaced(key));
    for (key, value) in common.chain(own.iter().filter(|setting| !taken_away(setting))) {
        match scope.resolve(value) {
            Some(text) if !text.contains("{{resolve:") => {
                function.env.insert(key.clone(), text);
            }
            _ => function.secrets.push(key.clone()),
        }
    }
    for (name, event) in entries(&properties["Events"])? {
        event::read(event, scope, queues, &mut function)
            .with_context(|| format!("in event {name}"))?;
    }
    Ok(function)
}

/// The text of a scalar in a mapping, with references resolved.
fn text(properties: &Mapping, key: &str, scope: &Scope) -> Result<Option<String>> {
    match properties.get(key) {
        None => Ok(None),
        Some(value) => match scope.resolve(value).or_else(|| scalar(value)) {
            Some(text) => Ok(Some(text)),
            None => bail!("the value of {key} is not supported"),
        },
    }
}

fn check_keys(mapping: &Mapping, keys: &[&str]) -> Result<()> {
    for (key, _) in entries(&Value::Mapping(mapping.clone()))? {
        if !keys.contains(&key.as_str()) {
            bail!("unknown key {key}; the known keys are {}", keys.join(", "));
        }
    }
    Ok(())
}

#[cfg(test)]
mod alarms;
#[cfg(test)]
mod deployed;
#[cfg(test)]
mod tests;
