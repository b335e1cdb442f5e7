//! What is charged of large debts, what a run says of itself, and how far debt can grow.

use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};
use shared::db::billing::accounts::organizations_due;
use tests::world::{hours, minutes};
use tests::{World, audit, run};

#[test]
fn f43_nobody_changes_or_deletes_what_was_charged_and_it_outlives_the_organization() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        world.run_billing(2).await;
        for table in [
            "ledger_entries",
            "usage_charges",
            "ledger_entries_2026_03",
            "usage_charges_2026_03",
        ] {
            for change in [
                format!("UPDATE cloud.{table} SET amount = 0"),
                format!("DELETE FROM cloud.{table}"),
                format!("TRUNCATE cloud.{table}"),
            ] {
                let statement = || sqlx::raw_sql(sqlx::AssertSqlSafe(change.clone()));
                let mut runtime = world.database.statements();
                let by_runtime_role = statement().execute(&mut runtime).await;
                let error = by_runtime_role.expect_err(&change).to_string();
                assert!(error.contains("permission denied"), "{change}: {error}");
                let by_superuser = statement().execute(&world.pool).await;
                let error = by_superuser.expect_err(&change).to_string();
                assert!(error.contains("is not allowed"), "{change}: {error}");
            }
        }
        let ledger = world.ledger(organization).await;
        sqlx::query("DELETE FROM organizations WHERE id = $1")
            .bind(organization)
            .execute(&world.pool)
            .await
            .expect("a deletion");
        assert_eq!(world.ledger(organization).await, ledger);
        let entries = "SELECT count(*) FROM ledger_entries";
        assert_eq!((ledger.len(), world.count(entries).await), (2, 1));
    });
}

#[test]
fn f53_a_run_that_could_not_charge_is_an_error_and_its_record_says_why() {
    run(async {
        let world = World::new().await;
        let failing = world.organization("10").await;
        world.agent(failing, "running").await;
        world
            .execute(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'failing'; END $$;
                CREATE TRIGGER fail BEFORE UPDATE ON organizations FOR EACH ROW EXECUTE FUNCTION fail()",
            )
            .await;
        world.set_clock(hours(3)).await;
        let instance = world.function("billing-hourly").start().await;
        let event = json!({"scheduledTime": hours(3)});
        let outcome = instance
            .invoke(event.clone(), std::time::Duration::from_mins(1))
            .await;
        let dev::runtime::Outcome::FunctionError { message, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            message,
            "the run is not complete (failed organizations: 1); the next run does the rest"
        );
        tests::wait_until("the run has written its metrics", async || {
            instance.logs().join("").contains("CompleteRuns")
        })
        .await;
        instance.kill().await;
        let metrics = instance
            .logs()
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|line| line["CompleteRuns"] == json!(0))
            .expect("metrics");
        assert_eq!(
            (&metrics["Errors"], &metrics["UndecidedMinutes"]),
            (&json!(1), &json!(180))
        );
        let record: Value = sqlx::query_scalar(
            "SELECT jsonb_build_object('complete', complete, 'errors', errors, 'failures', failures,
                'oldest', oldest_undecided = $1) FROM billing_runs",
        )
        .bind(hours(0))
        .fetch_one(&world.pool)
        .await
        .expect("a record");
        assert_eq!(
            record,
            json!({
                "complete": false, "errors": 1, "oldest": true,
                "failures": [{"organizationId": failing, "reason": "sqlstate P0001"}],
            })
        );
        // Lambda repeats the event.
        world.execute("DROP TRIGGER fail ON organizations").await;
        let answer = world.function("billing-hourly").invoke_ok(event).await;
        assert_eq!(
            (&answer["complete"], &answer["slices"]),
            (&json!(true), &json!(3))
        );
        audit::check(&world.pool).await;
    });
}

#[test]
fn f54_any_debt_is_charged_in_transactions_of_bounded_size() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        world
            .execute(
                "INSERT INTO milady_sandboxes (organization_id, user_id, status, created_at)
                SELECT organization_id, id, 'running', billing_clock() FROM users, generate_series(1, 130)",
            )
            .await;
        let report = world.run_billing(400).await;
        assert_eq!(report.tally.slices, 0);
        world.top_up(organization, "2000").await;
        let report = world.run_billing(401).await;
        assert_eq!(
            (report.tally.slices, report.tally.agents_billed),
            (130 * 401, 130)
        );
        assert_eq!(world.count("SELECT count(*) FROM ledger_entries").await, 3);
        let largest =
            "SELECT max(count) FROM (SELECT count(*) FROM usage_charges GROUP BY entry) AS entries";
        let largest = world.count(largest).await;
        assert!((20_000..20_130).contains(&largest), "{largest}");
        audit::check(&world.pool).await;
    });
}

#[test]
fn f58_a_run_adds_a_row_per_agent_and_organization_and_rewrites_no_agent_and_no_span() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("100").await;
        for _ in 0..10 {
            world.agent(organization, "running").await;
        }
        world.run_billing(1).await;
        let versions = async || -> String {
            sqlx::query_scalar(
                "SELECT (SELECT string_agg(xmin::text, ',' ORDER BY id) FROM usage_spans)
                    || (SELECT string_agg(xmin::text, ',' ORDER BY id) FROM milady_sandboxes)",
            )
            .fetch_one(&world.pool)
            .await
            .expect("versions")
        };
        let before = versions().await;
        for hour in 2..=5 {
            world.run_billing(hour).await;
        }
        assert_eq!(versions().await, before);
        let rows = "SELECT (SELECT count(*) FROM usage_charges) * 1000 + (SELECT count(*) FROM ledger_entries)";
        assert_eq!(world.count(rows).await, 50 * 1000 + 5);
        audit::check(&world.pool).await;
    });
}

/// The hour in which the agents of an organization are suspended, and what it owes then, in an organization of ten
/// agents that cost this much an hour.
async fn suspension(rate: &str, hand_over: impl Fn(i64) -> bool) -> (i64, Decimal) {
    let world = World::new().await;
    let organization = world.organization("0").await;
    for _ in 0..10 {
        world.agent(organization, "running").await;
    }
    sqlx::query("UPDATE milady_sandboxes SET hourly_rate = $1::text::numeric")
        .bind(rate)
        .execute(&world.pool)
        .await
        .expect("rates");
    for hour in 1..=7 * 24 + 2 {
        let report = world.run_billing(hour).await;
        if report.tally.suspended > 0 {
            assert_eq!(report.tally.suspended, 10);
            audit::check(&world.pool).await;
            return (hour, report.tally.owed.to_decimal());
        }
        if hand_over(hour) {
            world.mark_events_handed_over().await;
        }
    }
    panic!("nobody was suspended");
}

#[test]
fn f64_debt_has_a_ceiling_and_nobody_above_it_waits_a_week_for_the_mail_server() {
    run(async {
        // The mail server is down: a small debt waits for it, for a week at most.
        assert_eq!(
            suspension("0.0025", |_| false).await,
            (1 + 7 * 24, dec!(4.225))
        );
        // A debt above three days of what was spent at the warning does not, but the owner has four days.
        assert_eq!(suspension("1", |_| false).await, (1 + 96, dec!(970)));
        // Handed over late: six hours, not a day, after the debt went over the ceiling.
        assert_eq!(suspension("1", |hour| hour == 80).await, (86, dec!(860)));
        assert_eq!(suspension("1", |hour| hour == 1).await, (49, dec!(490)));
    });
}

#[test]
fn f64_paying_a_part_of_the_debt_leaves_the_announced_ceiling_and_date() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        let mut agents = Vec::new();
        for _ in 0..10 {
            agents.push(world.agent(organization, "running").await);
        }
        world
            .execute("UPDATE milady_sandboxes SET hourly_rate = 1")
            .await;
        // The mail names hour 49, and a ceiling of 720 dollars.
        assert_eq!(world.run_billing(1).await.tally.warned, 10);
        world.mark_events_handed_over().await;
        // The spans that were open then end, and others begin.
        for (minute, status) in [(90, "disconnected"), (100, "running")] {
            world.set_clock(minutes(minute)).await;
            for agent in &agents {
                world.set_status(*agent, status).await;
            }
        }
        for hour in 2..=49 {
            if hour == 10 {
                // The first spans are paid for, and later runs do not read them.
                world.set_clock(hours(hour)).await;
                world.top_up(organization, "60").await;
            }
            let suspended = world.run_billing(hour).await.tally.suspended;
            assert_eq!(suspended, if hour == 49 { 10 } else { 0 }, "{hour}");
        }
        audit::check(&world.pool).await;
    });
}

#[test]
fn carried_debt_is_paid_first_and_counts_at_the_gate() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("1").await;
        let agent = world.agent(organization, "running").await;
        world.run_billing(1).await;
        world
            .execute("UPDATE billing_accounts SET carried_debt = 3")
            .await;
        let other = world.agent(organization, "pending").await;
        let refused = world.start(organization, other).await;
        assert!(refused.text().contains("$8 required"), "{refused:?}");
        let report = world.run_billing(2).await;
        assert_eq!(
            report.tally.owed.to_decimal(),
            dec!(3) - dec!(0.98) + dec!(0.02)
        );
        assert_eq!(world.balance(organization).await, dec!(0));
        world.set_clock(minutes(150)).await;
        world.top_up(organization, "10").await;
        world.run_billing(3).await;
        let entries: Vec<(String, Decimal)> =
            sqlx::query_as("SELECT type, amount FROM ledger_entries ORDER BY seq")
                .fetch_all(&world.pool)
                .await
                .expect("entries");
        assert_eq!(
            entries,
            [
                ("usage".to_owned(), dec!(-0.02)),
                ("debt_payment".to_owned(), dec!(-0.98)),
                ("debt_payment".to_owned(), dec!(-2.02)),
                ("usage".to_owned(), dec!(-0.04)),
            ]
        );
        assert_eq!(world.agent_row(agent).await.total_billed, dec!(0.06));
        // Also of an organization that uses nothing any more.
        world.delete(agent).await;
        world.run_billing(4).await;
        world
            .execute("UPDATE billing_accounts SET carried_debt = 1")
            .await;
        world.run_billing(5).await;
        let paid =
            "SELECT count(*) FROM ledger_entries WHERE type = 'debt_payment' AND amount = -1";
        assert_eq!(world.count(paid).await, 1);
        audit::check(&world.pool).await;
    });
}

#[test]
fn the_carried_debt_of_a_deleted_organization_is_counted_as_uncollected_and_due_no_longer() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("1").await;
        world.agent(organization, "running").await;
        world.run_billing(1).await;
        world
            .execute("UPDATE billing_accounts SET carried_debt = 3")
            .await;
        world.set_clock(minutes(90)).await;
        sqlx::query("DELETE FROM organizations WHERE id = $1")
            .bind(organization)
            .execute(&world.pool)
            .await
            .expect("a deletion");
        // With half an hour of the agent.
        let report = world.run_billing(2).await;
        assert_eq!(report.tally.uncollected.to_decimal(), dec!(3.01));
        let mut conn = world.database.statements();
        let due = organizations_due(&mut conn, hours(3)).await;
        assert!(due.expect("organizations").is_empty());
        let report = world.run_billing(3).await;
        assert_eq!(report.tally.uncollected.to_decimal(), dec!(0));
        audit::check(&world.pool).await;
    });
}

#[test]
fn an_organization_in_debt_that_pays_nothing_writes_its_account_only() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        world.agent(organization, "running").await;
        world.run_billing(1).await;
        let report = world.run_billing(2).await;
        assert_eq!(
            (report.tally.slices, report.tally.owed.to_decimal()),
            (0, dec!(0.04))
        );
        let rows = "SELECT (SELECT count(*) FROM ledger_entries) + (SELECT count(*) FROM usage_spans WHERE caught_up)";
        // A span that nothing was charged of has caught up: its account is charged up to its hour.
        assert_eq!(world.count(rows).await, 1);
        audit::check(&world.pool).await;
    });
}
