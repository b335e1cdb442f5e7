//! Rules of the repository itself, checked like any other.

use std::path::{Path, PathBuf};

fn files(folder: &str, extension: &str) -> Vec<(PathBuf, String)> {
    fn walk(at: &Path, extension: &str, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(at)
            .expect("a folder")
            .filter_map(Result::ok)
        {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = std::fs::read_to_string(&path).expect("a text");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    let root = dev::build::workspace().join(folder);
    if root.is_file() {
        let text = std::fs::read_to_string(&root).expect("a text");
        found.push((root, text));
    } else {
        walk(&root, extension, &mut found);
    }
    assert!(!found.is_empty(), "{folder} holds no .{extension}");
    found
}

#[test]
fn nothing_points_back_up() {
    // Each layer, and what it must not name.
    for (layer, forbidden) in [
        (
            "domain",
            vec![
                "crate::db",
                "crate::app",
                "crate::api",
                "crate::events",
                "crate::lambda",
                "sqlx",
                "async ",
                "Utc::now",
                "lambda_",
            ],
        ),
        (
            "db",
            vec![
                "crate::app",
                "crate::api",
                "crate::events",
                "crate::lambda",
                ".begin()",
                ".commit()",
                "lambda_",
            ],
        ),
        (
            "fleet",
            vec![
                "crate::app",
                "crate::api",
                "crate::db",
                "crate::events",
                "crate::lambda",
                "sqlx",
                "lambda_",
            ],
        ),
        (
            "cache",
            vec![
                "crate::app",
                "crate::api",
                "crate::db",
                "crate::events",
                "crate::hosts",
                "crate::lambda",
                "sqlx",
                "std::env",
                "lambda_",
            ],
        ),
        (
            "events",
            vec![
                "crate::app",
                "crate::api",
                "crate::db",
                "crate::lambda",
                "sqlx",
                "lambda_",
            ],
        ),
        (
            "databases",
            vec![
                "crate::app",
                "crate::api",
                "crate::db",
                "crate::events",
                "crate::hosts",
                "crate::lambda",
                "std::env",
                "lambda_",
            ],
        ),
        (
            "secrets.rs",
            vec!["crate::", "sqlx", "std::env::var", "lambda_"],
        ),
        (
            "vpn.rs",
            vec![
                "crate::app",
                "crate::api",
                "crate::db",
                "crate::lambda",
                "sqlx",
                "std::env",
                "lambda_",
            ],
        ),
        (
            "app",
            vec!["crate::api", "crate::lambda", "lambda_http", "std::env"],
        ),
        (
            "api",
            vec!["sqlx::query", ".begin()", ".commit()", "std::env"],
        ),
        (
            "lambda",
            vec!["crate::app", "crate::db", "sqlx::query!", "sqlx::query("],
        ),
    ] {
        for (path, text) in files(&format!("shared/src/{layer}"), "rs") {
            let code: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            for word in &forbidden {
                let found = code.iter().find(|line| line.contains(word));
                assert!(found.is_none(), "{}: {word} in {found:?}", path.display());
            }
        }
    }
}

#[test]
fn there_is_no_float_near_money() {
    for folder in [
        "shared/src/domain",
        "shared/src/db",
        "shared/src/app",
        "shared/src/api",
    ] {
        for (path, text) in files(folder, "rs") {
            let float = text
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .find(|word| ["f32", "f64"].contains(word));
            assert_eq!(float, None, "{}", path.display());
        }
    }
}

#[test]
fn files_and_mains_stay_small() {
    for folder in ["shared/src", "functions", "tests"] {
        for (path, text) in files(folder, "rs") {
            let lines = text.lines().count();
            let limit = if path.ends_with("src/main.rs") && folder == "functions" {
                40
            } else {
                500
            };
            assert!(lines <= limit, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn indexes_on_existing_tables_are_built_without_blocking_writers() {
    for (path, text) in files("migrations", "sql") {
        let concurrent = text.contains("CONCURRENTLY");
        assert_eq!(
            text.starts_with("-- no-transaction"),
            concurrent,
            "{}",
            path.display()
        );
        assert!(
            concurrent || text.contains("SET LOCAL lock_timeout"),
            "{} waits for locks without end",
            path.display()
        );
        assert!(
            !text.contains("DROP TABLE") && !text.contains("DROP COLUMN"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn json_numbers_are_never_of_arbitrary_precision() {
    // Feature unification would break how events are parsed.
    let lock = std::process::Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--edges",
            "features",
            "--invert",
            "serde_json",
            "--offline",
        ])
        .current_dir(dev::build::workspace())
        .output()
        .expect("cargo tree");
    let features = String::from_utf8_lossy(&lock.stdout);
    assert!(features.contains("serde_json feature"), "{features}");
    assert!(!features.contains("arbitrary_precision"), "{features}");
}
