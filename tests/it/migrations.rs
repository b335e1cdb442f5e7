//! The migrations: on an empty database, repeated, concurrent, and over an existing deployment; and the bootstrap event.

use dev::runtime::Outcome;
use rust_decimal::Decimal;
use serde_json::json;
use tests::{World, legacy, run, suite, wait_until};

#[test]
fn migrations_apply_to_an_empty_database_and_a_repeated_run_applies_none() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        let migrate = world.function("db-migrate");
        let first = migrate.invoke_ok(json!({})).await;
        assert_eq!(first["migrations"]["applied"], first["migrations"]["total"]);
        let second = migrate.invoke_ok(json!(null)).await;
        assert_eq!(second["migrations"]["applied"], json!(0));
    });
}

#[test]
fn two_concurrent_runs_apply_each_migration_once() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        let migrate = world.function("db-migrate");
        let (one, two) = tokio::join!(migrate.invoke_ok(json!({})), migrate.invoke_ok(json!({})));
        let applied = |answer: &serde_json::Value| answer["migrations"]["applied"].as_u64();
        assert_eq!(
            applied(&one).zip(applied(&two)).map(|(a, b)| a + b),
            one["migrations"]["total"].as_u64()
        );
    });
}

/// Every row that the older deployment wrote, in the columns that it knows, but for values that mean nothing.
async fn old_rows(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT row(id, organization_id, status, CASE billing_status WHEN 'comped' THEN 'active'
                ELSE billing_status END, last_billed_at, nullif(hourly_rate, 'NaN'), total_billed::numeric(10,2),
            shutdown_warning_sent_at, scheduled_shutdown_at, updated_at)::text
        FROM milady_sandboxes
        UNION ALL SELECT row(id, CASE credit_balance WHEN 'NaN' THEN 0.000000 ELSE credit_balance END, updated_at)::text
        FROM organizations
        UNION ALL SELECT row(id, amount, type, metadata)::text FROM credit_transactions
        UNION ALL SELECT row(id, type, status, data)::text FROM jobs
        UNION ALL SELECT row(version, description)::text FROM _sqlx_migrations ORDER BY 1",
    )
    .fetch_all(&world.pool)
    .await
    .expect("rows")
}

#[test]
fn f37_migrations_over_a_real_deployment_do_not_change_what_its_rows_mean() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        legacy::create(&world.pool).await;
        let before = old_rows(&world).await;
        let migrate = world.function("db-migrate");
        let answer = migrate.invoke_ok(json!({})).await;
        assert_eq!(
            answer["migrations"]["applied"],
            answer["migrations"]["total"]
        );
        assert_eq!(old_rows(&world).await, before);
        assert_eq!(
            migrate.invoke_ok(json!({})).await["migrations"]["applied"],
            json!(0)
        );
        // From now on an unknown billing status is refused; an unknown status is not.
        let bad = sqlx::query("UPDATE milady_sandboxes SET billing_status = 'comped'");
        assert!(bad.execute(&world.pool).await.is_err());
        world
            .execute("UPDATE milady_sandboxes SET status = 'dreaming' WHERE status = 'sleeping'")
            .await;
        // Metering has started for exactly the agents that are to be metered.
        let wrong = world
            .count(
                "SELECT count(*) FROM milady_sandboxes a FULL JOIN usage_spans s
                    ON s.agent_id = a.id AND s.ended_at IS NULL
                WHERE s.kind IS DISTINCT FROM metered_kind(
                    a.status, a.billing_status, a.stop_requested_at, a.last_backup_at,
                    a.node_id IS NOT NULL AND a.container_name IS NOT NULL)",
            )
            .await;
        assert_eq!(wrong, 0);
        let column: (i32, i32) = sqlx::query_as(
            "SELECT numeric_precision::int, numeric_scale::int FROM information_schema.columns
            WHERE table_name = 'milady_sandboxes' AND column_name = 'total_billed'",
        )
        .fetch_one(&world.pool)
        .await
        .expect("a column");
        assert_eq!(column, (16, 6));
    });
}

#[test]
fn an_interrupted_index_build_is_repeated_and_a_locked_table_is_waited_for() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        legacy::create(&world.pool).await;
        // An interrupted CREATE INDEX CONCURRENTLY leaves an invalid index of the name.
        world
            .execute(
                "CREATE INDEX cloud_credit_transactions_history_idx ON credit_transactions (id);
                UPDATE pg_index SET indisvalid = false
                WHERE indexrelid = 'cloud_credit_transactions_history_idx'::regclass",
            )
            .await;
        let mut writer = world.pool.begin().await.expect("begin");
        sqlx::query("UPDATE milady_sandboxes SET error_count = 1")
            .execute(&mut *writer)
            .await
            .expect("write");
        let migrate = world.function("db-migrate");
        let (answer, ()) = tokio::join!(migrate.invoke_ok(json!({})), async {
            world.wait_until_a_session_is_blocked().await;
            // The first attempt ends when its lock times out.
            wait_until("no session is blocked", async || {
                world.blocked_sessions().await == 0
            })
            .await;
            world.wait_until_a_session_is_blocked().await;
            writer.commit().await.expect("commit");
        });
        assert_eq!(
            answer["migrations"]["applied"],
            answer["migrations"]["total"]
        );
        let columns: String = sqlx::query_scalar(
            "SELECT pg_get_indexdef('cloud_credit_transactions_history_idx'::regclass)",
        )
        .fetch_one(&world.pool)
        .await
        .expect("an index");
        assert!(
            columns.contains("organization_id, created_at DESC"),
            "{columns}"
        );
        assert_eq!(
            world
                .count("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
                .await,
            0
        );
    });
}

#[test]
fn the_first_organization_is_created_once() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        let migrate = world.function("db-migrate");
        let wallet = "0xABCDEF0123456789abcdef0123456789ABCDEF01";
        let first = json!({"bootstrap": {
            "organization": "Acme & Sons", "email": "Owner@Example.test", "wallet": wallet}});
        let answer = migrate.invoke_ok(first.clone()).await;
        let key = answer["bootstrap"]["apiKey"]
            .as_str()
            .expect("a key")
            .to_owned();
        assert_eq!(key.len(), 6 + 64);
        let row: (String, Decimal, String, String, String) = sqlx::query_as(
            "SELECT o.slug, o.credit_balance, u.wallet_address, a.role::text, k.key
            FROM organizations o JOIN users u ON u.organization_id = o.id
            JOIN admin_users a ON a.user_id = u.id JOIN api_keys k ON k.user_id = u.id",
        )
        .fetch_one(&world.pool)
        .await
        .expect("a row");
        let expected = (
            "acme-sons",
            Decimal::ZERO,
            wallet.to_lowercase(),
            "super_admin",
        );
        assert_eq!((row.0.as_str(), row.1, row.2, row.3.as_str()), expected);
        // An existing deployment requires the column. Only the digest is recorded.
        assert!(
            !row.4.is_empty() && !row.4.contains(&key[..12]),
            "{}",
            row.4
        );
        let balance = tests::suite::Request::new("GET", "/api/v1/credits/balance");
        let answer = world
            .function("credit-get")
            .http(
                "GET /api/v1/credits/balance",
                balance.header("x-api-key", &key),
            )
            .await;
        assert_eq!(
            (answer.status(), answer.json()["balance"].as_f64()),
            (200, Some(0.0))
        );
        for repeated in [
            first,
            json!({"bootstrap": {
            "organization": "Other", "email": "o@example.test", "wallet": "0x00000000000000000000000000000000000000ff"}}),
        ] {
            let outcome = migrate.invoke(repeated).await;
            assert!(
                matches!(outcome, Outcome::FunctionError { message, .. } if message.contains("already"))
            );
        }
        assert_eq!(world.count("SELECT count(*) FROM organizations").await, 1);
    });
}

#[test]
fn an_invalid_event_is_refused_with_a_reason_and_changes_nothing() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        let migrate = world.function("db-migrate");
        for event in [
            json!({"adopted": true}),
            json!([]),
            json!("adopt"),
            json!({"bootstrap": {"organization": "x"}}),
        ] {
            let outcome = migrate.invoke(event.clone()).await;
            assert!(
                matches!(&outcome, Outcome::FunctionError { message, .. } if message.contains("event must be")),
                "{event}: {outcome:?}"
            );
        }
        assert_eq!(
            world
                .count("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
                .await,
            0
        );
        for (field, organization, email, wallet) in [
            (
                "organization",
                "",
                "a@b.test",
                "0x00000000000000000000000000000000000000ff",
            ),
            (
                "email",
                "A",
                "nobody",
                "0x00000000000000000000000000000000000000ff",
            ),
            ("wallet", "A", "a@b.test", "0x 1"),
        ] {
            let event = json!({"bootstrap": {"organization": organization, "email": email, "wallet": wallet}});
            let outcome = migrate.invoke(event).await;
            assert!(
                matches!(&outcome, Outcome::FunctionError { message, .. } if message.contains(field)),
                "{field}: {outcome:?}"
            );
        }
        assert_eq!(world.count("SELECT count(*) FROM organizations").await, 0);
    });
}
