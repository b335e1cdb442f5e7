//! Everything at once: ticks repeated and out of order from four threads, the shipped binary killed
//! at random points, while writers start, stop, create and delete agents, debit and top up. In the
//! end the ledger is the one of a single clean run.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use dev::runtime::Outcome;
use rust_decimal::Decimal;
use serde_json::json;
use tests::world::{Row, hours};
use tests::{World, audit, run, suite};
use uuid::Uuid;

const HOURS: i64 = 12;

/// A small generator, so that a failing run can be repeated by its seed.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
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

/// What other systems do: each statement is a transaction of its own.
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
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(organization)
        .bind(status)
        .bind(number)
        .execute(&world.pool)
        .await
        .expect(sql);
}

/// Delivers ticks up to the hour reached, some of them to processes that die under way.
/// Answers how many did.
async fn deliver(world: World, reached: Arc<AtomicI64>, mut dice: Dice) -> usize {
    let function = world.function("billing-hourly");
    let mut killed = 0;
    loop {
        let now = reached.load(Ordering::SeqCst);
        if now < 0 {
            return killed;
        }
        let hour = now - i64::try_from(dice.roll(3)).expect("small");
        if hour < 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        if dice.roll(4) > 0 {
            for _ in 0..=dice.roll(5) {
                let report = world.charge(hour).await;
                assert_eq!((report.tally.errors, report.complete), (0, true));
            }
            continue;
        }
        let instance = function.start().await;
        instance.ready().await.expect("a first poll");
        let fuse = Duration::from_micros(dice.roll(40_000));
        let (outcome, ()) = tokio::join!(
            instance.invoke(
                json!({"scheduledTime": hours(hour)}),
                Duration::from_mins(1)
            ),
            async {
                tokio::time::sleep(fuse).await;
                instance.kill().await;
            }
        );
        killed += usize::from(matches!(outcome, Outcome::Crashed { .. }));
        assert!(
            matches!(outcome, Outcome::Crashed { .. } | Outcome::Success(_)),
            "{outcome:?}"
        );
    }
}

/// Writers change things and time goes on, an hour at a time.
async fn live(world: &World, organizations: &[Uuid], reached: &AtomicI64, dice: &mut Dice) {
    for hour in 0..HOURS {
        let writers = organizations.iter().map(|organization| {
            let mut dice = Dice(dice.0 ^ (organization.as_u64_pair().0 | 1));
            async move {
                for _ in 0..6 {
                    dice.roll(2);
                    write(world, *organization, &mut dice).await;
                }
            }
        });
        let clock = async {
            for step in 1..=5 {
                world.at(hours(hour) + TimeDelta::seconds(step * 660)).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::join!(futures_util::future::join_all(writers), clock);
        dice.roll(7);
        // Writers are between transactions: nobody read the old clock who has not committed.
        world.at(hours(hour + 1)).await;
        reached.store(hour + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(60)).await;
        // The laws hold at every moment, with ticks under way.
        audit::check(&world.pool).await;
    }
}

/// One run over the same spans and money, as if nothing had ever gone wrong.
async fn clean_run(stormy: &World) -> World {
    let clean = World::new().await;
    let dump: String = sqlx::query_scalar(
        "SELECT json_build_object(
            'money', (SELECT json_agg(json_build_object('id', o.id, 'amount',
                o.credit_balance - coalesce((SELECT sum(amount) FROM credit_transactions t
                    WHERE t.organization_id = o.id AND t.seq IS NOT NULL), 0)))
                FROM organizations o),
            'spans', (SELECT json_agg(s) FROM agent_usage_spans s))::text",
    )
    .fetch_one(&stormy.pool)
    .await
    .expect("a dump");
    sqlx::query(
        "WITH dump AS (SELECT $1::json AS all), money AS (
            INSERT INTO organizations (id, name, slug, credit_balance)
            SELECT m.id, 'clean', m.id::text, m.amount
            FROM dump, json_to_recordset(dump.all -> 'money') AS m (id uuid, amount numeric))
        INSERT INTO agent_usage_spans (id, agent_id, agent_created_at, organization_id, user_id,
            agent_name, kind, hourly_rate, started_at, ended_at)
        SELECT id, agent_id, agent_created_at, organization_id, user_id, agent_name, kind,
            hourly_rate, started_at, coalesce(ended_at, '2026-03-02')
        FROM dump, json_populate_recordset(null::agent_usage_spans, dump.all -> 'spans')",
    )
    .bind(dump)
    .execute(&clean.pool)
    .await
    .expect("a copy");
    // The copied spans have no agents: only what the storm metered counts here.
    clean
        .execute("UPDATE agent_usage_spans SET ended_at = '2026-03-02' WHERE ended_at IS NULL")
        .await;
    clean.tick(HOURS).await;
    clean
}

#[test]
fn a_storm_of_ticks_kills_and_writers_ends_in_the_ledger_of_one_clean_run() {
    run(async {
        let seed = seed();
        let world = World::on(&suite::database().await).await;
        let mut organizations = Vec::new();
        for balance in ["1000", "1000", "1000", "0.55", "0.20", "0"] {
            let organization = world.organization(balance).await;
            for _ in 0..12 {
                world.agent(organization, "running").await;
            }
            organizations.push(organization);
        }
        // Opened before anything moves: the clock stands still for moments, and money that arrives
        // at the very moment of the opening could not be told from money that was there.
        world
            .execute(
                "INSERT INTO billing_accounts (organization_id, opening_balance, opened_at)
                SELECT id, credit_balance, billing_clock() FROM organizations",
            )
            .await;
        let reached = Arc::new(AtomicI64::new(0));
        let threads = (1..=4).map(|n| {
            tokio::spawn(deliver(
                world.clone(),
                Arc::clone(&reached),
                Dice(seed.wrapping_mul(n) | 1),
            ))
        });
        let threads: Vec<_> = threads.collect();
        live(&world, &organizations, &reached, &mut Dice(seed)).await;
        reached.store(-1, Ordering::SeqCst);
        let mut killed = 0;
        for thread in threads {
            killed += thread.await.expect("a thread of ticks");
        }
        let report = world.charge(HOURS).await;
        assert_eq!((report.tally.errors, report.tally.repaired_spans), (0, 0));
        audit::check(&world.pool).await;

        let clean = clean_run(&world).await;
        let mut rows = 0;
        for organization in organizations {
            let (mut stormy, mut once) = (
                world.ledger(organization).await,
                clean.ledger(organization).await,
            );
            rows += stormy.len();
            stormy.sort();
            once.sort();
            assert_same(&stormy, &once);
            assert_eq!(
                world.balance(organization).await,
                clean.balance(organization).await
            );
        }
        println!("{rows} slices, {killed} ticks killed");
        assert!(
            rows > 300 && killed > 5,
            "{rows} slices, {killed} kills: no storm"
        );
    });
}

fn assert_same(stormy: &[Row], once: &[Row]) {
    let only = |a: &[Row], b: &[Row]| -> Vec<Row> {
        a.iter()
            .filter(|row| !b.contains(row))
            .take(3)
            .cloned()
            .collect()
    };
    assert_eq!((only(stormy, once), only(once, stormy)), (vec![], vec![]));
    let sum = |rows: &[Row]| rows.iter().map(|row| row.amount).sum::<Decimal>();
    assert_eq!((stormy.len(), sum(stormy)), (once.len(), sum(once)));
}
