//! Billing runs from four tasks, repeated, in small parts and out of order, some of the runs killed or dropped at
//! random points, while writers start, stop, create and delete agents, debit and top up. The ledger must equal that of
//! a single clean run.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use dev::runtime::Outcome;
use rust_decimal::Decimal;
use serde_json::json;
use tests::world::{LedgerRow, hours};
use tests::{World, audit, run, suite, wait_until};
use uuid::Uuid;

const HOURS: i64 = 12;
/// For each organization.
const CHANGES_PER_HOUR: u32 = 6;

/// A pseudo-random generator: its seed repeats a failing test.
#[derive(Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn seed() -> u64 {
    let nanos = chrono::Utc::now().timestamp_subsec_nanos();
    let seed = std::env::var("STORM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(u64::from(nanos) | 1);
    println!("STORM_SEED={seed}");
    seed
}

/// Makes one change that other systems make, in its own transaction.
async fn write(world: &World, organization: Uuid, dice: &mut Dice) {
    let status = match dice.roll(8) {
        0..=3 => "running",
        4 | 5 => "stopped",
        6 => "error",
        _ => "disconnected",
    };
    let (sql, number): (&str, u64) = match dice.roll(12) {
        0..=5 => (
            "UPDATE milady_sandboxes SET status = $2, last_backup_at = billing_clock()
            WHERE id = (SELECT id FROM milady_sandboxes WHERE organization_id = $1
                ORDER BY id OFFSET $3 LIMIT 1)",
            dice.roll(12),
        ),
        6 => (
            "UPDATE milady_sandboxes SET hourly_rate = 0.0100 + $3 * 0.01
            WHERE organization_id = $1 AND status = $2",
            dice.roll(4),
        ),
        7 => (
            "UPDATE milady_sandboxes SET stop_requested_at = billing_clock()
            WHERE id = (SELECT id FROM milady_sandboxes WHERE organization_id = $1 AND status <> $2
                ORDER BY id OFFSET $3 LIMIT 1)",
            dice.roll(12),
        ),
        8 => (
            "DELETE FROM milady_sandboxes WHERE $2 <> '' AND id = (
                SELECT id FROM milady_sandboxes WHERE organization_id = $1
                ORDER BY id OFFSET 6 + $3 LIMIT 1)",
            dice.roll(2),
        ),
        9 => (
            "INSERT INTO milady_sandboxes (organization_id, user_id, status, created_at)
            SELECT organization_id, id, $2, billing_clock() FROM users
            WHERE organization_id = $1 AND $3 >= 0",
            0,
        ),
        10 => (
            "WITH debit AS (
                UPDATE organizations SET credit_balance = credit_balance - 0.001 * $3
                WHERE id = $1 AND credit_balance >= 0.001 * $3 AND $2 <> '' RETURNING id)
            INSERT INTO credit_transactions (organization_id, amount, type, created_at)
            SELECT id, -0.001 * $3, 'debit', billing_clock() AT TIME ZONE 'UTC' FROM debit",
            1 + dice.roll(9),
        ),
        _ => (
            "WITH credit AS (
                UPDATE organizations SET credit_balance = credit_balance + 0.01 * $3
                WHERE id = $1 AND $2 <> '' RETURNING id)
            INSERT INTO credit_transactions (organization_id, amount, type, created_at)
            SELECT id, 0.01 * $3, 'credit', billing_clock() AT TIME ZONE 'UTC' FROM credit",
            1 + dice.roll(9),
        ),
    };
    let number = i64::try_from(number).expect("small");
    // A writer that locks several agents in its own order can meet a deadlock, and repeats its transaction.
    for _ in 0..10 {
        let result = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(organization)
            .bind(status)
            .bind(number)
            .execute(&world.pool)
            .await;
        match result {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("40P01") => {}
            result => {
                result.expect(sql);
                return;
            }
        }
    }
    panic!("ten deadlocks: {sql}");
}

/// How far the test has got.
#[derive(Debug, Default)]
struct Progress {
    /// The last hour that is over; negative when the test ends.
    reached: AtomicI64,
    /// Runs in processes that were killed.
    killed_runs: AtomicUsize,
    /// Runs in this process that were dropped at any point.
    dropped_runs: AtomicUsize,
}

/// Runs billing for hours that are over, at times in a process that is killed during the run, until the test ends.
async fn keep_billing(world: World, progress: Arc<Progress>, mut dice: Dice) {
    let function = world.function("billing-hourly");
    loop {
        let current_hour = progress.reached.load(Ordering::SeqCst);
        if current_hour < 0 {
            return;
        }
        let hour = current_hour - i64::try_from(dice.roll(3)).expect("small");
        if hour < 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        // Small parts, so that an organization with several uncharged hours needs several of them.
        let max_charges = usize::try_from(1 + dice.roll(15)).expect("small");
        match dice.roll(6) {
            0..=2 => {
                for _ in 0..=dice.roll(5) {
                    let report = world.run_billing_in_parts(hour, max_charges).await;
                    let report = report.expect("a complete billing run");
                    assert_eq!((report.tally.errors, report.complete), (0, true));
                }
                continue;
            }
            3 => {
                let dropped_after = Duration::from_micros(dice.roll(60_000));
                let run = world.run_billing_in_parts(hour, max_charges);
                if tokio::time::timeout(dropped_after, run).await.is_err() {
                    progress.dropped_runs.fetch_add(1, Ordering::SeqCst);
                }
                continue;
            }
            _ => {}
        }
        let instance = function.start().await;
        instance.wait_until_ready().await.expect("a first poll");
        let killed_after = Duration::from_micros(dice.roll(40_000));
        let (outcome, ()) = tokio::join!(
            instance.invoke(
                json!({"scheduledTime": hours(hour)}),
                Duration::from_mins(1)
            ),
            async {
                tokio::time::sleep(killed_after).await;
                instance.kill().await;
            }
        );
        let was_killed = matches!(outcome, Outcome::Crashed { .. });
        progress
            .killed_runs
            .fetch_add(usize::from(was_killed), Ordering::SeqCst);
        assert!(
            was_killed || matches!(outcome, Outcome::Success(_)),
            "{outcome:?}"
        );
    }
}

/// Lets writers change rows while the clock advances, hour by hour. Each hour lasts until another run was killed.
async fn write_hour_by_hour(
    world: &World,
    organizations: &[Uuid],
    progress: &Progress,
    dice: &mut Dice,
) {
    for hour in 0..HOURS {
        let written = AtomicUsize::new(0);
        let writers = organizations.iter().map(|organization| {
            let mut dice = Dice(dice.0 ^ (organization.as_u64_pair().0 | 1));
            let written = &written;
            async move {
                for _ in 0..CHANGES_PER_HOUR {
                    write(world, *organization, &mut dice).await;
                    written.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let clock = async {
            for step in 1..CHANGES_PER_HOUR {
                world
                    .set_clock(hours(hour) + TimeDelta::seconds(i64::from(step) * 660))
                    .await;
                let changes = step as usize * organizations.len();
                wait_until("the writers go on", async || {
                    written.load(Ordering::SeqCst) >= changes
                })
                .await;
            }
        };
        tokio::join!(futures_util::future::join_all(writers), clock);
        // Other seeds for the next hour's writers.
        dice.roll(7);
        // All writers have committed here, so no open transaction has read the old clock.
        world.set_clock(hours(hour + 1)).await;
        let killed_before = progress.killed_runs.load(Ordering::SeqCst);
        progress.reached.store(hour + 1, Ordering::SeqCst);
        wait_until("a run is killed", async || {
            progress.killed_runs.load(Ordering::SeqCst) > killed_before
        })
        .await;
        // The audit's invariants hold at any moment, also during billing runs.
        audit::check(&world.pool).await;
    }
}

/// Bills a copy of the same spans and money with a single run.
async fn clean_run(concurrent: &World) -> World {
    let clean = World::new().await;
    let dump: String = sqlx::query_scalar(
        "SELECT json_build_object(
            'money', (SELECT json_agg(json_build_object('id', o.id, 'amount',
                o.credit_balance - coalesce((SELECT sum(amount) FROM ledger_entries e
                    WHERE e.organization_id = o.id), 0)))
                FROM organizations o),
            'spans', (SELECT json_agg(s) FROM usage_spans s))::text",
    )
    .fetch_one(&concurrent.pool)
    .await
    .expect("a dump");
    // The copy has no agents, so nothing meters or repairs its spans: open ones end after the last hour.
    sqlx::query(
        "WITH dump AS (SELECT $1::json AS all), money AS (
            INSERT INTO organizations (id, name, slug, credit_balance)
            SELECT m.id, 'clean', m.id::text, m.amount
            FROM dump, json_to_recordset(dump.all -> 'money') AS m (id uuid, amount numeric))
        INSERT INTO usage_spans (id, agent_id, agent_created_at, organization_id, agent_name, kind, hourly_rate,
            list_priced, started_at, ended_at)
        OVERRIDING SYSTEM VALUE
        SELECT id, agent_id, agent_created_at, organization_id, agent_name, kind, hourly_rate, list_priced, started_at, coalesce(ended_at, '2026-03-02')
        FROM dump, json_populate_recordset(null::usage_spans, dump.all -> 'spans')",
    )
    .bind(dump)
    .execute(&clean.pool)
    .await
    .expect("a copy");
    clean.run_billing(HOURS).await;
    clean
}

#[test]
fn killed_and_concurrent_runs_leave_the_ledger_of_one_clean_run() {
    run(async {
        let seed = seed();
        let world = World::with_database(&suite::database().await).await;
        let mut organizations = Vec::new();
        for balance in ["1000", "1000", "1000", "0.55", "0.20", "0"] {
            let organization = world.organization(balance).await;
            for _ in 0..12 {
                world.agent(organization, "running").await;
            }
            organizations.push(organization);
        }
        // The accounts are opened first: the clock stands still at times, and money that arrives at the opening's
        // timestamp would not be distinguishable from the opening balance.
        world
            .execute(
                "INSERT INTO billing_accounts (organization_id, opening_balance, opened_at)
                SELECT id, credit_balance, billing_clock() FROM organizations",
            )
            .await;
        let progress = Arc::new(Progress::default());
        let tasks = (1..=4).map(|n| {
            tokio::spawn(keep_billing(
                world.clone(),
                Arc::clone(&progress),
                Dice(seed.wrapping_mul(n) | 1),
            ))
        });
        let tasks: Vec<_> = tasks.collect();
        write_hour_by_hour(&world, &organizations, &progress, &mut Dice(seed)).await;
        progress.reached.store(-1, Ordering::SeqCst);
        for task in tasks {
            task.await.expect("a task that runs billing");
        }
        let report = world.run_billing_at_current_time(HOURS).await;
        assert_eq!((report.tally.errors, report.tally.repaired_spans), (0, 0));
        audit::check(&world.pool).await;

        let clean = clean_run(&world).await;
        let mut rows = 0;
        for organization in organizations {
            let (mut concurrent, mut clean_rows) = (
                world.ledger(organization).await,
                clean.ledger(organization).await,
            );
            rows += concurrent.len();
            concurrent.sort();
            clean_rows.sort();
            assert_same_rows(&concurrent, &clean_rows);
            assert_eq!(
                world.balance(organization).await,
                clean.balance(organization).await
            );
        }
        let killed = progress.killed_runs.load(Ordering::SeqCst);
        let dropped = progress.dropped_runs.load(Ordering::SeqCst);
        println!("{rows} slices, {killed} runs killed, {dropped} dropped between or during parts");
        assert!(
            rows > 300 && killed > 5,
            "{rows} slices, {killed} killed runs: too few for the test to mean anything"
        );
    });
}

fn assert_same_rows(concurrent: &[LedgerRow], clean: &[LedgerRow]) {
    let only = |a: &[LedgerRow], b: &[LedgerRow]| -> Vec<LedgerRow> {
        a.iter()
            .filter(|row| !b.contains(row))
            .take(3)
            .cloned()
            .collect()
    };
    assert_eq!(
        (only(concurrent, clean), only(clean, concurrent)),
        (vec![], vec![])
    );
    let sum = |rows: &[LedgerRow]| rows.iter().map(|row| row.amount).sum::<Decimal>();
    assert_eq!(
        (concurrent.len(), sum(concurrent)),
        (clean.len(), sum(clean))
    );
}
