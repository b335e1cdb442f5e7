//! Runs the schedules of the template, in real time or with an hour every few seconds.

use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::print::{self, minute};
use super::relay;
use super::stack::Stack;
use crate::clock;
use crate::gateway::describe;
use crate::runtime::Outcome;
use crate::schedule::{Schedule, event};

const BILLING: &str = "billing-hourly";

/// Lambda tries a failed asynchronous invocation twice more, after one and two minutes.
const RETRY_AFTER: [Duration; 2] = [Duration::from_mins(1), Duration::from_mins(2)];

/// How often the relay looks between ticks.
const RELAY_EVERY: Duration = Duration::from_secs(2);

/// Moves the clock one hour on every `an_hour` and bills that hour.
pub(super) async fn time_lapse(
    stack: &Stack,
    an_hour: Duration,
    ticks: Option<u32>,
) -> Result<bool> {
    let input = stack
        .template
        .function(BILLING)
        .and_then(|function| function.schedules.first())
        .with_context(|| format!("template.yaml has no schedule for {BILLING}"))?
        .input
        .as_deref();
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
        all_well &= deliver(stack, BILLING, input, now).await?;
        relay::poll(&stack.database).await?;
        done += 1;
    }
    Ok(all_well)
}

/// Waits for what the template schedules, and delivers it.
pub(super) async fn real_time(stack: &Stack, ticks: Option<u32>) -> Result<bool> {
    let mut all_well = true;
    let mut done = 0;
    let mut last = Utc::now();
    while ticks.is_none_or(|ticks| done < ticks) {
        let (due, jobs) = next_due(stack, last)?;
        println!("The next tick is at {} UTC. Ctrl-C stops.", minute(due));
        relay_until(stack, due).await;
        for (function, input) in jobs {
            let well = deliver_with_retries(stack, &function, input.as_deref(), due).await?;
            if function == BILLING {
                all_well &= well;
                done += 1;
            }
        }
        relay::poll(&stack.database).await?;
        last = due;
    }
    Ok(all_well)
}

/// A function and the input of its schedule.
type Job = (String, Option<String>);

/// The first time after `last` at which anything is due, and all that is due then. What came due
/// while an earlier delivery ran late is made up for, as the Scheduler does.
fn next_due(stack: &Stack, last: DateTime<Utc>) -> Result<(DateTime<Utc>, Vec<Job>)> {
    let mut due: Vec<(DateTime<Utc>, Job)> = Vec::new();
    for function in &stack.template.functions {
        for schedule in &function.schedules {
            if let Some(at) = Schedule::parse(&schedule.expression)?.next(last) {
                due.push((at, (function.name.clone(), schedule.input.clone())));
            }
        }
    }
    let first = due.iter().map(|(at, _)| *at).min();
    let first = first.context("template.yaml schedules nothing")?;
    due.retain(|(at, _)| *at == first);
    Ok((first, due.into_iter().map(|(_, job)| job).collect()))
}

/// Prints the outbox until it is time. A database that is down for a moment is no reason to end.
async fn relay_until(stack: &Stack, due: DateTime<Utc>) {
    let mut polls = interval(RELAY_EVERY);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Measured anew each time: a laptop that slept does not wait the rest of its hour.
    while Utc::now() < due {
        let left = (due - Utc::now()).to_std().unwrap_or_default();
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
    function: &str,
    input: Option<&str>,
    due: DateTime<Utc>,
) -> Result<bool> {
    for wait in RETRY_AFTER {
        if deliver(stack, function, input, due).await? {
            return Ok(true);
        }
        println!("  trying again in {} s", wait.as_secs());
        sleep(wait).await;
    }
    deliver(stack, function, input, due).await
}

/// Delivers one event and prints how it went; whether it went well.
async fn deliver(
    stack: &Stack,
    function: &str,
    input: Option<&str>,
    due: DateTime<Utc>,
) -> Result<bool> {
    let timeout = stack
        .template
        .function(function)
        .map_or(Duration::from_secs(3), |function| function.timeout);
    match stack
        .functions
        .invoke(function, event(input, due)?, timeout)
        .await
    {
        Ok(Outcome::Success(answer)) if function == BILLING => {
            let balances = print::balances(&stack.database).await?;
            println!("{}", print::tick(due, &answer, &balances));
            Ok(answer["errors"] == 0 && answer["complete"] != false)
        }
        Ok(Outcome::Success(_)) => Ok(true),
        failed => {
            println!("{}  {function} FAILED: {}", minute(due), describe(failed));
            Ok(false)
        }
    }
}
