//! Values of a `CloudFormation` template, as far as they can be known without deploying it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_norway::Value;

/// What references can resolve to: parameters by their default.
pub(super) struct Scope {
    parameters: BTreeMap<String, String>,
}

impl Scope {
    pub(super) fn new(document: &Value) -> Self {
        let mut parameters: BTreeMap<String, String> = [
            ("AWS::Region", "us-east-1"),
            ("AWS::AccountId", "123456789012"),
            ("AWS::StackName", "local"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for (name, parameter) in entries(&document["Parameters"]).unwrap_or_default() {
            if let Some(default) = scalar(&parameter["Default"]) {
                parameters.insert(name, default);
            }
        }
        Self { parameters }
    }

    /// A scalar, `!Ref` to a parameter or `!Sub` of such; anything else is known only once deployed.
    pub(super) fn resolve(&self, value: &Value) -> Option<String> {
        let Value::Tagged(tagged) = value else {
            return scalar(value);
        };
        let text = tagged.value.as_str()?;
        if tagged.tag == "Ref" {
            self.parameters.get(text).cloned()
        } else if tagged.tag == "Sub" {
            self.substitute(text)
        } else {
            None
        }
    }

    fn substitute(&self, text: &str) -> Option<String> {
        let mut parts = text.split("${");
        let mut result = parts.next()?.to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}')?;
            result.push_str(self.parameters.get(name)?);
            result.push_str(rest);
        }
        Some(result)
    }
}

/// A plain value as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// The entries of a mapping; nothing when it is absent.
pub(super) fn entries(value: &Value) -> Result<Vec<(String, &Value)>> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    let mapping = value.as_mapping().context("a mapping was expected")?;
    mapping
        .iter()
        .map(|(key, value)| Ok((scalar(key).context("a key is not text")?, value)))
        .collect()
}
