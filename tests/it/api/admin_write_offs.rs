//! `POST /api/v1/admin/credits/write-off`

use chrono::{DateTime, Utc};
use expect_test::expect;
use rust_decimal::dec;
use serde_json::{Value, json};
use tests::suite::{Request, Response};
use tests::world::{hours, minutes};
use tests::{World, audit, check, check_field_errors, check_problem, run};
use uuid::Uuid;

const WRITE_OFF: &str = "/api/v1/admin/credits/write-off";

async fn write_off(world: &World, key: &str, idempotency_key: &str, body: &Value) -> Response {
    let request = Request::new("POST", WRITE_OFF).key(key).json(body);
    world
        .call_on_new_instance(request.header("idempotency-key", idempotency_key))
        .await
}

fn of(organization: Uuid) -> Value {
    json!({"organizationId": organization, "reason": "an outage"})
}

async fn charged_through(world: &World, organization: Uuid) -> Option<DateTime<Utc>> {
    sqlx::query_scalar("SELECT charged_through FROM billing_accounts WHERE organization_id = $1")
        .bind(organization)
        .fetch_one(&world.pool)
        .await
        .expect("an account")
}

#[test]
fn a_write_off_clears_what_is_due_up_to_the_full_hour_and_later_time_is_charged() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("0.05").await;
        let agent = world.agent(organization, "running").await;
        // The younger one is charged after the older one.
        world
            .set_clock(hours(0) + chrono::TimeDelta::microseconds(1))
            .await;
        let deleted = world.agent(organization, "running").await;
        // Each pays for one hour; the second agent owes half an hour more when it is deleted.
        world.run_billing(1).await;
        world.set_clock(minutes(90)).await;
        world.delete(deleted).await;
        world.run_billing(5).await;
        assert_eq!(
            world.agent_row(agent).await.billing_status,
            "shutdown_pending"
        );
        world.set_clock(minutes(330)).await;
        let first = write_off(&world, &key, "once", &of(organization)).await;
        check(
            &first,
            expect![[r#"
            201 application/json
            {
              "data": {
                "balance": 0.01,
                "transactionId": "<1>",
                "writtenOff": 0.09
              },
              "success": true
            }
        "#]],
        );
        let repeated = write_off(&world, &key, "once", &of(organization)).await;
        assert_eq!((repeated.status(), repeated.json()), (201, first.json()));
        check_problem(
            &write_off(&world, &key, "again", &of(organization)).await,
            409,
            "The organization owes nothing",
        );
        let entry: Value = sqlx::query_scalar(
            "SELECT jsonb_build_object('amount', trim_scale(amount), 'worth', detail -> 'worth', 'reason', detail -> 'reason',
                'agents', agents, 'hours', (extract(epoch FROM period_end - period_start) / 3600)::int)
            FROM ledger_entries WHERE type = 'write_off'",
        )
        .fetch_one(&world.pool)
        .await
        .expect("one entry");
        assert_eq!(
            entry,
            json!({"amount": 0, "worth": 0.09, "reason": "an outage", "agents": 2, "hours": 4})
        );
        let logged = "SELECT count(*) FROM admin_audit_log WHERE action = 'credit.write_off'";
        assert_eq!(world.count(logged).await, 1);
        audit::check(&world.pool).await;

        // The next run charges the hour after, also the half of it before the write-off.
        world.top_up(organization, "5").await;
        world.run_billing(6).await;
        assert_eq!(world.agent_row(agent).await.billing_status, "active");
        assert_eq!(world.balance(organization).await, dec!(4.99));
        world.run_billing(7).await;
        assert_eq!(world.balance(organization).await, dec!(4.97));
        assert_eq!(charged_through(&world, organization).await, Some(hours(7)));
        audit::check(&world.pool).await;
    });
}

#[test]
fn carried_debt_and_time_at_a_changed_price_are_written_off_at_their_worth() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("0").await;
        world.agent(organization, "running").await;
        world.set_clock(hours(5)).await;
        let refund = json!({"organizationId": organization, "amount": 1, "reason": "r"});
        let request = Request::new("POST", "/api/v1/admin/credits/refund")
            .key(&key)
            .json(&refund);
        let refunded = world.call(request.header("idempotency-key", "r")).await;
        assert_eq!(refunded.status(), 201, "{refunded:?}");
        world.run_billing_at_current_time(5).await;
        // A span can be opened at the old price while the run cuts spans at the new one.
        sqlx::query("INSERT INTO prices (valid_from, running, idle) VALUES ($1, 0.05, 0.0025)")
            .bind(hours(3))
            .execute(&world.pool)
            .await
            .expect("a price");
        let written_off = write_off(&world, &key, "k", &of(organization)).await;
        // 1 + 3 * 0.02 + 2 * 0.05
        assert_eq!(written_off.json()["data"]["writtenOff"], json!(1.16));
        audit::check(&world.pool).await;
        world.top_up(organization, "1").await;
        world.run_billing(6).await;
        assert_eq!(world.balance(organization).await, dec!(0.95));
        audit::check(&world.pool).await;
    });
}

#[test]
fn what_no_run_has_tried_to_charge_is_not_written_off() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("0.03").await;
        world.agent(organization, "running").await;
        world.set_clock(minutes(150)).await;
        check_problem(
            &write_off(&world, &key, "early", &of(organization)).await,
            409,
            "The organization owes nothing",
        );
        // It pays for the first hour and owes the second.
        world.run_billing_at_current_time(2).await;
        world.set_clock(minutes(190)).await;
        world.top_up(organization, "5").await;
        let written_off = write_off(&world, &key, "late", &of(organization)).await;
        assert_eq!(written_off.json()["data"]["writtenOff"], json!(0.02));
        // The run of the third hour is late.
        world.run_billing(4).await;
        assert_eq!(world.balance(organization).await, dec!(4.97));
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_write_off_during_a_billing_run_comes_before_or_after_it() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("0.03").await;
        world.agent(organization, "running").await;
        world.set_clock(hours(3)).await;
        let lock = world.lock_organization(organization).await;
        let request = of(organization);
        let (written_off, report, ()) = tokio::join!(
            write_off(&world, &key, "k", &request),
            world.run_billing_at_current_time(3),
            world.release(lock, 2)
        );
        // The run charges one hour of three. A write-off that comes before it finds no debt.
        assert_eq!(report.tally.slices, 1, "{report:?}");
        let worth = written_off.json()["data"]["writtenOff"].clone();
        assert!(
            written_off.status() == 409 || worth == json!(0.04),
            "{written_off:?}"
        );
        audit::check(&world.pool).await;
    });
}

#[test]
fn what_is_not_valid_is_refused() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("1").await;
        check_field_errors(
            &write_off(&world, &key, "k", &json!({"reason": "\n"})).await,
            "organizationId is required, and 1 more",
            &[
                ("organizationId", "is required"),
                (
                    "reason",
                    "must be 1 to 500 characters without control characters, not all blank",
                ),
            ],
        );
        let without_key = Request::new("POST", WRITE_OFF)
            .key(&key)
            .json(&of(organization));
        check_field_errors(
            &world.call(without_key).await,
            "Idempotency-Key is required",
            &[("Idempotency-Key", "is required")],
        );
        check_problem(
            &write_off(&world, &key, "k", &of(Uuid::nil())).await,
            404,
            "Organization not found",
        );
        check_problem(
            &write_off(&world, &key, "k", &of(organization)).await,
            409,
            "The organization owes nothing",
        );
        let (moderators, moderators_key) = world.tenant("0").await;
        world.make_admin(moderators, "moderator").await;
        let refused = write_off(&world, &moderators_key, "k", &of(organization)).await;
        assert_eq!(refused.status(), 403, "{refused:?}");
        assert_eq!(world.count("SELECT count(*) FROM ledger_entries").await, 0);
    });
}
