//! Triggers, columns and indexes of ours that another application has removed: the run names them and rings.

use serde_json::json;
use sqlx::AssertSqlSafe;
use tests::{World, run};

#[test]
fn a_run_names_what_the_database_has_lost_and_charges_all_the_same() {
    run(async {
        for (change, lost) in [
            (
                "ALTER TABLE milady_sandboxes DISABLE TRIGGER cloud_meter_update",
                "trigger cloud_meter_update on milady_sandboxes",
            ),
            (
                "ALTER TABLE milady_sandboxes ENABLE REPLICA TRIGGER cloud_clear_stop",
                "trigger cloud_clear_stop on milady_sandboxes",
            ),
            (
                "DROP TRIGGER cloud_leave_tombstone ON milady_sandboxes",
                "trigger cloud_leave_tombstone on milady_sandboxes",
            ),
            (
                "ALTER TABLE milady_sandboxes DISABLE TRIGGER USER",
                "trigger cloud_clear_stop on milady_sandboxes, trigger cloud_leave_tombstone on milady_sandboxes, \
                trigger cloud_leave_tombstones on milady_sandboxes, \
                trigger cloud_meter_delete on milady_sandboxes, trigger cloud_meter_insert on milady_sandboxes, \
                trigger cloud_meter_update on milady_sandboxes",
            ),
            (
                "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                CREATE OR REPLACE TRIGGER cloud_meter_delete AFTER DELETE ON milady_sandboxes
                FOR EACH ROW EXECUTE FUNCTION other()",
                "trigger cloud_meter_delete on milady_sandboxes",
            ),
            (
                "ALTER TABLE jobs DROP COLUMN webhook_due_at",
                "column webhook_due_at on jobs, index cloud_jobs_webhook_due_idx on jobs",
            ),
            (
                "ALTER TABLE milady_sandboxes DROP COLUMN stop_reason",
                "index cloud_milady_sandboxes_stopped_by_billing_idx on milady_sandboxes",
            ),
            (
                "DROP INDEX cloud_jobs_one_active_key",
                "index cloud_jobs_one_active_key on jobs",
            ),
            (
                "ALTER TABLE organizations DROP CONSTRAINT cloud_organizations_balance_check",
                "constraint cloud_organizations_balance_check on organizations",
            ),
            (
                "ALTER TABLE jobs ENABLE ROW LEVEL SECURITY; CREATE POLICY all_rows ON jobs USING (true)",
                "row security of jobs",
            ),
            (
                "ALTER TABLE milady_sandboxes ALTER COLUMN total_billed TYPE numeric(10,2)",
                "column total_billed on milady_sandboxes",
            ),
            (
                "DROP TRIGGER cloud_meter_delete ON milady_sandboxes;
                CREATE TRIGGER cloud_meter_delete AFTER DELETE ON milady_sandboxes
                FOR EACH ROW WHEN (false) EXECUTE FUNCTION cloud.meter_agent()",
                "trigger cloud_meter_delete on milady_sandboxes",
            ),
            (
                "CREATE RULE notice AS ON DELETE TO users DO ALSO NOTHING",
                "rule notice on users",
            ),
            (
                "DROP INDEX cloud_jobs_one_active_key; CREATE UNIQUE INDEX cloud_jobs_one_active_key ON jobs (id)",
                "index cloud_jobs_one_active_key on jobs",
            ),
            (
                "ALTER TABLE organizations DROP CONSTRAINT cloud_organizations_balance_check;
                ALTER TABLE organizations ADD CONSTRAINT cloud_organizations_balance_check CHECK (true)",
                "constraint cloud_organizations_balance_check on organizations",
            ),
            (
                "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
                DO $$ BEGIN CREATE ROLE somebody_else; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
                GRANT CREATE ON SCHEMA public TO somebody_else; ALTER FUNCTION theirs() OWNER TO somebody_else;
                CREATE TRIGGER theirs BEFORE UPDATE ON organizations FOR EACH ROW EXECUTE FUNCTION theirs()",
                "trigger theirs on organizations of another role",
            ),
        ] {
            let world = World::new().await;
            let organization = world.organization("10").await;
            world.agent(organization, "running").await;
            world.set_clock(tests::world::hours(1)).await;
            sqlx::raw_sql(AssertSqlSafe(change))
                .execute(&world.pool)
                .await
                .expect(change);
            let event = json!({"scheduledTime": tests::world::hours(1)});
            let message = world.function("billing-hourly").invoke_error(event).await;
            let expected = format!("objects that we made in shared tables are missing or changed: {lost}");
            assert_eq!(message, expected, "{change}");
            assert_eq!(world.ledger(organization).await.len(), 1, "{change}");
        }
    });
}

#[test]
fn a_time_that_no_program_can_read_is_refused_where_it_is_written() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        for column in [
            "created_at",
            "updated_at",
            "last_heartbeat_at",
            "last_backup_at",
            "last_billed_at",
            "scheduled_shutdown_at",
            "shutdown_warning_sent_at",
        ] {
            for time in ["infinity", "-infinity", "290000-01-01"] {
                let sql = format!("UPDATE milady_sandboxes SET {column} = '{time}'");
                let written = sqlx::query(AssertSqlSafe(sql)).execute(&world.pool).await;
                assert!(written.is_err(), "{column} {time}");
            }
        }
    });
}
