//! Derived files say what the code says, and `template.yaml` has the routes that the code describes.

use std::collections::{BTreeMap, BTreeSet};

use dev::build::workspace;
use dev::template::Template;
use shared::api::{older_paths, routes};
use shared::domain::fleet::DEGRADED_DISK_PERCENT;
use tests::derived;

#[test]
fn no_derived_file_is_stale() {
    for (path, text) in derived::files().expect("derived files") {
        let on_disk = std::fs::read_to_string(workspace().join(&path)).unwrap_or_default();
        assert!(on_disk == text, "{path} is stale: run `cargo prepare`");
    }
}

#[test]
fn local_stack_and_fleet_agree_on_when_a_disk_is_full() {
    assert_eq!(dev::host::FULL_DISK_PERCENT, DEGRADED_DISK_PERCENT);
}

#[test]
fn template_has_exactly_the_described_routes() {
    let mut described = BTreeSet::new();
    for route in routes::all() {
        let older = older_paths::older(route.path);
        for path in older.into_iter().chain([route.path.to_owned()]) {
            described.insert(format!("{} {path} -> {}", route.method, route.function));
        }
    }
    let template = Template::load().expect("template.yaml");
    let mut in_template = BTreeSet::new();
    for function in &template.functions {
        let routes = function.routes.iter();
        for route in routes.filter(|route| route.method != "ANY") {
            in_template.insert(format!(
                "{} {} -> {}",
                route.method, route.path, function.name
            ));
        }
    }
    assert_eq!(described, in_template);
}

/// A function without a setting that its code reads would silently use the default.
#[test]
fn every_function_has_the_settings_that_its_code_reads() {
    let workspace = workspace();
    let read = |path: &str| std::fs::read_to_string(workspace.join(path)).expect(path);
    let reads = settings_by_reader(&read("shared/src/lambda/config.rs"));
    let template = Template::load().expect("template.yaml");
    let settings = |function: &dev::template::Function| -> BTreeSet<String> {
        let names = function.env.keys().chain(&function.secrets);
        // `<NAME>_ARN` names the secret that holds the setting `<NAME>`.
        let stored = names.clone().filter_map(|name| name.strip_suffix("_ARN"));
        let stored = stored.map(str::to_owned);
        stored.chain(names.cloned()).collect()
    };
    let given: BTreeSet<String> = template.functions.iter().flat_map(settings).collect();
    let mut missing = Vec::new();
    for function in &template.functions {
        let path = format!("functions/src/bin/{}.rs", function.name);
        let Ok(source) = std::fs::read_to_string(workspace.join(path)) else {
            continue;
        };
        let settings = settings(function);
        for (reader, names) in &reads {
            if source.contains(&format!("config::{reader}(")) {
                let unset = names.iter().filter(|name| given.contains(*name));
                let unset = unset.filter(|name| !settings.contains(*name));
                missing.extend(unset.map(|name| format!("{}: {name}", function.name)));
            }
        }
    }
    assert!(reads["prices"].contains("MILADY_IDLE_HOURLY"), "{reads:?}");
    assert!(reads["auth"].contains("PRIVY_APP_ID"), "{reads:?}");
    assert_eq!(missing, [""; 0]);
}

fn calls(body: &str, name: &str) -> bool {
    let call = format!("{name}(");
    let is_part_of_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
    body.match_indices(&call)
        .any(|(at, _)| !body[..at].ends_with(is_part_of_name))
}

/// The names of settings that each function of the source reads, itself or through another one.
fn settings_by_reader(source: &str) -> BTreeMap<String, BTreeSet<String>> {
    let tests = source.find("#[cfg(test)]").unwrap_or(source.len());
    let bodies: BTreeMap<String, &str> = source[..tests]
        .split("\nfn ")
        .flat_map(|part| part.split("\npub fn "))
        .skip(1)
        .filter_map(|part| Some((part.split(['(', '<']).next()?.to_owned(), part)))
        .collect();
    let is_name =
        |text: &&str| text.len() > 3 && text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let own = |body: &str| -> BTreeSet<String> {
        body.split('"')
            .skip(1)
            .step_by(2)
            .filter(is_name)
            .map(str::to_owned)
            .collect()
    };
    let mut reads: BTreeMap<String, BTreeSet<String>> = bodies
        .iter()
        .map(|(name, body)| (name.clone(), own(body)))
        .collect();
    // Two levels: `auth` reads some by way of `privy`.
    for _ in 0..2 {
        let known = reads.clone();
        for (name, body) in &bodies {
            for (other, names) in &known {
                if other != name && calls(body, other) {
                    reads.entry(name.clone()).or_default().extend(names.clone());
                }
            }
        }
    }
    reads
}
