//! Records which function makes which call of AWS, so that `.ci/check_privileges.py` can compare the calls of all tests with
//! the policies of the template. The stand-ins report the calls: functions are told apart by their access keys, and a
//! resource is recorded as the settings of the function that name it. Owns: the file's form. Does not own: what a request
//! of a service means.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::json;

use crate::runtime::Function;

/// The file to which calls are appended, one JSON object per line and distinct call. Without it nothing is recorded.
const FILE_SETTING: &str = "AWS_CALLS";
const KEY_PREFIX: &str = "function.";
/// The settings that name resources, beside those that end with `_ARN`.
const RESOURCE_SETTINGS: [&str; 4] = [
    "BACKUP_BUCKET",
    "EVENT_BUS",
    "FLEET_TABLE",
    "SES_CONFIGURATION_SET",
];

static RECORDER: LazyLock<Option<Mutex<Recorder>>> = LazyLock::new(|| {
    let path = std::env::var(FILE_SETTING).ok()?;
    let opened = OpenOptions::new().create(true).append(true).open(&path);
    let opened = opened.inspect_err(|error| eprintln!("cannot record calls in {path}: {error}"));
    Some(Mutex::new(Recorder {
        file: opened.ok()?,
        settings: HashMap::new(),
        recorded: HashSet::new(),
    }))
});

struct Recorder {
    file: File,
    /// The settings of each function by their values.
    settings: HashMap<String, HashMap<String, BTreeSet<String>>>,
    recorded: HashSet<String>,
}

/// A call as a policy sees it.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Such as `dynamodb:GetItem`.
    pub action: &'a str,
    /// The name or the ARN of a resource.
    pub resource: &'a str,
    /// The partition keys, of a call of `DynamoDB` that names them.
    pub leading_keys: Vec<&'a str>,
}

#[must_use]
pub fn is_recording() -> bool {
    RECORDER.is_some()
}

/// The access key of a function.
pub(crate) fn access_key_id(function: &str) -> String {
    format!("{KEY_PREFIX}{function}")
}

/// Learns which resources the settings of a function name.
pub(crate) fn learn_settings(function: &Function) {
    let Some(recorder) = &*RECORDER else {
        return;
    };
    let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
    let settings = recorder.settings.entry(function.name.clone()).or_default();
    for (name, value) in &function.env {
        let names_resource = RESOURCE_SETTINGS.contains(&name.as_str()) || name.ends_with("_ARN");
        if names_resource && !value.is_empty() {
            let names = settings.entry(value.clone()).or_default();
            names.insert(name.clone());
        }
    }
}

/// Records a call. `signed` is the text that holds the signature: the header `authorization`, or the query of an address.
/// Calls that no function signed are not recorded.
pub fn record(signed: &str, call: &Call<'_>) {
    let (Some(recorder), Some(function)) = (&*RECORDER, function_of(signed)) else {
        return;
    };
    let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
    let settings = recorder.settings.get(function);
    let settings = settings.and_then(|settings| settings.get(call.resource));
    let line = match settings {
        Some(settings) => json!({
            "function": function,
            "action": call.action,
            "settings": settings,
            "leadingKeys": call.leading_keys,
        }),
        None => json!({
            "function": function,
            "action": call.action,
            "resource": call.resource,
        }),
    };
    let line = format!("{line}\n");
    if recorder.recorded.contains(&line) {
        return;
    }
    // In one piece: other processes write to the file, too.
    match recorder.file.write_all(line.as_bytes()) {
        Ok(()) => {
            recorder.recorded.insert(line);
        }
        Err(error) => eprintln!("cannot record a call: {error}"),
    }
}

fn function_of(signed: &str) -> Option<&str> {
    let (_, rest) = signed.split_once("Credential=")?;
    let key = rest.split(['/', '%']).next()?;
    key.strip_prefix(KEY_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_told_by_its_access_key_in_a_header_and_in_an_address() {
        let key = access_key_id("agent-list");
        for (signed, function) in [
            (
                format!("AWS4-HMAC-SHA256 Credential={key}/20260301/us-east-1/s3/aws4_request"),
                Some("agent-list"),
            ),
            (
                format!("X-Amz-Credential={key}%2F20260301%2Fus-east-1&X-Amz-Expires=300"),
                Some("agent-list"),
            ),
            ("Credential=AKIDEXAMPLE/20260301".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(function_of(&signed), function, "{signed}");
        }
    }
}
