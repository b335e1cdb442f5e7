//! Partitions: each month has one, also over New Year and when nobody made it; and what is dropped changes no figure.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use shared::app::billing::retention::{RetentionReport, remove_old};
use shared::app::billing::run::{MAX_CHARGES, RunRequest, billing_run};
use shared::db::billing::partitions::ensure_partitions;
use tests::{World, run};

use super::statement::{assert_adds_up, assert_nothing_found, at, rows, state};

/// Moves the clock to a full hour and runs billing up to it.
async fn bill_at(world: &World, hour: DateTime<Utc>) {
    world.set_clock(hour).await;
    let request = RunRequest {
        period_end: Some(hour),
        source: "test",
        deadline: None,
        concurrency: 1,
        max_charges: MAX_CHARGES,
    };
    billing_run(&world.database, &world.prices, &request)
        .await
        .expect("a complete run");
}

/// The partitions that hold rows of a time, with their number.
async fn partitions_since(world: &World, since: DateTime<Utc>) -> Vec<Value> {
    let since = since.to_rfc3339();
    rows(
        world,
        &format!(
            "SELECT tableoid::regclass::text AS name, count(*) FROM usage_charges WHERE period_start >= '{since}' GROUP BY 1
            UNION ALL SELECT tableoid::regclass::text, count(*) FROM ledger_entries WHERE created_at >= '{since}' GROUP BY 1
            ORDER BY 1"
        ),
    )
    .await
}

fn holding(rows: &[(&str, i32)]) -> Vec<Value> {
    rows.iter()
        .map(|(name, count)| json!({"name": name, "count": count}))
        .collect()
}

#[test]
fn charges_over_three_new_years_are_in_the_partitions_of_their_months() {
    run(async {
        let world = World::new().await;
        for (year, makes_partitions) in [(2026, true), (2027, false), (2028, true)] {
            let organization = world.organization("10").await;
            let begin = at(&format!("{year}-12-31T22:00:00Z"));
            world.set_clock(begin).await;
            if makes_partitions {
                ensure_partitions(&world.database)
                    .await
                    .expect("partitions");
            }
            let agent = world.agent(organization, "running").await;
            for hour in 1..=3 {
                bill_at(&world, begin + TimeDelta::hours(hour)).await;
            }
            if !makes_partitions {
                let misplaced =
                    holding(&[("ledger_entries_default", 3), ("usage_charges_default", 3)]);
                assert_eq!(partitions_since(&world, begin).await, misplaced, "{year}");
                ensure_partitions(&world.database)
                    .await
                    .expect("partitions");
            }
            let (next, december) = (year + 1, format!("usage_charges_{year}_12"));
            let expected = [
                (format!("ledger_entries_{year}_12"), 1),
                (format!("ledger_entries_{next}_01"), 2),
                (december, 2),
                (format!("usage_charges_{next}_01"), 1),
            ];
            let expected: Vec<(&str, i32)> = expected
                .iter()
                .map(|(name, count)| (name.as_str(), *count))
                .collect();
            assert_eq!(
                partitions_since(&world, begin).await,
                holding(&expected),
                "{year}"
            );
            world.delete(agent).await;
            // This month and the next three are there; another call makes nothing.
            assert_eq!(
                ensure_partitions(&world.database).await.expect("a call"),
                if makes_partitions { 2 } else { 0 }
            );
            assert_eq!(ensure_partitions(&world.database).await.expect("a call"), 0);
        }
        state(&world).await;
        assert_adds_up(&world).await;
    });
}

#[test]
fn a_call_that_meets_a_run_waits_for_it() {
    run(async {
        let world = World::new().await;
        world.set_clock(at("2026-10-01T00:00:00Z")).await;
        let mut other = world.pool.begin().await.expect("begin");
        sqlx::query("LOCK TABLE usage_charges IN ROW EXCLUSIVE MODE")
            .execute(&mut *other)
            .await
            .expect("a lock");
        let (made, ()) = tokio::join!(ensure_partitions(&world.database), async {
            world.wait_until_a_session_is_blocked().await;
            // Longer than the call waits for the lock.
            tokio::time::sleep(std::time::Duration::from_millis(5_500)).await;
            other.rollback().await.expect("rollback");
        });
        assert!(made.expect("partitions") > 0);
    });
}

/// An agent that ran for two days in March, and was deleted; all of it is charged and stated.
async fn march() -> World {
    let world = World::new().await;
    let organization = world.organization("10").await;
    let agent = world.agent(organization, "running").await;
    let idle = world.agent(organization, "stopped").await;
    bill_at(&world, at("2026-03-01T05:00:00Z")).await;
    world.top_up(organization, "2").await;
    bill_at(&world, at("2026-03-03T00:00:00Z")).await;
    world.set_status(agent, "pending").await;
    world.set_status(idle, "running").await;
    world.set_status(idle, "pending").await;
    bill_at(&world, at("2026-03-03T01:00:00Z")).await;
    world
}

/// What dropping must not change.
async fn figures(world: &World) -> Vec<Vec<Value>> {
    let mut figures = Vec::new();
    for query in [
        "SELECT id, credit_balance FROM organizations ORDER BY id",
        "SELECT id, total_billed, last_billed_at FROM milady_sandboxes ORDER BY id",
        "SELECT * FROM usage_days ORDER BY day, agent_id, kind",
        "SELECT * FROM ledger_days ORDER BY day",
        "SELECT * FROM credit_transactions ORDER BY id",
    ] {
        figures.push(rows(world, query).await);
    }
    figures
}

async fn remove(world: &World) -> RetentionReport {
    remove_old(&world.database).await.expect("a removal")
}

#[test]
fn dropped_months_change_no_balance_total_or_day() {
    run(async {
        let world = march().await;
        world.set_clock(at("2027-04-30T23:00:00Z")).await;
        state(&world).await;
        assert_adds_up(&world).await;
        let before = figures(&world).await;
        assert_eq!(remove(&world).await, RetentionReport::default());
        let charges = "SELECT count(*) FROM usage_charges";
        assert!(world.count(charges).await > 0);
        world.set_clock(at("2027-05-01T00:00:00Z")).await;
        state(&world).await;
        let removed = remove(&world).await;
        assert_eq!(
            removed,
            RetentionReport {
                dropped_partitions: 1,
                deleted_spans: 3
            }
        );
        assert_eq!(world.count(charges).await, 0);
        assert_eq!(figures(&world).await, before);
        assert_nothing_found(&world).await;
        let entries = "SELECT count(*) FROM ledger_entries";
        assert!(world.count(entries).await > 0);

        world.set_clock(at("2028-05-01T00:00:00Z")).await;
        state(&world).await;
        let removed = remove(&world).await;
        assert!(removed.dropped_partitions > 1, "{removed:?}");
        assert_eq!(world.count(entries).await, 0);
        assert_eq!(figures(&world).await, before);
        assert_eq!(
            rows(&world, "SELECT opened_at, opening_balance + 2 = (SELECT credit_balance FROM organizations) AS adds_up
                FROM billing_accounts").await,
            [json!({"opened_at": "2026-04-01T00:00:00+00:00", "adds_up": true})]
        );
        assert_nothing_found(&world).await;
    });
}

#[test]
fn a_month_that_is_still_needed_is_not_dropped() {
    run(async {
        let world = march().await;
        world.set_clock(at("2027-05-01T00:00:00Z")).await;
        let drop_charges = async || {
            let sql = "SELECT drop_partition('usage_charges', '2026-03-01')";
            sqlx::query_scalar::<_, bool>(sql)
                .fetch_one(&world.pool)
                .await
                .expect(sql)
        };
        assert!(!drop_charges().await, "days are not stated");
        state(&world).await;
        for (reason, needed, not_needed) in [
            (
                "it is not old enough",
                "UPDATE dev_clock SET now_at = '2027-04-30T23:59:59Z'",
                "UPDATE dev_clock SET now_at = '2027-05-01T00:00:00Z'",
            ),
            (
                "a day is not stated",
                "UPDATE billing_accounts SET stated_through = '2026-03-30'",
                "UPDATE billing_accounts SET stated_through = '2026-03-31'",
            ),
            (
                "a span is not stated to its end",
                "UPDATE usage_spans SET settled = false, stated_through = started_at",
                "UPDATE usage_spans SET settled = true, stated_through = ended_at",
            ),
            (
                "rows are misplaced",
                "INSERT INTO usage_charges SELECT entry, span, '2099-01-01', '2099-01-01 00:00:01', 0
                    FROM usage_charges LIMIT 1",
                "SET session_replication_role = replica; DELETE FROM usage_charges WHERE period_start > '2098-01-01';
                SET session_replication_role = origin",
            ),
        ] {
            world.execute(needed).await;
            assert!(!drop_charges().await, "{reason}");
            world.execute(not_needed).await;
        }
        assert!(drop_charges().await);
        assert!(!drop_charges().await, "it is dropped");
    });
}

#[test]
fn entries_are_kept_as_long_as_charges_of_their_time() {
    run(async {
        let world = march().await;
        world.set_clock(at("2028-05-01T00:00:00Z")).await;
        state(&world).await;
        let drop = async |table: &'static str| {
            sqlx::query_scalar::<_, bool>("SELECT drop_partition($1, '2026-03-01')")
                .bind(table)
                .fetch_one(&world.pool)
                .await
                .expect(table)
        };
        assert!(!drop("ledger_entries").await);
        assert!(drop("usage_charges").await);
        assert!(drop("ledger_entries").await);
    });
}

#[test]
fn nothing_but_months_of_the_ledger_can_be_dropped() {
    run(async {
        let world = World::new().await;
        for (parent, month) in [
            ("billing_accounts", "2026-03-01"),
            ("usage_charges", "2026-03-02"),
            ("usage_charges; DROP TABLE cloud.usage_days", "2026-03-01"),
        ] {
            let result = sqlx::query("SELECT cloud.drop_partition($1, $2::text::timestamptz)")
                .bind(parent)
                .bind(month)
                .execute(&world.pool)
                .await;
            let error = result.expect_err("a refusal");
            let code = error
                .as_database_error()
                .and_then(|error| error.code().map(std::borrow::Cow::into_owned));
            assert_eq!(code.as_deref(), Some("22023"), "{parent}");
        }
        // A month without a partition.
        assert_eq!(
            rows(
                &world,
                "SELECT drop_partition('usage_charges', '2001-01-01') AS dropped"
            )
            .await,
            [json!({"dropped": false})]
        );
    });
}
