//! Runs the schedules of the template, in real time or with an hour every few seconds.
//!
//! Each schedule runs independently: a billing run that waits for its retry delays nothing else.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::try_join_all;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::format::{self, minute};
use super::mails::PrintedMails;
use super::printed_agents::PrintedAgents;
use super::stack::Stack;
use super::story::Story;
use crate::gateway::describe;
use crate::runtime::{Outcome, RETRY_AFTER};
use crate::schedule::{Schedule, event};
use crate::template::{Function, Schedule as Scheduled};

const BILLING: &str = "billing-hourly";

/// How often pending mails are printed between billing runs.
const MAIL_POLL_INTERVAL: Duration = Duration::from_secs(2);

/// How long the end of the command waits for deliveries: what handles one needs the database, which stops last.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// How long simulated time stands still for what an hour led to. A failed delivery is attempted again only after a
/// minute.
const HOUR_TIMEOUT: Duration = Duration::from_mins(1);

/// Every `hour_length`, moves the clock one hour forward, bills that hour, and then runs every
/// other schedule once. Returns whether every billing run succeeded.
pub(super) async fn time_lapse(
    stack: &Stack,
    hour_length: Duration,
    runs: Option<u32>,
) -> Result<bool> {
    let (billing, scheduled) = billing(stack)?;
    let mut now = stack
        .start_of_time
        .context("the stack has no simulated time")?;
    println!(
        "An hour passes every {:.1} s, starting at {} UTC. Ctrl-C stops.",
        hour_length.as_secs_f64(),
        minute(now)
    );
    let mails = PrintedMails::default();
    let mut agents = PrintedAgents::read(stack).await?;
    let mut story = Box::pin(begin_story(stack)).await;
    print_changed(&mut agents, stack).await;
    let mut all_succeeded = true;
    let mut completed = 0;
    while runs.is_none_or(|runs| completed < runs) {
        sleep(hour_length).await;
        now += TimeDelta::hours(1);
        stack.set_time(now).await?;
        all_succeeded &= deliver(stack, billing, scheduled, now).await?;
        for (function, scheduled) in others(stack) {
            deliver(stack, function, scheduled, now).await?;
        }
        // A worker that records nothing for minutes counts as dead, and an hour would pass while it stops a container.
        stack.finish_deliveries(HOUR_TIMEOUT).await;
        print_changed(&mut agents, stack).await;
        mails.print_new(&stack.mailbox);
        if let Some(story) = &mut story
            && let Err(error) = Box::pin(story.hour_passed()).await
        {
            println!("  {}: {error:#}", Story::ORGANIZATION);
        }
        completed += 1;
    }
    stack.finish_deliveries(END_TIMEOUT).await;
    mails.print_new(&stack.mailbox);
    Ok(all_succeeded)
}

/// Prints what changed about agents since the last call. If they cannot be read, the next call prints it.
async fn print_changed(agents: &mut PrintedAgents, stack: &Stack) {
    if let Err(error) = agents.print_changed(stack).await {
        println!("  the agents were not read: {error:#}");
    }
}

/// `None` without a host, or if the agent does not start; then prints why.
async fn begin_story(stack: &Stack) -> Option<Story> {
    if stack.host.is_err() {
        return None;
    }
    match Story::begin(stack).await {
        Ok(story) => Some(story),
        Err(error) => {
            println!("{} has no agent: {error:#}", Story::ORGANIZATION);
            None
        }
    }
}

/// Runs the schedules as they become due, until this many billing runs are completed.
pub(super) async fn real_time(stack: &Stack, runs: Option<u32>) -> Result<bool> {
    tokio::select! {
        finished = run_billing(stack, runs) => finished,
        failed = run_others(stack) => failed.map(|never| match never {}),
    }
}

async fn run_billing(stack: &Stack, runs: Option<u32>) -> Result<bool> {
    let (billing, scheduled) = billing(stack)?;
    let schedule = Schedule::parse(&scheduled.expression)?;
    let mails = PrintedMails::default();
    let mut all_succeeded = true;
    let mut completed = 0;
    let mut last = Utc::now();
    while runs.is_none_or(|runs| completed < runs) {
        // Runs that became due while an earlier one was late are made up for, as the Scheduler
        // does.
        let due = schedule
            .next(last)
            .context("the billing schedule has no next time")?;
        println!(
            "The next billing run is at {} UTC. Ctrl-C stops.",
            minute(due)
        );
        print_mails_until(stack, &mails, due).await;
        all_succeeded &= deliver_with_retries(stack, billing, scheduled, due).await?;
        completed += 1;
        mails.print_new(&stack.mailbox);
        last = due;
    }
    stack.finish_deliveries(END_TIMEOUT).await;
    mails.print_new(&stack.mailbox);
    Ok(all_succeeded)
}

/// Runs all schedules other than billing. Prints only failures and never ends.
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
        .flat_map(|function| {
            function
                .schedules
                .iter()
                .map(move |schedule| (function, schedule))
        })
}

/// Recomputes the remaining time every minute, so that a laptop that slept wakes up on time.
async fn wait_until(due: DateTime<Utc>) {
    while let Ok(left) = (due - Utc::now()).to_std() {
        sleep(left.min(Duration::from_mins(1))).await;
    }
}

/// Prints mails until `due`.
async fn print_mails_until(stack: &Stack, mails: &PrintedMails, due: DateTime<Utc>) {
    let mut polls = interval(MAIL_POLL_INTERVAL);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Ok(left) = (due - Utc::now()).to_std() {
        tokio::select! {
            () = sleep(left) => {}
            _ = polls.tick() => mails.print_new(&stack.mailbox),
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
        println!("  next attempt in {} s", wait.as_secs());
        sleep(wait).await;
    }
    deliver(stack, function, scheduled, due).await
}

/// Delivers one event, prints the result, and returns whether it succeeded.
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
            let balances = format::balances(&stack.database).await?;
            println!("{}", format::billing_run(due, &answer, &balances));
            Ok(answer["errors"] == 0 && answer["complete"] != false)
        }
        Ok(Outcome::Success(_)) => Ok(true),
        failed => {
            println!("{}  {name} FAILED: {}", minute(due), describe(failed));
            Ok(false)
        }
    }
}
