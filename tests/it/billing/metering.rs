//! The metering triggers: they meter the changes of every writer.

use chrono::{DateTime, Utc};
use rust_decimal::{Decimal, dec};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tests::world::minutes;
use tests::{World, audit, run};
use uuid::Uuid;

type SpanRow = (
    String,
    Option<Decimal>,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
);

async fn spans(world: &World, agent: Uuid) -> Vec<SpanRow> {
    sqlx::query_as(
        "SELECT kind, hourly_rate, started_at, ended_at FROM usage_spans
        WHERE agent_id = $1 ORDER BY started_at, ended_at NULLS LAST",
    )
    .bind(agent)
    .fetch_all(&world.pool)
    .await
    .expect("spans")
}

#[test]
fn status_billing_stop_and_backup_decide_what_is_metered() {
    run(async {
        let world = World::new().await;
        // The other application writes statuses that this one does not know.
        world
            .execute("ALTER TABLE milady_sandboxes DROP CONSTRAINT milady_sandboxes_status_check")
            .await;
        let organization = world.organization("10").await;
        for (status, billing, stopping, backup, kind) in [
            ("running", "active", false, false, Some("running")),
            ("running", "warning", false, true, Some("running")),
            ("running", "shutdown_pending", false, false, Some("running")),
            ("running", "suspended", false, false, None),
            ("running", "exempt", false, false, None),
            ("running", "active", true, true, None),
            ("stopped", "active", false, true, Some("idle")),
            ("stopped", "active", true, true, Some("idle")),
            ("stopped", "active", false, false, None),
            ("stopped", "suspended", false, true, Some("idle")),
            ("stopped", "exempt", false, true, None),
            ("pending", "active", false, true, None),
            ("provisioning", "active", false, true, None),
            ("disconnected", "active", false, true, None),
            ("error", "active", false, true, Some("idle")),
            ("error", "suspended", false, true, Some("idle")),
            ("error", "active", false, false, None),
            ("error", "exempt", false, true, None),
            ("sleeping", "active", false, true, None),
        ] {
            let agent: Uuid = sqlx::query_scalar(
                "INSERT INTO milady_sandboxes (organization_id, user_id, status, billing_status,
                    stop_requested_at, last_backup_at)
                SELECT $1, id, $2, $3, CASE WHEN $4 THEN now() END, CASE WHEN $5 THEN now() END
                FROM users WHERE organization_id = $1 RETURNING id",
            )
            .bind(organization)
            .bind(status)
            .bind(billing)
            .bind(stopping)
            .bind(backup)
            .fetch_one(&world.pool)
            .await
            .expect("an agent");
            let metered: Vec<String> = spans(&world, agent)
                .await
                .into_iter()
                .map(|span| span.0)
                .collect();
            let expected: Vec<&str> = kind.into_iter().collect();
            assert_eq!(
                metered, expected,
                "{status} {billing} stopping {stopping} backup {backup}"
            );
        }
    });
}

#[test]
fn only_a_change_of_rate_kind_or_organization_starts_a_new_span() {
    run(async {
        let world = World::new().await;
        let (first, second) = (
            world.organization("10").await,
            world.organization("10").await,
        );
        let agent = world.agent(first, "running").await;
        for (minute, change) in [
            (
                5,
                "last_heartbeat_at = now(), error_count = 3, agent_name = 'renamed'",
            ),
            (10, "hourly_rate = 0.05"),
            (20, "billing_status = 'warning'"),
            (
                30,
                "organization_id = (SELECT max(id::text)::uuid FROM organizations WHERE id <> organization_id)",
            ),
            (40, "status = 'stopped', last_backup_at = now()"),
        ] {
            world.set_clock(minutes(minute)).await;
            let sql = format!("UPDATE milady_sandboxes SET {change}");
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .execute(&world.pool)
                .await
                .expect("change");
        }
        let moved_to: Uuid = sqlx::query_scalar("SELECT organization_id FROM milady_sandboxes")
            .fetch_one(&world.pool)
            .await
            .expect("an organization");
        assert!([first, second].contains(&moved_to));
        let at = |minute| Some(minutes(minute));
        let spans = spans(&world, agent).await;
        assert_eq!(
            spans[0],
            ("running".into(), Some(dec!(0.02)), minutes(0), at(10))
        );
        assert_eq!(spans[1].1, Some(dec!(0.05)));
        assert_eq!(
            spans.last().expect("a span"),
            &("idle".into(), Some(dec!(0.0025)), minutes(40), None)
        );
        world.run_billing(1).await;
        audit::check(&world.pool).await;
    });
}

#[test]
fn writes_of_a_role_without_rights_on_our_tables_are_metered() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "stopped").await;
        let role = format!("old_app_{}", Uuid::new_v4().simple());
        let grant = format!(
            "CREATE ROLE {role} LOGIN;
            GRANT SELECT, INSERT, UPDATE, DELETE ON organizations, users, milady_sandboxes,
                credit_transactions, jobs TO {role}"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(grant))
            .execute(&world.pool)
            .await
            .expect("a role");
        let options: PgConnectOptions = world.url.parse().expect("a URL");
        let mut old_app = options.username(&role).connect().await.expect("a session");
        assert!(
            sqlx::query("SELECT FROM usage_spans")
                .execute(&mut old_app)
                .await
                .is_err(),
            "the role has no rights on our tables"
        );
        world.set_clock(minutes(30)).await;
        sqlx::query("UPDATE milady_sandboxes SET status = 'running' WHERE id = $1")
            .bind(agent)
            .execute(&mut old_app)
            .await
            .expect("a start");
        sqlx::query(
            "INSERT INTO milady_sandboxes (organization_id, user_id, status)
            SELECT organization_id, user_id, 'running' FROM milady_sandboxes",
        )
        .execute(&mut old_app)
        .await
        .expect("an insert");
        world.set_clock(minutes(45)).await;
        sqlx::query("DELETE FROM milady_sandboxes WHERE id <> $1")
            .bind(agent)
            .execute(&mut old_app)
            .await
            .expect("a delete");
        sqlx::query("UPDATE organizations SET credit_balance = credit_balance - 1")
            .execute(&mut old_app)
            .await
            .expect("a debit");
        old_app.close().await.expect("close");
        world.run_billing(1).await;
        // Idle 30 min, running 30 min, and the second agent's 15 min.
        let expected = dec!(0.00125) + dec!(0.01) + dec!(0.005);
        assert_eq!(world.charged(organization).await, expected);
    });
}

#[test]
fn failed_metering_does_not_fail_the_writer_and_the_next_run_repairs_it() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let broken = world.agent(organization, "running").await;
        world
            .execute("ALTER TABLE usage_spans RENAME TO elsewhere")
            .await;
        world.set_clock(minutes(30)).await;
        world.set_status(broken, "stopped").await;
        let started = world.agent(organization, "running").await;
        world
            .execute("ALTER TABLE elsewhere RENAME TO usage_spans")
            .await;
        assert!(spans(&world, started).await.is_empty());
        let report = world.run_billing(1).await;
        assert_eq!(report.tally.repaired_spans, 2);
        // The owner does not pay for time that is in doubt: the span that should have ended ends where it was last
        // charged, and the missing ones begin now.
        assert_eq!(report.tally.revenue.to_decimal(), dec!(0));
        let report = world.run_billing(2).await;
        assert_eq!(report.tally.repaired_spans, 0);
        assert_eq!(report.tally.revenue.to_decimal(), dec!(0.0225));
    });
}

#[test]
fn no_time_is_charged_twice_when_the_clock_steps_back() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        world.run_billing(2).await;
        world.set_clock(minutes(90)).await;
        world.set_status(agent, "error").await;
        world.set_status(agent, "running").await;
        world.run_billing(3).await;
        assert_eq!(world.charged(organization).await, dec!(0.06));
        audit::check(&world.pool).await;
    });
}

#[test]
fn starting_an_agent_clears_its_stop_request() {
    run(async {
        let world = World::new().await;
        // The other application writes statuses that this one does not know.
        world
            .execute("ALTER TABLE milady_sandboxes DROP CONSTRAINT milady_sandboxes_status_check")
            .await;
        let organization = world.organization("10").await;
        for from in ["stopped", "pending", "provisioning", "error", "sleeping"] {
            let agent = world.agent(organization, from).await;
            world
                .execute("UPDATE milady_sandboxes SET stop_requested_at = now()")
                .await;
            world.set_status(agent, "running").await;
            let has_stop_request: bool = sqlx::query_scalar(
                "SELECT stop_requested_at IS NOT NULL FROM milady_sandboxes WHERE id = $1",
            )
            .bind(agent)
            .fetch_one(&world.pool)
            .await
            .expect("an agent");
            assert!(!has_stop_request, "from {from}");
        }
        let agent = world.agent(organization, "disconnected").await;
        world
            .execute("UPDATE milady_sandboxes SET stop_requested_at = now()")
            .await;
        world.set_status(agent, "running").await;
        let last: Option<SpanRow> = spans(&world, agent).await.pop();
        assert_eq!(
            last, None,
            "a host that can be read again does not undo an accepted stop"
        );
        assert_eq!(world.run_billing(1).await.tally.errors, 0);
    });
}

#[test]
fn a_writer_that_a_run_keeps_waiting_gets_an_error_and_changes_nothing() {
    run(async {
        for (hours_charged, locks) in [
            (0, "SELECT FROM usage_spans FOR NO KEY UPDATE"),
            (1, "SELECT FROM billing_accounts FOR NO KEY UPDATE"),
        ] {
            let world = World::new().await;
            let organization = world.organization("10").await;
            let agent = world.agent(organization, "running").await;
            if hours_charged > 0 {
                world.run_billing(hours_charged).await;
            }
            let before = spans(&world, agent).await;
            let mut run = world.pool.begin().await.expect("begin");
            sqlx::query(locks).execute(&mut *run).await.expect(locks);
            let mut writer = world.pool.begin().await.expect("begin");
            sqlx::query("SET LOCAL lock_timeout = '50ms'")
                .execute(&mut *writer)
                .await
                .expect("a setting");
            // A warning in its place would leave the stop unmetered.
            let stop = sqlx::query("UPDATE milady_sandboxes SET status = 'stopped' WHERE id = $1")
                .bind(agent)
                .execute(&mut *writer)
                .await;
            let error = stop.expect_err(locks);
            let code = error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code);
            assert_eq!(code.as_deref(), Some("55P03"), "{locks}");
            writer.rollback().await.expect("rollback");
            run.rollback().await.expect("rollback");
            assert_eq!(spans(&world, agent).await, before, "{locks}");
            assert_eq!(world.agent_row(agent).await.status, "running", "{locks}");
        }
    });
}

#[test]
fn a_run_waits_for_an_agent_that_is_being_stopped_and_charges_it_no_longer() {
    run(async {
        for hours_charged in [0, 1] {
            let world = World::new().await;
            let organization = world.organization("10").await;
            let agent = world.agent(organization, "running").await;
            if hours_charged > 0 {
                world.run_billing(hours_charged).await;
            }
            world.set_clock(minutes(60 * hours_charged + 30)).await;
            let mut writer = world.pool.begin().await.expect("begin");
            sqlx::query("UPDATE milady_sandboxes SET status = 'stopped' WHERE id = $1")
                .bind(agent)
                .execute(&mut *writer)
                .await
                .expect("a stop");
            let next = world.run_billing(hours_charged + 1);
            let commit = async {
                world.wait_until_a_session_is_blocked().await;
                writer.commit().await.expect("commit");
            };
            let (report, ()) = tokio::join!(next, commit);
            assert_eq!(report.tally.errors, 0);
            let charged: Decimal = sqlx::query_scalar(
                "SELECT sum(extract(epoch FROM period_end - period_start)) FROM usage_charges",
            )
            .fetch_one(&world.pool)
            .await
            .expect("charges");
            assert_eq!(
                charged,
                Decimal::from(hours_charged * 3600 + 1800),
                "{hours_charged}"
            );
        }
    });
}
