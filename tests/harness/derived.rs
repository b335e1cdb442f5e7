//! The files, and the parts of files, that are derived from the code: the `OpenAPI` document, the route table of
//! `cargo lambda watch`, the table of the functions, what the template says of the schema, and the sample event of a route
//! that has none yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result, ensure};
use dev::build::workspace;
use dev::template::{Function, Template};
use serde_json::Value;
use sha2::{Digest, Sha256};
use shared::api::document::document;
use shared::api::older_paths;
use shared::api::parameters;
use shared::api::route::{CallerKind, Location, Route};
use shared::api::routes;
use shared::lambda::variables::VARIABLES;

/// Every derived file: its path below the workspace, and its whole text.
pub fn files() -> Result<Vec<(String, String)>> {
    let mut files = vec![
        ("shared/src/api/openapi.json".to_owned(), document_text()?),
        with_parts("Cargo.toml", &[("routes", watch_table())])?,
        with_parts(
            "functions/README.md",
            &[("settings", settings_table()?), ("list", function_table()?)],
        )?,
        with_parts("template.yaml", &[("schema", schema_properties()?)])?,
    ];
    files.extend(missing_events()?);
    Ok(files)
}

/// What a deployment does to the database: how many migrations there are, which tells a rollback from an upgrade, and a
/// fingerprint of them and of the rights of the functions' role. CloudFormation invokes `db-migrate` if one of them changes.
fn schema_properties() -> Result<String> {
    let entries = fs::read_dir(workspace().join("migrations"))?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "sql"));
    paths.sort();
    let migrations = paths.len();
    paths.push(workspace().join("shared/src/app/deployment/roles.rs"));
    let mut hash = Sha256::new();
    for path in paths {
        let name = path.file_name().context("a file has no name")?;
        hash.update(name.as_encoded_bytes());
        hash.update([0]);
        hash.update(fs::read(&path)?);
        hash.update([0]);
    }
    let fingerprint = hex::encode(&hash.finalize()[..8]);
    Ok(format!(
        "      Migrations: {migrations}\n      Fingerprint: \"{fingerprint}\"\n"
    ))
}

fn document_text() -> Result<String> {
    let mut document = document();
    document.sort_all_objects();
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// The file with these texts between their marker lines.
fn with_parts(path: &str, parts: &[(&str, String)]) -> Result<(String, String)> {
    let mut text =
        fs::read_to_string(workspace().join(path)).with_context(|| format!("in {path}"))?;
    for (name, part) in parts {
        text = replaced(&text, name, part)
            .with_context(|| format!("{path} has no marker lines of {name}"))?;
    }
    Ok((path.to_owned(), text))
}

fn replaced(text: &str, name: &str, part: &str) -> Option<String> {
    let begin = format!("{name}, derived by `cargo prepare`: begin");
    let end = format!("{name}, derived by `cargo prepare`: end");
    let (before, rest) = text.split_once(&begin)?;
    let (begin_line, rest) = rest.split_once('\n')?;
    let (_, after) = rest.split_once(&end)?;
    let old = &rest[..rest.len() - after.len() - end.len()];
    let end_line = &old[old.rfind('\n').map_or(0, |at| at + 1)..];
    Some(format!(
        "{before}{begin}{begin_line}\n{part}{end_line}{end}{after}"
    ))
}

/// One entry per path and function, sorted by path and method.
fn watch_table() -> String {
    let mut entries: BTreeMap<(String, &str), Vec<&str>> = BTreeMap::new();
    for route in routes::all() {
        let older = older_paths::older(route.path);
        for path in older.into_iter().chain([route.path.to_owned()]) {
            let key = (path, route.function);
            entries.entry(key).or_default().push(route.method);
        }
    }
    let mut entries: Vec<_> = entries.into_iter().collect();
    entries.sort_by_key(|((path, _), methods)| (path.clone(), methods.first().copied()));
    let mut text = String::new();
    for ((path, function), methods) in entries {
        let methods = methods.join("\", \"");
        let _ = write!(
            text,
            "[[workspace.metadata.lambda.watch.router]]\n\
             path = \"{path}\"\nmethods = [\"{methods}\"]\nfunction = \"{function}\"\n\n"
        );
    }
    text + WATCH_DEFAULT
}

const WATCH_DEFAULT: &str = r#"# Everything else gets a 404 of `cargo lambda watch` itself. The dashboard has no row, because its function is in another
# package, and `cargo lambda watch` runs the functions of one package only: a row would leave its requests waiting.
[[workspace.metadata.lambda.watch.router]]
path = "/api/{*rest}"
function = "not-found"
"#;

/// The settings of the template, with the functions that have them.
fn settings_table() -> Result<String> {
    let template = Template::load()?;
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for function in &template.functions {
        names.extend(setting_names(function));
    }
    let mut table =
        "| variable | which functions have it | what it is |\n|---|---|---|\n".to_owned();
    for variable in VARIABLES {
        ensure!(
            names.remove(variable.name),
            "{} is not in template.yaml",
            variable.name
        );
        let (with, without): (Vec<&Function>, Vec<&Function>) = template
            .functions
            .iter()
            .partition(|function| setting_names(function).any(|name| name == variable.name));
        let list = |functions: &[&Function]| {
            let names = functions
                .iter()
                .map(|function| format!("`{}`", function.name));
            names.collect::<Vec<_>>().join(", ")
        };
        let functions = if without.is_empty() {
            "all".to_owned()
        } else if without.len() * 2 < with.len() {
            format!("all but {}", list(&without))
        } else {
            list(&with)
        };
        let _ = writeln!(
            table,
            "| `{}` | {functions} | {} |",
            variable.name, variable.meaning
        );
    }
    ensure!(
        names.is_empty(),
        "settings without a description: {names:?}"
    );
    Ok(table)
}

fn setting_names(function: &Function) -> impl Iterator<Item = &str> {
    function
        .env
        .keys()
        .chain(&function.secrets)
        .map(String::as_str)
}

fn function_table() -> Result<String> {
    let template = Template::load()?;
    let mut table = "| function | trigger | what it does |\n|---|---|---|\n".to_owned();
    for name in dev::build::function_names()? {
        let function = template.function(&name);
        let trigger =
            trigger(function.with_context(|| format!("{name} is not in template.yaml"))?)?;
        let purpose = purpose(&name)?;
        let _ = writeln!(table, "| `{name}` | {trigger} | {purpose} |");
    }
    Ok(table)
}

/// What invokes a function.
fn trigger(function: &Function) -> Result<String> {
    let routes = routes::all().filter(|route| route.function == function.name);
    let routes = routes.map(|route| format!("`{} {}`", route.method, route.path));
    // They take every method and are not described.
    let others = function.routes.iter().filter(|route| route.method == "ANY");
    let others = others.map(|route| match route.path.as_str() {
        "$default" => "the default route".to_owned(),
        path => format!("`ANY {path}`"),
    });
    let schedules = function.schedules.iter();
    let schedules = schedules.map(|schedule| format!("`{}`", schedule.expression));
    let queued = function.queues.iter().flat_map(|queue| &queue.rules);
    let events = function.rules.iter().chain(queued).flat_map(|rule| {
        let types = rule.pattern["detail-type"].as_array();
        types.into_iter().flatten().filter_map(Value::as_str)
    });
    let mut all: Vec<String> = routes.chain(others).chain(schedules).collect();
    for event in events.map(|event| format!("the event `{event}`")) {
        // Several queues can have the same event.
        if !all.contains(&event) {
            all.push(event);
        }
    }
    if all.is_empty() {
        ensure!(
            function.routes.is_empty(),
            "no ROUTES list the route of {}",
            function.name
        );
        return Ok("the deployment".to_owned());
    }
    Ok(all.join(", "))
}

/// The first line of the function's file, without the route or event that it may begin with.
fn purpose(name: &str) -> Result<String> {
    let path = dev::build::function_source(name);
    let text = fs::read_to_string(workspace().join(&path)).with_context(|| format!("in {path}"))?;
    let line = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("//! "));
    let line = line.with_context(|| format!("{path} does not begin with a doc comment"))?;
    let purpose = match line.split_once(": ") {
        Some((trigger, purpose)) if trigger.contains('`') => purpose,
        _ => line,
    };
    let mut characters = purpose.chars();
    let first = characters.next().unwrap_or_default();
    Ok(format!("{}{}", first.to_uppercase(), characters.as_str()))
}

/// A sample event for each function with a route that has none. It is written once; its owner may change it.
fn missing_events() -> Result<Vec<(String, String)>> {
    let template = Template::load()?;
    let mut files = Vec::new();
    for route in routes::all() {
        let path = format!("events/{}.json", route.function);
        let is_known = files.iter().any(|(known, _)| *known == path);
        if !is_known && !workspace().join(&path).exists() {
            let function = template.function(route.function);
            let mut template_routes = function.into_iter().flat_map(|known| &known.routes);
            let is_streamed = template_routes.any(|known| known.is_streamed);
            files.push((path, sample_event(route, is_streamed)));
        }
    }
    Ok(files)
}

fn sample_event(route: &Route, is_streamed: bool) -> String {
    let text = |json: &str| {
        let value: Value = serde_json::from_str(json).unwrap_or_default();
        value.as_str().map_or(value.to_string(), str::to_owned)
    };
    let in_path = parameters::PATH
        .iter()
        .map(|parameter| (parameter.name, text(parameter.example)))
        .filter(|(name, _)| route.path.contains(&format!("{{{name}}}")));
    let in_path: BTreeMap<&str, String> = in_path.collect();
    let mut raw_path = route.path.to_owned();
    for (name, value) in &in_path {
        raw_path = raw_path.replace(&format!("{{{name}}}"), value);
    }
    let key = if is_streamed {
        "$default".to_owned()
    } else {
        format!("{} {}", route.method, route.path)
    };
    let mut tail = String::new();
    if !in_path.is_empty() && !is_streamed {
        let values = Value::from_iter(in_path);
        let values = format!("{values:#}").replace('\n', "\n  ");
        let _ = write!(tail, "\n  \"pathParameters\": {values},");
    }
    if let Some(body) = &route.body {
        let body: Value = serde_json::from_str(body.example).unwrap_or_default();
        let _ = write!(tail, "\n  \"body\": {},", Value::from(body.to_string()));
    }
    let headers = format!("{:#}", sample_headers(route)).replace('\n', "\n  ");
    let method = route.method;
    format!(
        r#"{{
  "version": "2.0",
  "routeKey": "{key}",
  "rawPath": "{raw_path}",
  "rawQueryString": "",
  "headers": {headers},
  "requestContext": {{
    "accountId": "123456789012",
    "apiId": "local",
    "domainName": "localhost",
    "domainPrefix": "localhost",
    "http": {{
      "method": "{method}",
      "path": "{raw_path}",
      "protocol": "HTTP/1.1",
      "sourceIp": "127.0.0.1",
      "userAgent": "sample"
    }},
    "requestId": "11111111-2222-4333-8444-555555555555",
    "routeKey": "{key}",
    "stage": "$default",
    "time": "02/Nov/2026:12:00:05 +0000",
    "timeEpoch": 1793620805000
  }},{tail}
  "isBase64Encoded": false
}}
"#
    )
}

fn sample_headers(route: &Route) -> Value {
    let mut headers = serde_json::json!({
        "accept": "application/json", "host": "localhost", "user-agent": "sample",
    });
    match route.caller {
        CallerKind::Reader
        | CallerKind::AgentManager
        | CallerKind::AgentOwner
        | CallerKind::Owner
        | CallerKind::SuperAdmin => {
            headers["x-api-key"] = format!("eliza_{}", "d0".repeat(32)).into();
        }
        CallerKind::Scheduler => headers["authorization"] = "Bearer dev-cron-secret".into(),
        CallerKind::Browser | CallerKind::Anybody => {}
    }
    if route.body.is_some() {
        headers["content-type"] = "application/json".into();
    }
    let required = route.parameters.iter();
    let required = required
        .filter(|parameter| parameter.is_required && parameter.location == Location::Header);
    for parameter in required {
        let example: Value = serde_json::from_str(parameter.example).unwrap_or_default();
        headers[parameter.name.to_lowercase()] = example;
    }
    headers
}
