//! `PATCH /api/v1/admin/agents/{agentId}/billing`

use expect_test::expect;
use rust_decimal::dec;
use serde_json::{Value, json};
use tests::suite::{Request, Response};
use tests::world::{hours, minutes};
use tests::{World, audit, check, check_field_errors, check_problem, run};
use uuid::Uuid;

async fn change(world: &World, key: &str, agent: impl ToString, body: &Value) -> Response {
    let path = format!("/api/v1/admin/agents/{}/billing", agent.to_string());
    world
        .call_on_new_instance(Request::new("PATCH", &path).key(key).json(body))
        .await
}

#[test]
fn an_exempt_agent_is_not_metered_from_that_moment_until_it_is_charged_again() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("1").await;
        let agent = world.agent(organization, "running").await;
        world
            .set_columns(
                agent,
                "billing_status = 'shutdown_pending', shutdown_warning_sent_at = billing_clock(),
                scheduled_shutdown_at = billing_clock() + interval '2 days'",
            )
            .await;
        world.set_clock(minutes(30)).await;
        check(
            &change(&world, &key, agent, &json!({"exempt": true})).await,
            expect![[r#"
            200 application/json
            {
              "data": {
                "agentId": "<1>",
                "billingStatus": "exempt",
                "hourlyRate": null
              },
              "success": true
            }
        "#]],
        );
        let row = world.agent_row(agent).await;
        assert_eq!(
            (row.shutdown_warning_sent_at, row.scheduled_shutdown_at),
            (None, None)
        );
        world.run_billing(3).await;
        assert_eq!(world.charged(organization).await, dec!(0.01));
        world.set_clock(minutes(210)).await;
        let charged_again = change(&world, &key, agent, &json!({"exempt": false})).await;
        assert_eq!(charged_again.json()["data"]["billingStatus"], "active");
        world.run_billing(4).await;
        assert_eq!(world.charged(organization).await, dec!(0.02));
        let logged: Vec<Value> = sqlx::query_scalar(
            "SELECT details -> 'after' FROM admin_audit_log WHERE action = 'agent.billing'
                AND subject = $1::text ORDER BY id",
        )
        .bind(agent)
        .fetch_all(&world.pool)
        .await
        .expect("entries");
        assert_eq!(
            logged,
            [
                json!({"billingStatus": "exempt", "hourlyRate": null}),
                json!({"billingStatus": "active", "hourlyRate": null}),
            ]
        );
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_rate_of_its_own_holds_from_that_moment_and_null_brings_back_the_list_price() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("1").await;
        let agent = world.agent(organization, "running").await;
        world.set_clock(minutes(30)).await;
        let own = change(&world, &key, agent, &json!({"hourlyRate": 0.1})).await;
        assert_eq!(own.json()["data"]["hourlyRate"], json!(0.1));
        world.run_billing(1).await;
        assert_eq!(world.charged(organization).await, dec!(0.06));
        let list_price = change(&world, &key, agent, &json!({"hourlyRate": null})).await;
        assert_eq!(list_price.json()["data"]["hourlyRate"], json!(null));
        world.run_billing(2).await;
        assert_eq!(world.charged(organization).await, dec!(0.08));
        // Both at once are one change: nothing is metered at the old rate in between.
        let both = json!({"exempt": true, "hourlyRate": 0.5});
        assert_eq!(change(&world, &key, agent, &both).await.status(), 200);
        let both = json!({"exempt": false, "hourlyRate": 0.25});
        assert_eq!(change(&world, &key, agent, &both).await.status(), 200);
        world.run_billing(3).await;
        assert_eq!(world.charged(organization).await, dec!(0.33));
        assert_eq!(world.count("SELECT count(*) FROM usage_spans").await, 4);
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_suspended_agent_can_be_exempted_and_only_exempt_agents_become_active() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("0").await;
        let agent = world.agent(organization, "stopped").await;
        world
            .set_columns(agent, "billing_status = 'suspended'")
            .await;
        for (body, expected) in [
            (json!({"exempt": false}), "suspended"),
            (json!({"hourlyRate": 1}), "suspended"),
            (json!({"exempt": true}), "exempt"),
            (json!({"exempt": false, "hourlyRate": null}), "active"),
        ] {
            let changed = change(&world, &key, agent, &body).await;
            assert_eq!(
                changed.json()["data"]["billingStatus"],
                expected,
                "{body} {changed:?}"
            );
        }
    });
}

#[test]
fn a_change_during_a_billing_run_comes_before_or_after_it() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("9").await;
        let agent = world.agent(organization, "running").await;
        world.set_clock(hours(2)).await;
        let lock = world.lock_organization(organization).await;
        let body = json!({"exempt": true});
        let (changed, _, ()) = tokio::join!(
            change(&world, &key, agent, &body),
            world.run_billing_at_current_time(2),
            world.release(lock, 2)
        );
        assert_eq!(changed.status(), 200, "{changed:?}");
        world.run_billing(3).await;
        assert_eq!(world.charged(organization).await, dec!(0.04));
        audit::check(&world.pool).await;
    });
}

#[test]
fn what_is_not_valid_is_refused() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("1").await;
        let agent = world.agent(organization, "running").await;
        for body in [json!({}), json!({"exempt": null}), json!({"other": 1})] {
            check_field_errors(
                &change(&world, &key, agent, &body).await,
                "body must have `exempt` or `hourlyRate`",
                &[("body", "must have `exempt` or `hourlyRate`")],
            );
        }
        let rule = "must be 0 to 100 with at most four decimals";
        for (rate, message) in [
            (json!(-0.1), rule),
            (json!(100.0001), rule),
            (json!(0.00001), rule),
            (json!(1e300), "is out of range"),
            (json!("1"), "must be a number"),
        ] {
            let body = json!({"exempt": true, "hourlyRate": rate});
            check_field_errors(
                &change(&world, &key, agent, &body).await,
                &format!("hourlyRate {message}"),
                &[("hourlyRate", message)],
            );
        }
        check_field_errors(
            &change(&world, &key, agent, &json!({"exempt": "yes"})).await,
            "exempt must be true or false",
            &[("exempt", "must be true or false")],
        );
        assert_eq!(world.agent_row(agent).await.billing_status, "active");
        let body = json!({"exempt": true});
        check_problem(
            &change(&world, &key, Uuid::nil(), &body).await,
            404,
            "Agent not found",
        );
        assert_eq!(change(&world, &key, "x", &body).await.status(), 400);
        let (_, members_key) = world.tenant("0").await;
        check_problem(
            &change(&world, &members_key, agent, &body).await,
            403,
            "Only operators may do this",
        );
    });
}
