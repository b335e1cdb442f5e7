//! `cargo api-check`: tests the running API against its own description.
//!
//! Starts the stack with a fresh database. Schemathesis reads the `OpenAPI` document that the stack
//! serves and sends requests that match it and requests that do not. The answers are counted per
//! operation. The command fails if an answer differs from the description, if an operation succeeded
//! that the caller's role may not use, if a route was not tested, or if fewer requests were sent than
//! asked for.

mod options;
mod report;
mod role;
mod schemathesis;

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::net::TcpListener;

use crate::command::stack::{CRON_SECRET, Stack, Webhooks};
use crate::command::{self, seed};
use crate::template::{Route, Template};
use crate::{build, postgres};
pub use options::Options;
use report::Report;
pub use role::Role;

/// The number of agents that can be restored: more than the restore requests of a run that can
/// succeed.
const RESTORABLE_AGENTS: i32 = 50;
const NODES: i32 = 50;
const REVOCABLE_KEYS: i32 = 50;

/// Runs the command. Returns whether the API matches its description.
pub async fn main(options: &Options) -> Result<bool> {
    let finished = command::until_interrupted(run(options)).await?;
    Ok(finished.unwrap_or(false))
}

async fn run(options: &Options) -> Result<bool> {
    let target = build::target_directory()?;
    let schemathesis = schemathesis::install(&target.join("tools/schemathesis")).await?;
    let mut passed = true;
    for role in options.roles() {
        let directory = target.join("api-check").join(role.name());
        println!(
            "Testing the API with the key of a user with the role {}.",
            role.name()
        );
        passed &= check(options, *role, &schemathesis, directory).await?;
    }
    Ok(passed)
}

/// Tests the API with the key of a user with this role.
async fn check(
    options: &Options,
    role: Role,
    schemathesis: &Path,
    directory: PathBuf,
) -> Result<bool> {
    let template = Template::load()?;
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let postgres_options = postgres::Options {
        dir: directory.clone(),
        durable: false,
        keep: false,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    // Without hosts the agents are only rows in the database, and a restore has no effect.
    let settings = command::Options {
        no_host: true,
        no_sim: true,
        pooler: options.pooler,
        ..command::Options::default()
    };
    let webhooks = Webhooks::AsDeployed;
    let stack = Stack::start(
        &settings,
        postgres_options,
        webhooks,
        template.clone(),
        listener,
    )
    .await?;
    let events = directory.join("events.ndjson");
    let description = directory.join("openapi.json");
    let description_text = stack.description().await?;
    std::fs::write(&description, &description_text)?;
    let document: Value = serde_json::from_str(&description_text)?;
    let routes: Vec<String> = template
        .functions
        .iter()
        .flat_map(|function| &function.routes)
        .filter(|route| route.method != "ANY" && !is_deprecated(&document, route))
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    let configuration_file = directory.join("schemathesis.toml");
    role.give(&stack.database).await?;
    insert_resources(&stack.database).await?;
    std::fs::write(&configuration_file, configuration(&stack.database).await?)?;
    // Schemathesis also sends the description's examples and each value's limits, so the total is
    // reached even where an operation has few variations.
    let examples_per_operation = options.cases.div_ceil(routes.len().max(1)).max(1);
    let status = tokio::process::Command::new(schemathesis)
        .arg("--config-file")
        .arg(&configuration_file)
        // From a file: Schemathesis does not test the operation that it reads a description from.
        .arg("run")
        .arg(&description)
        .args(["--url", &stack.base_url()])
        // They lead to the same functions as other routes.
        .arg("--exclude-deprecated")
        .args(["--max-examples", &examples_per_operation.to_string()])
        .args(["--seed", &options.seed.to_string()])
        // One worker, so that the requests depend on nothing but the seed.
        .args(["--workers", "1", "--report", "ndjson"])
        .arg("--report-ndjson-path")
        .arg(&events)
        .env("API_KEY", seed::DEMOS[0].key())
        .env("CRON_SECRET", CRON_SECRET)
        // Schemathesis leaves folders in its working directory.
        .current_dir(&directory)
        .kill_on_drop(true)
        .status()
        .await
        .context("cannot run Schemathesis")?;
    let report = Report::read(&events)?;
    Ok(evaluate(
        &report,
        options.cases,
        &routes,
        role,
        status.success(),
    ))
}

/// Whether a route is only for clients of the earlier deployment.
fn is_deprecated(document: &Value, route: &Route) -> bool {
    let operation = &document["paths"][&route.path][route.method.to_lowercase()];
    operation["deprecated"] == json!(true)
}

/// Inserts agents for the restore route: each can be restored only once, because no host runs it.
/// Also inserts hosts, some of them for the route that removes hosts, and an organization for the routes
/// that change limits, users and keys. The limits of the caller's organization are raised, so that they refuse nothing.
async fn insert_resources(database: &PgPool) -> Result<()> {
    sqlx::query(
        "WITH stopped AS (
             INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status)
             SELECT organization_id, user_id, 'to be restored ' || n, 'stopped'
             FROM api_keys, generate_series(1, $2) n WHERE key = $1 RETURNING id)
         INSERT INTO milady_sandbox_backups (sandbox_record_id, snapshot_type, state_data)
         SELECT id, 'auto', '{}' FROM stopped",
    )
    .bind(seed::DEMOS[0].key())
    .bind(RESTORABLE_AGENTS)
    .execute(database)
    .await
    .context("cannot add agents")?;
    // Nothing listens on port 9, so no request connects to anything.
    sqlx::query(
        "INSERT INTO docker_nodes (node_id, hostname, ssh_port)
        SELECT kind || '-' || n, '127.0.0.1', 9
        FROM unnest(ARRAY['kept', 'removable']) kind, generate_series(1, $1) n",
    )
    .bind(NODES)
    .execute(database)
    .await
    .context("cannot add hosts")?;
    sqlx::raw_sql(
        "INSERT INTO organizations (name, slug) VALUES ('Limited', 'limited');
        INSERT INTO users (name, organization_id) SELECT 'Limited', id FROM organizations WHERE slug = 'limited'",
    )
    .execute(database)
    .await
    .context("cannot add an organization")?;
    sqlx::query(
        "INSERT INTO api_keys (name, key, key_hash, key_prefix, organization_id, user_id)
        SELECT 'revocable', gen_random_uuid()::text, gen_random_uuid()::text, 'eliza_', organization_id, id
        FROM users, generate_series(1, $1) WHERE name = 'Limited'",
    )
    .bind(REVOCABLE_KEYS)
    .execute(database)
    .await
    .context("cannot add keys")?;
    sqlx::query(
        "INSERT INTO cloud.organization_limits (organization_id, agents, active_starts, updated_at, updated_by)
        SELECT organization_id, 10000, 10000, now(), user_id FROM api_keys WHERE key = $1",
    )
    .bind(seed::DEMOS[0].key())
    .execute(database)
    .await
    .context("cannot raise limits")?;
    Ok(())
}

/// The Schemathesis configuration, with dictionaries of the identifiers in the database.
async fn configuration(database: &PgPool) -> Result<String> {
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
        (
            "limited",
            "SELECT id::text FROM organizations WHERE slug = 'limited'",
        ),
        (
            "users",
            "SELECT u.id::text FROM users u JOIN organizations o ON o.id = u.organization_id WHERE o.slug = 'limited'",
        ),
        (
            "revocable",
            "SELECT id::text FROM api_keys WHERE name = 'revocable'",
        ),
        ("keys", "SELECT key FROM api_keys WHERE name <> 'revocable'"),
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
        // A list of strings has the same syntax in JSON and TOML. Writing to a String cannot fail.
        let _ = writeln!(text, "{name} = {{ values = {} }}", json!(values));
    }
    Ok(text)
}

/// Prints the report and what is wrong. Returns whether nothing is.
fn evaluate(
    report: &Report,
    cases: usize,
    routes: &[String],
    role: Role,
    schemathesis_passed: bool,
) -> bool {
    print!("{report}");
    let mut complaints = report.complaints(cases, routes);
    let successes = report.successes().filter(|name| role.is_refused(name));
    complaints
        .extend(successes.map(|name| format!("{name} succeeded for the role {}.", role.name())));
    if !schemathesis_passed {
        complaints.push("Schemathesis found failures: see above.".to_owned());
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    complaints.is_empty()
}
