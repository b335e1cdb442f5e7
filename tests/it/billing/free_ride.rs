//! States in which agents once ran or were stored for nothing, and prices that changed what was already used.

use chrono::TimeDelta;
use rust_decimal::{Decimal, dec};
use serde_json::json;
use sqlx::AssertSqlSafe;
use tests::world::{hours, minutes};
use tests::{World, audit, legacy, run, suite};

use super::charging::incomplete;

#[test]
fn f55_storage_is_charged_while_something_is_stored() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        let agent = world.agent(organization, "stopped").await;
        world.run_billing(1).await;
        world.mark_events_handed_over().await;
        world.run_billing(49).await;
        assert_eq!(world.agent_row(agent).await.billing_status, "suspended");
        // Paid in full; the backup is kept.
        world.top_up(organization, "20").await;
        world.run_billing(100).await;
        assert_eq!(world.charged(organization).await, dec!(0.0025) * dec!(100));
        // A start that failed leaves the backup where it is.
        world.set_clock(hours(100)).await;
        world.set_status(agent, "provisioning").await;
        world.set_clock(minutes(100 * 60 + 30)).await;
        world.set_status(agent, "error").await;
        world.run_billing(101).await;
        assert_eq!(
            world.charged(organization).await,
            dec!(0.25) + dec!(0.00125)
        );
        // With a container that may run it is no storage.
        sqlx::query(
            "UPDATE milady_sandboxes SET node_id = 'n', container_name = 'c' WHERE id = $1",
        )
        .bind(agent)
        .execute(&world.pool)
        .await
        .expect("a container");
        world.run_billing(103).await;
        assert_eq!(
            world.charged(organization).await,
            dec!(0.25) + dec!(0.00125)
        );
        audit::check(&world.pool).await;
    });
}

#[test]
fn f56_a_balance_or_rate_that_is_no_number_cannot_be_stored_and_is_cleaned_up() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        legacy::create(&world.pool).await;
        let invalid =
            "SELECT count(*) FROM organizations WHERE credit_balance = 'NaN' OR credit_balance < 0";
        assert_eq!(world.count(invalid).await, 1);
        world
            .execute(
                "UPDATE milady_sandboxes SET hourly_rate = 'NaN' WHERE agent_name = 'never billed'",
            )
            .await;
        world.function("db-migrate").invoke_ok(json!({})).await;
        let findings: Vec<String> =
            sqlx::query_scalar("SELECT kind FROM billing_findings ORDER BY kind")
                .fetch_all(&world.pool)
                .await
                .expect("findings");
        assert_eq!(findings, ["invalid_balance", "invalid_rate"]);
        let adjusted =
            "SELECT count(*) FROM ledger_entries e JOIN organizations o ON o.id = e.organization_id
            WHERE e.type = 'adjustment' AND o.credit_balance = 0 AND e.balance_after = 0";
        assert_eq!(world.count(adjusted).await, 1);
        for write in [
            "UPDATE organizations SET credit_balance = 'NaN'",
            "UPDATE organizations SET credit_balance = -0.01",
            "UPDATE milady_sandboxes SET hourly_rate = 'NaN'",
            "UPDATE milady_sandboxes SET hourly_rate = -0.01",
            "INSERT INTO organizations (name, slug, credit_balance) VALUES ('x', 'x', 'NaN')",
        ] {
            let result = sqlx::query(write).execute(&world.pool).await;
            assert!(result.is_err(), "{write}");
        }
    });
}

#[test]
fn f57_an_agent_that_runs_after_a_status_nobody_knows_is_metered() {
    run(async {
        let world = World::new().await;
        world
            .execute("ALTER TABLE milady_sandboxes DROP CONSTRAINT milady_sandboxes_status_check")
            .await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        world.set_clock(minutes(15)).await;
        world
            .execute("UPDATE milady_sandboxes SET stop_requested_at = billing_clock()")
            .await;
        world.set_status(agent, "hibernating").await;
        world.set_clock(minutes(30)).await;
        world.set_status(agent, "running").await;
        world.run_billing(1).await;
        assert_eq!(
            world.agent_row(agent).await.total_billed,
            dec!(0.005) + dec!(0.01)
        );
        audit::check(&world.pool).await;
    });
}

/// Publishes list prices as a deployment with these parameters does.
async fn deploy_with_prices(world: &World, running: &str, idle: &str) {
    world
        .function("db-migrate")
        .with("MILADY_RUNNING_HOURLY", running)
        .with("MILADY_IDLE_HOURLY", idle)
        .invoke_ok(json!({}))
        .await;
}

#[test]
fn f61_time_is_charged_at_the_price_of_when_it_was_used() {
    run(async {
        let world = World::new().await;
        let (debtor, payer) = (
            world.organization("0").await,
            world.organization("100").await,
        );
        for organization in [debtor, payer] {
            world.agent(organization, "running").await;
            world.agent(organization, "stopped").await;
            let own_rate = world.agent(organization, "running").await;
            sqlx::query("UPDATE milady_sandboxes SET hourly_rate = 0.05 WHERE id = $1")
                .bind(own_rate)
                .execute(&world.pool)
                .await
                .expect("a rate");
        }
        world.run_billing(2).await;
        // Valid from the next full hour.
        world.set_clock(minutes(130)).await;
        deploy_with_prices(&world, "0.04", "0.005").await;
        world.set_clock(minutes(170)).await;
        let started = world.agent(payer, "running").await;
        // No run charges that hour before the agent stops.
        world.set_clock(minutes(200)).await;
        world.set_status(started, "error").await;
        world.top_up(debtor, "100").await;
        world.run_billing(5).await;
        let three_hours = dec!(0.06) + dec!(0.0075) + dec!(0.15);
        let two_more = dec!(0.08) + dec!(0.01) + dec!(0.10);
        assert_eq!(world.charged(debtor).await, three_hours + two_more);
        // Ten minutes at the old price, and twenty at the new one.
        let short = dec!(0.003333) + dec!(0.013333);
        assert_eq!(world.charged(payer).await, three_hours + two_more + short);
        // The same parameters again change nothing; new agents get the new price.
        deploy_with_prices(&world, "0.04", "0.005").await;
        assert_eq!(world.count("SELECT count(*) FROM prices").await, 2);
        audit::check(&world.pool).await;
    });
}

#[test]
fn f62_a_status_change_reads_few_rows_however_many_spans_the_agent_has() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        let sql = format!(
            "INSERT INTO usage_spans (agent_id, agent_created_at, organization_id, kind, hourly_rate, list_priced,
                started_at, ended_at, billed_through, settled)
            SELECT '{agent}', now(), '{organization}', 'running', 0.02, true, at, at, at, true
            FROM generate_series('2025-01-01'::timestamptz, '2025-12-01', '10 min') AS at;
            ANALYZE usage_spans"
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&world.pool)
            .await
            .expect("spans");
        world.set_clock(minutes(30)).await;
        let mut session = world.pool.acquire().await.expect("a session");
        // What an index scan reads is counted for the index alone.
        let fetched = "SELECT sum(pg_stat_get_xact_tuples_fetched(oid) + pg_stat_get_xact_tuples_returned(oid))::bigint
            FROM pg_class WHERE oid = 'cloud.usage_spans'::regclass
                OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'cloud.usage_spans'::regclass)";
        for sql in [
            "BEGIN",
            "UPDATE milady_sandboxes SET status = 'error'",
            "UPDATE milady_sandboxes SET status = 'running'",
        ] {
            sqlx::raw_sql(sql).execute(&mut *session).await.expect(sql);
        }
        let rows: i64 = sqlx::query_scalar(fetched)
            .fetch_one(&mut *session)
            .await
            .expect("a count");
        sqlx::raw_sql("COMMIT")
            .execute(&mut *session)
            .await
            .expect("commit");
        drop(session);
        assert!(rows < 20, "{rows} rows were read");
        world.run_billing(1).await;
        assert_eq!(world.agent_row(agent).await.total_billed, dec!(0.02));
    });
}

#[test]
fn f61_an_organization_that_no_run_could_charge_pays_the_prices_of_when_it_used_the_time() {
    run(async {
        let world = World::new().await;
        // Runs decide the debtor, and leave its agents to a part of their own.
        let (debtor, failing) = (
            world.organization("0").await,
            world.organization("10").await,
        );
        for organization in [debtor, failing] {
            world.agent(organization, "running").await;
        }
        world
            .execute(
                "INSERT INTO prices VALUES ('2026-03-01T03:00:00Z', 0.05, 0.0025);
                CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'failing'; END $$;
                CREATE TRIGGER fail BEFORE UPDATE ON organizations FOR EACH ROW
                    WHEN (OLD.credit_balance = 10) EXECUTE FUNCTION fail()",
            )
            .await;
        for hour in [1, 5] {
            world.set_clock(hours(hour)).await;
            let report = incomplete(world.try_run_billing(hour).await);
            assert_eq!(report.tally.errors, 1);
        }
        world.execute("DROP TRIGGER fail ON organizations").await;
        world.run_billing(6).await;
        // Three hours at the old price, and three at the new one.
        assert_eq!(world.charged(failing).await, dec!(0.06) + dec!(0.15));
        audit::check(&world.pool).await;
    });
}

#[test]
fn f62_an_agent_whose_rate_was_changed_unnoticed_loses_no_metered_time() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        world
            .execute("ALTER TABLE milady_sandboxes DISABLE TRIGGER cloud_meter_update")
            .await;
        world.set_clock(minutes(30)).await;
        world
            .execute("UPDATE milady_sandboxes SET hourly_rate = 0.05")
            .await;
        world
            .execute("ALTER TABLE milady_sandboxes ENABLE TRIGGER cloud_meter_update")
            .await;
        let report = world.run_billing(1).await;
        assert_eq!(report.tally.repaired_spans, 1);
        world.run_billing(2).await;
        assert_eq!(world.agent_row(agent).await.total_billed, dec!(0.07));
        audit::check(&world.pool).await;
    });
}

#[test]
fn f62_new_agents_do_not_start_on_credit_that_an_outage_has_left_uncharged() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        for _ in 0..4 {
            world.agent(organization, "running").await;
        }
        world.run_billing(1).await;
        // No run for 99 hours: 7.92 are due.
        world.set_clock(hours(100) + TimeDelta::minutes(59)).await;
        let other = world.agent(organization, "pending").await;
        let refused = world.start(organization, other).await;
        assert_eq!(refused.status(), 402);
        assert!(
            refused.text().contains("$12.92 required, $9.92 available"),
            "{refused:?}"
        );
        world.run_billing(101).await;
        let refused = world.start(organization, other).await;
        assert!(
            refused.text().contains("$5 required, $1.92 available"),
            "{refused:?}"
        );
    });
}

#[test]
fn f62_the_hour_that_the_older_biller_charged_in_advance_is_not_charged_again() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        legacy::create_schema(&world.pool).await;
        sqlx::raw_sql(
            "INSERT INTO organizations (name, slug, credit_balance) VALUES ('x', 'x', 10);
            INSERT INTO users (organization_id) SELECT id FROM organizations;
            INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status, last_billed_at)
            SELECT organization_id, id, 'agent', 'running', '2026-03-01T09:20:00Z' FROM users",
        )
        .execute(&world.pool)
        .await
        .expect("an agent");
        let migrate = world.function("db-migrate");
        migrate.invoke_ok(json!({})).await;
        dev::clock::install(&world.pool, hours(9) + TimeDelta::minutes(40))
            .await
            .expect("a clock");
        migrate.invoke_ok(json!({"adopt": true})).await;
        world.run_billing(11).await;
        // From 10:20 on.
        let charged: Decimal = sqlx::query_scalar("SELECT sum(amount) FROM usage_charges")
            .fetch_one(&world.pool)
            .await
            .expect("a sum");
        assert_eq!(charged, dec!(0.013333));
    });
}
