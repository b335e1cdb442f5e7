//! The tick: what is charged, when, and to whom.

use chrono::TimeDelta;
use rust_decimal::dec;
use shared::app::billing::tick::TickError;
use tests::world::{hours, minutes};
use tests::{World, audit, run};
use uuid::Uuid;

#[test]
fn an_agent_that_ran_twenty_minutes_is_charged_0_006667() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.at(minutes(40)).await;
        let agent = world.agent(organization, "running").await;
        world.tick(1).await;
        assert_eq!(world.agent_row(agent).await.total_billed, dec!(0.006667));
        assert_eq!(world.agent_row(agent).await.last_billed_at, Some(hours(1)));
    });
}

#[test]
fn two_agents_and_three_cents_charge_the_older_and_warn_the_younger() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0.03").await;
        let older = world.agent(organization, "running").await;
        world.at(minutes(0) + TimeDelta::microseconds(1)).await;
        let younger = world.agent(organization, "running").await;
        // Both are due 0.02 for the second hour.
        world
            .execute("UPDATE agent_usage_spans SET started_at = '2026-03-01T01:00:00Z'")
            .await;
        let report = world.tick(2).await;
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
fn three_missed_hours_and_four_cents_pay_the_oldest_hour_of_both() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0.04").await;
        let agents = [
            world.agent(organization, "running").await,
            world.agent(organization, "running").await,
        ];
        let report = world.tick(3).await;
        assert_eq!(report.tally.owed.to_decimal(), dec!(0.08));
        for agent in agents {
            let row = world.agent_row(agent).await;
            assert_eq!(
                (row.total_billed, row.last_billed_at),
                (dec!(0.02), Some(hours(1)))
            );
            assert_eq!(row.billing_status, "shutdown_pending");
        }
        audit::check(&world.pool).await;
    });
}

#[test]
fn ten_agents_owing_47_hours_and_five_dollars_pay_to_the_last_whole_slice() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        for _ in 0..10 {
            world.agent(organization, "running").await;
        }
        let report = world.tick(47).await;
        assert_eq!(report.tally.owed.to_decimal(), dec!(9.40));
        world.at(hours(47) + TimeDelta::seconds(1)).await;
        world.top_up(organization, "5.00").await;
        // The hour is decided; the money counts at the next one.
        assert_eq!(world.charge(47).await.tally.organizations, 0);
        let report = world.tick(48).await;
        assert_eq!(report.tally.slices, 250);
        let left = world.balance(organization).await;
        assert!(left < dec!(0.02), "{left} is left");
        let ledger = world.ledger(organization).await;
        assert!(ledger.iter().all(|row| row.period_end <= hours(25)));
        assert!(ledger.is_sorted_by_key(|row| row.period_start));
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_tick_repeated_or_out_of_order_changes_nothing() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        world.tick(5).await;
        let (ledger, balance) = (
            world.ledger(organization).await,
            world.balance(organization).await,
        );
        for hour in [5, 3, 1, 5, 4, 2] {
            let report = world.charge(hour).await;
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

#[test]
fn an_hour_ahead_is_waited_for_up_to_a_minute_and_refused_beyond() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        world.at(hours(1) - TimeDelta::seconds(61)).await;
        assert!(matches!(
            world.try_charge(1).await,
            Err(TickError::TooFarAhead)
        ));
        assert!(world.ledger(organization).await.is_empty());
        world.at(hours(1) - TimeDelta::seconds(60)).await;
        let (report, ()) = tokio::join!(world.try_charge(1), async {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            world.at(hours(1)).await;
        });
        assert_eq!(report.expect("the hour came").tally.slices, 1);
    });
}

#[test]
fn broken_rows_are_skipped_and_counted_and_stop_nobody_else() {
    run(async {
        let world = World::new().await;
        let healthy = world.organization("10").await;
        let negative = world.organization("1").await;
        let not_a_number = world.organization("1").await;
        let bad_rate = world.organization("10").await;
        let gone = world.organization("10").await;
        for organization in [healthy, negative, not_a_number, bad_rate, gone] {
            world.agent(organization, "running").await;
        }
        world
            .execute("ALTER TABLE organizations DROP CONSTRAINT organizations_credit_balance_check")
            .await;
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
            (gone, "DELETE FROM organizations WHERE id = $1"),
        ] {
            world.at(minutes(30)).await;
            sqlx::query(sql)
                .bind(id)
                .execute(&world.pool)
                .await
                .expect(sql);
        }
        let report = world.tick(1).await;
        assert!(report.complete);
        assert_eq!(report.tally.errors, 3);
        // Half an hour that ran before the rate was broken, and the healthy one's hour.
        assert_eq!(report.tally.revenue.to_decimal(), dec!(0.03));
        assert_eq!(report.tally.uncollected.to_decimal(), dec!(0.01));
        assert_eq!(world.charged(healthy).await, dec!(0.02));
        let reason: String = sqlx::query_scalar(
            "SELECT closed_reason FROM agent_usage_spans WHERE organization_id = $1",
        )
        .bind(gone)
        .fetch_one(&world.pool)
        .await
        .expect("a reason");
        assert_eq!(reason, "organization gone");
        // It is counted once; what is mended is charged in full.
        sqlx::query("UPDATE organizations SET credit_balance = 5 WHERE id = $1")
            .bind(negative)
            .execute(&world.pool)
            .await
            .expect("mend");
        let report = world.tick(2).await;
        assert_eq!(
            (report.tally.errors, report.tally.uncollected.to_decimal()),
            (2, dec!(0))
        );
        assert_eq!(world.charged(negative).await, dec!(0.04));
    });
}

#[test]
fn an_organization_whose_transaction_fails_is_counted_and_stops_nobody_else() {
    run(async {
        let world = World::new().await;
        let (healthy, cursed) = (
            world.organization("10").await,
            world.organization("10").await,
        );
        world.agent(healthy, "running").await;
        world.agent(cursed, "running").await;
        let trigger = format!(
            "CREATE FUNCTION curse() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'cursed'; END $$;
            CREATE TRIGGER curse BEFORE UPDATE ON organizations FOR EACH ROW
                WHEN (NEW.id = '{cursed}') EXECUTE FUNCTION curse()"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(trigger))
            .execute(&world.pool)
            .await
            .expect("a curse");
        let report = world.tick(1).await;
        assert_eq!((report.tally.errors, report.complete), (1, true));
        assert_eq!(world.charged(healthy).await, dec!(0.02));
        assert!(world.ledger(cursed).await.is_empty());
        world.execute("DROP TRIGGER curse ON organizations").await;
        world.tick(2).await;
        assert_eq!(world.charged(cursed).await, dec!(0.04));
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
        world.tick(2).await;
        assert_eq!(world.agent_row(charged).await.total_billed, dec!(0.04));
        let row = world.agent_row(exempt).await;
        assert_eq!(
            (row.total_billed, row.billing_status.as_str()),
            (dec!(0), "exempt")
        );
    });
}

#[test]
fn a_page_is_full_and_a_tick_has_many() {
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
        let report = world.tick(1).await;
        assert_eq!(
            (report.tally.organizations, report.tally.slices),
            (7, 7_700)
        );
        assert_eq!(report.tally.revenue.to_decimal(), dec!(154));
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_tick_without_time_left_stops_between_pages_and_the_next_one_finishes() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        world.at(hours(1)).await;
        let tick = shared::app::billing::tick::Tick {
            period_end: Some(hours(1)),
            source: "test",
            deadline: Some(std::time::Instant::now()),
            concurrency: 4,
        };
        let cut = shared::app::billing::tick::billing_tick(&world.pool, &world.prices, &tick).await;
        assert!(matches!(cut, Err(TickError::Incomplete(report)) if report.tally.slices == 0));
        assert_eq!(
            world
                .count("SELECT count(*) FROM billing_runs WHERE NOT complete")
                .await,
            1
        );
        assert_eq!(world.charge(1).await.tally.slices, 1);
    });
}

#[test]
fn every_ledger_row_explains_itself() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.at(minutes(30)).await;
        let agent = world.agent(organization, "running").await;
        world.tick(1).await;
        let (description, metadata): (String, serde_json::Value) = sqlx::query_as(
            "SELECT description, metadata FROM credit_transactions WHERE organization_id = $1",
        )
        .bind(organization)
        .fetch_one(&world.pool)
        .await
        .expect("a row");
        assert_eq!(description, "Milady agent hosting (running): agent");
        assert_eq!(
            metadata,
            serde_json::json!({
                "sandbox_id": agent, "agent_name": "agent", "billing_type": "milady_running",
                "hourly_rate": 0.0200, "billing_hour": "2026-03-01T00:00:00.000Z",
            })
        );
        assert_ne!(agent, Uuid::nil());
    });
}

#[test]
fn a_debit_under_way_is_waited_for_and_the_rows_begin_at_the_balance_it_left() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        world.at(hours(1)).await;
        let mut writer = world.pool.begin().await.expect("begin");
        sqlx::query("UPDATE organizations SET credit_balance = credit_balance - 1 WHERE id = $1")
            .bind(organization)
            .execute(&mut *writer)
            .await
            .expect("a debit");
        let (report, ()) = tokio::join!(world.charge(1), async {
            world.until_somebody_waits().await;
            writer.commit().await.expect("commit");
        });
        assert_eq!(report.tally.slices, 1);
        let (before, after): (rust_decimal::Decimal, rust_decimal::Decimal) =
            sqlx::query_as("SELECT balance_before, balance_after FROM credit_transactions")
                .fetch_one(&world.pool)
                .await
                .expect("a row");
        assert_eq!((before, after), (dec!(9), dec!(8.98)));
        assert_eq!(world.balance(organization).await, dec!(8.98));
    });
}
