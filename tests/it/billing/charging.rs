//! What a billing run charges, when, and to whom.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::dec;
use shared::app::billing::run::{MAX_CHARGES, RunError, RunReport, RunRequest, billing_run};
use sqlx::PgPool;
use tests::world::{hours, minutes};
use tests::{World, audit, run, suite, wait_until};

#[test]
fn an_agent_that_ran_twenty_minutes_is_charged_0_006667() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.set_clock(minutes(40)).await;
        let agent = world.agent(organization, "running").await;
        world.run_billing(1).await;
        assert_eq!(world.agent_row(agent).await.total_billed, dec!(0.006667));
        assert_eq!(world.agent_row(agent).await.charged_through, Some(hours(1)));
    });
}

#[test]
fn three_cents_pay_an_hour_of_the_older_agent_and_the_younger_is_warned() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0.03").await;
        let older = world.agent(organization, "running").await;
        world
            .set_clock(minutes(0) + TimeDelta::microseconds(1))
            .await;
        let younger = world.agent(organization, "running").await;
        // Both owe 0.02 for the second hour.
        world
            .execute("UPDATE usage_spans SET started_at = '2026-03-01T01:00:00Z'")
            .await;
        let report = world.run_billing(2).await;
        assert_eq!((report.tally.agents_billed, report.tally.warned), (1, 1));
        assert_eq!(world.agent_row(older).await.total_billed, dec!(0.02));
        let warned = world.agent_row(younger).await;
        assert_eq!(warned.billing_status, "shutdown_pending");
        assert_eq!(warned.scheduled_shutdown_at, Some(hours(50)));
        assert_eq!(world.balance(organization).await, dec!(0.01));
        assert_eq!(
            world.events(organization).await,
            ["agent.shutdown_scheduled"]
        );
        audit::check(&world.pool).await;
    });
}

#[test]
fn four_cents_after_three_missed_hours_pay_the_oldest_hour_of_both_agents() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0.04").await;
        let agents = [
            world.agent(organization, "running").await,
            world.agent(organization, "running").await,
        ];
        let report = world.run_billing(3).await;
        assert_eq!(report.tally.owed.to_decimal(), dec!(0.08));
        for agent in agents {
            let row = world.agent_row(agent).await;
            assert_eq!(
                (row.total_billed, row.charged_through),
                (dec!(0.02), Some(hours(1)))
            );
            assert_eq!(row.billing_status, "shutdown_pending");
        }
        audit::check(&world.pool).await;
    });
}

#[test]
fn five_dollars_pay_the_oldest_whole_slices_of_ten_agents_that_owe_47_hours() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        for _ in 0..10 {
            world.agent(organization, "running").await;
        }
        let report = world.run_billing(47).await;
        assert_eq!(report.tally.owed.to_decimal(), dec!(9.40));
        world.set_clock(hours(47) + TimeDelta::seconds(1)).await;
        world.top_up(organization, "5.00").await;
        // The organization is decided for this hour: the money counts in the next run.
        assert_eq!(
            world
                .run_billing_at_current_time(47)
                .await
                .tally
                .organizations,
            0
        );
        let report = world.run_billing(48).await;
        assert_eq!(report.tally.slices, 250);
        let balance = world.balance(organization).await;
        assert!(balance < dec!(0.02), "{balance} is left");
        let ledger = world.ledger(organization).await;
        assert!(ledger.iter().all(|row| row.period_end <= hours(25)));
        assert!(ledger.is_sorted_by_key(|row| row.period_start));
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_repeated_or_out_of_order_billing_run_changes_nothing() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        world.run_billing(5).await;
        let (ledger, balance) = (
            world.ledger(organization).await,
            world.balance(organization).await,
        );
        for hour in [5, 3, 1, 5, 4, 2] {
            let report = world.run_billing_at_current_time(hour).await;
            assert_eq!((report.tally.organizations, report.complete), (0, true));
        }
        assert_eq!(world.ledger(organization).await, ledger);
        assert_eq!(world.balance(organization).await, balance);
        assert_eq!(
            world
                .count("SELECT count(*) FROM billing_runs WHERE complete")
                .await,
            7
        );
    });
}

/// Whether a session of the database has read billing's clock after this time, and has done nothing since.
async fn has_read_the_clock(observer: &PgPool, after: DateTime<Utc>) -> bool {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle'
            AND query = 'COMMIT' AND query_start > $1)",
    )
    .bind(after)
    .fetch_one(observer)
    .await
    .expect("an answer")
}

#[test]
fn a_run_waits_up_to_a_minute_for_its_hour_and_refuses_to_run_earlier() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        world.set_clock(hours(1) - TimeDelta::seconds(61)).await;
        assert!(matches!(
            world.try_run_billing(1).await,
            Err(RunError::TooFarAhead)
        ));
        assert!(world.ledger(organization).await.is_empty());
        world.set_clock(hours(1) - TimeDelta::seconds(60)).await;
        // Not the pool of the run, in which a connection shows only its latest query.
        let observer = suite::pool(&world.url, 1);
        let before = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&observer);
        let before: DateTime<Utc> = before.await.expect("a time");
        let (report, ()) = tokio::join!(world.try_run_billing(1), async {
            wait_until("the run has read the clock", async || {
                has_read_the_clock(&observer, before).await
            })
            .await;
            world.set_clock(hours(1)).await;
        });
        assert_eq!(report.expect("a run after the hour began").tally.slices, 1);
    });
}

/// The report of a run that is not complete.
pub(super) fn incomplete(result: Result<RunReport, RunError>) -> RunReport {
    match result {
        Err(RunError::Incomplete(report)) => *report,
        result => panic!("not incomplete: {result:?}"),
    }
}

#[test]
fn invalid_rows_count_as_errors_and_others_are_charged() {
    run(async {
        let world = World::new().await;
        let healthy = world.organization("10").await;
        let negative = world.organization("1").await;
        let not_a_number = world.organization("1").await;
        let bad_rate = world.organization("10").await;
        let deleted = world.organization("10").await;
        for organization in [healthy, negative, not_a_number, bad_rate, deleted] {
            world.agent(organization, "running").await;
        }
        world
            .execute(
                "ALTER TABLE organizations DROP CONSTRAINT organizations_credit_balance_check,
                    DROP CONSTRAINT cloud_organizations_balance_check;
                ALTER TABLE milady_sandboxes DROP CONSTRAINT cloud_milady_sandboxes_rate_check;
                DELETE FROM shared_objects_made WHERE name LIKE 'constraint%'",
            )
            .await;
        world.set_clock(minutes(30)).await;
        for (id, sql) in [
            (
                negative,
                "UPDATE organizations SET credit_balance = -1 WHERE id = $1",
            ),
            (
                not_a_number,
                "UPDATE organizations SET credit_balance = 'NaN' WHERE id = $1",
            ),
            (
                bad_rate,
                "UPDATE milady_sandboxes SET hourly_rate = 'NaN' WHERE organization_id = $1",
            ),
            (deleted, "DELETE FROM organizations WHERE id = $1"),
        ] {
            sqlx::query(sql)
                .bind(id)
                .execute(&world.pool)
                .await
                .expect(sql);
        }
        world.set_clock(hours(1)).await;
        let report = incomplete(world.try_run_billing(1).await);
        assert_eq!(report.tally.errors, 2);
        // What is no price is charged at the list price.
        assert_eq!(report.tally.revenue.to_decimal(), dec!(0.04));
        assert_eq!(report.tally.uncollected.to_decimal(), dec!(0.01));
        assert_eq!(world.charged(healthy).await, dec!(0.02));
        assert_eq!(world.charged(bad_rate).await, dec!(0.02));
        let reason: Option<String> = sqlx::query_scalar(
            "SELECT closed_reason FROM usage_spans WHERE organization_id = $1 AND settled",
        )
        .bind(deleted)
        .fetch_one(&world.pool)
        .await
        .expect("a reason");
        assert_eq!(reason.as_deref(), Some("organization gone"));
        // An invalid balance is dunned like an empty one (F56).
        for organization in [negative, not_a_number] {
            assert_eq!(
                world.events(organization).await,
                ["agent.shutdown_scheduled"]
            );
            assert!(world.ledger(organization).await.is_empty());
        }
        // The deleted organization's debt is counted once. A repaired organization is charged in full.
        sqlx::query("UPDATE organizations SET credit_balance = 5 WHERE id = $1")
            .bind(negative)
            .execute(&world.pool)
            .await
            .expect("a repair");
        world.set_clock(hours(2)).await;
        let report = incomplete(world.try_run_billing(2).await);
        assert_eq!(
            (report.tally.errors, report.tally.uncollected.to_decimal()),
            (1, dec!(0))
        );
        assert_eq!(world.charged(negative).await, dec!(0.04));
    });
}

#[test]
fn an_organization_whose_transaction_fails_counts_as_an_error_and_others_are_charged() {
    run(async {
        let world = World::new().await;
        let (healthy, failing) = (
            world.organization("10").await,
            world.organization("10").await,
        );
        world.agent(healthy, "running").await;
        world.agent(failing, "running").await;
        let trigger = format!(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'failing'; END $$;
            CREATE TRIGGER fail BEFORE UPDATE ON organizations FOR EACH ROW
                WHEN (NEW.id = '{failing}') EXECUTE FUNCTION fail()"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(trigger))
            .execute(&world.pool)
            .await
            .expect("a trigger");
        world.set_clock(hours(1)).await;
        let report = incomplete(world.try_run_billing(1).await);
        assert_eq!(report.tally.errors, 1);
        assert_eq!(world.charged(healthy).await, dec!(0.02));
        assert!(world.ledger(failing).await.is_empty());
        world.execute("DROP TRIGGER fail ON organizations").await;
        world.run_billing(2).await;
        assert_eq!(world.charged(failing).await, dec!(0.04));
        audit::check(&world.pool).await;
    });
}

#[test]
fn inactive_organizations_are_charged_and_exempt_agents_are_not() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let charged = world.agent(organization, "running").await;
        let exempt = world.agent(organization, "running").await;
        sqlx::query("UPDATE milady_sandboxes SET billing_status = 'exempt' WHERE id = $1")
            .bind(exempt)
            .execute(&world.pool)
            .await
            .expect("exempt");
        world
            .execute("UPDATE organizations SET is_active = false")
            .await;
        world.run_billing(2).await;
        assert_eq!(world.agent_row(charged).await.total_billed, dec!(0.04));
        let row = world.agent_row(exempt).await;
        assert_eq!(
            (row.total_billed, row.billing_status.as_str()),
            (dec!(0), "exempt")
        );
    });
}

#[test]
fn a_run_with_more_agents_than_a_batch_holds_charges_all() {
    run(async {
        let world = World::new().await;
        for _ in 0..7 {
            world.organization("1000").await;
        }
        world
            .execute(
                "INSERT INTO milady_sandboxes (organization_id, user_id, status, created_at)
                SELECT u.organization_id, u.id, 'running', billing_clock()
                FROM users u, generate_series(1, 1100)",
            )
            .await;
        let report = world.run_billing(1).await;
        assert_eq!(
            (report.tally.organizations, report.tally.slices),
            (7, 7_700)
        );
        assert_eq!(report.tally.revenue.to_decimal(), dec!(154));
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_run_past_its_deadline_begins_no_batch_and_the_next_run_charges_the_rest() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        world.set_clock(hours(1)).await;
        let request = RunRequest {
            period_end: Some(hours(1)),
            source: "test",
            deadline: Some(std::time::Instant::now()),
            concurrency: 4,
            max_charges: MAX_CHARGES,
        };
        let result = billing_run(&world.database, &world.prices, &request).await;
        assert!(matches!(result, Err(RunError::Incomplete(report)) if report.tally.slices == 0));
        assert_eq!(
            world
                .count("SELECT count(*) FROM billing_runs WHERE NOT complete")
                .await,
            1
        );
        assert_eq!(world.run_billing_at_current_time(1).await.tally.slices, 1);
    });
}

#[test]
fn a_usage_entry_is_explained_by_its_charges_to_the_second() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.set_clock(minutes(30)).await;
        let agent = world.agent(organization, "running").await;
        world.run_billing(2).await;
        let entry: serde_json::Value = sqlx::query_scalar(
            "SELECT jsonb_build_object('type', type, 'amount', amount, 'before', balance_before,
                'after', balance_after, 'agents', agents, 'start', period_start = $1, 'end', period_end = $2)
            FROM ledger_entries",
        )
        .bind(minutes(30))
        .bind(hours(2))
        .fetch_one(&world.pool)
        .await
        .expect("one entry");
        assert_eq!(
            entry,
            serde_json::json!({
                "type": "usage", "amount": -0.03, "before": 10.0, "after": 9.97, "agents": 1, "start": true, "end": true,
            })
        );
        let charges: Vec<(DateTime<Utc>, DateTime<Utc>, rust_decimal::Decimal)> = world
            .ledger(organization)
            .await
            .into_iter()
            .inspect(|charge| {
                assert_eq!((charge.agent_id, charge.kind.as_str()), (agent, "running"));
            })
            .map(|charge| (charge.period_start, charge.period_end, charge.amount))
            .collect();
        assert_eq!(
            charges,
            [
                (minutes(30), hours(1), dec!(-0.01)),
                (hours(1), hours(2), dec!(-0.02))
            ]
        );
    });
}

#[test]
fn a_run_waits_for_a_concurrent_debit_and_its_rows_start_from_the_new_balance() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        world.set_clock(hours(1)).await;
        let mut writer = world.pool.begin().await.expect("begin");
        sqlx::query("UPDATE organizations SET credit_balance = credit_balance - 1 WHERE id = $1")
            .bind(organization)
            .execute(&mut *writer)
            .await
            .expect("a debit");
        let (report, ()) = tokio::join!(world.run_billing_at_current_time(1), async {
            world.wait_until_a_session_is_blocked().await;
            writer.commit().await.expect("commit");
        });
        assert_eq!(report.tally.slices, 1);
        let (before, after): (rust_decimal::Decimal, rust_decimal::Decimal) =
            sqlx::query_as("SELECT balance_before, balance_after FROM ledger_entries")
                .fetch_one(&world.pool)
                .await
                .expect("a row");
        assert_eq!((before, after), (dec!(9), dec!(8.98)));
        assert_eq!(world.balance(organization).await, dec!(8.98));
    });
}
