//! The environment of the process. Owns: that nothing else reads it, and that errors name a setting and hide its value. Does
//! not own: the names of the settings (`config`).

use std::collections::BTreeMap;
use std::env::VarError;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::secrets::Secret;

/// A setting that is missing or malformed. Its value is never shown.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name} {problem}")]
pub struct ConfigError {
    name: &'static str,
    problem: &'static str,
}

impl ConfigError {
    pub(super) fn new(name: &'static str, problem: &'static str) -> Self {
        Self { name, problem }
    }
}

/// Rust prints the `Debug` of the error that `main` ends with.
impl std::fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Settings that were read from Secrets Manager when the function started, by their names.
static STORED: OnceLock<BTreeMap<&'static str, String>> = OnceLock::new();

/// Adds settings that are not variables. Only the first call does.
pub(super) fn store(settings: BTreeMap<&'static str, String>) {
    let _ = STORED.set(settings);
}

/// `None` if the setting is neither a variable nor stored, or is empty.
pub(super) fn var(name: &'static str) -> Result<Option<String>, ConfigError> {
    let stored = || STORED.get()?.get(name).cloned();
    Ok(variable(name)?
        .or_else(stored)
        .filter(|value| !value.is_empty()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn variable(name: &'static str) -> Result<Option<String>, ConfigError> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(ConfigError::new(name, "is not text")),
    }
}

pub(super) fn required(name: &'static str) -> Result<String, ConfigError> {
    var(name)?.ok_or(ConfigError::new(name, "is not set"))
}

pub(super) fn parsed<T: FromStr>(
    name: &'static str,
    problem: &'static str,
) -> Result<Option<T>, ConfigError> {
    let parse = |value: String| value.parse().map_err(|_| ConfigError::new(name, problem));
    var(name)?.map(parse).transpose()
}

/// A list separated by commas. Empty if the variable is not set.
pub(super) fn list(name: &'static str) -> Result<Vec<String>, ConfigError> {
    let text = var(name)?.unwrap_or_default();
    let entries = text.split(',').map(str::trim);
    Ok(entries
        .filter(|entry| !entry.is_empty())
        .map(str::to_owned)
        .collect())
}

/// The ARN of a secret in Secrets Manager.
pub(super) fn secret_arn(name: &'static str) -> Result<Option<String>, ConfigError> {
    let arn = var(name)?;
    let is_arn = |arn: &String| arn.starts_with("arn:") && arn.contains(":secretsmanager:");
    if arn.as_ref().is_some_and(|arn| !is_arn(arn)) {
        return Err(ConfigError::new(name, "is not the ARN of a secret"));
    }
    Ok(arn)
}

/// A secret from one of three variables: its text, the path of a file with it, or the ARN of a secret in Secrets
/// Manager. `None` if none of them is set.
pub(super) fn secret(
    text_var: &'static str,
    file_var: &'static str,
    arn_var: &'static str,
) -> Result<Option<Secret>, ConfigError> {
    let arn = secret_arn(arn_var)?;
    let file = var(file_var)?.map(|path| Secret::File(path.into()));
    let sources = [
        (text_var, var(text_var)?.map(Secret::Text)),
        (file_var, file),
        (arn_var, arn.map(Secret::Stored)),
    ];
    let mut sources = sources.into_iter().filter(|(_, secret)| secret.is_some());
    let first = sources.next().and_then(|(_, secret)| secret);
    match sources.next() {
        Some((name, _)) => Err(ConfigError::new(name, "sets a secret that is set already")),
        None => Ok(first),
    }
}
