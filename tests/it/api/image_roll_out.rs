//! `GET|POST|PATCH|DELETE /api/v1/admin/image-roll-out`

use serde_json::{Value, json};
use tests::suite::{Request, Response};
use tests::{World, check_field_errors, run};

const PATH: &str = "/api/v1/admin/image-roll-out";
/// The default image of the functions.
const IMAGE: &str = "milady/agent:cloud-full-ui";

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// Records that two hosts have version 2 of the default image, and one has version 1.
async fn world_with_upkeep() -> World {
    let world = World::new().await;
    for (host, digit) in [("n1", '1'), ("n2", '2'), ("n3", '2')] {
        sqlx::query(
            "INSERT INTO cloud.host_upkeep (node_id, not_before, checked_at, image, image_digest)
            VALUES ($1, billing_clock(), billing_clock(), $2, $3)",
        )
        .bind(host)
        .bind(IMAGE)
        .bind(digest(digit))
        .execute(&world.pool)
        .await
        .expect("an upkeep");
    }
    world
}

async fn call(world: &World, key: &str, method: &str, body: Option<Value>) -> Response {
    let request = Request::new(method, PATH).key(key);
    let request = body.iter().fold(request, Request::json);
    world.call(request).await
}

fn refusal(response: &Response) -> (u64, Value) {
    (response.status(), response.json()["error"].clone())
}

async fn actions(world: &World) -> Vec<String> {
    sqlx::query_scalar("SELECT action FROM admin_audit_log ORDER BY id")
        .fetch_all(&world.pool)
        .await
        .expect("entries")
}

#[test]
fn f69_a_roll_out_is_shown_started_paused_resumed_and_cancelled() {
    run(async {
        let world = world_with_upkeep().await;
        let key = world.super_admin().await;
        let organization = world.organization("10").await;
        let version = "image_digest = 'sha256:1111111111111111111111111111111111111111111111111111111111111111'";
        for (status, columns) in [
            ("running", version),
            // The row names the default image.
            ("running", "docker_image = 'milady/agent:cloud-full-ui'"),
            // Its owner chose another one.
            ("running", "docker_image = 'milady/other:1'"),
            (
                "running",
                "image_digest = 'sha256:2222222222222222222222222222222222222222222222222222222222222222'",
            ),
            ("running", "stop_requested_at = billing_clock()"),
            ("stopped", version),
        ] {
            let agent = world.agent(organization, status).await;
            world.set_columns(agent, columns).await;
        }
        let shown = call(&world, &key, "GET", None).await;
        assert_eq!(shown.status(), 200, "{shown:?}");
        let expected = json!({"success": true, "data": {
            "image": IMAGE, "digest": digest('2'), "outdated": 2, "rollOut": null,
        }});
        assert_eq!(shown.json(), expected);

        let body = json!({"digest": digest('2')});
        let mut started = call(&world, &key, "POST", Some(body.clone())).await.json();
        let roll_out = &mut started["data"]["rollOut"];
        assert!(roll_out["requestedBy"].is_string(), "{roll_out}");
        roll_out["requestedBy"] = Value::Null;
        let expected = json!({
            "image": IMAGE, "digest": digest('2'), "state": "running", "pauseReason": null,
            "requestedAt": roll_out["requestedAt"], "requestedBy": null, "restartsAtOnce": 3, "doneAt": null,
            "waiting": 2, "underWay": 0, "restarted": 0, "failed": 0, "skipped": 0, "agents": [],
        });
        assert_eq!(*roll_out, expected);

        let again = call(&world, &key, "POST", Some(body.clone())).await;
        let error = json!("A roll-out is under way; cancel it first");
        assert_eq!(refusal(&again), (409, error));
        let change = async |paused: bool| {
            let body = json!({"paused": paused});
            call(&world, &key, "PATCH", Some(body)).await
        };
        let error = json!("The roll-out is not paused");
        assert_eq!(refusal(&change(false).await), (409, error));
        let paused = change(true).await.json();
        assert_eq!(paused["data"]["rollOut"]["state"], json!("paused"));
        let error = json!("The roll-out is paused already");
        assert_eq!(refusal(&change(true).await), (409, error));
        let resumed = change(false).await.json();
        assert_eq!(resumed["data"]["rollOut"]["state"], json!("running"));
        let cancelled = call(&world, &key, "DELETE", None).await.json();
        let roll_out = &cancelled["data"]["rollOut"];
        assert_eq!(roll_out["state"], json!("cancelled"), "{cancelled}");
        assert_ne!(roll_out["doneAt"], Value::Null, "{cancelled}");
        for response in [
            call(&world, &key, "DELETE", None).await,
            change(true).await,
            change(false).await,
        ] {
            let error = json!("No roll-out is under way");
            assert_eq!(refusal(&response), (409, error));
        }
        let expected = ["start", "pause", "resume", "cancel"];
        let expected = expected.map(|action| format!("image_roll_out.{action}"));
        assert_eq!(actions(&world).await, expected);
        // An ended roll-out makes room for another one.
        let other = json!({"digest": digest('1'), "restartsAtOnce": 20});
        let started = call(&world, &key, "POST", Some(other)).await;
        assert_eq!(started.status(), 200, "{started:?}");
        assert_eq!(
            started.json()["data"]["rollOut"]["restartsAtOnce"],
            json!(20)
        );
    });
}

#[test]
fn f69_a_version_that_no_host_has_and_a_body_that_is_not_valid_are_refused() {
    run(async {
        let world = world_with_upkeep().await;
        let key = world.super_admin().await;
        let unknown = json!({"digest": digest('3')});
        let refused = call(&world, &key, "POST", Some(unknown)).await;
        let error = json!("No host has this version of the default image");
        assert_eq!(refusal(&refused), (409, error));
        let rule = "must be sha256: and 64 hexadecimal digits";
        for text in ["latest", "sha256:12", "sha512:12"] {
            let body = json!({"digest": text});
            let refused = call(&world, &key, "POST", Some(body)).await;
            check_field_errors(&refused, &format!("digest {rule}"), &[("digest", rule)]);
        }
        let missing = call(&world, &key, "POST", Some(json!({}))).await;
        check_field_errors(&missing, "digest is required", &[("digest", "is required")]);
        let rule = "must be a whole number from 1 to 20";
        for number in [json!(0), json!(21), json!("3")] {
            let body = json!({"digest": digest('2'), "restartsAtOnce": number});
            let refused = call(&world, &key, "POST", Some(body)).await;
            let text = format!("restartsAtOnce {rule}");
            check_field_errors(&refused, &text, &[("restartsAtOnce", rule)]);
        }
        let missing = call(&world, &key, "PATCH", Some(json!({}))).await;
        check_field_errors(&missing, "paused is required", &[("paused", "is required")]);
        let rule = "must be true or false";
        let refused = call(&world, &key, "PATCH", Some(json!({"paused": "yes"}))).await;
        check_field_errors(&refused, &format!("paused {rule}"), &[("paused", rule)]);
        assert_eq!(actions(&world).await, [""; 0]);
        assert_eq!(
            world
                .count("SELECT count(*) FROM cloud.image_roll_outs")
                .await,
            0
        );
    });
}

#[test]
fn only_super_admins_may_roll_out_an_image() {
    run(async {
        let world = world_with_upkeep().await;
        let (_, owner) = world.tenant("10").await;
        let (moderators, moderator) = world.tenant("10").await;
        world.make_admin(moderators, "moderator").await;
        for (method, body) in [
            ("GET", None),
            ("POST", Some(json!({"digest": digest('2')}))),
            ("PATCH", Some(json!({"paused": true}))),
            ("DELETE", None),
        ] {
            let request = body.iter().fold(Request::new(method, PATH), Request::json);
            let nobody = world.call(request).await;
            assert_eq!(nobody.status(), 401, "{method}");
            for key in [&owner, &moderator] {
                let refused = call(&world, key, method, body.clone()).await;
                assert_eq!(refused.status(), 403, "{method}");
            }
        }
        assert_eq!(actions(&world).await, [""; 0]);
    });
}
