//! `cargo dev`: builds, starts, migrates, seeds, serves, runs the schedule, and has a host for agents.

mod fleet;
mod host;
mod options;
mod print;
mod relay;
pub(crate) mod seed;
pub(crate) mod stack;
mod ticks;

use std::ffi::OsString;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use crate::template::Template;
use crate::{build, postgres};
pub use options::{HELP, Options};
use stack::{Stack, Webhooks};

/// Runs the command until it is done or interrupted; the result says whether every tick succeeded.
///
/// # Errors
/// With a one-line message when the command line is not understood or a step fails.
pub async fn main(arguments: impl IntoIterator<Item = OsString>) -> Result<bool> {
    let options = Options::parse(arguments)?;
    if options.help {
        print!("{HELP}");
        return Ok(true);
    }
    let finished = until_interrupted(run(&options)).await?;
    Ok(finished.unwrap_or(true))
}

/// Runs a command that is ended by dropping it, until it is done; none when somebody ends it before.
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
    // Before anything slow: a mistake in the template or a taken port should show at once.
    let template = Template::load()?;
    let listener = stack::listen(options.port).await?;
    let dir = build::target_directory()?.join("dev");
    if options.fresh {
        println!("Removing the data of earlier runs.");
        postgres::remove(&dir)?;
        host::remove(&dir).await?;
    }
    let place = postgres::Options {
        dir,
        durable: true,
        keep: true,
    };
    let stack = Stack::start(options, place, Webhooks::Anywhere, template, listener).await?;
    stack.announce();
    match options.time_lapse {
        Some(an_hour) => ticks::time_lapse(&stack, an_hour, options.ticks).await,
        None => ticks::real_time(&stack, options.ticks).await,
    }
}
