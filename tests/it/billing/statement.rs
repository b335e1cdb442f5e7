//! The statement of a day: what it adds up, and that it does so once.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use shared::app::billing::audit::{AuditScope, audit_billing};
use shared::app::billing::statement::{StatementReport, state_days};
use shared::db::billing::days::today;
use tests::world::{hours, minutes};
use tests::{World, audit, run, suite};

/// States all days that are over.
pub async fn state(world: &World) -> StatementReport {
    let day = today(&mut world.database.statements())
        .await
        .expect("a day");
    state_days(&world.database, day, None)
        .await
        .expect("a statement")
}

/// Runs billing every hour, up to and including `last`.
pub async fn bill_hourly(world: &World, first: i64, last: i64) {
    for hour in first..=last {
        world.run_billing(hour).await;
    }
}

/// Panics if the audit finds anything, changes by others included, or if an invariant is violated.
pub async fn assert_adds_up(world: &World) {
    audit::check(&world.pool).await;
    assert_nothing_found(world).await;
}

/// The same for a database in which charges were dropped.
pub async fn assert_nothing_found(world: &World) {
    for scope in [AuditScope::Recent, AuditScope::Full] {
        let report = audit_billing(&world.database, scope)
            .await
            .expect("an audit");
        assert!(report.open.is_empty(), "{scope:?}: {:?}", report.open);
    }
    let found = rows(
        world,
        "SELECT kind, detail FROM billing_findings WHERE resolved_at IS NULL",
    )
    .await;
    assert_eq!(found, [Value::Null; 0]);
}

/// The rows of a query as JSON.
pub async fn rows(world: &World, query: &str) -> Vec<Value> {
    let sql = format!("SELECT to_jsonb(r) FROM ({query}) AS r");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_all(&world.pool)
        .await
        .expect("rows")
}

const USAGE_DAYS: &str =
    "SELECT day, kind, seconds, amount FROM usage_days ORDER BY day, kind, amount, agent_id";
const LEDGER_DAYS: &str =
    "SELECT day, opening, charged, credited, external, closing FROM ledger_days
    ORDER BY day, opening, organization_id";

/// Everything that a statement writes.
async fn everything(world: &World) -> Vec<Vec<Value>> {
    let mut tables = Vec::new();
    for query in [
        "SELECT * FROM usage_days ORDER BY organization_id, day, agent_id, kind",
        "SELECT * FROM ledger_days ORDER BY organization_id, day",
        "SELECT * FROM milady_sandboxes ORDER BY id",
        "SELECT * FROM usage_spans ORDER BY id",
        "SELECT * FROM credit_transactions ORDER BY id",
        "SELECT * FROM billing_accounts ORDER BY organization_id",
        "SELECT * FROM organizations ORDER BY id",
    ] {
        tables.push(rows(world, query).await);
    }
    tables
}

#[test]
fn a_day_is_added_up_for_the_agent_the_organization_and_the_older_application() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let running = world.agent(organization, "running").await;
        let idle = world.agent(organization, "stopped").await;
        bill_hourly(&world, 1, 24).await;
        // The run at midnight belongs to the next day, but charges the last hour of this one.
        let report = state(&world).await;
        assert_eq!((report.organization_days, report.complete), (1, true));
        assert_eq!(
            rows(&world, USAGE_DAYS).await,
            [
                json!({"day": "2026-03-01", "kind": "idle", "seconds": 82_800.0, "amount": 0.0575}),
                json!({"day": "2026-03-01", "kind": "running", "seconds": 82_800.0, "amount": 0.46}),
            ]
        );
        assert_eq!(
            rows(&world, LEDGER_DAYS).await,
            [
                json!({"day": "2026-03-01", "opening": 10.0, "charged": -0.5175, "credited": 0.0, "external": 0.0,
                "closing": 9.4825})
            ]
        );
        assert_eq!(
            rows(
                &world,
                "SELECT total_billed, last_billed_at FROM milady_sandboxes ORDER BY total_billed"
            )
            .await,
            [
                json!({"total_billed": 0.0575, "last_billed_at": "2026-03-01T23:00:00+00:00"}),
                json!({"total_billed": 0.46, "last_billed_at": "2026-03-01T23:00:00+00:00"}),
            ]
        );
        assert_eq!(
            rows(
                &world,
                "SELECT amount, type, description, metadata, user_id, created_at, seq
                FROM credit_transactions ORDER BY amount"
            )
            .await,
            [
                json!({"amount": -0.46, "type": "debit", "description": "Milady agent hosting (running): agent",
                    "metadata": {"sandbox_id": running, "agent_name": "agent", "billing_type": "milady_running",
                        "hourly_rate": 0.02, "billing_day": "2026-03-01"},
                    "user_id": null, "created_at": "2026-03-01T23:59:59.999999", "seq": 0}),
                json!({"amount": -0.0575, "type": "debit", "description": "Milady agent storage (idle): agent",
                    "metadata": {"sandbox_id": idle, "agent_name": "agent", "billing_type": "milady_idle",
                        "hourly_rate": 0.0025, "billing_day": "2026-03-01"},
                    "user_id": null, "created_at": "2026-03-01T23:59:59.999999", "seq": 0}),
            ]
        );
        assert_adds_up(&world).await;
        // The last hour was charged on the second day and is added to the first.
        world.set_clock(hours(48)).await;
        state(&world).await;
        assert_eq!(
            rows(&world, USAGE_DAYS).await,
            [
                json!({"day": "2026-03-01", "kind": "idle", "seconds": 86_400.0, "amount": 0.06}),
                json!({"day": "2026-03-01", "kind": "running", "seconds": 86_400.0, "amount": 0.48}),
            ]
        );
        assert_adds_up(&world).await;
    });
}

#[test]
fn a_repeated_statement_changes_nothing() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        bill_hourly(&world, 20, 26).await;
        assert_eq!(state(&world).await.organization_days, 1);
        let stated = everything(&world).await;
        let (one, other) = tokio::join!(state(&world), state(&world));
        assert_eq!((one.organization_days, other.organization_days), (0, 0));
        assert_eq!(everything(&world).await, stated);
    });
}

/// Three days of an organization that pays late, gets money and loses agents.
async fn eventful_days(world: &World, states_daily: bool) {
    let organization = world.organization("0.30").await;
    let agent = world.agent(organization, "running").await;
    // The older agent is charged first.
    world.set_clock(minutes(1)).await;
    world.agent(organization, "stopped").await;
    for hour in 1..=73 {
        world.run_billing(hour).await;
        match hour {
            10 => world.set_status(agent, "stopped").await,
            30 => world.set_status(agent, "running").await,
            40 => world.top_up(organization, "0.4").await,
            60 => world.delete(agent).await,
            24 | 48 | 72 if states_daily => drop(state(world).await),
            _ => {}
        }
    }
    state(world).await;
}

#[test]
fn days_that_were_missed_are_stated_like_punctual_ones() {
    run(async {
        let (punctual, missed) = (World::new().await, World::new().await);
        eventful_days(&punctual, true).await;
        eventful_days(&missed, false).await;
        for query in [
            USAGE_DAYS,
            LEDGER_DAYS,
            "SELECT total_billed, last_billed_at FROM milady_sandboxes ORDER BY 1",
            "SELECT kind, started_at, ended_at, stated_through, settled FROM usage_spans ORDER BY 1, 2, 3, 5",
            "SELECT amount, created_at, metadata ->> 'billing_day' AS day FROM credit_transactions ORDER BY 2, 1",
        ] {
            let expected = rows(&punctual, query).await;
            assert!(!expected.is_empty(), "{query}");
            assert_eq!(rows(&missed, query).await, expected, "{query}");
        }
        assert_adds_up(&punctual).await;
        assert_adds_up(&missed).await;
    });
}

#[test]
fn what_is_paid_late_belongs_to_the_day_on_which_it_was_used() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        world.agent(organization, "running").await;
        bill_hourly(&world, 1, 49).await;
        world.set_clock(hours(49) + TimeDelta::minutes(1)).await;
        world.top_up(organization, "1").await;
        world.run_billing(50).await;
        world.set_clock(hours(73)).await;
        state(&world).await;
        assert_eq!(
            rows(&world, USAGE_DAYS).await,
            [
                json!({"day": "2026-03-01", "kind": "running", "seconds": 86_400.0, "amount": 0.48}),
                json!({"day": "2026-03-02", "kind": "running", "seconds": 86_400.0, "amount": 0.48}),
                json!({"day": "2026-03-03", "kind": "running", "seconds": 7_200.0, "amount": 0.04}),
            ]
        );
        // The money moved on the third day.
        assert_eq!(
            rows(&world, LEDGER_DAYS).await,
            [
                json!({"day": "2026-03-03", "opening": 0.0, "charged": -1.0, "credited": 0.0, "external": 1.0,
                "closing": 0.0})
            ]
        );
        assert_eq!(
            rows(
                &world,
                "SELECT amount FROM credit_transactions WHERE seq = 0"
            )
            .await,
            [json!({"amount": -1.0})]
        );
        assert_adds_up(&world).await;
    });
}

#[test]
fn spans_are_settled_when_all_of_them_is_charged_and_stated() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let stopped = world.agent(organization, "running").await;
        let restarted = world.agent(organization, "running").await;
        // A span of no length.
        world.set_status(restarted, "pending").await;
        world.set_status(restarted, "running").await;
        world.set_clock(minutes(30)).await;
        world.set_status(stopped, "pending").await;
        world.run_billing(1).await;
        let unsettled = "SELECT ended_at FROM usage_spans WHERE NOT settled";
        assert_eq!(rows(&world, unsettled).await.len(), 3);
        world.set_clock(hours(24)).await;
        state(&world).await;
        assert_eq!(rows(&world, unsettled).await, [json!({"ended_at": null})]);
        assert_adds_up(&world).await;
    });
}

#[test]
fn days_of_a_deleted_organization_are_stated_without_rows_in_shared_tables() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        bill_hourly(&world, 1, 3).await;
        world
            .execute("DELETE FROM milady_sandboxes; DELETE FROM users; DELETE FROM organizations")
            .await;
        world.run_billing(4).await;
        world.set_clock(hours(24)).await;
        assert_eq!(state(&world).await.organization_days, 1);
        assert_eq!(
            rows(&world, LEDGER_DAYS).await,
            [
                json!({"day": "2026-03-01", "opening": 10.0, "charged": -0.06, "credited": 0.0, "external": 0.0,
                "closing": 9.94})
            ]
        );
        assert_eq!(rows(&world, USAGE_DAYS).await.len(), 1);
        assert_eq!(
            world
                .count("SELECT count(*) FROM credit_transactions")
                .await,
            0
        );
        assert_eq!(
            world
                .count("SELECT count(*) FROM usage_spans WHERE NOT settled")
                .await,
            0
        );
        assert_adds_up(&world).await;
    });
}

#[test]
fn rows_of_the_older_biller_stay_as_they_are() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        sqlx::query(
            "INSERT INTO credit_transactions (organization_id, amount, type, description, metadata, created_at)
            SELECT $1, -0.02, 'debit', 'Milady agent hosting (running): agent',
                jsonb_build_object('sandbox_id', $2::uuid, 'billing_type', 'milady_running'), '2026-02-28'",
        )
        .bind(organization)
        .bind(agent)
        .execute(&world.pool)
        .await
        .expect("a row");
        let older = "SELECT * FROM credit_transactions WHERE seq IS NULL";
        let before = rows(&world, older).await;
        bill_hourly(&world, 1, 3).await;
        world.set_clock(hours(24)).await;
        state(&world).await;
        assert_eq!(rows(&world, older).await, before);
        assert_eq!(
            world
                .count("SELECT count(*) FROM credit_transactions")
                .await,
            2
        );
    });
}

#[test]
fn the_sum_of_total_and_unsettled_spans_is_exact_at_any_time() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("1").await;
        let agent = world.agent(organization, "running").await;
        for hour in 1..=60 {
            world.run_billing(hour).await;
            if hour % 7 == 0 {
                state(&world).await;
            }
            let (exact, charged): (Decimal, Decimal) = sqlx::query_as(
                "SELECT b.total_billed + coalesce((
                    SELECT sum(s.hourly_rate * extract(epoch FROM
                        greatest(s.started_at, s.billed_through, CASE WHEN s.caught_up
                            THEN least(a.charged_through, s.ended_at) END)
                        - coalesce(s.stated_through, s.started_at)) / 3600)
                    FROM usage_spans s JOIN billing_accounts a USING (organization_id)
                    WHERE s.agent_id = b.id AND NOT s.settled), 0),
                    (SELECT sum(c.amount) FROM usage_charges c JOIN usage_spans s ON s.id = c.span
                        WHERE s.agent_id = b.id)
                FROM milady_sandboxes b WHERE b.id = $1",
            )
            .bind(agent)
            .fetch_one(&world.pool)
            .await
            .expect("sums");
            assert_eq!(exact, charged, "at hour {hour}");
        }
    });
}

/// The start of a month, for tests that move the clock far.
#[must_use]
pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

#[test]
fn the_function_states_makes_partitions_and_audits() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        bill_hourly(&world, 1, 3).await;
        world.set_clock(suite::epoch() + TimeDelta::days(40)).await;
        world.run_billing_at_current_time(40 * 24).await;
        let answer = world.function("billing-audit").invoke_ok(json!({})).await;
        assert_eq!(
            answer,
            json!({"organizationDays": 40, "partitionsMade": 2, "partitionsDropped": 0, "spansDeleted": 0,
                "findings": 0, "findingsResolved": 0})
        );
        let answer = world
            .function("billing-audit")
            .invoke_ok(json!({"full": true}))
            .await;
        assert_eq!(answer["organizationDays"], 0);
        assert_eq!(answer["findings"], 0);
    });
}
