//! Billing failures of production systems of this kind that must be impossible here. The test names begin with their
//! codes.

use chrono::TimeDelta;
use rust_decimal::dec;
use serde_json::json;
use tests::world::{hours, minutes};
use tests::{World, audit, legacy, run, suite};

#[test]
fn f02_a_suspended_agent_that_runs_again_is_billed_again() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        let agent = world.agent(organization, "running").await;
        world.run_billing(1).await;
        world.mark_events_handed_over().await;
        world.run_billing(49).await;
        assert_eq!(world.agent_row(agent).await.billing_status, "suspended");
        let jobs = "SELECT count(*) FROM jobs WHERE type = 'milady_suspend' AND status = 'pending'";
        assert_eq!(world.count(jobs).await, 1);
        // The agent is stopped, the owner pays, and another system starts the agent again.
        world.set_status(agent, "stopped").await;
        world.top_up(organization, "20").await;
        world.set_status(agent, "provisioning").await;
        world.set_clock(hours(50)).await;
        world.set_status(agent, "running").await;
        let row = world.agent_row(agent).await;
        assert_eq!(
            (row.billing_status.as_str(), row.scheduled_shutdown_at),
            ("active", None)
        );
        let before = world.charged(organization).await;
        world.run_billing(51).await;
        // 49 hours of debt, then the first new hour.
        assert_eq!(
            world.charged(organization).await - before,
            dec!(0.02) * dec!(50)
        );
        audit::check(&world.pool).await;
    });
}

#[test]
fn f03_three_missed_hours_are_charged_as_three() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        world.run_billing(1).await;
        world.run_billing(4).await;
        let ledger = world.ledger(organization).await;
        assert_eq!(ledger.len(), 4);
        assert_eq!(world.charged(organization).await, dec!(0.08));
        audit::check(&world.pool).await;
    });
}

#[test]
fn f04_charges_do_not_depend_on_the_minute_of_the_run() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let dodger = world.agent(organization, "running").await;
        let deleted = world.agent(organization, "running").await;
        // Stopped at :59, started at :01; deleted before the run.
        world.set_clock(minutes(59)).await;
        world.set_status(dodger, "stopped").await;
        world.delete(deleted).await;
        world.run_billing(1).await;
        world.set_clock(minutes(61)).await;
        world.set_status(dodger, "running").await;
        world.run_billing(2).await;
        let running: i64 = world
            .ledger(organization)
            .await
            .iter()
            .filter(|row| row.kind == "running")
            .map(|row| (row.period_end - row.period_start).num_minutes())
            .sum();
        assert_eq!(running, 59 + 59 + 59);
        audit::check(&world.pool).await;
    });
}

#[test]
fn f05_an_idle_agents_total_after_720_runs_is_1_80() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "stopped").await;
        for hour in 1..=720 {
            world.run_billing(hour).await;
        }
        assert_eq!(world.agent_row(agent).await.total_billed, dec!(1.80));
        assert_eq!(world.balance(organization).await, dec!(8.20));
        audit::check(&world.pool).await;
    });
}

#[test]
fn f06_an_agent_is_suspended_only_a_day_after_its_warning_was_handed_over() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        let agent = world.agent(organization, "running").await;
        world.set_clock(hours(1)).await;
        let (one, two) = tokio::join!(
            world.run_billing_at_current_time(1),
            world.run_billing_at_current_time(1)
        );
        assert_eq!(one.tally.warned + two.tally.warned, 1);
        assert_eq!(
            world.events(organization).await,
            ["agent.shutdown_scheduled"]
        );
        // While the mail server is down, the shutdown date passes, but the agent keeps running and its debt grows.
        world.run_billing(49).await;
        world.run_billing(72).await;
        assert_eq!(
            world.agent_row(agent).await.billing_status,
            "shutdown_pending"
        );
        // A day after the mail was handed over, the agent is suspended.
        world.mark_events_handed_over().await;
        world.run_billing(95).await;
        assert_eq!(
            world.agent_row(agent).await.billing_status,
            "shutdown_pending"
        );
        world.run_billing(96).await;
        assert_eq!(world.agent_row(agent).await.billing_status, "suspended");
        assert_eq!(
            world.events(organization).await,
            ["agent.shutdown_scheduled", "agent.suspended"]
        );
    });
}

#[test]
fn f07_a_top_up_in_the_last_hour_of_grace_keeps_the_agent() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        let agent = world.agent(organization, "running").await;
        world.run_billing(1).await;
        world.mark_events_handed_over().await;
        world.set_clock(minutes(48 * 60 + 59)).await;
        world.top_up(organization, "5").await;
        world.run_billing(49).await;
        let row = world.agent_row(agent).await;
        assert_eq!(
            (row.status.as_str(), row.billing_status.as_str()),
            ("running", "active")
        );
        assert_eq!(row.scheduled_shutdown_at, None);
        assert_eq!(world.balance(organization).await, dec!(4.02));
        audit::check(&world.pool).await;
    });
}

#[test]
fn f08_an_agent_stopped_during_a_run_is_charged_up_to_the_stop() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        world.set_clock(minutes(30)).await;
        let mut writer = world.pool.begin().await.expect("begin");
        sqlx::query("UPDATE milady_sandboxes SET status = 'error' WHERE id = $1")
            .bind(agent)
            .execute(&mut *writer)
            .await
            .expect("stop");
        world.set_clock(hours(1)).await;
        let instance = world.function("billing-hourly").start().await;
        let event = serde_json::json!({"scheduledTime": hours(1)});
        let (outcome, ()) = tokio::join!(
            instance.invoke(event, std::time::Duration::from_mins(1)),
            async {
                world.wait_until_a_session_is_blocked().await;
                writer.commit().await.expect("commit");
            }
        );
        assert!(matches!(outcome, dev::runtime::Outcome::Success(_)));
        assert_eq!(world.charged(organization).await, dec!(0.01));
        // The run waited for the stop: no part conflicted with it and was repeated.
        instance.kill().await;
        let logs = instance.logs().join("\n");
        assert!(!logs.contains("billing part"), "{logs}");
        audit::check(&world.pool).await;
    });
}

#[test]
fn f10_five_dollars_start_ten_agents_of_thirty_simultaneous_requests() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("5").await;
        let mut agents = Vec::new();
        for _ in 0..30 {
            agents.push(world.agent(organization, "pending").await);
        }
        let requests = agents.iter().map(|agent| world.start(organization, *agent));
        let answers = futures_util::future::join_all(requests).await;
        assert_eq!(
            answers
                .iter()
                .filter(|answer| answer.status() == 202)
                .count(),
            10
        );
        assert_eq!(
            world
                .count("SELECT count(*) FROM jobs WHERE status = 'pending'")
                .await,
            10
        );
    });
}

#[test]
fn f11_the_last_cents_go_to_the_older_agent_every_time() {
    run(async {
        let world = World::new().await;
        for round in 0..10 {
            let organization = world.organization("0.03").await;
            // The younger agent is inserted first, and the ids are random, so neither order decides.
            let younger = world.agent(organization, "running").await;
            let older = world.agent(organization, "running").await;
            sqlx::query(
                "UPDATE usage_spans SET agent_created_at = agent_created_at - interval '1 s'
                WHERE agent_id = $1",
            )
            .bind(older)
            .execute(&world.pool)
            .await
            .expect("age");
            world.run_billing(round + 1).await;
            let (older, younger) = (world.agent_row(older).await, world.agent_row(younger).await);
            assert_eq!(
                (older.total_billed, younger.total_billed),
                (dec!(0.02), dec!(0))
            );
            assert_eq!(older.billing_status, "warning");
            assert_eq!(younger.billing_status, "shutdown_pending");
            sqlx::query("DELETE FROM organizations WHERE id = $1")
                .bind(organization)
                .execute(&world.pool)
                .await
                .expect("delete");
        }
    });
}

#[test]
fn f28_an_agent_is_billed_from_when_it_runs_not_from_its_creation() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "pending").await;
        world.set_status(agent, "provisioning").await;
        world
            .set_clock(hours(0) + TimeDelta::milliseconds(5_157))
            .await;
        world.set_status(agent, "running").await;
        world.run_billing(1).await;
        world.run_billing(2).await;
        let ledger = world.ledger(organization).await;
        assert_eq!(
            ledger[0].period_start,
            hours(0) + TimeDelta::milliseconds(5_157)
        );
        // 0.02 x 3594.843 / 3600, then a full hour.
        assert_eq!(
            (ledger[0].amount, ledger[1].amount),
            (dec!(-0.019971), dec!(-0.02))
        );
    });
}

#[test]
fn f29_error_and_deletion_end_the_charge() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let broken = world.agent(organization, "running").await;
        let deleted = world.agent(organization, "stopped").await;
        world.set_clock(minutes(30)).await;
        world.set_status(broken, "error").await;
        world.delete(deleted).await;
        for hour in 1..=5 {
            world.run_billing(hour).await;
        }
        assert_eq!(
            world.charged(organization).await,
            dec!(0.01) + dec!(0.00125)
        );
        assert_eq!(world.run_billing(6).await.tally.agents_processed, 0);
        audit::check(&world.pool).await;
    });
}

#[test]
fn f33_an_agent_that_never_answers_its_health_endpoint_is_charged_while_it_runs() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        let with_heartbeat =
            "SELECT count(*) FROM milady_sandboxes WHERE last_heartbeat_at IS NOT NULL";
        assert_eq!(world.count(with_heartbeat).await, 0);
        world.run_billing(3).await;
        assert_eq!(world.agent_row(agent).await.total_billed, dec!(0.06));
    });
}

#[test]
fn f34_not_paying_is_never_cheaper_than_paying() {
    run(async {
        let world = World::new().await;
        let (payer, debtor) = (
            world.organization("50").await,
            world.organization("0").await,
        );
        let paying = world.agent(payer, "running").await;
        let owing = world.agent(debtor, "running").await;
        for hour in 1..=60 {
            world.run_billing(hour).await;
            world.mark_events_handed_over().await;
            let suspended = world.agent_row(owing).await.billing_status == "suspended";
            if suspended && world.agent_row(paying).await.status == "running" {
                // Both agents end now, so both ran equally long.
                world.set_status(paying, "error").await;
                world.set_status(owing, "error").await;
            }
        }
        assert_eq!(world.charged(debtor).await, dec!(0));
        world.top_up(debtor, "50").await;
        world.run_billing(61).await;
        assert_eq!(world.charged(debtor).await, dec!(0.98));
        assert_eq!(world.charged(debtor).await, world.charged(payer).await);
        audit::check(&world.pool).await;
    });
}

#[test]
fn f35_an_accepted_stop_ends_the_charge_however_late_the_host_answers() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        world.set_clock(minutes(15)).await;
        sqlx::query(
            "UPDATE milady_sandboxes SET stop_requested_at = billing_clock() WHERE id = $1",
        )
        .bind(agent)
        .execute(&world.pool)
        .await
        .expect("stop");
        world.run_billing(9).await;
        let row = world.agent_row(agent).await;
        assert_eq!(
            (row.status.as_str(), row.total_billed),
            ("running", dec!(0.005))
        );
        audit::check(&world.pool).await;
    });
}

#[test]
fn f38_charging_goes_on_after_the_users_of_an_organization_were_deleted() {
    run(async {
        // In the older application's schema the ledger's user refers to `users`, and deleting a user deletes
        // that user's agents.
        let world = World::with_database(&suite::empty_database().await).await;
        legacy::create_schema(&world.pool).await;
        world.function("db-migrate").invoke_ok(json!({})).await;
        dev::clock::install(&world.pool, hours(0))
            .await
            .expect("a clock");
        world
            .function("db-migrate")
            .invoke_ok(json!({"adopt": true}))
            .await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        let colleagues = world.agent(organization, "running").await;
        sqlx::query(
            "WITH colleague AS (INSERT INTO users (organization_id) VALUES ($1) RETURNING id)
            UPDATE milady_sandboxes SET user_id = colleague.id FROM colleague
            WHERE milady_sandboxes.id = $2",
        )
        .bind(organization)
        .bind(colleagues)
        .execute(&world.pool)
        .await
        .expect("a colleague");
        world.set_clock(minutes(30)).await;
        world
            .execute("DELETE FROM users WHERE role = 'owner'")
            .await;
        let report = world.run_billing(2).await;
        assert!(report.complete, "{report:?}");
        // Half an hour of the deleted user's agent and two hours of the other one, at $0.02.
        assert_eq!(world.charged(organization).await, dec!(0.05));
        world.execute("DELETE FROM users").await;
        let report = world.run_billing(3).await;
        assert!(report.complete, "{report:?}");
        audit::check(&world.pool).await;
    });
}
