//! `cargo dev`: builds the functions, starts the stack, migrates and seeds the database, runs the
//! schedules and a host for agents.

mod demo_host;
mod format;
mod host;
mod mails;
mod migration_set;
mod options;
mod printed_agents;
mod schedules;
pub(crate) mod seed;
mod settings_file;
mod simulated_hosts;
pub(crate) mod stack;
mod story;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use crate::template::Template;
use crate::{build, postgres, web};
pub use options::Options;
use stack::{Stack, Webhooks};

/// Runs the command until it finishes or is interrupted. Returns whether every billing run succeeded.
pub async fn main(options: &Options) -> Result<bool> {
    let finished = until_interrupted(run(options)).await?;
    Ok(finished.unwrap_or(true))
}

/// Runs `run` until it finishes. Returns `None` if SIGINT or SIGTERM arrives first; `run` is then
/// dropped.
pub(crate) async fn until_interrupted<T>(
    run: impl Future<Output = Result<T>>,
) -> Result<Option<T>> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        finished = run => return finished.map(Some),
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    println!("Stopping.");
    Ok(None)
}

async fn run(options: &Options) -> Result<bool> {
    // Check these before anything slow: a mistake in the template or a taken port should show at
    // once.
    let template = Template::load()?;
    let listener = stack::listen(options.port).await?;
    let dir = match &options.data {
        Some(directory) => directory.clone(),
        None => build::target_directory()?.join("dev"),
    };
    if options.fresh {
        println!("Removing the data of earlier runs.");
        postgres::remove(&dir)?;
        host::remove(&dir).await?;
    }
    let postgres_options = postgres::Options {
        dir,
        durable: true,
        keep: true,
    };
    let stack = Stack::start(
        options,
        postgres_options,
        Webhooks::Anywhere,
        template,
        listener,
    )
    .await?;
    stack.announce();
    let _dev_server = if options.web {
        Some(web::serve(&stack.base_url()).await?)
    } else {
        None
    };
    match options.time_lapse {
        Some(hour_length) => schedules::time_lapse(&stack, hour_length, options.runs).await,
        None => schedules::real_time(&stack, options.runs).await,
    }
}
