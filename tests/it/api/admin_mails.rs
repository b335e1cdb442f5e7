//! `/api/v1/admin/mails` and `/api/v1/admin/mails/{mailId}/retry`. What a retry leads to is tested in `mail::feedback`.

use serde_json::{Value, json};
use tests::suite::Request;
use tests::world::minutes;
use tests::{World, check_problem, run};
use uuid::Uuid;

const MAILS: &str = "/api/v1/admin/mails";

/// Inserts an event with a delivery in this state. Returns the delivery.
async fn delivery(world: &World, organization: Uuid, recipient: Option<&str>, state: &str) -> Uuid {
    sqlx::query_scalar(
        "WITH event AS (
            INSERT INTO outbox_events (key, type, organization_id, payload, occurred_at)
            VALUES (gen_random_uuid()::text, 'credit.low', $1, '{}', billing_clock()) RETURNING id)
        INSERT INTO cloud.mail_deliveries (event_id, organization_id, template, recipient, state, attempts, reason,
            due_at, created_at, updated_at)
        SELECT id, $1, 'credit.low', $2, $3, 1, 'the reason',
            CASE WHEN $3 IN ('pending', 'sending') THEN billing_clock() END, billing_clock(), billing_clock()
        FROM event RETURNING id",
    )
    .bind(organization)
    .bind(recipient)
    .bind(state)
    .fetch_one(&world.pool)
    .await
    .expect("a delivery")
}

fn retry_path(id: Uuid) -> String {
    format!("{MAILS}/{id}/retry")
}

#[test]
fn operators_list_mails_page_by_page_with_masked_addresses() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let organization = world.organization("5").await;
        let mut ids = Vec::new();
        for (minute, state) in (0..).zip(["handed_over", "bounced", "failed"]) {
            world.set_clock(minutes(minute)).await;
            ids.push(delivery(&world, organization, Some("anna@mail.example"), state).await);
        }
        let first = world.get(&operator, &format!("{MAILS}?limit=2")).await;
        assert_eq!(first.status(), 200, "{first:?}");
        let first = first.json();
        assert_eq!(
            first["data"][0],
            json!({
                "id": ids[2], "organizationId": organization, "template": "credit.low",
                "recipient": "a***@m***.example", "state": "failed", "attempts": 1, "dueAt": null,
                "reason": "the reason", "createdAt": "2026-03-01T00:02:00.000Z",
                "updatedAt": "2026-03-01T00:02:00.000Z",
            })
        );
        let cursor = first["nextCursor"].as_str().expect("a cursor");
        let second = world
            .get(&operator, &format!("{MAILS}?limit=2&cursor={cursor}"))
            .await;
        let second = second.json();
        assert_eq!(second["data"][0]["id"], json!(ids[0]));
        assert_eq!(second["nextCursor"], Value::Null);
        let bounced = world
            .get(&operator, &format!("{MAILS}?state=bounced"))
            .await
            .json();
        assert_eq!(bounced["data"].as_array().map(Vec::len), Some(1));
        assert_eq!(bounced["data"][0]["id"], json!(ids[1]));
        for query in ["state=lost", "limit=0", "cursor=x"] {
            let refused = world.get(&operator, &format!("{MAILS}?{query}")).await;
            assert_eq!(refused.status(), 400, "{query}");
        }
    });
}

#[test]
fn a_retry_makes_the_mail_due_lifts_the_organizations_suppression_and_is_audited() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let organization = world.organization("5").await;
        let id = delivery(&world, organization, Some("Anna@mail.example"), "bounced").await;
        world
            .execute(
                "INSERT INTO cloud.suppressed_addresses (organization_id, address, reason, created_at)
                SELECT id, 'anna@mail.example', 'bounced for good', billing_clock() FROM organizations",
            )
            .await;
        let retried = world.post(&operator, &retry_path(id)).await;
        assert_eq!(retried.status(), 200, "{retried:?}");
        let data = retried.json()["data"].clone();
        assert_eq!(
            (&data["id"], &data["state"], &data["dueAt"], &data["reason"]),
            (
                &json!(id),
                &json!("pending"),
                &json!("2026-03-01T00:00:00.000Z"),
                &Value::Null
            )
        );
        let allowed: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM organizations
            WHERE id NOT IN (SELECT organization_id FROM cloud.suppressed_addresses)",
        )
        .fetch_all(&world.pool)
        .await
        .expect("organizations");
        assert_eq!(allowed, [organization]);
        let logged: Value = sqlx::query_scalar(
            "SELECT jsonb_build_array(action, subject, details) FROM admin_audit_log",
        )
        .fetch_one(&world.pool)
        .await
        .expect("an entry");
        assert_eq!(
            logged,
            json!(["mail.retry", id,
                {"organizationId": organization, "template": "credit.low", "state": "bounced"}])
        );
    });
}

#[test]
fn a_retry_of_an_undeliverable_mail_looks_for_an_address_again() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let organization = world.organization("5").await;
        let id = delivery(&world, organization, None, "undeliverable").await;
        check_problem(
            &world.post(&operator, &retry_path(id)).await,
            409,
            "There is still nobody to address; the owner has to set an address first",
        );
        sqlx::query("UPDATE users SET email = 'owner@mail.example' WHERE organization_id = $1")
            .bind(organization)
            .execute(&world.pool)
            .await
            .expect("an address");
        let retried = world.post(&operator, &retry_path(id)).await;
        let data = retried.json()["data"].clone();
        assert_eq!(
            (&data["recipient"], &data["state"]),
            (&json!("o***@m***.example"), &json!("pending"))
        );
        assert_eq!(
            world
                .count("SELECT count(*) FROM cloud.mail_deliveries")
                .await,
            1
        );
    });
}

#[test]
fn a_warning_of_a_shutdown_that_is_off_is_not_sent_again() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let organization = world.organization("5").await;
        let agent = world.agent(organization, "running").await;
        let id = delivery(&world, organization, Some("anna@mail.example"), "bounced").await;
        for sql in [
            "UPDATE cloud.mail_deliveries SET template = 'agent.shutdown_scheduled'",
            "UPDATE outbox_events SET type = 'agent.shutdown_scheduled'",
            "INSERT INTO cloud.suppressed_addresses (organization_id, address, reason, created_at)
            SELECT id, 'anna@mail.example', 'bounced for good', billing_clock() FROM organizations",
        ] {
            world.execute(sql).await;
        }
        check_problem(
            &world.post(&operator, &retry_path(id)).await,
            409,
            "The shutdown that the mail announces is not scheduled any more",
        );
        for (sql, expected) in [
            (
                "SELECT count(*) FROM organizations
                WHERE id NOT IN (SELECT organization_id FROM cloud.suppressed_addresses)",
                0,
            ),
            ("SELECT count(*) FROM admin_audit_log", 0),
            (
                "SELECT count(*) FROM cloud.mail_deliveries WHERE due_at IS NULL AND state = 'bounced'",
                1,
            ),
        ] {
            assert_eq!(world.count(sql).await, expected, "{sql}");
        }
        world
            .set_columns(
                agent,
                "billing_status = 'shutdown_pending', shutdown_warning_sent_at = billing_clock(),
                scheduled_shutdown_at = billing_clock() + interval '2 days'",
            )
            .await;
        let retried = world.post(&operator, &retry_path(id)).await;
        assert_eq!(retried.status(), 200, "{retried:?}");
    });
}

#[test]
fn a_mail_that_is_under_way_or_has_arrived_is_not_sent_again() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let organization = world.organization("5").await;
        for state in ["pending", "sending", "handed_over", "delivered"] {
            let id = delivery(&world, organization, Some("a@mail.example"), state).await;
            check_problem(
                &world.post(&operator, &retry_path(id)).await,
                409,
                "The mail is under way, or its recipient has it already",
            );
        }
        let unknown = world.post(&operator, &retry_path(Uuid::new_v4())).await;
        check_problem(&unknown, 404, "Mail not found");
        let malformed = world.post(&operator, &format!("{MAILS}/x/retry")).await;
        assert_eq!(malformed.status(), 400);
        let (_, owner) = world.tenant("5").await;
        check_problem(
            &world.get(&owner, MAILS).await,
            403,
            "Only operators may do this",
        );
        let nobody = world.call(Request::new("GET", MAILS)).await;
        assert_eq!(nobody.status(), 401);
    });
}
