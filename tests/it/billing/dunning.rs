//! Warnings, shutdown dates and suspensions in the database.

use rust_decimal::dec;
use serde_json::{Value, json};
use tests::world::hours;
use tests::{World, audit, run};
use uuid::Uuid;

#[test]
fn low_credit_warns_once_and_a_top_up_clears_it() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("2.03").await;
        let agent = world.agent(organization, "running").await;
        world.run_billing(1).await;
        assert!(world.events(organization).await.is_empty());
        world.run_billing(2).await;
        world.run_billing(3).await;
        assert_eq!(world.events(organization).await, ["credit.low"]);
        assert_eq!(world.agent_row(agent).await.billing_status, "warning");
        world.top_up(organization, "5").await;
        world.run_billing(4).await;
        assert_eq!(world.agent_row(agent).await.billing_status, "active");
        let payload: Value = sqlx::query_scalar("SELECT payload FROM outbox_events")
            .fetch_one(&world.pool)
            .await
            .expect("a payload");
        assert_eq!(
            payload,
            json!({"balance": 1.99, "lowSince": "2026-03-01T02:00:00Z"})
        );
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_suspended_agent_gets_a_stop_job_only_if_a_container_is_expected() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        let running = world.agent(organization, "running").await;
        let idle = world.agent(organization, "stopped").await;
        world.run_billing(1).await;
        world.mark_events_handed_over().await;
        let report = world.run_billing(49).await;
        assert_eq!(report.tally.suspended, 2);
        for agent in [running, idle] {
            assert_eq!(world.agent_row(agent).await.billing_status, "suspended");
        }
        let jobs: Vec<(Uuid, Value)> = sqlx::query_as("SELECT agent_id, data FROM jobs")
            .fetch_all(&world.pool)
            .await
            .expect("jobs");
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs[0].0, running);
        assert_eq!(jobs[0].1["agentId"], json!(running));
        // Of suspended agents only the storage is metered (F55), and later runs enqueue no second job.
        let owed = report.tally.owed.to_decimal();
        let report = world.run_billing(55).await;
        assert_eq!(
            report.tally.owed.to_decimal(),
            owed + dec!(6) * dec!(0.0025)
        );
        assert_eq!(world.count("SELECT count(*) FROM jobs").await, 1);
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_notice_lists_fifty_agents_and_counts_all() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        world
            .execute(
                "INSERT INTO milady_sandboxes (organization_id, user_id, status, agent_name)
                SELECT organization_id, id, 'running', 'n' || n
                FROM users, generate_series(1, 60) n",
            )
            .await;
        let report = world.run_billing(1).await;
        assert_eq!(report.tally.warned, 60);
        let payload: Value =
            sqlx::query_scalar("SELECT payload FROM outbox_events WHERE organization_id = $1")
                .bind(organization)
                .fetch_one(&world.pool)
                .await
                .expect("a payload");
        assert_eq!(payload["agents"].as_array().map(Vec::len), Some(50));
        assert_eq!(payload["agentCount"], json!(60));
        assert_eq!(payload["owed"], json!(1.2));
        assert_eq!(payload["owedAtDeadline"], json!(58.8));
        assert_eq!(
            payload["scheduledShutdownAt"],
            json!("2026-03-03T01:00:00Z")
        );
    });
}

#[test]
fn the_organization_owes_the_debt_of_a_deleted_agent() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        let agent = world.agent(organization, "running").await;
        world.run_billing(5).await;
        world.delete(agent).await;
        let other = world.agent(organization, "pending").await;
        let refused = world.start(organization, other).await;
        assert!(refused.text().contains("$5.1 required"), "{refused:?}");
        world.top_up(organization, "1").await;
        world.run_billing(6).await;
        assert_eq!(world.balance(organization).await, dec!(0.90));
        assert_eq!(world.agent_row(other).await.billing_status, "warning");
        audit::check(&world.pool).await;
    });
}

#[test]
fn debt_is_written_off_after_ninety_days_with_a_ledger_entry() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        let agent = world.agent(organization, "running").await;
        world.set_clock(hours(2)).await;
        world.set_status(agent, "error").await;
        assert_eq!(
            world
                .run_billing(90 * 24 + 1)
                .await
                .tally
                .written_off
                .to_decimal(),
            dec!(0.02)
        );
        let report = world.run_billing(90 * 24 + 5).await;
        assert_eq!(report.tally.written_off.to_decimal(), dec!(0.02));
        assert_eq!(report.tally.owed.to_decimal(), dec!(0));
        assert_eq!(world.agent_row(agent).await.billing_status, "warning");
        let rows: Vec<(String, rust_decimal::Decimal, Value)> = sqlx::query_as(
            "SELECT type, amount, detail FROM ledger_entries WHERE organization_id = $1",
        )
        .bind(organization)
        .fetch_all(&world.pool)
        .await
        .expect("rows");
        assert_eq!(rows.len(), 2);
        for (kind, amount, detail) in rows {
            assert_eq!((kind.as_str(), amount), ("write_off", dec!(0)));
            assert_eq!(detail["worth"], json!(0.02));
        }
        // Later money does not pay debt that was written off.
        world.top_up(organization, "5").await;
        world.run_billing(90 * 24 + 6).await;
        assert_eq!(world.balance(organization).await, dec!(5));
        audit::check(&world.pool).await;
    });
}

#[test]
fn an_undeliverable_warning_does_not_delay_the_shutdown() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        let agent = world.agent(organization, "running").await;
        world.run_billing(1).await;
        world
            .execute("UPDATE outbox_events SET undeliverable_at = billing_clock()")
            .await;
        world.run_billing(48).await;
        let row = world.agent_row(agent).await;
        assert_eq!(row.billing_status, "shutdown_pending");
        world.run_billing(49).await;
        assert_eq!(world.agent_row(agent).await.billing_status, "suspended");
    });
}
