//! `/api/v1/limits` and `/api/v1/admin/organizations/{organizationId}/limits`. What is refused because of a limit is
//! tested in `agents::limits`, `agents::stream_limits`, `agents::snapshot_limits` and `jobs::limits`.

use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::{Request, Response};
use tests::world::minutes;
use tests::{World, check_field_errors, check_problem, run};
use uuid::Uuid;

const LIMITS: &str = "/api/v1/limits";

fn path(organization: impl std::fmt::Display) -> String {
    format!("/api/v1/admin/organizations/{organization}/limits")
}

async fn change(world: &World, key: &str, organization: Uuid, body: &Value) -> Response {
    let request = Request::new("PATCH", &path(organization)).key(key);
    world.call(request.json(body)).await
}

/// The entry of one limit.
fn limit(response: &Response, name: &str) -> Value {
    let data = response.json()["data"].clone();
    let all = data["limits"].as_array().or(data.as_array()).cloned();
    let mut all = all.expect("limits").into_iter();
    all.find(|one| one["limit"] == name).expect(name)
}

#[test]
fn f49_an_organization_sees_its_limits_and_what_it_uses_of_them() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let (others, others_key) = world.tenant("50").await;
        world.agent(others, "pending").await;
        let saved = world.agent(organization, "running").await;
        for minute in [0, 30] {
            world.set_clock(minutes(minute)).await;
            world.snapshot_request(organization, saved, 20).await;
        }
        let another = world.agent(others, "running").await;
        world.snapshot_request(others, another, 20).await;
        let first = world.agent(organization, "pending").await;
        let second = world.agent(organization, "pending").await;
        for agent in [first, first, second] {
            let start = world.post(&key, &agent_path(agent, "/provision")).await;
            assert_eq!(start.status(), 202, "{start:?}");
            world
                .execute("UPDATE jobs SET status = 'in_progress' WHERE status = 'pending'")
                .await;
            if agent == first {
                // With a second attempt.
                world
                    .execute("UPDATE jobs SET status = 'failed', attempts = 2")
                    .await;
            }
        }
        let third = world.agent(organization, "pending").await;
        world.post(&key, &agent_path(third, "/provision")).await;
        sqlx::query(
            "INSERT INTO cloud.open_streams (organization_id, expires_at)
            SELECT $1, billing_clock() + n * interval '1 minute' FROM unnest(ARRAY[-1, 1, 2]) n",
        )
        .bind(organization)
        .execute(&world.pool)
        .await
        .expect("streams");
        world.set_limit(organization, "agents", 300).await;
        let response = world.get(&key, LIMITS).await;
        let entry = |(name, allowed, used): (&str, i64, i64)| json!({"limit": name, "allowed": allowed, "used": used});
        let expected = [
            ("agents", 300, 4),
            ("activeStarts", 50, 2),
            ("runningStarts", 10, 1),
            ("openStreams", 20, 2),
            ("startsPerAgentAndHour", 10, 4),
            ("runningSnapshots", 10, 1),
            ("snapshotsPerHour", 60, 2),
            ("snapshotsPerAgentAndHour", 6, 2),
            ("snapshotsPerAgentAndMinute", 1, 1),
        ];
        let expected = expected.map(entry);
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.json(), json!({"success": true, "data": expected}));
        let tag = response.header("etag").expect("a tag");
        let again = Request::new("GET", LIMITS).key(&key);
        let again = again.header("if-none-match", tag);
        assert_eq!(world.call(again).await.status(), 304);
        let others = world.get(&others_key, LIMITS).await;
        let untouched = json!({"limit": "agents", "allowed": 200, "used": 2});
        assert_eq!(limit(&others, "agents"), untouched);
        let nobody = world.call(Request::new("GET", LIMITS)).await;
        assert_eq!(nobody.status(), 401);
    });
}

#[test]
fn f49_an_operator_changes_limits_of_an_organization_and_null_brings_back_the_default() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let (organization, key) = world.tenant("50").await;
        world.agent(organization, "pending").await;
        let untouched = world.get(&operator, &path(organization)).await;
        let entry = json!({"limit": "agents", "default": 200, "override": null, "allowed": 200,
            "used": 1, "minimum": 0, "maximum": 10_000});
        assert_eq!(limit(&untouched, "agents"), entry);
        let data = untouched.json()["data"].clone();
        assert_eq!(data["organizationId"], json!(organization));
        assert_eq!(
            (&data["updatedAt"], &data["updatedBy"]),
            (&Value::Null, &Value::Null)
        );
        world.set_clock(minutes(1)).await;
        let body = json!({"agents": 3, "openStreams": 0, "unknown": 1});
        let changed = change(&world, &operator, organization, &body).await;
        assert_eq!(changed.status(), 200, "{changed:?}");
        let read = world.get(&operator, &path(organization)).await;
        assert_eq!(changed.json(), read.json());
        assert_eq!(limit(&read, "agents")["override"], json!(3));
        assert_eq!(limit(&read, "openStreams")["allowed"], json!(0));
        assert_eq!(limit(&read, "activeStarts")["override"], Value::Null);
        let data = read.json()["data"].clone();
        assert_eq!(data["updatedAt"], json!("2026-03-01T00:01:00.000Z"));
        // The owner sees what holds, and another organization keeps the defaults.
        let own = world.get(&key, LIMITS).await;
        assert_eq!(limit(&own, "agents")["allowed"], json!(3));
        let (_, others_key) = world.tenant("50").await;
        let others = world.get(&others_key, LIMITS).await;
        assert_eq!(limit(&others, "agents")["allowed"], json!(200));
        let body = json!({"agents": null, "runningStarts": 7});
        let changed = change(&world, &operator, organization, &body).await;
        assert_eq!(limit(&changed, "agents"), entry);
        assert_eq!(limit(&changed, "openStreams")["override"], json!(0));
        let logged: Vec<Value> = sqlx::query_scalar(
            "SELECT jsonb_build_array(jsonb_strip_nulls(details), result) FROM admin_audit_log
            WHERE action = 'organization.limits' AND subject = $1::text ORDER BY id",
        )
        .bind(organization)
        .fetch_all(&world.pool)
        .await
        .expect("entries");
        let first = json!({"before": {}, "after": {"agents": 3, "openStreams": 0}});
        let second = json!({
            "before": {"agents": 3, "openStreams": 0},
            "after": {"openStreams": 0, "runningStarts": 7},
        });
        assert_eq!(
            logged,
            [json!([first, "changed"]), json!([second, "changed"])]
        );
    });
}

#[test]
fn limits_out_of_bounds_are_refused_and_nothing_is_changed() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let (organization, _) = world.tenant("50").await;
        for (name, maximum) in [
            ("agents", 10_000),
            ("activeStarts", 10_000),
            ("runningStarts", 1_000),
            ("openStreams", 1_000),
            ("startsPerAgentAndHour", 1_000),
            ("runningSnapshots", 1_000),
            ("snapshotsPerHour", 10_000),
            ("snapshotsPerAgentAndHour", 9),
            ("snapshotsPerAgentAndMinute", 9),
        ] {
            let minimum = i32::from(name == "runningStarts");
            let rule = format!("must be a whole number from {minimum} to {maximum}, or null");
            for value in [
                json!(minimum - 1),
                json!(maximum + 1),
                json!(1.5),
                json!("1"),
            ] {
                let other = if name == "agents" {
                    "openStreams"
                } else {
                    "agents"
                };
                let body = json!({name: value, other: 1});
                check_field_errors(
                    &change(&world, &operator, organization, &body).await,
                    &format!("{name} {rule}"),
                    &[(name, rule.as_str())],
                );
            }
        }
        for body in [json!({}), json!({"unknown": 1})] {
            check_field_errors(
                &change(&world, &operator, organization, &body).await,
                "body must name at least one limit",
                &[("body", "must name at least one limit")],
            );
        }
        let rows = "SELECT count(*) FROM cloud.organization_limits";
        assert_eq!(world.count(rows).await, 0);
        for value in [0, 10_000] {
            let body = json!({"agents": value});
            let changed = change(&world, &operator, organization, &body).await;
            assert_eq!(limit(&changed, "agents")["allowed"], json!(value));
        }
    });
}

#[test]
fn only_super_admins_see_and_change_the_limits_of_organizations() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let (organization, owner) = world.tenant("50").await;
        let (moderators, moderator) = world.tenant("50").await;
        world.make_admin(moderators, "moderator").await;
        let body = json!({"agents": 5});
        for key in [owner, moderator] {
            let seen = world.get(&key, &path(organization)).await;
            check_problem(&seen, 403, "Only operators may do this");
            let changed = change(&world, &key, organization, &body).await;
            check_problem(&changed, 403, "Only operators may do this");
        }
        for method in ["GET", "PATCH"] {
            let nobody = Request::new(method, &path(organization)).json(&body);
            assert_eq!(world.call(nobody).await.status(), 401, "{method}");
            let malformed = Request::new(method, &path("x")).key(&operator);
            let refused = world.call(malformed.json(&body)).await;
            check_field_errors(
                &refused,
                "organizationId must be a UUID",
                &[("organizationId", "must be a UUID")],
            );
            let unknown = Request::new(method, &path(Uuid::nil())).key(&operator);
            let refused = world.call(unknown.json(&body)).await;
            check_problem(&refused, 404, "Organization not found");
        }
        let rows = "SELECT count(*) FROM cloud.organization_limits";
        assert_eq!(world.count(rows).await, 0);
    });
}
