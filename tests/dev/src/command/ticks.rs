//! Runs the schedules of the template, in real time or with an hour every few seconds.
//!
//! Each schedule keeps its own time: a billing run that waits for its retry holds nothing else up.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::try_join_all;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::print::{self, minute};
use super::relay;
use super::stack::Stack;
use crate::clock;
use crate::gateway::describe;
use crate::runtime::{Outcome, RETRY_AFTER};
use crate::schedule::{Schedule, event};
use crate::template::{Function, Schedule as Scheduled};

const BILLING: &str = "billing-hourly";

/// How often the relay looks between ticks.
const RELAY_EVERY: Duration = Duration::from_secs(2);

/// Moves the clock one hour on every `an_hour` and bills that hour; then whatever else is scheduled
/// runs once.
pub(super) async fn time_lapse(
    stack: &Stack,
    an_hour: Duration,
    ticks: Option<u32>,
) -> Result<bool> {
    let (billing, scheduled) = billing(stack)?;
    let mut now = stack.start_of_time.context("no simulated time")?;
    println!(
        "An hour passes every {:.1} s, from {} UTC on. Ctrl-C stops.",
        an_hour.as_secs_f64(),
        minute(now)
    );
    let mut all_well = true;
    let mut done = 0;
    while ticks.is_none_or(|ticks| done < ticks) {
        sleep(an_hour).await;
        now += TimeDelta::hours(1);
        clock::set(&stack.database, now).await?;
        all_well &= deliver(stack, billing, scheduled, now).await?;
        for (function, scheduled) in others(stack) {
            deliver(stack, function, scheduled, now).await?;
        }
        relay::poll(&stack.database).await?;
        done += 1;
    }
    Ok(all_well)
}

/// Waits for what the template schedules, and delivers it, until so many billing runs are done.
pub(super) async fn real_time(stack: &Stack, ticks: Option<u32>) -> Result<bool> {
    tokio::select! {
        finished = bill(stack, ticks) => finished,
        failed = run_others(stack) => failed.map(|never| match never {}),
    }
}

async fn bill(stack: &Stack, ticks: Option<u32>) -> Result<bool> {
    let (billing, scheduled) = billing(stack)?;
    let schedule = Schedule::parse(&scheduled.expression)?;
    let mut all_well = true;
    let mut done = 0;
    let mut last = Utc::now();
    while ticks.is_none_or(|ticks| done < ticks) {
        // What came due while an earlier run was late is made up for, as the Scheduler does.
        let due = schedule.next(last).context("billing is never due again")?;
        println!("The next tick is at {} UTC. Ctrl-C stops.", minute(due));
        relay_until(stack, due).await;
        all_well &= deliver_with_retries(stack, billing, scheduled, due).await?;
        done += 1;
        relay::poll(&stack.database).await?;
        last = due;
    }
    Ok(all_well)
}

/// Everything that is scheduled beside billing, silently while it goes well. It has no end.
async fn run_others(stack: &Stack) -> Result<Infallible> {
    let runs = others(stack).map(|(function, scheduled)| async move {
        let schedule = Schedule::parse(&scheduled.expression)?;
        while let Some(due) = schedule.next(Utc::now()) {
            wait_until(due).await;
            deliver_with_retries(stack, function, scheduled, due).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(runs).await?;
    std::future::pending().await
}

fn billing(stack: &Stack) -> Result<(&Function, &Scheduled)> {
    stack
        .template
        .function(BILLING)
        .and_then(|function| Some((function, function.schedules.first()?)))
        .with_context(|| format!("template.yaml has no schedule for {BILLING}"))
}

fn others(stack: &Stack) -> impl Iterator<Item = (&Function, &Scheduled)> {
    let functions = stack.template.functions.iter();
    functions
        .filter(|function| function.name != BILLING)
        .flat_map(|function| function.schedules.iter().map(move |one| (function, one)))
}

/// The time left is measured anew each minute: a laptop that slept does not wait the rest of its hour.
async fn wait_until(due: DateTime<Utc>) {
    while let Ok(left) = (due - Utc::now()).to_std() {
        sleep(left.min(Duration::from_mins(1))).await;
    }
}

/// Prints the mails until it is time. A database that is down for a moment is no reason to end.
async fn relay_until(stack: &Stack, due: DateTime<Utc>) {
    let mut polls = interval(RELAY_EVERY);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Ok(left) = (due - Utc::now()).to_std() {
        tokio::select! {
            () = sleep(left) => {}
            _ = polls.tick() => {
                if let Err(error) = relay::poll(&stack.database).await {
                    eprintln!("The outbox cannot be read: {error:#}");
                }
            }
        }
    }
}

async fn deliver_with_retries(
    stack: &Stack,
    function: &Function,
    scheduled: &Scheduled,
    due: DateTime<Utc>,
) -> Result<bool> {
    let retries = usize::try_from(function.retries)?;
    for wait in RETRY_AFTER.into_iter().take(retries) {
        if deliver(stack, function, scheduled, due).await? {
            return Ok(true);
        }
        println!("  trying again in {} s", wait.as_secs());
        sleep(wait).await;
    }
    deliver(stack, function, scheduled, due).await
}

/// Delivers one event and prints how it went; whether it went well.
async fn deliver(
    stack: &Stack,
    function: &Function,
    scheduled: &Scheduled,
    due: DateTime<Utc>,
) -> Result<bool> {
    let name = &function.name;
    let event = event(scheduled.input.as_deref(), due)?;
    match stack.functions.invoke(name, event, function.timeout).await {
        Ok(Outcome::Success(answer)) if name == BILLING => {
            let balances = print::balances(&stack.database).await?;
            println!("{}", print::tick(due, &answer, &balances));
            Ok(answer["errors"] == 0 && answer["complete"] != false)
        }
        Ok(Outcome::Success(_)) => Ok(true),
        failed => {
            println!("{}  {name} FAILED: {}", minute(due), describe(failed));
            Ok(false)
        }
    }
}
