//! Taking over a deployment that an older biller charged until now.

use chrono::{DateTime, TimeDelta, Utc};
use dev::runtime::Outcome;
use rust_decimal::{Decimal, dec};
use serde_json::json;
use tests::{Function, World, audit, run, suite};

/// An existing deployment, migrated, not adopted. Its clock is the real one.
async fn deployment() -> World {
    let world = World::on(&suite::empty_database().await).await;
    world.execute(include_str!("../../legacy.sql")).await;
    world.function("db-migrate").invoke_ok(json!({})).await;
    world
}

async fn tick(world: &World) -> serde_json::Value {
    world.function("billing-hourly").invoke_ok(json!({})).await
}

#[test]
fn nothing_is_charged_before_adoption() {
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
fn adoption_takes_over_once_and_repeats_without_harm() {
    run(async {
        let world = deployment().await;
        let migrate = world.function("db-migrate");
        let answer = migrate.invoke_ok(json!({"adopt": true})).await;
        let adoption = &answer["adoption"];
        assert_eq!(adoption["alreadyAdopted"], json!(false));
        // running: active, warning, shutdown_pending, comped, and suspended, which runs; 2 more.
        // stopped: active, warning, shutdown_pending, comped.
        assert_eq!(adoption["spansOpened"], json!(11));
        assert_eq!(
            (&adoption["reactivated"], &adoption["deadlinesRenewed"]),
            (&json!(1), &json!(7))
        );
        assert_eq!(
            (&adoption["ratesSet"], &adoption["accountsOpened"]),
            (&json!(42), &json!(2))
        );

        let starts: Vec<(String, DateTime<Utc>)> = sqlx::query_as(
            "SELECT agent_name, started_at FROM agent_usage_spans WHERE ended_at IS NULL",
        )
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
        assert!(
            (19..=21).contains(&age("running/active")),
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
        let late = sqlx::query_scalar::<_, DateTime<Utc>>(
            "SELECT min(scheduled_shutdown_at) FROM milady_sandboxes
            WHERE billing_status = 'shutdown_pending'",
        );
        let deadline = late.fetch_one(&world.pool).await.expect("a deadline");
        assert!(deadline - now >= TimeDelta::hours(48) && deadline - now < TimeDelta::hours(49));
        assert_eq!(tick(&world).await["errors"], json!(0));
        balance_follows_ledger(&world).await;
    });
}

async fn fingerprint(world: &World) -> String {
    sqlx::query_scalar(
        "SELECT (SELECT md5(string_agg(s::text, '|' ORDER BY id)) FROM agent_usage_spans s)
            || (SELECT md5(string_agg(a::text, '|' ORDER BY id)) FROM milady_sandboxes a)
            || (SELECT md5(string_agg(b::text, '|' ORDER BY organization_id)) FROM billing_accounts b)",
    )
    .fetch_one(&world.pool)
    .await
    .expect("a fingerprint")
}

async fn balance_follows_ledger(world: &World) {
    let wrong = world
        .count(
            "SELECT count(*) FROM billing_accounts a JOIN organizations o ON o.id = a.organization_id
            WHERE o.credit_balance <> a.opening_balance + (SELECT coalesce(sum(amount), 0)
                FROM credit_transactions t WHERE t.organization_id = o.id AND t.seq IS NOT NULL)",
        )
        .await;
    assert_eq!(wrong, 0, "a balance is its opening plus our rows");
}

/// What the older biller does each hour, agent by agent, in a transaction of its own.
async fn older_biller(world: &World) -> (usize, usize) {
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
                let done = sqlx::query(step)
                    .bind(agent)
                    .bind(organization)
                    .execute(&mut *tx)
                    .await;
                result = done.map(drop);
            }
        }
        if result.is_ok() && tx.commit().await.is_ok() {
            charged += 1;
        }
    }
    (agents.len(), charged)
}

#[test]
fn after_adoption_the_older_biller_beside_ours_changes_no_balance() {
    run(async {
        let world = deployment().await;
        assert_eq!(
            older_biller(&world).await,
            (14, 14),
            "before adoption it charges"
        );
        world
            .function("db-migrate")
            .invoke_ok(json!({"adopt": true}))
            .await;
        let balance = "SELECT sum(credit_balance) FROM organizations";
        let sum = || async {
            sqlx::query_scalar::<_, Decimal>(balance)
                .fetch_one(&world.pool)
                .await
                .expect("a sum")
        };
        let before = sum().await;
        let ((asked, charged), answer) = tokio::join!(older_biller(&world), tick(&world));
        assert_eq!((asked, charged), (14, 0));
        let revenue: Decimal = answer["totalRevenue"]
            .to_string()
            .parse()
            .expect("an amount");
        assert_eq!(sum().await, before - revenue);
        // Other writers' rows still go in.
        let organization = "00000000-0000-4000-8000-000000000001"
            .parse()
            .expect("an id");
        world.top_up(organization, "1").await;
        let rates: Vec<Decimal> =
            sqlx::query_scalar("SELECT DISTINCT hourly_rate FROM milady_sandboxes")
                .fetch_all(&world.pool)
                .await
                .expect("rates");
        assert_eq!(rates, [dec!(0.02)]);
        balance_follows_ledger_of_all(&world).await;
    });
}

async fn balance_follows_ledger_of_all(world: &World) {
    // One top-up of another writer on top of our rows.
    let external: Decimal = sqlx::query_scalar(
        "SELECT sum(o.credit_balance) - sum(a.opening_balance) - (SELECT coalesce(sum(amount), 0)
            FROM credit_transactions WHERE seq IS NOT NULL)
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
        world.tick(2).await;
        assert_eq!(world.charged(organization).await, dec!(0.04));
        audit::check(&world.pool).await;
    });
}
