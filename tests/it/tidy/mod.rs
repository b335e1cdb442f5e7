//! Rules of the repository itself, checked like any other.

mod graph;
mod queries;
mod source;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The library's files, by their path below `shared/src`.
fn library_files() -> Vec<(String, String)> {
    source::read_folder(&dev::build::workspace().join("shared/src"))
}

/// The library with one more file, or with one replaced.
fn with_planted(name: &str, text: &str) -> Vec<(String, String)> {
    let mut files = library_files();
    files.retain(|(known, _)| known != name);
    files.push((name.to_owned(), text.to_owned()));
    files
}

#[test]
fn no_module_uses_one_above_it() {
    let library = source::library(&library_files());
    let found = graph::upward_uses(&library);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_planted_upward_use_is_found() {
    for (name, text) in [
        ("domain/planted.rs", "use crate::db::clock::billing_clock;"),
        (
            "db/planted.rs",
            "use crate::app;\nfn f() { app::error::RequestError::NO_AGENT; }",
        ),
        (
            "app/planted.rs",
            "fn f() { let _ = crate::api::problem::Problem::internal(); }",
        ),
        (
            "hosts/planted.rs",
            "fn f() { println!(\"{:?}\", crate::db::clock::billing_clock()); }",
        ),
    ] {
        let library = source::library(&with_planted(name, text));
        let found = graph::upward_uses(&library);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(found[0].starts_with(name), "{name}: {found:?}");
    }
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let library = source::library(&library_files());
    let found = graph::circles(&library);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_planted_circle_is_found_between_files_and_between_folders() {
    let one = "use super::other::There;\npub struct Here;";
    let other = "pub struct There;\nfn f() { super::one::Here; }";
    for (first, second, parent) in [
        (
            "domain/planted/one.rs",
            "domain/planted/other.rs",
            "in domain::planted",
        ),
        ("app/one/mod.rs", "app/other/mod.rs", "in app"),
    ] {
        let mut files = library_files();
        for (name, text) in [(first, one), (second, other)] {
            files.push((name.to_owned(), text.to_owned()));
        }
        let found = graph::circles(&source::library(&files));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(parent), "{found:?}");
    }
}

#[test]
fn every_query_on_tenant_data_takes_the_organization_or_says_that_it_does_not() {
    let found = queries::unscoped(&library_files());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_planted_query_without_an_organization_is_found() {
    let query = |signature: &str| {
        format!(
            "pub async fn {signature} {{
                sqlx::query!(\"SELECT status FROM milady_sandboxes WHERE id = $1\", id);
            }}"
        )
    };
    for (signature, count) in [
        ("planted(conn: &mut PgConnection, id: AgentId)", 1),
        ("planted(conn: &mut PgConnection, agent: AgentRef)", 0),
        (
            "planted(conn: &mut PgConnection, organization_id: OrganizationId)",
            0,
        ),
        (
            "planted_of_any_organization(conn: &mut PgConnection, id: AgentId)",
            0,
        ),
    ] {
        let found = queries::unscoped(&with_planted("db/planted.rs", &query(signature)));
        assert_eq!(found.len(), count, "{signature}: {found:?}");
    }
}

#[test]
fn words_that_the_glossary_replaces_do_not_come_back() {
    let found = words::replaced(&library_files());
    assert!(found.is_empty(), "{}", found.join("\n"));
    for text in [
        "pub struct Ghost;",
        "fn flip() {}",
        "/// A host's moment.\nstruct Moment;",
        "fn f(agent: (OrganizationId, AgentId)) {}",
        "fn f() -> Option<(Uuid, Uuid)> {}",
    ] {
        let found = words::replaced(&[("planted.rs".to_owned(), text.to_owned())]);
        assert!(!found.is_empty(), "{text}");
    }
}

/// What each layer must not name, beyond other modules of the library.
#[test]
fn layers_keep_to_their_libraries() {
    for (layer, forbidden) in [
        (
            "domain",
            vec!["sqlx", "async ", "Utc::now", "lambda_", "aws_", "tokio"],
        ),
        ("db", vec![".begin()", ".commit()", "lambda_"]),
        ("hosts", vec!["sqlx", "lambda_"]),
        ("cache", vec!["sqlx", "std::env", "lambda_"]),
        ("events", vec!["sqlx", "lambda_"]),
        ("agent_databases", vec!["std::env", "lambda_"]),
        ("secrets.rs", vec!["sqlx", "std::env::var", "lambda_"]),
        ("bucket.rs", vec!["sqlx", "std::env", "lambda_"]),
        ("vpn.rs", vec!["sqlx", "std::env", "lambda_"]),
        ("mail", vec!["sqlx", "std::env", "lambda_"]),
        ("webhook_client.rs", vec!["sqlx", "std::env", "lambda_"]),
        ("app", vec!["lambda_http", "std::env"]),
        (
            "api",
            vec!["sqlx::query", ".begin()", ".commit()", "std::env"],
        ),
        ("lambda", vec!["sqlx::query!", "sqlx::query("]),
    ] {
        for (path, text) in files(&format!("shared/src/{layer}"), "rs") {
            let code: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            // The one place below `app` that begins and ends transactions.
            let is_session = path.ends_with("db/session.rs") || path.ends_with("db/settings.rs");
            for word in forbidden
                .iter()
                .filter(|word| !(is_session && word.starts_with('.')))
            {
                let found = code.iter().find(|line| line.contains(word));
                assert!(found.is_none(), "{}: {word} in {found:?}", path.display());
            }
        }
    }
}

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
            let is_main = path.starts_with(dev::build::workspace().join("functions/src"));
            let limit = if is_main { 40 } else { 500 };
            assert!(lines <= limit, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn every_module_is_in_the_file_of_its_name() {
    let attribute = ["#[", "path"].concat();
    for folder in ["shared/src", "functions", "tests"] {
        for (path, text) in files(folder, "rs") {
            assert!(!text.contains(&attribute), "{}", path.display());
        }
    }
}

#[test]
fn indexes_on_existing_tables_are_built_without_blocking_writers() {
    for (path, text) in files("migrations", "sql") {
        // Functions that drop partitions check first whether they may.
        let text = text.replace("EXECUTE format('DROP TABLE", "");
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
            !text.replace("DROP TABLE cloud.", "").contains("DROP TABLE")
                && !text.contains("DROP COLUMN"),
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

/// The features of each dependency, as a build of these packages alone has them.
fn dependency_features(packages: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let mut command = std::process::Command::new(env!("CARGO"));
    command.args(["tree", "--offline", "--prefix", "none", "--no-dedupe"]);
    command.args(["--edges", "normal,build", "--format", "{p}|{f}"]);
    for package in packages {
        command.args(["--package", package]);
    }
    let output = command
        .current_dir(dev::build::workspace())
        .output()
        .expect("cargo tree");
    let mut features: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some((package, list)) = line.split_once('|') {
            let known = features.entry(package.to_owned()).or_default();
            known.extend(list.split(',').map(str::to_owned));
        }
    }
    features
}

#[test]
fn the_functions_share_their_compiled_dependencies_with_the_local_stack_and_the_tests() {
    // Other features of tokio alone would have `cargo dev` and `cargo test` compile most of its dependencies twice.
    let functions = dependency_features(&["all-functions", "dev"]);
    let stack = dependency_features(&["dev"]);
    // The tests parse code with these. Functions have them only inside procedural macros.
    let parsers = ["proc-macro2 ", "quote ", "syn "];
    let mut tests = dependency_features(&["dev", "sample-agent", "shared", "tests"]);
    tests.retain(|package, _| !parsers.iter().any(|parser| package.starts_with(parser)));
    for features_of in [stack, tests] {
        let shared: Vec<_> = features_of
            .iter()
            .filter_map(|(package, features)| Some((package, features, functions.get(package)?)))
            .collect();
        assert!(shared.len() > 100, "{shared:?}");
        for (package, features, of_functions) in shared {
            assert_eq!(
                features, of_functions,
                "{package}: name the dependency that adds the features in tests/dev/Cargo.toml"
            );
        }
    }
}

/// The names of all test functions that begin with the code of a known failure: `f17_...`, `f01_f02_...`.
fn tests_of_known_failures() -> BTreeMap<String, Vec<String>> {
    let root = dev::build::workspace();
    let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for folder in ["shared/src", "tests"] {
        for (_, text) in source::read_folder(&root.join(folder)) {
            for line in text.lines() {
                let Some(name) = line.trim_start().strip_prefix("fn f") else {
                    continue;
                };
                let name = format!("f{}", name.split('(').next().unwrap_or_default());
                for code in name.split('_').take_while(|part| is_code(part)) {
                    let known = tests.entry(code.to_uppercase()).or_default();
                    known.push(name.clone());
                }
            }
        }
    }
    // The tests of the dashboard in the browser: `scenario('f32_...: what it shows', ...`.
    for (_, text) in files("functions/web/e2e", "ts") {
        for name in text.split('\'').filter(|text| text.starts_with("f32_")) {
            let name = name.split(':').next().unwrap_or_default();
            let known = tests.entry("F32".to_owned()).or_default();
            known.push(name.to_owned());
        }
    }
    tests
}

fn is_code(part: &str) -> bool {
    let digits = part.strip_prefix('f').unwrap_or_default();
    digits.len() >= 2 && digits.bytes().all(|digit| digit.is_ascii_digit())
}

#[test]
fn every_listed_failure_has_its_test_and_every_such_test_is_listed() {
    let readme = dev::build::workspace().join("tests/README.md");
    let readme = std::fs::read_to_string(readme).expect("tests/README.md");
    let tests = tests_of_known_failures();
    let mut listed = BTreeSet::new();
    for row in readme.lines().filter(|line| line.starts_with("| F")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (code, name) = (cells[1], cells[3].trim_matches('`'));
        let names = tests.get(code).map(Vec::as_slice).unwrap_or_default();
        assert!(
            names.iter().any(|known| known == name),
            "{code} has no test {name}"
        );
        listed.insert(code.to_owned());
    }
    let tested: BTreeSet<String> = tests.into_keys().collect();
    assert_eq!(
        tested, listed,
        "the codes of tests and those of tests/README.md"
    );
}

/// The names of all functions that are tests.
fn names_of_tests() -> BTreeSet<String> {
    let root = dev::build::workspace();
    let mut names = BTreeSet::new();
    for folder in ["shared/src", "tests"] {
        for (_, text) in source::read_folder(&root.join(folder)) {
            let mut is_test = false;
            for line in text.lines().map(str::trim_start) {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                let name = line.trim_start_matches("async ").strip_prefix("fn ");
                if let Some(name) = name.filter(|_| is_test) {
                    names.extend(name.split('(').next().map(str::to_owned));
                    is_test = false;
                }
            }
        }
    }
    names
}

#[test]
fn every_risk_of_the_owasp_list_has_tests_that_exist() {
    let table = dev::build::workspace().join("tests/it/api/OWASP.md");
    let table = std::fs::read_to_string(table).expect("OWASP.md");
    let tests = names_of_tests();
    let mut risks = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| API")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let risk = cells[1].split(' ').next().unwrap_or_default();
        let named: Vec<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{risk} has no test");
        for name in named {
            assert!(tests.contains(name), "{risk} has no test {name}");
        }
        risks.push(risk.to_owned());
    }
    let expected: Vec<String> = (1..=10).map(|number| format!("API{number}")).collect();
    assert_eq!(risks, expected);
}
