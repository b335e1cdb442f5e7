//! Settings that are kept in Secrets Manager: the variable `<NAME>_ARN` names the secret instead of the setting's value.
//! Owns: which settings can be kept there, and that each secret is read once when a function starts.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::Value;

use super::config;
use super::environment::{self, ConfigError, secret_arn, var};
use super::logging::init_logging;
use crate::secrets::{Secret, SecretError, Secrets};

/// A setting, and the variable with the ARN of its secret.
#[derive(Clone, Copy)]
pub(super) struct StoredSetting {
    pub(super) name: &'static str,
    pub(super) arn: &'static str,
}

macro_rules! stored_setting {
    ($name:literal) => {
        StoredSetting {
            name: $name,
            arn: concat!($name, "_ARN"),
        }
    };
}

pub(super) const RUNTIME_DATABASE_URL: StoredSetting = stored_setting!("RUNTIME_DATABASE_URL");
pub(super) const OWNER_DATABASE_URL: StoredSetting = stored_setting!("OWNER_DATABASE_URL");
pub(super) const ORIGIN_SECRET: StoredSetting = stored_setting!("ORIGIN_SECRET");
pub(super) const ORIGIN_SECRET_OTHER: StoredSetting = stored_setting!("ORIGIN_SECRET_OTHER");

const SETTINGS: [StoredSetting; 10] = [
    RUNTIME_DATABASE_URL,
    OWNER_DATABASE_URL,
    ORIGIN_SECRET,
    ORIGIN_SECRET_OTHER,
    stored_setting!("SESSION_SECRET"),
    stored_setting!("CRON_SECRET"),
    stored_setting!("SECRETS_KEYS"),
    stored_setting!("AGENT_DATABASE_ADMIN_URL"),
    stored_setting!("NEON_API_KEY"),
    stored_setting!("SMTP_URL"),
];

/// Sets up logging and reads the stored settings. A `main` with settings calls it first.
///
/// # Errors
/// A secret cannot be read, or a setting is set twice.
pub async fn init() -> Result<(), ConfigError> {
    init_logging();
    let mut wanted: BTreeMap<String, Vec<StoredSetting>> = BTreeMap::new();
    for setting in SETTINGS {
        let Some(arn) = secret_arn(setting.arn)? else {
            continue;
        };
        if var(setting.name)?.is_some() {
            return Err(ConfigError::new(
                setting.arn,
                "sets a secret that is set already",
            ));
        }
        wanted.entry(arn).or_default().push(setting);
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let secrets = config::secrets()?;
    let texts = join_all(wanted.keys().map(|arn| read(&secrets, arn))).await;
    let mut values = BTreeMap::new();
    for (settings, text) in wanted.values().zip(texts) {
        let Some(first) = settings.first() else {
            continue;
        };
        let unreadable = ConfigError::new(first.arn, "names a secret that cannot be read");
        let text = text.as_ref().map_err(|_| unreadable)?;
        let found = values_of(settings, text);
        if found.is_empty() {
            return Err(ConfigError::new(
                first.arn,
                "names a secret that does not hold the setting",
            ));
        }
        values.extend(found);
    }
    environment::store(values);
    Ok(())
}

/// Reads a stored setting again. `None` if it cannot be read.
pub(super) async fn reread(secrets: &Secrets, arn: &str, name: &str) -> Option<String> {
    let text = read(secrets, arn).await.ok()?;
    value_of(name, &text)
}

async fn read(secrets: &Secrets, arn: &str) -> Result<String, SecretError> {
    secrets.read(&Secret::Stored(arn.to_owned())).await
}

/// The settings in the text of a secret. A text that is no JSON object can be only one of them.
fn values_of(settings: &[StoredSetting], text: &str) -> BTreeMap<&'static str, String> {
    let is_object = serde_json::from_str(text).is_ok_and(|value: Value| value.is_object());
    if settings.len() > 1 && !is_object {
        return BTreeMap::new();
    }
    settings
        .iter()
        .filter_map(|setting| Some((setting.name, value_of(setting.name, text)?)))
        .collect()
}

/// A setting in the text of a secret: the member of that name if the text is a JSON object, which may hold several
/// settings, else the whole text.
fn value_of(name: &str, text: &str) -> Option<String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(settings)) => settings.get(name)?.as_str().map(str::to_owned),
        _ => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_secret_is_never_the_value_of_two_settings() {
        let url = RUNTIME_DATABASE_URL;
        let other = stored_setting!("SESSION_SECRET");
        let names = |settings: &[StoredSetting], text: &str| {
            values_of(settings, text).into_keys().collect::<Vec<_>>()
        };
        let address = "postgres://u:p@h/d";
        assert_eq!(names(&[url], address), [url.name]);
        assert!(names(&[url, other], address).is_empty());
        let both = r#"{"RUNTIME_DATABASE_URL": "x", "SESSION_SECRET": "y"}"#;
        assert_eq!(names(&[url, other], both), [url.name, other.name]);
        assert_eq!(
            names(&[url, other], r#"{"SESSION_SECRET": "y"}"#),
            [other.name]
        );
        assert!(names(&[url], r#"{"RUNTIME_DATABASE": "x"}"#).is_empty());
    }

    #[test]
    fn a_secret_holds_one_setting_or_several_by_their_names() {
        let several = r#"{"A": "x", "B": 1}"#;
        for (text, expected) in [
            ("x", Some("x")),
            ("7", Some("7")),
            ("[\"A\"]", Some("[\"A\"]")),
            (several, Some("x")),
            (r#"{"B": "y"}"#, None),
            (r#"{"A": 1}"#, None),
        ] {
            assert_eq!(value_of("A", text).as_deref(), expected, "{text}");
        }
    }
}
