//! What the metering triggers missed is repaired before a run charges.

use rust_decimal::dec;
use shared::app::billing::run::Failure;
use shared::domain::ids::OrganizationId;
use sqlx::AssertSqlSafe;
use tests::world::{hours, minutes};
use tests::{World, audit, run};
use uuid::Uuid;

use super::charging::incomplete;

/// Makes a change of agents while the trigger that would meter it is off.
async fn unnoticed(world: &World, change: impl Future<Output = ()>) {
    world
        .execute("ALTER TABLE milady_sandboxes DISABLE TRIGGER cloud_meter_update")
        .await;
    change.await;
    world
        .execute("ALTER TABLE milady_sandboxes ENABLE TRIGGER cloud_meter_update")
        .await;
}

/// Gives each of two organizations the agents of the other.
async fn swap_agents(world: &World, first: Uuid, second: Uuid) {
    sqlx::query(
        "UPDATE milady_sandboxes SET organization_id = CASE organization_id WHEN $1 THEN $2 ELSE $1 END
        WHERE organization_id IN ($1, $2)",
    )
    .bind(first)
    .bind(second)
    .execute(&world.pool)
    .await
    .expect("a move");
}

#[test]
fn an_agent_that_was_moved_unnoticed_is_charged_to_its_former_organization_until_the_repair() {
    run(async {
        let world = World::new().await;
        let (former, new) = (
            world.organization("10").await,
            world.organization("10").await,
        );
        world.agent(former, "running").await;
        world.agent(former, "stopped").await;
        let suspended = world.agent(former, "stopped").await;
        world
            .set_columns(suspended, "billing_status = 'suspended'")
            .await;
        world.set_clock(minutes(70)).await;
        unnoticed(&world, swap_agents(&world, former, new)).await;
        world.set_clock(minutes(90)).await;
        let report = world.run_billing_at_current_time(1).await;
        assert_eq!(report.tally.repaired_spans, 3);
        world.run_billing(2).await;
        // An hour and a half, and half an hour, at 0.025 an hour.
        assert_eq!(world.charged(former).await, dec!(0.0375));
        assert_eq!(world.charged(new).await, dec!(0.0125));
        let report = world.run_billing(3).await;
        assert_eq!(report.tally.repaired_spans, 0);
        assert_eq!(world.charged(former).await, dec!(0.0375));
        assert_eq!(world.charged(new).await, dec!(0.0375));
        audit::check(&world.pool).await;
    });
}

#[test]
fn nobody_pays_for_the_time_before_the_repair_of_an_agent_that_was_moved_and_stopped_unnoticed() {
    run(async {
        let world = World::new().await;
        let (former, new) = (
            world.organization("10").await,
            world.organization("10").await,
        );
        let agent = world.agent(former, "running").await;
        world.run_billing(1).await;
        world.set_clock(minutes(70)).await;
        unnoticed(&world, async {
            swap_agents(&world, former, new).await;
            world.set_status(agent, "stopped").await;
        })
        .await;
        world.set_clock(minutes(90)).await;
        let report = world.run_billing_at_current_time(1).await;
        assert_eq!(report.tally.repaired_spans, 1);
        world.run_billing(2).await;
        // What was charged before, and half an hour of storage.
        assert_eq!(world.charged(former).await, dec!(0.02));
        assert_eq!(world.charged(new).await, dec!(0.00125));
        audit::check(&world.pool).await;
    });
}

#[test]
fn organizations_whose_many_agents_changed_places_unnoticed_each_pay_for_those_of_the_other() {
    run(async {
        let world = World::new().await;
        let (first, second) = (
            world.organization("100").await,
            world.organization("100").await,
        );
        // More than a transaction repairs.
        for (organization, status) in [(first, "running"), (second, "stopped")] {
            sqlx::query(
                "INSERT INTO milady_sandboxes (organization_id, user_id, status, last_backup_at, created_at)
                SELECT organization_id, id, $2, billing_clock(), billing_clock()
                FROM users, generate_series(1, 400) WHERE organization_id = $1",
            )
            .bind(organization)
            .bind(status)
            .execute(&world.pool)
            .await
            .expect("agents");
        }
        world.set_clock(minutes(30)).await;
        unnoticed(&world, swap_agents(&world, first, second)).await;
        let report = world.run_billing(1).await;
        assert_eq!(report.tally.repaired_spans, 800);
        assert_eq!(world.charged(first).await, dec!(8));
        assert_eq!(world.charged(second).await, dec!(1));
        let report = world.run_billing(2).await;
        assert_eq!(report.tally.repaired_spans, 0);
        assert_eq!(world.charged(first).await, dec!(9));
        assert_eq!(world.charged(second).await, dec!(9));
        audit::check(&world.pool).await;
    });
}

/// Inserts a running agent whose rate was changed unnoticed.
async fn agent_with_missed_change(world: &World, organization: Uuid) -> Uuid {
    let agent = world.agent(organization, "running").await;
    unnoticed(world, world.set_columns(agent, "hourly_rate = 0.05")).await;
    agent
}

#[test]
fn an_agent_that_stays_locked_is_repaired_later_and_keeps_nobody_from_being_charged() {
    run(async {
        let world = World::new().await;
        world
            .execute(
                "DO $$ BEGIN
                    EXECUTE format('ALTER ROLE cloud_runtime IN DATABASE %I SET lock_timeout = ''100ms''',
                        current_database());
                END $$",
            )
            .await;
        let (locked, other) = (
            world.organization("10").await,
            world.organization("10").await,
        );
        let agent = agent_with_missed_change(&world, locked).await;
        agent_with_missed_change(&world, other).await;
        let mut lock = world.pool.begin().await.expect("begin");
        sqlx::query("SELECT FROM milady_sandboxes WHERE id = $1 FOR UPDATE")
            .bind(agent)
            .execute(&mut *lock)
            .await
            .expect("a lock");
        world.set_clock(hours(1)).await;
        let report = incomplete(world.try_run_billing(1).await);
        assert_eq!((report.tally.errors, report.tally.repaired_spans), (1, 1));
        assert_eq!(
            report.tally.failures,
            [Failure {
                organization_id: OrganizationId::new(locked),
                reason: "metering not repaired: sqlstate 55P03".to_owned(),
            }]
        );
        for organization in [locked, other] {
            assert_eq!(world.charged(organization).await, dec!(0.02));
        }
        let recorded = "SELECT count(*) FROM billing_runs WHERE NOT complete AND jsonb_array_length(failures) = 1";
        assert_eq!(world.count(recorded).await, 1);
        lock.rollback().await.expect("rollback");
        let report = world.run_billing_at_current_time(1).await;
        assert_eq!((report.tally.repaired_spans, report.tally.slices), (1, 0));
        world.run_billing(2).await;
        for organization in [locked, other] {
            assert_eq!(world.charged(organization).await, dec!(0.07));
        }
        audit::check(&world.pool).await;
    });
}

#[test]
fn an_agent_whose_repair_fails_keeps_no_other_one_from_being_repaired() {
    run(async {
        let world = World::new().await;
        let (failing, other) = (
            world.organization("10").await,
            world.organization("10").await,
        );
        for organization in [failing, other] {
            agent_with_missed_change(&world, organization).await;
        }
        let trigger = format!(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'failing'; END $$;
            CREATE TRIGGER fail BEFORE UPDATE ON usage_spans FOR EACH ROW
                WHEN (NEW.closed_reason = 'repaired' AND NEW.organization_id = '{failing}')
                EXECUTE FUNCTION fail()"
        );
        sqlx::raw_sql(AssertSqlSafe(trigger))
            .execute(&world.pool)
            .await
            .expect("a trigger");
        world.set_clock(hours(1)).await;
        let report = incomplete(world.try_run_billing(1).await);
        assert_eq!((report.tally.repaired_spans, report.tally.slices), (1, 2));
        assert_eq!(
            report.tally.failures,
            [Failure {
                organization_id: OrganizationId::new(failing),
                reason: "metering not repaired: sqlstate P0001".to_owned(),
            }]
        );
        world.execute("DROP TRIGGER fail ON usage_spans").await;
        let report = world.run_billing_at_current_time(1).await;
        assert_eq!(report.tally.repaired_spans, 1);
        audit::check(&world.pool).await;
    });
}
