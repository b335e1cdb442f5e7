//! `POST /api/v1/admin/agents/{agentId}/suspend`

use expect_test::expect;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::{Request, Response};
use tests::world::hours;
use tests::{World, audit, check, check_field_errors, check_problem, run};
use uuid::Uuid;

const REASON: &str = "Its database fills the disk";

async fn suspend(world: &World, key: &str, agent: Uuid) -> Response {
    let body = json!({"reason": REASON});
    world.post_json(key, &path(agent), &body).await
}

fn path(agent: Uuid) -> String {
    format!("/api/v1/admin/agents/{agent}/suspend")
}

/// The agent as its owner sees it: status, stop reason and note.
async fn shown(world: &World, key: &str, agent: Uuid) -> Value {
    let data = world.get(key, &agent_path(agent, "")).await.json()["data"].clone();
    json!([data["status"], data["stopReason"], data["stopNote"]])
}

async fn audited(world: &World) -> Vec<(String, Value)> {
    sqlx::query_as(
        "SELECT result, details - 'organizationId' FROM admin_audit_log WHERE action = 'agent.suspend' ORDER BY id",
    )
    .fetch_all(&world.pool)
    .await
    .expect("entries")
}

#[test]
fn an_operator_suspends_a_charged_agent_and_its_owner_reads_why_and_starts_it_again() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let (organization, key) = world.tenant("50").await;
        let agent = world.agent(organization, "running").await;
        world.set_clock(hours(1)).await;
        check(
            &suspend(&world, &operator, agent).await,
            expect![[r#"
                202 application/json
                {
                  "data": {
                    "agentId": "<1>",
                    "jobId": "<2>",
                    "previousStatus": "running"
                  },
                  "success": true
                }
            "#]],
        );
        assert_eq!(
            shown(&world, &key, agent).await,
            json!(["running", "operator", REASON])
        );
        let entry = ("accepted".to_owned(), json!({"reason": REASON}));
        assert_eq!(audited(&world).await, [entry]);
        let event: Value = sqlx::query_scalar("SELECT payload FROM outbox_events")
            .fetch_one(&world.pool)
            .await
            .expect("one event");
        let agents = json!([{"id": agent, "name": "agent"}]);
        assert_eq!(
            event,
            json!({"agents": agents, "agentCount": 1, "reason": REASON})
        );
        let notices = world.get(&key, "/api/v1/notices").await.json();
        assert_eq!(notices["data"][0]["kind"], "agent.stopped_by_operator");
        let saves = "SELECT count(*) FROM jobs WHERE type = 'milady_suspend' AND data ->> 'reason' = 'operator'";
        assert_eq!(world.count(saves).await, 1);
        // Metering ended with the request.
        world.run_billing(5).await;
        assert_eq!(world.charged(organization).await, rust_decimal::dec!(0.02));

        let resumed = world.post(&key, &agent_path(agent, "/resume")).await;
        assert_eq!(resumed.status(), 200, "{resumed:?}");
        assert_eq!(
            shown(&world, &key, agent).await,
            json!(["running", null, null])
        );
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_repeated_request_stops_once_and_tells_the_owner_once() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let (organization, _) = world.tenant("5").await;
        let agent = world.agent(organization, "running").await;
        let request = |reason: &str| {
            let request = Request::new("POST", &path(agent)).key(&operator);
            request
                .json(&json!({"reason": reason}))
                .header("idempotency-key", "k")
        };
        let first = world.call(request(REASON)).await;
        let again = world.call(request(REASON)).await;
        assert_eq!((again.status(), again.json()), (202, first.json()));
        assert_eq!(world.call(request("another")).await.status(), 422);
        assert_eq!(audited(&world).await.len(), 1);
        // Without the key it finds the same job.
        let without_key = suspend(&world, &operator, agent).await;
        assert_eq!(without_key.json(), first.json());
        assert_eq!(world.jobs_of(agent).await.len(), 1);
        assert_eq!(audited(&world).await.len(), 2);
        assert_eq!(
            world.events(organization).await,
            ["agent.stopped_by_operator"]
        );
    });
}

#[test]
fn what_stops_an_agent_already_stays_its_reason_unless_it_would_start_it_again() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let (organization, key) = world.tenant("50").await;
        let stopping = world.agent(organization, "running").await;
        let owners = world.post(&key, &agent_path(stopping, "/suspend")).await;
        let operators = suspend(&world, &operator, stopping).await;
        assert_eq!(operators.status(), 202);
        assert_eq!(
            operators.json()["data"]["jobId"],
            owners.json()["data"]["jobId"]
        );
        assert_eq!(
            shown(&world, &key, stopping).await,
            json!(["running", "owner", null])
        );
        let stopped = json!(["stopped", "operator", REASON]);
        let mut told = 0;
        for (status, columns, result, expected) in [
            (
                "stopped",
                "stop_reason = 'owner'",
                "already stopped",
                json!(["stopped", "owner", null]),
            ),
            (
                "stopped",
                "stop_reason = NULL",
                "already stopped",
                json!(["stopped", null, null]),
            ),
            (
                "stopped",
                "stop_reason = 'billing'",
                "already stopped",
                stopped.clone(),
            ),
            (
                "stopped",
                "stop_reason = 'drain'",
                "already stopped",
                stopped.clone(),
            ),
            (
                "error",
                "stop_reason = 'failure'",
                "stopped",
                stopped.clone(),
            ),
            ("pending", "stop_reason = NULL", "stopped", stopped.clone()),
        ] {
            let agent = world.agent(organization, status).await;
            world.set_columns(agent, columns).await;
            let answer = suspend(&world, &operator, agent).await;
            let data = json!({"agentId": agent, "previousStatus": status, "jobId": null});
            assert_eq!(answer.json()["data"], data, "{status} {columns}");
            assert_eq!(answer.status(), 200);
            assert_eq!(shown(&world, &key, agent).await, expected, "{columns}");
            let audited = audited(&world).await;
            assert_eq!(audited.last().expect("an entry").0, result, "{columns}");
            told += usize::from(expected == stopped);
            assert_eq!(world.events(organization).await.len(), told, "{columns}");
        }
        // A start that no worker has begun ends.
        let waiting = world.agent(organization, "stopped").await;
        world
            .set_columns(waiting, "stop_reason = 'owner', stop_note = NULL")
            .await;
        assert_eq!(world.start(organization, waiting).await.status(), 202);
        assert_eq!(suspend(&world, &operator, waiting).await.status(), 200);
        assert_eq!(shown(&world, &key, waiting).await, stopped);
        assert_eq!(world.jobs_of(waiting).await[0]["status"], "failed");
        // The next stop has no note of an earlier one.
        assert_eq!(world.start(organization, waiting).await.status(), 202);
        let by_owner = world.post(&key, &agent_path(waiting, "/suspend")).await;
        assert_eq!(by_owner.status(), 200, "{by_owner:?}");
        assert_eq!(
            shown(&world, &key, waiting).await,
            json!(["stopped", "owner", null])
        );
    });
}

#[test]
fn what_cannot_be_suspended_is_refused_and_changes_nothing() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let (organization, key) = world.tenant("50").await;
        let agent = world.agent(organization, "running").await;
        for body in [json!({}), json!({"reason": 1}), json!([])] {
            let refused = world.post_json(&operator, &path(agent), &body).await;
            assert_eq!(refused.status(), 400, "{body}");
        }
        let rule = "must be 1 to 300 characters without control characters, not all blank";
        for reason in [" ", "two\nlines", &"a".repeat(301)] {
            let body = json!({"reason": reason});
            check_field_errors(
                &world.post_json(&operator, &path(agent), &body).await,
                &format!("reason {rule}"),
                &[("reason", rule)],
            );
        }
        check_field_errors(
            &world
                .post_json(
                    &operator,
                    "/api/v1/admin/agents/x/suspend",
                    &json!({"reason": REASON}),
                )
                .await,
            "agentId must be a UUID",
            &[("agentId", "must be a UUID")],
        );
        check_problem(
            &suspend(&world, &operator, Uuid::new_v4()).await,
            404,
            "Agent not found",
        );
        let (moderators, moderator) = world.tenant("0").await;
        world.make_admin(moderators, "moderator").await;
        for other in [&key, &moderator] {
            assert_eq!(suspend(&world, other, agent).await.status(), 403);
        }
        let anonymous = Request::new("POST", &path(agent)).json(&json!({"reason": REASON}));
        assert_eq!(world.call(anonymous).await.status(), 401);

        let starting = world.agent(organization, "pending").await;
        assert_eq!(world.start(organization, starting).await.status(), 202);
        world
            .execute("UPDATE jobs SET status = 'in_progress', attempts = 1")
            .await;
        check_problem(
            &suspend(&world, &operator, starting).await,
            409,
            "Agent provisioning is in progress",
        );
        let deleted = world.agent(organization, "running").await;
        let deletion = Request::new("DELETE", &agent_path(deleted, "")).key(&key);
        assert_eq!(world.call(deletion).await.status(), 202);
        check_problem(
            &suspend(&world, &operator, deleted).await,
            409,
            "Agent is being deleted",
        );
        world
            .execute("ALTER TABLE milady_sandboxes DROP CONSTRAINT milady_sandboxes_status_check")
            .await;
        world.set_columns(agent, "status = 'sleeping'").await;
        check_problem(
            &suspend(&world, &operator, agent).await,
            409,
            "The agent has a status that this version does not know",
        );
        assert!(audited(&world).await.is_empty());
        assert_eq!(world.events(organization).await.len(), 0);
        assert_eq!(world.jobs_of(agent).await.len(), 0);
    });
}
