//! The file with the functions' settings for `cargo lambda watch`, which starts functions but has no database, bus or cache
//! for them.
//!
//! Owns: the file's name and form. Does not own: the settings (`stack`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::runtime::Function;

const NAME: &str = "functions.env";
/// They differ between functions. `cargo lambda watch` has a memory size of its own, and the log level has a default.
const LEFT_OUT: [&str; 2] = ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "LOG_LEVEL"];
/// What Lambda sets. Any keys will do; without them the SDK searches for some.
const SET_BY_LAMBDA: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", "local"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_SECRET_ACCESS_KEY", "local"),
];

/// Writes the file into `dir` and returns its path.
pub(super) fn write(dir: &Path, functions: &[Function]) -> Result<PathBuf> {
    let path = dir.join(NAME);
    let text = text(functions)?;
    let written = fs::create_dir_all(dir).and_then(|()| fs::write(&path, text));
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The settings of all functions, a line for each. All functions read the same file, so a setting can have only one value.
fn text(functions: &[Function]) -> Result<String> {
    let mut settings: BTreeMap<&str, &str> = BTreeMap::from(SET_BY_LAMBDA);
    for function in functions {
        for (name, value) in &function.env {
            if LEFT_OUT.contains(&name.as_str()) || value.is_empty() {
                continue;
            }
            ensure!(
                !value.contains(['\'', '\n']),
                "{name} has a value that cannot be quoted"
            );
            let known: &str = settings.entry(name.as_str()).or_insert(value.as_str());
            ensure!(
                known == value.as_str(),
                "{name} of {} differs from that of another function",
                function.name
            );
        }
    }
    let mut text = String::new();
    for (name, value) in settings {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}='{value}'");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, env: &[(&str, &str)]) -> Function {
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Function {
            name: name.to_owned(),
            binary: PathBuf::new(),
            env: env.collect(),
        }
    }

    #[test]
    fn file_has_the_settings_of_all_functions() {
        let functions = [
            function(
                "one",
                &[
                    ("RUNTIME_DATABASE_URL", "postgres://x"),
                    ("LOG_LEVEL", "warn"),
                ],
            ),
            function(
                "two",
                &[
                    ("RUNTIME_DATABASE_URL", "postgres://x"),
                    ("LOG_LEVEL", "error"),
                    ("BACKUP_BUCKET", ""),
                    ("SESSION_SECRET", "with, spaces"),
                ],
            ),
        ];
        assert_eq!(
            text(&functions).unwrap(),
            "AWS_ACCESS_KEY_ID='local'\nAWS_EC2_METADATA_DISABLED='true'\nAWS_REGION='us-east-1'\n\
             AWS_SECRET_ACCESS_KEY='local'\nRUNTIME_DATABASE_URL='postgres://x'\nSESSION_SECRET='with, spaces'\n"
        );
    }

    #[test]
    fn setting_with_two_values_is_refused() {
        let functions = [
            function("one", &[("EVENT_BUS", "a")]),
            function("two", &[("EVENT_BUS", "b")]),
        ];
        let error = text(&functions).unwrap_err().to_string();
        assert_eq!(
            error,
            "EVENT_BUS of two differs from that of another function"
        );
    }

    #[test]
    fn value_that_cannot_be_quoted_is_refused() {
        let functions = [function("one", &[("EVENT_BUS", "it's")])];
        assert!(text(&functions).is_err());
    }
}
