//! `POST /api/v1/admin/credits/refund`

use expect_test::expect;
use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};
use tests::suite::{Request, Response};
use tests::{World, audit, check, check_field_errors, check_problem, run};
use uuid::Uuid;

const REFUND: &str = "/api/v1/admin/credits/refund";

async fn refund(world: &World, key: &str, idempotency_key: &str, body: &Value) -> Response {
    let request = Request::new("POST", REFUND).key(key).json(body);
    world
        .call_on_new_instance(request.header("idempotency-key", idempotency_key))
        .await
}

#[test]
fn a_refund_takes_the_balance_and_carries_the_rest_which_is_paid_before_anything_else() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("1.5").await;
        world.agent(organization, "running").await;
        world.run_billing(1).await;
        let body = json!({"organizationId": organization, "amount": 2, "reason": "disputed"});
        let first = refund(&world, &key, "once", &body).await;
        check(
            &first,
            expect![[r#"
                201 application/json
                {
                  "data": {
                    "balance": 0.0,
                    "carriedDebt": 0.52,
                    "refunded": 1.48,
                    "transactionId": "<1>"
                  },
                  "success": true
                }
            "#]],
        );
        let repeated = refund(&world, &key, "once", &body).await;
        assert_eq!((repeated.status(), repeated.json()), (201, first.json()));
        assert_eq!(world.balance(organization).await, dec!(0));
        // The older application sees what left the balance.
        let mirrored: (Decimal, String, String) =
            sqlx::query_as("SELECT amount, type, description FROM credit_transactions")
                .fetch_one(&world.pool)
                .await
                .expect("one row");
        assert_eq!(
            mirrored,
            (dec!(-1.48), "debit".to_owned(), "disputed".to_owned())
        );
        // A second refund finds nothing to take. Its entry and its debt say so.
        let more = json!({"organizationId": organization, "amount": 0.08, "reason": "more"});
        let second = refund(&world, &key, "again", &more).await.json();
        assert_eq!(
            (&second["data"]["refunded"], &second["data"]["carriedDebt"]),
            (&json!(0.0), &json!(0.6))
        );
        let rows = "SELECT count(*) FROM credit_transactions";
        assert_eq!(world.count(rows).await, 1);
        let details: Vec<Value> = sqlx::query_scalar(
            "SELECT jsonb_build_object('amount', trim_scale(amount), 'reason', detail -> 'reason', 'carried', detail -> 'carried')
            FROM ledger_entries WHERE type = 'refund' ORDER BY seq",
        )
        .fetch_all(&world.pool)
        .await
        .expect("entries");
        assert_eq!(
            details,
            [
                json!({"amount": -1.48, "reason": "disputed", "carried": 0.52}),
                json!({"amount": 0, "reason": "more", "carried": 0.08}),
            ]
        );
        let logged = "SELECT count(*) FROM admin_audit_log WHERE action = 'credit.refund' AND result = 'refunded'";
        assert_eq!(world.count(logged).await, 2);
        audit::check(&world.pool).await;

        world.top_up(organization, "0.61").await;
        world.run_billing(2).await;
        // 0.60 of debt leave less than the hour costs.
        assert_eq!(world.balance(organization).await, dec!(0.01));
        world.top_up(organization, "1").await;
        world.run_billing(3).await;
        assert_eq!(world.balance(organization).await, dec!(0.97));
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_refund_opens_a_missing_account_and_counts_at_the_gate() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("3").await;
        let agent = world.agent(organization, "pending").await;
        let body = json!({"organizationId": organization, "amount": 4, "reason": "r"});
        assert_eq!(refund(&world, &key, "k", &body).await.status(), 201);
        audit::check(&world.pool).await;
        world.top_up(organization, "5.99").await;
        let refused = world.start(organization, agent).await;
        assert_eq!(refused.json()["requiredBalance"], json!(6.0), "{refused:?}");
        world.top_up(organization, "0.01").await;
        assert_eq!(world.start(organization, agent).await.status(), 202);
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_refund_during_a_billing_run_comes_before_or_after_it() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("1").await;
        for _ in 0..3 {
            world.agent(organization, "running").await;
        }
        world.run_billing(1).await;
        world.set_clock(tests::world::hours(2)).await;
        let lock = world.lock_organization(organization).await;
        let body = json!({"organizationId": organization, "amount": 0.5, "reason": "r"});
        let (refunded, report, ()) = tokio::join!(
            refund(&world, &key, "k", &body),
            world.run_billing_at_current_time(2),
            world.release(lock, 2)
        );
        assert_eq!((refunded.status(), report.tally.slices), (201, 3));
        assert_eq!(world.balance(organization).await, dec!(0.38));
        audit::check(&world.pool).await;
    });
}

#[test]
fn what_is_not_valid_is_refused_and_changes_nothing() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("1").await;
        let body = |amount: Value| json!({"organizationId": organization, "amount": amount, "reason": "r"});
        for amount in [
            json!(0),
            json!(-1),
            json!(1_000_001),
            json!(0.000_000_1),
            json!("5"),
            json!(null),
        ] {
            let response = refund(&world, &key, "k", &body(amount.clone())).await;
            assert_eq!(response.status(), 400, "{amount}");
            assert_eq!(response.json()["details"][0]["field"], "amount", "{amount}");
        }
        check_field_errors(
            &refund(
                &world,
                &key,
                "k",
                &json!({"organizationId": "x", "amount": 1}),
            )
            .await,
            "organizationId must be a UUID, and 1 more",
            &[
                ("organizationId", "must be a UUID"),
                ("reason", "is required"),
            ],
        );
        let without_key = Request::new("POST", REFUND).key(&key).json(&body(json!(1)));
        check_field_errors(
            &world.call(without_key).await,
            "Idempotency-Key is required",
            &[("Idempotency-Key", "is required")],
        );
        let unknown = json!({"organizationId": Uuid::nil(), "amount": 1, "reason": "r"});
        check_problem(
            &refund(&world, &key, "k", &unknown).await,
            404,
            "Organization not found",
        );
        assert_eq!(
            refund(&world, &key, "once", &body(json!(0.1)))
                .await
                .status(),
            201
        );
        check_problem(
            &refund(&world, &key, "once", &body(json!(0.2))).await,
            422,
            "This Idempotency-Key was used for another request",
        );
        let (_, members_key) = world.tenant("0").await;
        check_problem(
            &refund(&world, &members_key, "k", &body(json!(1))).await,
            403,
            "Only operators may do this",
        );
        assert_eq!(world.balance(organization).await, dec!(0.9));
    });
}
