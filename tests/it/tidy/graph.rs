//! Who may use whom: the direction between the modules, and no circles at any level.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Library, ModulePath};

/// Each module, and the modules it may use. What is not listed here is forbidden.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("invocation", &[]),
    ("metrics", &[]),
    ("failure", &[]),
    ("random", &["failure"]),
    ("encryption", &["domain", "failure", "random"]),
    ("aws", &[]),
    ("secrets", &["aws", "failure"]),
    ("bucket", &["aws", "failure"]),
    ("mail", &["aws", "domain", "failure"]),
    ("webhook_client", &["domain", "failure"]),
    ("db", &["domain"]),
    ("cache", &["domain", "failure"]),
    ("events", &["domain", "failure"]),
    ("agent_databases", &["domain", "failure"]),
    ("hosts", &["domain", "failure", "random", "secrets"]),
    ("vpn", &["domain", "failure", "secrets"]),
    ("cloud_formation", &["failure"]),
    (
        "app",
        &[
            "domain",
            "db",
            "encryption",
            "cache",
            "events",
            "agent_databases",
            "bucket",
            "hosts",
            "mail",
            "vpn",
            "secrets",
            "failure",
            "webhook_client",
        ],
    ),
    (
        "api",
        &[
            "domain",
            "db",
            "encryption",
            "cache",
            "events",
            "agent_databases",
            "bucket",
            "hosts",
            "mail",
            "vpn",
            "cloud_formation",
            "secrets",
            "failure",
            "app",
            "invocation",
            "metrics",
            "random",
        ],
    ),
    (
        "lambda",
        &[
            "aws",
            "mail",
            "db",
            "domain",
            "encryption",
            "cache",
            "events",
            "agent_databases",
            "bucket",
            "hosts",
            "vpn",
            "secrets",
            "failure",
            "app",
            "api",
            "invocation",
            "metrics",
            "random",
        ],
    ),
];

/// One use of a file by another, both as module paths.
type Edge = (ModulePath, ModulePath);

/// The module that holds the item a path leads to, through re-exports. `None` for a path that ends at a
/// module: naming a module is not yet using it.
fn resolve(library: &Library, path: &[String], depth: usize) -> Option<ModulePath> {
    let length = (1..=path.len()).rev().find(|end| {
        let prefix = &path[..*end];
        library.contains_key(prefix)
    })?;
    let (module, rest) = path.split_at(length);
    let item = rest.first()?;
    match library.get(module)?.reexports.get(item) {
        Some(target) if depth < 8 => {
            let target = [target.as_slice(), &rest[1..]].concat();
            resolve(library, &target, depth + 1)
        }
        _ => Some(module.to_vec()),
    }
}

fn edges(library: &Library) -> BTreeSet<Edge> {
    let mut edges = BTreeSet::new();
    for (path, module) in library {
        for reference in &module.references {
            if let Some(target) = resolve(library, reference, 0)
                && target != *path
            {
                edges.insert((path.clone(), target));
            }
        }
    }
    edges
}

/// Uses that point back up, as messages.
pub fn upward_uses(library: &Library) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut messages = Vec::new();
    for (user, used) in edges(library) {
        let (from, to) = (user[0].as_str(), used[0].as_str());
        if from == to {
            continue;
        }
        match allowed.get(from) {
            None => messages.push(format!("the module {from} is not in the table MAY_USE")),
            Some(list) if !list.contains(&to) => messages.push(format!(
                "{} uses {}",
                library[&user].file, library[&used].file
            )),
            Some(_) => {}
        }
    }
    messages
}

/// Circles between the children of any module, as messages. Code in `mod.rs` counts as a child named `mod`.
pub fn circles(library: &Library) -> Vec<String> {
    let mut levels: BTreeMap<ModulePath, BTreeMap<(String, String), Edge>> = BTreeMap::new();
    for (user, used) in edges(library) {
        let common = user
            .iter()
            .zip(&used)
            .take_while(|(one, other)| one == other)
            .count();
        let child = |path: &ModulePath| path.get(common).map_or("mod", String::as_str).to_owned();
        let parent = user[..common].to_vec();
        levels
            .entry(parent)
            .or_default()
            .entry((child(&user), child(&used)))
            .or_insert((user, used));
    }
    let mut messages = Vec::new();
    for (parent, uses) in &levels {
        if let Some(circle) = circle(uses.keys()) {
            let steps = circle.iter().map(|step| {
                let (from, to) = &uses[step];
                format!("{} uses {}", library[from].file, library[to].file)
            });
            let steps: Vec<String> = steps.collect();
            messages.push(format!("in {}: {}", parent.join("::"), steps.join("; ")));
        }
    }
    messages
}

/// One circle among these uses, as its steps.
fn circle<'a>(uses: impl Iterator<Item = &'a (String, String)>) -> Option<Vec<(String, String)>> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (user, used) in uses {
        next.entry(user).or_default().push(used);
    }
    for start in next.keys() {
        let mut trail = vec![*start];
        let mut seen = BTreeSet::new();
        if closes(&next, start, start, &mut trail, &mut seen) {
            let steps = trail.windows(2);
            return Some(
                steps
                    .map(|step| (step[0].to_owned(), step[1].to_owned()))
                    .collect(),
            );
        }
    }
    None
}

fn closes<'a>(
    next: &BTreeMap<&'a str, Vec<&'a str>>,
    at: &'a str,
    start: &str,
    trail: &mut Vec<&'a str>,
    seen: &mut BTreeSet<&'a str>,
) -> bool {
    for used in next.get(at).into_iter().flatten() {
        trail.push(used);
        if *used == start || (seen.insert(used) && closes(next, used, start, trail, seen)) {
            return true;
        }
        trail.pop();
    }
    false
}
