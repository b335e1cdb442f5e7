//! `cargo api-check`: tries the running API against its own description.
//!
//! Starts the stack with a database of its own, has Schemathesis make requests from the `OpenAPI`
//! document that is served there, those that fit it and those that do not, and counts per operation
//! what was answered. It fails when an answer is not as described, when a route was not tried, and when
//! fewer requests were made than asked for.

mod answers;
mod options;
mod tool;

use std::ffi::OsString;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use sqlx::PgPool;
use tokio::net::TcpListener;

use crate::command::stack::{CRON_SECRET, Stack, Webhooks};
use crate::command::{self, seed};
use crate::template::Template;
use crate::{build, postgres};
use answers::Answers;
use options::{HELP, Options};

/// More than enough for the requests of a run that could succeed.
const RESTORABLE: i32 = 50;
const NODES: i32 = 50;

/// Runs the command; the result says whether the API is as described.
///
/// # Errors
/// With a one-line message when the command line is not understood or a step fails.
pub async fn main(arguments: impl IntoIterator<Item = OsString>) -> Result<bool> {
    let options = Options::parse(arguments)?;
    if options.help {
        print!("{HELP}");
        return Ok(true);
    }
    let finished = command::until_interrupted(run(&options)).await?;
    Ok(finished.unwrap_or(false))
}

async fn run(options: &Options) -> Result<bool> {
    let template = Template::load()?;
    let target = build::target_directory()?;
    let schemathesis = tool::install(&target.join("tools/schemathesis")).await?;
    let directory = target.join("api-check");
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let place = postgres::Options {
        dir: directory.clone(),
        durable: false,
        keep: false,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    // Its agents are rows, and its restores are to stay without effect.
    let settings = command::Options {
        no_host: true,
        no_sim: true,
        ..command::Options::default()
    };
    let webhooks = Webhooks::AsDeployed;
    let stack = Stack::start(&settings, place, webhooks, template.clone(), listener).await?;
    let routes: Vec<String> = template
        .functions
        .iter()
        .flat_map(|function| &function.routes)
        .filter(|route| route.path != "$default")
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    let events = directory.join("events.ndjson");
    let description = directory.join("openapi.json");
    std::fs::write(&description, stack.description().await?)?;
    let configuration = directory.join("schemathesis.toml");
    stock(&stack.database).await?;
    std::fs::write(&configuration, configured(&stack.database).await?)?;
    // Beside these there are the description's examples and the limits of each value, so there are
    // enough even where an operation has little to vary.
    let each = options.cases.div_ceil(routes.len().max(1)).max(1);
    let status = tokio::process::Command::new(schemathesis)
        .arg("--config-file")
        .arg(&configuration)
        // From a file: it leaves out the operation it reads a description from.
        .arg("run")
        .arg(&description)
        .args(["--url", &stack.base()])
        .args(["--max-examples", &each.to_string()])
        .args(["--seed", &options.seed.to_string()])
        // One after the other: which requests there are then depends on nothing but the seed.
        .args(["--workers", "1", "--report", "ndjson"])
        .arg("--report-ndjson-path")
        .arg(&events)
        .env("API_KEY", seed::DEMOS[0].key())
        .env("CRON_SECRET", CRON_SECRET)
        // It leaves folders of its own where it runs.
        .current_dir(&directory)
        .kill_on_drop(true)
        .status()
        .await
        .context("cannot run Schemathesis")?;
    report(&events, options.cases, &routes, status.success())
}

/// Agents for the restore route alone: each can be restored once, for no host ever runs it. And hosts,
/// some of them for the route that removes them.
async fn stock(database: &PgPool) -> Result<()> {
    sqlx::query(
        "WITH stopped AS (
             INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status)
             SELECT organization_id, user_id, 'to be restored ' || n, 'stopped'
             FROM api_keys, generate_series(1, $2) n WHERE key = $1 RETURNING id)
         INSERT INTO milady_sandbox_backups (sandbox_record_id, snapshot_type, state_data)
         SELECT id, 'auto', '{}' FROM stopped",
    )
    .bind(seed::DEMOS[0].key())
    .bind(RESTORABLE)
    .execute(database)
    .await
    .context("cannot add agents")?;
    // Nobody listens there, so that nothing is connected to.
    sqlx::query(
        "INSERT INTO docker_nodes (node_id, hostname, ssh_port)
        SELECT kind || '-' || n, '127.0.0.1', 9
        FROM unnest(ARRAY['kept', 'removable']) kind, generate_series(1, $1) n",
    )
    .bind(NODES)
    .execute(database)
    .await
    .context("cannot add hosts")?;
    Ok(())
}

/// The configuration with what there is in the database.
async fn configured(database: &PgPool) -> Result<String> {
    let mut text = include_str!("../../schemathesis.toml").to_owned();
    for (name, sql) in [
        (
            "agents",
            "SELECT id::text FROM milady_sandboxes WHERE agent_name NOT LIKE 'to be restored%'",
        ),
        (
            "restorable",
            "SELECT id::text FROM milady_sandboxes WHERE agent_name LIKE 'to be restored%'",
        ),
        ("backups", "SELECT id::text FROM milady_sandbox_backups"),
        ("organizations", "SELECT id::text FROM organizations"),
        ("keys", "SELECT key FROM api_keys"),
        (
            "nodes",
            "SELECT node_id FROM docker_nodes WHERE node_id LIKE 'kept%'",
        ),
        (
            "removable",
            "SELECT node_id FROM docker_nodes WHERE node_id LIKE 'removable%'",
        ),
    ] {
        let values: Vec<String> = sqlx::query_scalar(sql).fetch_all(database).await?;
        // A list of texts is written the same in JSON and in TOML. Writing to a String cannot fail.
        let _ = writeln!(text, "{name} = {{ values = {} }}", json!(values));
    }
    Ok(text)
}

fn report(events: &Path, cases: usize, routes: &[String], is_as_described: bool) -> Result<bool> {
    let answers = Answers::read(events)?;
    print!("{answers}");
    let mut complaints = answers.complaints(cases, routes);
    if !is_as_described {
        complaints.push("Schemathesis has found something: see above.".to_owned());
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    Ok(complaints.is_empty())
}
