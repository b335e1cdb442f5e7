//! `cargo dev`: builds, starts, migrates, seeds, serves, and runs the schedule.

mod options;
mod print;
mod relay;
mod seed;
mod stack;
mod ticks;

use std::ffi::OsString;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use crate::template::Template;
pub use options::{HELP, Options};
use stack::Stack;

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
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        finished = run(&options) => finished,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            stopping()
        }
        _ = terminate.recv() => stopping(),
    }
}

/// Dropping the future of `run` is what stops everything.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it is the value of a branch beside fallible ones"
)]
fn stopping() -> Result<bool> {
    println!("Stopping.");
    Ok(true)
}

async fn run(options: &Options) -> Result<bool> {
    // Before anything slow: a mistake in the template or a taken port should show at once.
    let template = Template::load()?;
    let listener = stack::listen(options.port).await?;
    let stack = Stack::start(options, template, listener).await?;
    stack.announce();
    match options.time_lapse {
        Some(an_hour) => ticks::time_lapse(&stack, an_hour, options.ticks).await,
        None => ticks::real_time(&stack, options.ticks).await,
    }
}
