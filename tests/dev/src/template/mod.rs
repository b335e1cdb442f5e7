//! Reads `template.yaml`: which functions there are, their routes, schedules, rules, limits and settings,
//! and which buses and tables.
//!
//! The local stack takes these from the template and from nowhere else. It is strict where the usual
//! checkers are not: a key they do not know inside an event is silently ignored by both, here it is an
//! error.

mod cors;
mod event;
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
use value::{Scope, entries, scalar};

/// What Lambda does where a function does not say otherwise.
const DEFAULT_RETRIES: u32 = 2;

/// What a template says, in its order.
#[derive(Clone, Debug)]
pub struct Template {
    /// Every `AWS::Serverless::Function` resource.
    pub functions: Vec<Function>,
    /// The name of every `AWS::Events::EventBus` resource.
    pub buses: Vec<String>,
    /// Every `AWS::DynamoDB::Table` resource.
    pub tables: Vec<Table>,
    /// The cross-origin settings of the API, where it has some.
    pub cors: Option<Cors>,
}

/// One table resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// What `CreateTable` takes, without the name.
    pub definition: serde_json::Value,
    /// What `UpdateTimeToLive` takes; null if nothing of it expires.
    pub ttl: serde_json::Value,
}

/// One function resource.
#[derive(Clone, Debug)]
pub struct Function {
    /// The folder below `functions/`, from `CodeUri: target/lambda/<name>/`.
    pub name: String,
    /// The resource's name in the template.
    pub resource: String,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Settings whose value is known here: plain ones and defaults of parameters. References to
    /// secrets are left out.
    pub env: BTreeMap<String, String>,
    /// Settings that are references to secrets.
    pub secrets: Vec<String>,
    /// The HTTP routes that lead to it.
    pub routes: Vec<Route>,
    /// The schedules that invoke it.
    pub schedules: Vec<Schedule>,
    /// The events that invoke it.
    pub rules: Vec<Rule>,
    /// How often an asynchronous invocation that failed is tried again.
    pub retries: u32,
}

/// One HTTP route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method, `ANY` for all of them.
    pub method: String,
    /// The path with `{parameters}`, or `$default`.
    pub path: String,
    /// Whether it leads to the function's own URL, which streams, and not through the API.
    pub is_streamed: bool,
}

/// One schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// `rate(..)` or `cron(..)`.
    pub expression: String,
    /// The event it delivers, before the Scheduler's context attributes are filled in.
    pub input: Option<String>,
}

/// Which events of a bus invoke a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name of the bus.
    pub bus: String,
    /// The event pattern.
    pub pattern: serde_json::Value,
}

impl Template {
    /// Reads the template of this workspace.
    ///
    /// # Errors
    /// When it is missing or not understood.
    pub fn load() -> Result<Self> {
        Self::read(&build::workspace().join("template.yaml"))
    }

    /// Reads a template file.
    ///
    /// # Errors
    /// When it is missing or not understood.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// Reads the text of a template.
    ///
    /// # Errors
    /// When it is not understood; the message names the resource.
    pub fn parse(text: &str) -> Result<Self> {
        let document: Value = serde_norway::from_str(text).context("not YAML")?;
        let scope = Scope::new(&document)?;
        let globals = &document["Globals"]["Function"];
        let mut template = Self {
            functions: Vec::new(),
            buses: scope.buses(),
            tables: Vec::new(),
            cors: None,
        };
        for (name, resource) in entries(&document["Resources"])? {
            let properties = &resource["Properties"];
            match resource["Type"].as_str() {
                Some("AWS::Serverless::Function") => {
                    let function = function(&name, resource, globals, &scope);
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

    /// The function of that name.
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
        name: name.context("TableName is not known here")?,
        definition: definition.into(),
        ttl: serde_json::to_value(&properties["TimeToLiveSpecification"])?,
    })
}

fn function(name: &str, resource: &Value, globals: &Value, scope: &Scope) -> Result<Function> {
    let own = &resource["Properties"];
    let pick = |key: &str| own.get(key).or_else(|| globals.get(key));
    let number = |key: &str, default: u64| match pick(key) {
        None => Ok(default),
        Some(value) => scope
            .resolve(value)
            .and_then(|text| text.parse().ok())
            .with_context(|| format!("{key} is not a number")),
    };
    let uri = own["CodeUri"].as_str().unwrap_or_default();
    let Some(folder) = uri
        .strip_prefix("target/lambda/")
        .and_then(|rest| rest.strip_suffix('/'))
    else {
        bail!("CodeUri is {uri:?} and not target/lambda/<function>/");
    };
    let mut function = Function {
        name: folder.to_owned(),
        resource: name.to_owned(),
        timeout: Duration::from_secs(number("Timeout", 3)?),
        memory_mib: u32::try_from(number("MemorySize", 128)?)?,
        env: BTreeMap::new(),
        secrets: Vec::new(),
        routes: url::read(resource)?.into_iter().collect(),
        schedules: Vec::new(),
        rules: Vec::new(),
        retries: match &own["EventInvokeConfig"]["MaximumRetryAttempts"] {
            Value::Null => DEFAULT_RETRIES,
            given => scalar(given)
                .and_then(|text| text.parse().ok())
                .context("MaximumRetryAttempts is not a number")?,
        },
    };
    for source in [globals, own] {
        for (key, value) in entries(&source["Environment"]["Variables"])? {
            match scope.resolve(value) {
                Some(text) if !text.contains("{{resolve:") => {
                    function.env.insert(key, text);
                }
                _ => function.secrets.push(key),
            }
        }
    }
    for (name, event) in entries(&own["Events"])? {
        event::read(event, scope, &mut function).with_context(|| format!("in event {name}"))?;
    }
    Ok(function)
}

/// The text of a scalar in a mapping, references resolved.
fn text(properties: &Mapping, key: &str, scope: &Scope) -> Result<Option<String>> {
    match properties.get(key) {
        None => Ok(None),
        Some(value) => match scope.resolve(value).or_else(|| scalar(value)) {
            Some(text) => Ok(Some(text)),
            None => bail!("{key} has a value that is not understood here"),
        },
    }
}

fn known(mapping: &Mapping, keys: &[&str]) -> Result<()> {
    for (key, _) in entries(&Value::Mapping(mapping.clone()))? {
        if !keys.contains(&key.as_str()) {
            bail!("unknown key {key}; known are {}", keys.join(", "));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
