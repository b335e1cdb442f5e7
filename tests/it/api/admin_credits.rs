//! `POST /api/v1/admin/credits`

use expect_test::expect;
use rust_decimal::dec;
use serde_json::{Value, json};
use tests::suite::{Request, Response};
use tests::{World, audit, check, check_field_errors, check_problem, run};
use uuid::Uuid;

const GRANT: &str = "/api/v1/admin/credits";

async fn grant(world: &World, key: &str, idempotency_key: &str, body: &Value) -> Response {
    let request = Request::new("POST", GRANT).key(key).json(body);
    world
        .call(request.header("idempotency-key", idempotency_key))
        .await
}

#[test]
fn grant_is_repeatable_and_recorded_in_ledger_and_audit_log() {
    run(async {
        let world = World::new().await;
        let (operators, key) = world.tenant("0").await;
        world.make_admin(operators, "super_admin").await;
        let organization = world.organization("1.5").await;
        world.agent(organization, "running").await;
        world.run_billing(1).await;
        let body = json!({"organizationId": organization, "amount": 0.1, "reason": "an outage"});
        let first = grant(&world, &key, "once", &body).await;
        check(
            &first,
            expect![[r#"
            201 application/json
            {
              "data": {
                "balance": 1.58,
                "transactionId": "<1>"
              },
              "success": true
            }
        "#]],
        );
        let repeated = grant(&world, &key, "once", &body).await;
        assert_eq!((repeated.status(), repeated.json()), (201, first.json()));
        assert_eq!(world.balance(organization).await, dec!(1.58));
        let (amount, kind, reason): (rust_decimal::Decimal, String, String) =
            sqlx::query_as("SELECT amount, type, description FROM credit_transactions")
                .fetch_one(&world.pool)
                .await
                .expect("one row");
        assert_eq!(
            (amount, kind.as_str(), reason.as_str()),
            (dec!(0.1), "credit", "an outage")
        );
        let audit_entry: Value = sqlx::query_scalar(
            "SELECT jsonb_build_object('action', action, 'subject', subject, 'amount', details -> 'amount',
                'result', result) FROM admin_audit_log",
        )
        .fetch_one(&world.pool)
        .await
        .expect("one entry");
        assert_eq!(
            audit_entry,
            json!({"action": "credit.grant", "subject": organization.to_string(),
            "amount": 0.1, "result": "granted"})
        );
        world.run_billing(2).await;
        audit::check(&world.pool).await;
    });
}

#[test]
fn only_super_admins_may_grant_credit() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        let body = json!({"organizationId": organization, "amount": 1, "reason": "r"});
        let (walletless, key) = world.tenant("0").await;
        check_problem(
            &grant(&world, &key, "k", &body).await,
            403,
            "Only operators may do this",
        );
        for role in ["moderator", "viewer"] {
            let (tenant, key) = world.tenant("0").await;
            world.make_admin(tenant, role).await;
            let refused = grant(&world, &key, "k", &body).await;
            if role == "viewer" {
                check_problem(&refused, 403, "Only operators may do this");
            }
            assert_eq!(refused.status(), 403, "{role}");
        }
        world.make_admin(walletless, "super_admin").await;
        for sql in [
            "UPDATE admin_users SET is_active = false",
            "UPDATE admin_users SET is_active = true, revoked_at = now()",
        ] {
            world.execute(sql).await;
            assert_eq!(grant(&world, &key, "k", &body).await.status(), 403, "{sql}");
        }
        world
            .execute("UPDATE admin_users SET revoked_at = NULL")
            .await;
        assert_eq!(grant(&world, &key, "k", &body).await.status(), 201);
        assert_eq!(world.balance(organization).await, dec!(1));
    });
}

#[test]
fn every_invalid_field_is_named() {
    run(async {
        let world = World::new().await;
        let (operators, key) = world.tenant("0").await;
        world.make_admin(operators, "super_admin").await;
        let organization = world.organization("0").await;
        let body = |amount: Value| json!({"organizationId": organization, "amount": amount, "reason": "r"});
        for amount in [
            json!(0),
            json!(-1),
            json!(1_000_001),
            json!(0.000_000_1),
            json!(1.234_567_8),
            json!("5"),
            json!(null),
            json!(1e300),
            json!(-0.0),
            json!(1e-300),
        ] {
            let response = grant(&world, &key, "k", &body(amount.clone())).await;
            assert_eq!(response.status(), 400, "{amount}");
            assert_eq!(response.json()["details"][0]["field"], "amount", "{amount}");
        }
        check_field_errors(
            &grant(
                &world,
                &key,
                "k",
                &json!({"organizationId": "x", "reason": "\n"}),
            )
            .await,
            "organizationId must be a UUID, and 2 more",
            &[
                ("organizationId", "must be a UUID"),
                ("amount", "is required"),
                (
                    "reason",
                    "must be 1 to 500 characters without control characters, not all blank",
                ),
            ],
        );
        let without_idempotency_key = Request::new("POST", GRANT).key(&key).json(&body(json!(1)));
        check_field_errors(
            &world.call(without_idempotency_key).await,
            "Idempotency-Key is required",
            &[("Idempotency-Key", "is required")],
        );
        let unknown_organization =
            json!({"organizationId": Uuid::nil(), "amount": 1, "reason": "r"});
        check_problem(
            &grant(&world, &key, "k", &unknown_organization).await,
            404,
            "Organization not found",
        );
        assert_eq!(world.balance(organization).await, dec!(0));
        for (amount, balance) in [
            (json!(0.000_001), dec!(0.000001)),
            (json!(1_000_000), dec!(1000000.000001)),
        ] {
            let idempotency_key = amount.to_string();
            assert_eq!(
                grant(&world, &key, &idempotency_key, &body(amount))
                    .await
                    .status(),
                201
            );
            assert_eq!(world.balance(organization).await, balance);
        }
    });
}
