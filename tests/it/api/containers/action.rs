//! `POST /api/v1/admin/infrastructure/containers/actions`

use serde_json::{Value, json};
use tests::suite::Request;
use tests::{World, run};
use uuid::Uuid;

use super::super::agents::{agent_on_unreachable_host, call_without_leak};
use super::ACTIONS;

/// The audit log, oldest entry first.
async fn audit_entries(world: &World) -> Vec<Value> {
    sqlx::query_scalar(
        "SELECT jsonb_build_object('user', user_id, 'action', action, 'subject', subject,
            'result', result, 'details', details - 'settledAt', 'settled', details ? 'settledAt')
        FROM admin_audit_log ORDER BY id",
    )
    .fetch_all(&world.pool)
    .await
    .expect("the log")
}

#[test]
fn an_invalid_request_is_refused_with_every_reason_and_leaves_no_audit_entry() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let good = json!({"action": "logs", "nodeId": "n1", "containerName": "c"});
        let id = "a".repeat(64);
        let long = "n".repeat(65);
        for (field, value) in [
            ("action", json!(null)),
            ("action", json!("exec")),
            ("action", json!("LOGS")),
            ("action", json!(1)),
            ("nodeId", json!(null)),
            ("nodeId", json!("")),
            ("nodeId", json!("n\u{0}")),
            ("nodeId", json!(long)),
            ("containerName", json!(null)),
            ("containerName", json!("")),
            ("containerName", json!("../secrets")),
            ("containerName", json!("c/json?x=")),
            ("containerName", json!("c%2fjson")),
            ("containerName", json!("$(reboot)")),
            ("containerName", json!("c; rm -rf /")),
            ("containerName", json!("c\n")),
            ("containerName", json!("-c")),
            ("containerName", json!("ç")),
            ("containerName", json!(["c"])),
            ("containerId", json!("abc")),
            ("containerId", json!("A".repeat(64))),
            ("containerId", json!(format!("{id}0"))),
            ("lines", json!(0)),
            ("lines", json!(5001)),
            ("lines", json!(-1)),
            ("lines", json!(1.5)),
            ("lines", json!("200")),
            ("since", json!("1w")),
            ("since", json!(3600)),
        ] {
            let mut body = good.clone();
            body[field] = value;
            let answer = world.post_json(&key, ACTIONS, &body).await;
            assert_eq!(answer.status(), 400, "{body} {answer:?}");
            assert_eq!(answer.json()["details"][0]["field"], field, "{body}");
        }
        let empty = world.post_json(&key, ACTIONS, &json!({})).await;
        assert_eq!(empty.json()["details"].as_array().map(Vec::len), Some(3));
        let body = json!({"action": "remove-ghost", "nodeId": "n1", "containerName": "c"});
        let nameless = world.post_json(&key, ACTIONS, &body).await;
        assert_eq!(nameless.status(), 400);
        assert_eq!(
            nameless.json()["details"],
            json!([{"field": "containerId", "message": "is required"}])
        );
        for (kind, status) in [("text/plain", 415), ("application/json", 400)] {
            let request = Request::new("POST", ACTIONS).key(&key);
            let request = request.header("content-type", kind).body("nonsense");
            assert_eq!(world.call(request).await.status(), status, "{kind}");
        }
        assert_eq!(audit_entries(&world).await, Vec::<Value>::new());
    });
}

#[test]
fn an_unregistered_host_is_404_and_every_action_leaves_an_audit_entry() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("0").await;
        world.make_admin(organization, "super_admin").await;
        let user: Uuid = sqlx::query_scalar("SELECT id FROM users WHERE organization_id = $1")
            .bind(organization)
            .fetch_one(&world.pool)
            .await
            .expect("a user");
        let name = "milady-x";
        let id = "a".repeat(64);
        let mut expected = Vec::new();
        for action in [
            "logs",
            "restart",
            "stop",
            "start",
            "inspect",
            "pull-image",
            "remove-ghost",
        ] {
            let node = "n1' OR '1'='1";
            let body = json!({"action": action, "nodeId": node, "containerName": name,
                "containerId": id});
            let answer = world.post_json(&key, ACTIONS, &body).await;
            assert_eq!(
                (answer.status(), answer.json()["error"].as_str()),
                (404, Some("Node not found")),
                "{action}"
            );
            expected.push(json!({
                "user": user, "action": format!("container.{action}"),
                "subject": format!("{node}/{name}"), "result": "refused", "settled": true,
                "details": {"nodeId": node, "containerName": name, "askedContainerId": id,
                    "reason": "Node not found"},
            }));
        }
        assert_eq!(audit_entries(&world).await, expected);
    });
}

#[test]
fn an_unreachable_host_is_502_without_its_address() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("5").await;
        agent_on_unreachable_host(&world, organization).await;
        for action in ["logs", "start", "pull-image", "remove-ghost"] {
            // The same idempotency key twice: a request without an effect can be repeated.
            let body = json!({"action": action, "nodeId": "n1", "containerName": "c",
                "containerId": "a".repeat(64)});
            for _ in 0..2 {
                let request = Request::new("POST", ACTIONS).key(&key).json(&body);
                let request = request.header("idempotency-key", action);
                let answer = call_without_leak(&world, "container-action", &request).await;
                assert_eq!(
                    (answer.status(), answer.json()["error"].as_str()),
                    (502, Some("The host cannot be reached")),
                    "{action}"
                );
            }
        }
        let entries = audit_entries(&world).await;
        assert_eq!(entries.len(), 8);
        for entry in entries {
            assert_eq!(entry["result"], json!("failed"), "{entry}");
            assert_eq!(
                entry["details"]["reason"],
                json!("The host cannot be reached")
            );
        }
    });
}

#[test]
fn an_action_is_not_performed_if_its_audit_entry_cannot_be_written() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        world
            .execute("ALTER TABLE admin_audit_log ADD CONSTRAINT no CHECK (false) NOT VALID")
            .await;
        let organization = world.organization("5").await;
        agent_on_unreachable_host(&world, organization).await;
        let body = json!({"action": "stop", "nodeId": "n1", "containerName": "c"});
        let answer = world.post_json(&key, ACTIONS, &body).await;
        // An attempt would have been 502, because the host cannot be reached.
        assert_eq!(answer.status(), 500, "{answer:?}");
    });
}
