//! Taking over a deployment that an older biller has charged.

use chrono::{DateTime, TimeDelta, Utc};
use dev::runtime::Outcome;
use rust_decimal::{Decimal, dec};
use serde_json::json;
use tests::{Function, World, audit, legacy, run, suite};

/// An existing deployment that is migrated but not adopted. It uses the real clock.
pub(super) async fn deployment() -> World {
    let world = World::with_database(&suite::empty_database().await).await;
    legacy::create(&world.pool).await;
    world.function("db-migrate").invoke_ok(json!({})).await;
    world
}

/// Runs billing up to the current hour.
pub(super) async fn run_billing(world: &World) -> serde_json::Value {
    world.function("billing-hourly").invoke_ok(json!({})).await
}

#[test]
fn billing_refuses_to_run_before_the_adoption() {
    run(async {
        let world = deployment().await;
        let outcome = world.function("billing-hourly").invoke(json!({})).await;
        let Outcome::FunctionError { message, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert!(message.contains("adopt"), "{message}");
        assert_eq!(world.count("SELECT count(*) FROM billing_runs").await, 0);
    });
}

#[test]
fn a_second_adoption_changes_nothing() {
    run(async {
        let world = deployment().await;
        let migrate = world.function("db-migrate");
        let answer = migrate.invoke_ok(json!({"adopt": true})).await;
        let adoption = &answer["adoption"];
        assert_eq!(adoption["alreadyAdopted"], json!(false));
        // Seven running agents: active, warning, shutdown_pending, comped, suspended, and the two without or with an
        // old last_billed_at. Five stopped agents: active, warning, shutdown_pending, comped, suspended.
        assert_eq!(adoption["spansOpened"], json!(12));
        assert_eq!(
            (&adoption["reactivated"], &adoption["deadlinesRenewed"]),
            (&json!(1), &json!(7))
        );
        assert_eq!(
            (&adoption["ratesSet"], &adoption["accountsOpened"]),
            (&json!(44), &json!(5))
        );

        let starts: Vec<(String, DateTime<Utc>)> =
            sqlx::query_as("SELECT agent_name, started_at FROM usage_spans WHERE ended_at IS NULL")
                .fetch_all(&world.pool)
                .await
                .expect("spans");
        let now: DateTime<Utc> = sqlx::query_scalar("SELECT adopted_at FROM billing_adoption")
            .fetch_one(&world.pool)
            .await
            .expect("a time");
        let age = |name: &str| {
            let (_, at) = starts.iter().find(|(agent, _)| agent == name).expect(name);
            (now - *at).num_minutes()
        };
        // The older biller charges an hour in advance.
        assert!(
            (-41..=-20).contains(&age("running/active")),
            "{}",
            age("running/active")
        );
        assert_eq!(age("never billed"), 0);
        assert!(
            (59..=60).contains(&age("long unbilled")),
            "{}",
            age("long unbilled")
        );

        let before: String = fingerprint(&world).await;
        let again = migrate.invoke_ok(json!({"adopt": true})).await;
        assert_eq!(again["adoption"]["alreadyAdopted"], json!(true));
        assert_eq!(fingerprint(&world).await, before);

        let warnings = "SELECT count(*) FROM outbox_events WHERE type = 'agent.shutdown_scheduled'";
        assert_eq!(world.count(warnings).await, 1);
        let of_unknown_debt =
            "SELECT count(*) FROM outbox_events WHERE type = 'agent.shutdown_scheduled'
            AND payload ->> 'owed' IS NULL AND payload ->> 'debtCeiling' IS NULL";
        assert_eq!(world.count(of_unknown_debt).await, 1);
        let earliest_shutdown = sqlx::query_scalar::<_, DateTime<Utc>>(
            "SELECT min(scheduled_shutdown_at) FROM milady_sandboxes
            WHERE billing_status = 'shutdown_pending'",
        );
        let deadline = earliest_shutdown
            .fetch_one(&world.pool)
            .await
            .expect("a deadline");
        assert!(deadline - now >= TimeDelta::hours(48) && deadline - now < TimeDelta::hours(49));
        assert_eq!(run_billing(&world).await["errors"], json!(0));
        check_balances(&world).await;
    });
}

#[test]
fn an_agent_that_was_moved_unnoticed_before_the_adoption_is_metered_for_its_new_organization() {
    run(async {
        let world = deployment().await;
        for sql in [
            "ALTER TABLE milady_sandboxes DISABLE TRIGGER cloud_meter_update",
            "UPDATE milady_sandboxes SET organization_id = '00000000-0000-4000-8000-000000000002'
            WHERE agent_name IN ('running/active', 'stopped/active')",
            "ALTER TABLE milady_sandboxes ENABLE TRIGGER cloud_meter_update",
        ] {
            world.execute(sql).await;
        }
        let answer = world
            .function("db-migrate")
            .invoke_ok(json!({"adopt": true}))
            .await;
        assert_eq!(answer["adoption"]["spansOpened"], json!(12));
        let open = "SELECT count(*) FROM usage_spans s JOIN milady_sandboxes a ON a.id = s.agent_id
            WHERE s.ended_at IS NULL AND s.organization_id = a.organization_id";
        assert_eq!(world.count(open).await, 12);
        // What the former organization was metered for is settled: the older biller charged it.
        let owed = "SELECT count(*) FROM usage_spans WHERE ended_at IS NOT NULL AND NOT settled";
        assert_eq!(world.count(owed).await, 0);
        assert_eq!(run_billing(&world).await["repairedSpans"], json!(0));
    });
}

async fn fingerprint(world: &World) -> String {
    sqlx::query_scalar(
        "SELECT (SELECT md5(string_agg(s::text, '|' ORDER BY id)) FROM usage_spans s)
            || (SELECT md5(string_agg(a::text, '|' ORDER BY id)) FROM milady_sandboxes a)
            || (SELECT md5(string_agg(b::text, '|' ORDER BY organization_id)) FROM billing_accounts b)",
    )
    .fetch_one(&world.pool)
    .await
    .expect("a fingerprint")
}

async fn check_balances(world: &World) {
    let wrong = world
        .count(
            "SELECT count(*) FROM billing_accounts a JOIN organizations o ON o.id = a.organization_id
            WHERE o.credit_balance <> a.opening_balance + (SELECT coalesce(sum(amount), 0)
                FROM ledger_entries e WHERE e.organization_id = o.id)",
        )
        .await;
    assert_eq!(wrong, 0, "balance = opening balance + all entries");
}

/// The agents that the older biller tried to charge, and those that it charged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OlderBillerRun {
    pub(super) attempted: usize,
    pub(super) charged: usize,
}

/// Does what the older biller does each hour: one transaction per agent.
pub(super) async fn run_older_biller(world: &World) -> OlderBillerRun {
    let agents: Vec<(uuid::Uuid, uuid::Uuid)> = sqlx::query_as(
        "SELECT id, organization_id FROM milady_sandboxes WHERE status IN ('running', 'stopped')",
    )
    .fetch_all(&world.pool)
    .await
    .expect("agents");
    let mut charged = 0;
    for (agent, organization) in &agents {
        let mut tx = world.pool.begin().await.expect("begin");
        let steps = [
            "UPDATE organizations SET credit_balance = credit_balance - 0.02 WHERE id = $2 AND $1 = $1",
            "INSERT INTO credit_transactions (organization_id, amount, type, description, metadata)
            VALUES ($2, -0.02, 'debit', 'Milady agent hosting (running): x', jsonb_build_object(
                'sandbox_id', $1::uuid, 'billing_type', 'milady_running', 'hourly_rate', 0.02))",
            "UPDATE milady_sandboxes SET last_billed_at = now(), hourly_rate = 0.0025,
                total_billed = total_billed + 0.02 WHERE id = $1 AND organization_id = $2",
        ];
        let mut result = Ok(());
        for step in steps {
            if result.is_ok() {
                let execution = sqlx::query(step)
                    .bind(agent)
                    .bind(organization)
                    .execute(&mut *tx)
                    .await;
                result = execution.map(drop);
            }
        }
        if result.is_ok() && tx.commit().await.is_ok() {
            charged += 1;
        }
    }
    OlderBillerRun {
        attempted: agents.len(),
        charged,
    }
}

#[test]
fn the_older_biller_charges_nobody_after_the_adoption() {
    run(async {
        let world = deployment().await;
        assert_eq!(
            run_older_biller(&world).await,
            OlderBillerRun {
                attempted: 14,
                charged: 14
            },
            "the older biller charges before the adoption"
        );
        world
            .function("db-migrate")
            .invoke_ok(json!({"adopt": true}))
            .await;
        let balance = "SELECT sum(credit_balance) FROM organizations WHERE credit_balance <> 'NaN'";
        let sum = || async {
            sqlx::query_scalar::<_, Decimal>(balance)
                .fetch_one(&world.pool)
                .await
                .expect("a sum")
        };
        let before = sum().await;
        let (older_biller, answer) = tokio::join!(run_older_biller(&world), run_billing(&world));
        assert_eq!(
            older_biller,
            OlderBillerRun {
                attempted: 14,
                charged: 0
            }
        );
        let revenue: Decimal = answer["totalRevenue"]
            .to_string()
            .parse()
            .expect("an amount");
        assert_eq!(sum().await, before - revenue);
        // The guard accepts the rows of other writers.
        let organization = "00000000-0000-4000-8000-000000000001"
            .parse()
            .expect("an id");
        world.top_up(organization, "1").await;
        let rates = "SELECT count(*) FROM milady_sandboxes WHERE hourly_rate IS NOT NULL";
        assert_eq!(world.count(rates).await, 0);
        check_external_top_up(&world).await;
    });
}

async fn check_external_top_up(world: &World) {
    // Only the top-up is not in the ledger.
    let external: Decimal = sqlx::query_scalar(
        "SELECT sum(o.credit_balance) - sum(a.opening_balance) - (SELECT coalesce(sum(amount), 0)
            FROM ledger_entries)
        FROM billing_accounts a JOIN organizations o ON o.id = a.organization_id",
    )
    .fetch_one(&world.pool)
    .await
    .expect("a sum");
    assert_eq!(external, dec!(1));
}

#[test]
fn an_empty_deployment_has_nothing_to_adopt() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        let answer = Function::new("db-migrate", &world.url)
            .invoke_ok(json!({"adopt": true}))
            .await;
        assert_eq!(answer["adoption"]["alreadyAdopted"], json!(true));
        world.run_billing(2).await;
        assert_eq!(world.charged(organization).await, dec!(0.04));
        audit::check(&world.pool).await;
    });
}
