//! `functions/leave.sql`: an adopted database goes back to its older application.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use rust_decimal::{Decimal, dec};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::{World, legacy, run, suite};
use uuid::Uuid;

use super::adoption::{OlderBillerRun, deployment, run_billing, run_older_biller};
use super::statement::state;

/// Runs the file as psql does. The error is what the server says.
async fn leave(world: &World) -> Result<(), String> {
    let path = dev::build::workspace().join("functions/leave.sql");
    let script = std::fs::read_to_string(path).expect("leave.sql");
    let mut owner = PgConnection::connect(&world.url)
        .await
        .expect("a connection");
    let left = sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&mut owner)
        .await;
    left.map(drop).map_err(|error| error.to_string())
}

async fn adopt(world: &World) {
    let migrate = world.function("db-migrate");
    migrate.invoke_ok(json!({"adopt": true})).await;
}

/// The columns, constraints, indexes and triggers of the tables that an older deployment has. The totals of agents keep
/// their decimals.
async fn schema(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT line FROM (
            SELECT format('%s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                pg_get_expr(d.adbin, d.adrelid)) AS line
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
                AND c.relname <> 'milady_unreadable_backups'
            UNION ALL SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
                FROM pg_constraint WHERE connamespace = 'public'::regnamespace
            UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL SELECT format('%s %s', tgname, tgrelid::regclass) FROM pg_trigger WHERE NOT tgisinternal) AS lines
        WHERE line NOT LIKE 'milady_sandboxes.total_billed %' ORDER BY 1",
    )
    .fetch_all(&world.pool)
    .await
    .expect("a schema")
}

/// What each organization has beyond the sum of its rows in the ledger of the older application.
async fn unexplained(world: &World) -> Vec<(Uuid, Decimal)> {
    sqlx::query_as(
        "SELECT o.id, o.credit_balance - coalesce((SELECT sum(t.amount) FROM credit_transactions t
            WHERE t.organization_id = o.id), 0) FROM organizations o ORDER BY 1",
    )
    .fetch_all(&world.pool)
    .await
    .expect("balances")
}

async fn balances(world: &World) -> Vec<(Uuid, Decimal)> {
    sqlx::query_as("SELECT id, credit_balance FROM organizations ORDER BY 1")
        .fetch_all(&world.pool)
        .await
        .expect("balances")
}

const TOTALS: &str = "SELECT id, total_billed FROM milady_sandboxes ORDER BY 1";
/// The same with what was charged since the last statement.
const CURRENT_TOTALS: &str = "SELECT a.id, a.total_billed + coalesce((
        SELECT sum(c.amount) FROM cloud.usage_charges c JOIN cloud.usage_spans s ON s.id = c.span
        WHERE s.agent_id = a.id AND NOT s.settled
            AND (s.stated_through IS NULL OR c.period_end > s.stated_through)), 0)
    FROM milady_sandboxes a ORDER BY 1";

async fn totals(world: &World, sql: &'static str) -> Vec<(Uuid, Decimal)> {
    sqlx::query_as(sql)
        .fetch_all(&world.pool)
        .await
        .expect("totals")
}

#[test]
fn the_older_biller_goes_on_with_the_same_schema_balances_and_totals() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        legacy::create(&world.pool).await;
        let older_schema = schema(&world).await;
        world.function("db-migrate").invoke_ok(json!({})).await;
        let before = unexplained(&world).await;
        adopt(&world).await;
        let adopted_at = Utc::now();
        dev::clock::install(&world.pool, adopted_at)
            .await
            .expect("a clock");
        // Charges that a statement has added up, charges that none has, and a debt that was paid.
        world.set_clock(adopted_at + TimeDelta::minutes(70)).await;
        run_billing(&world).await;
        world
            .execute(
                "UPDATE cloud.billing_accounts SET carried_debt = 1
                WHERE organization_id = '00000000-0000-4000-8000-000000000001'",
            )
            .await;
        let left_at = adopted_at + TimeDelta::hours(30);
        world.set_clock(left_at).await;
        run_billing(&world).await;
        state(&world).await;
        let stated = "SELECT count(*) FROM credit_transactions WHERE seq = 0";
        assert!(world.count(stated).await > 0);
        world
            .execute(
                "UPDATE milady_sandbox_backups SET state_data = '{}', state_bytes = '\\x00'
                WHERE id = (SELECT min(id::text)::uuid FROM milady_sandbox_backups)",
            )
            .await;
        let (owned, totals_before) = (balances(&world).await, totals(&world, CURRENT_TOTALS).await);
        assert_ne!(totals(&world, TOTALS).await, totals_before);
        assert_ne!(unexplained(&world).await, before);

        leave(&world).await.expect("the database is given back");
        assert_eq!(schema(&world).await, older_schema);
        assert_eq!(balances(&world).await, owned);
        assert_eq!(totals(&world, TOTALS).await, totals_before);
        assert_eq!(unexplained(&world).await, before);
        let debits: Decimal = sqlx::query_scalar(
            "SELECT sum(amount) FROM credit_transactions WHERE metadata ->> 'kind' = 'debt_payment'",
        )
        .fetch_one(&world.pool)
        .await
        .expect("a debit");
        assert_eq!(debits, dec!(-1));
        let hour = left_at
            .duration_trunc(TimeDelta::hours(1))
            .expect("an hour");
        let last_billed: Vec<DateTime<Utc>> = sqlx::query_scalar(
            "SELECT DISTINCT last_billed_at FROM milady_sandboxes WHERE status = 'running' AND billing_status <> 'exempt'",
        )
        .fetch_all(&world.pool)
        .await
        .expect("times");
        assert_eq!(last_billed, [hour - TimeDelta::hours(1)]);
        for (sql, expected) in [
            (
                "SELECT count(*) FROM milady_sandboxes WHERE hourly_rate IS NULL",
                0,
            ),
            (
                "SELECT count(*) FROM pg_namespace WHERE nspname = 'cloud'",
                0,
            ),
            ("SELECT count(*) FROM milady_unreadable_backups", 1),
            ("SELECT count(*) FROM milady_sandbox_backups", 5),
        ] {
            assert_eq!(world.count(sql).await, expected, "{sql}");
        }
        let older_biller = run_older_biller(&world).await;
        let all = OlderBillerRun {
            attempted: 14,
            charged: 14,
        };
        assert_eq!(older_biller, all);
        assert_eq!(unexplained(&world).await, before);
        // It can be adopted once more.
        let db_migrate = world.function("db-migrate");
        let again = db_migrate.invoke_ok(json!({"adopt": true})).await;
        assert_eq!(again["adoption"]["alreadyAdopted"], json!(false));
    });
}

#[test]
fn nothing_changes_while_the_control_plane_has_something_to_finish() {
    run(async {
        let world = deployment().await;
        adopt(&world).await;
        for (in_the_way, gone, reason) in [
            (
                "UPDATE jobs SET class = 'stop' WHERE id = (SELECT id FROM jobs WHERE status = 'pending' LIMIT 1)",
                "UPDATE jobs SET class = NULL",
                "1 jobs are active",
            ),
            (
                "UPDATE milady_sandboxes SET stop_requested_at = now() WHERE agent_name = 'running/active'",
                "UPDATE milady_sandboxes SET stop_requested_at = NULL",
                "1 agents are being stopped",
            ),
            (
                "UPDATE milady_sandboxes SET stop_reason = 'drain' WHERE agent_name = 'stopped/active'",
                "UPDATE milady_sandboxes SET stop_reason = NULL",
                "1 agents are being stopped",
            ),
            (
                "INSERT INTO cloud.agent_databases SELECT id, '\\x00'::bytea, 'k', true FROM milady_sandboxes
                WHERE agent_name = 'stopped/active'",
                "DELETE FROM cloud.agent_databases",
                "1 agents have encrypted secrets",
            ),
        ] {
            world.execute(in_the_way).await;
            let refused = leave(&world).await.expect_err(reason);
            assert!(refused.contains(reason), "{refused}");
            world.execute(gone).await;
        }
        leave(&world).await.expect("the database is given back");
    });
}
