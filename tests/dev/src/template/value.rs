//! Evaluates values of a `CloudFormation` template, as far as possible without deploying it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_norway::Value;

/// The parameters without a default, which every deployment has to give.
const REQUIRED_PARAMETERS: [(&str, &str); 7] = [
    (
        "RuntimeSecretArn",
        "arn:aws:secretsmanager:us-east-1:123456789012:secret:local/runtime",
    ),
    (
        "OwnerSecretArn",
        "arn:aws:secretsmanager:us-east-1:123456789012:secret:local/owner",
    ),
    (
        "SecretsKeysArn",
        "arn:aws:secretsmanager:us-east-1:123456789012:secret:local/secrets-keys",
    ),
    (
        "SshKeySecretArn",
        "arn:aws:secretsmanager:us-east-1:123456789012:secret:local/ssh-key",
    ),
    ("AppUrl", "http://localhost:3000"),
    ("AllowedOrigins", "http://localhost:3000"),
    ("MailFrom", "Milady Cloud <mails@example.com>"),
];

/// What references resolve to: parameters to their defaults, event buses and tables to their names.
pub(super) struct Scope {
    values: BTreeMap<String, String>,
    buses: Vec<String>,
}

impl Scope {
    pub(super) fn new(document: &Value) -> Result<Self> {
        let values = [
            ("AWS::Region", "us-east-1"),
            ("AWS::AccountId", "123456789012"),
            ("AWS::StackName", "local"),
        ];
        let mut scope = Self {
            values: values
                .into_iter()
                .chain(REQUIRED_PARAMETERS)
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            buses: Vec::new(),
        };
        for (name, parameter) in entries(&document["Parameters"])? {
            if let Some(default) = scalar(&parameter["Default"]) {
                scope.values.insert(name, default);
            }
        }
        for (name, resource) in entries(&document["Resources"])? {
            let (key, is_bus) = match resource["Type"].as_str() {
                Some("AWS::Events::EventBus") => ("Name", true),
                Some("AWS::DynamoDB::Table") => ("TableName", false),
                _ => continue,
            };
            let name_value = scope
                .resolve(&resource["Properties"][key])
                .with_context(|| {
                    format!("the {key} of {name} cannot be resolved without deploying")
                })?;
            if is_bus {
                scope.buses.push(name_value.clone());
            }
            scope.values.insert(name, name_value);
        }
        Ok(scope)
    }

    /// Gives a parameter another value than its default.
    pub(super) fn set_parameter(
        &mut self,
        document: &Value,
        name: &str,
        value: String,
    ) -> Result<()> {
        let is_known = !document["Parameters"][name].is_null();
        ensure!(is_known, "there is no parameter {name}");
        self.values.insert(name.to_owned(), value);
        Ok(())
    }

    pub(super) fn buses(&self) -> Vec<String> {
        self.buses.clone()
    }

    /// Resolves a scalar, a `!Ref` to a parameter, bus or table, a `!Sub` of those, or a `!Join`.
    /// `None` for anything else, which is only known once deployed.
    pub(super) fn resolve(&self, value: &Value) -> Option<String> {
        let Value::Tagged(tagged) = value else {
            return scalar(value);
        };
        if tagged.tag == "Ref" {
            self.values.get(tagged.value.as_str()?).cloned()
        } else if tagged.tag == "Sub" {
            self.substitute(tagged.value.as_str()?)
        } else if tagged.tag == "Join" {
            match tagged.value.as_sequence()?.as_slice() {
                [delimiter, parts] => Some(self.list(parts)?.join(delimiter.as_str()?)),
                _ => None,
            }
        } else {
            None
        }
    }

    /// Resolves a list of such values, or a `!Ref` to a parameter that is a list.
    pub(super) fn list(&self, value: &Value) -> Option<Vec<String>> {
        match value {
            Value::Sequence(parts) => parts.iter().map(|part| self.resolve(part)).collect(),
            Value::Tagged(_) => {
                let joined = self.resolve(value)?;
                Some(
                    joined
                        .split(',')
                        .map(|part| part.trim().to_owned())
                        .collect(),
                )
            }
            _ => None,
        }
    }

    /// The JSON form of a value whose scalars are all known here.
    pub(super) fn json(&self, value: &Value) -> Result<serde_json::Value> {
        Ok(match value {
            Value::Sequence(parts) => parts
                .iter()
                .map(|part| self.json(part))
                .collect::<Result<serde_json::Value>>()?,
            Value::Mapping(_) => entries(value)?
                .into_iter()
                .map(|(key, value)| Ok((key, self.json(value)?)))
                .collect::<Result<serde_json::Map<_, _>>>()?
                .into(),
            Value::Tagged(_) => self
                .resolve(value)
                .context("a value cannot be resolved without deploying")?
                .into(),
            plain => serde_json::to_value(plain)?,
        })
    }

    fn substitute(&self, text: &str) -> Option<String> {
        let mut parts = text.split("${");
        let mut result = parts.next()?.to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}')?;
            result.push_str(self.values.get(name)?);
            result.push_str(rest);
        }
        Some(result)
    }
}

/// The text of a plain value.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// The entries of a mapping; empty if it is absent.
pub(super) fn entries(value: &Value) -> Result<Vec<(String, &Value)>> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    let mapping = value.as_mapping().context("a mapping is expected")?;
    mapping
        .iter()
        .map(|(key, value)| Ok((scalar(key).context("a key must be text")?, value)))
        .collect()
}
