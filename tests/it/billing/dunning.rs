//! Warnings, shutdown dates and suspensions in the database.

use rust_decimal::dec;
use serde_json::{Value, json};
use shared::app::billing::audit::{AuditScope, audit_billing};
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
            json!({"balance": 1.99, "lowSince": "2026-03-01T02:00:00Z", "mark": 2.0})
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

#[test]
fn f06_an_agent_that_is_moved_while_its_shutdown_is_pending_is_announced_to_its_new_organization() {
    run(async {
        let world = World::new().await;
        let [first, second] = [world.organization("0").await, world.organization("0").await];
        let agent = world.agent(first, "running").await;
        world.run_billing(1).await;
        assert_eq!(world.events(first).await, ["agent.shutdown_scheduled"]);
        world.transfer(agent, second).await;
        world.run_billing(2).await;
        assert_eq!(world.events(second).await, ["agent.shutdown_scheduled"]);
        assert_eq!(world.events(first).await.len(), 1);
        let row = world.agent_row(agent).await;
        assert_eq!(
            (row.shutdown_warning_sent_at, row.scheduled_shutdown_at),
            (Some(hours(2)), Some(hours(50)))
        );
        world.mark_events_handed_over().await;
        // It is announced once.
        for hour in [3, 49] {
            world.run_billing(hour).await;
            assert_eq!(world.events(second).await.len(), 1, "{hour}");
            let row = world.agent_row(agent).await;
            assert_eq!(row.billing_status, "shutdown_pending", "{hour}");
        }
        world.run_billing(50).await;
        assert_eq!(world.agent_row(agent).await.billing_status, "suspended");
        audit::check(&world.pool).await;
    });
}

#[test]
fn the_audit_takes_no_agent_for_unwarned_that_came_suspended() {
    run(async {
        let world = World::new().await;
        let [first, second] = [world.organization("0").await, world.organization("0").await];
        let agent = world.agent(first, "running").await;
        world.run_billing(1).await;
        world.mark_events_handed_over().await;
        world.run_billing(49).await;
        assert_eq!(world.agent_row(agent).await.billing_status, "suspended");
        world.transfer(agent, second).await;
        let audited = audit_billing(&world.database, AuditScope::Recent)
            .await
            .expect("an audit");
        let kinds: Vec<&str> = audited.open.iter().map(|open| open.kind.as_str()).collect();
        assert!(!kinds.contains(&"suspended_unwarned"), "{kinds:?}");
    });
}

/// Sets the owner's own low-credit mark.
async fn set_mark(world: &World, organization: Uuid, mark: &str) {
    sqlx::query(
        "INSERT INTO cloud.organization_settings (organization_id, low_credit_mark, updated_at, updated_by)
        VALUES ($1, $2::text::numeric, billing_clock(), $1)",
    )
    .bind(organization)
    .bind(mark)
    .execute(&world.pool)
    .await
    .expect("a mark");
}

#[test]
fn the_owners_mark_decides_when_credit_is_low() {
    run(async {
        let world = World::new().await;
        let careful = world.organization("20").await;
        set_mark(&world, careful, "19.97").await;
        let careless = world.organization("1").await;
        set_mark(&world, careless, "0").await;
        let agents = [
            world.agent(careful, "running").await,
            world.agent(careless, "running").await,
        ];
        world.run_billing(1).await;
        assert!(world.events(careful).await.is_empty());
        world.run_billing(2).await;
        assert_eq!(world.events(careful).await, ["credit.low"]);
        assert!(world.events(careless).await.is_empty());
        let statuses = [
            world.agent_row(agents[0]).await.billing_status,
            world.agent_row(agents[1]).await.billing_status,
        ];
        assert_eq!(statuses, ["warning", "active"]);
        audit::check(&world.pool).await;
    });
}

#[test]
fn without_a_mark_credit_is_low_when_it_lasts_for_less_than_three_days() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("14.60").await;
        for _ in 0..10 {
            world.agent(organization, "running").await;
        }
        world.run_billing(1).await;
        assert!(world.events(organization).await.is_empty());
        world.run_billing(2).await;
        assert_eq!(world.events(organization).await, ["credit.low"]);
    });
}

#[test]
fn low_credit_is_announced_again_after_a_day_and_an_hour_above_the_mark() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("2.01").await;
        world.agent(organization, "running").await;
        let set = async |balance: &str| {
            sqlx::query(
                "UPDATE organizations SET credit_balance = $2::text::numeric WHERE id = $1",
            )
            .bind(organization)
            .bind(balance)
            .execute(&world.pool)
            .await
            .expect("a balance");
        };
        let announced = async |hour| {
            world.run_billing(hour).await;
            world.events(organization).await.len()
        };
        assert_eq!(announced(1).await, 1);
        // Above the mark at one run only: that is less than an hour.
        set("5").await;
        assert_eq!(announced(30).await, 1);
        set("1.5").await;
        assert_eq!(announced(31).await, 1);
        // Above it at two runs.
        set("5").await;
        assert_eq!(announced(32).await, 1);
        assert_eq!(announced(33).await, 1);
        set("1.5").await;
        assert_eq!(announced(34).await, 2);
        // Again within a day: it waits until the day is over.
        set("5").await;
        assert_eq!(announced(35).await, 2);
        assert_eq!(announced(36).await, 2);
        set("1.9").await;
        assert_eq!(announced(37).await, 2);
        assert_eq!(announced(57).await, 2);
        assert_eq!(announced(58).await, 3);
    });
}
