//! Agents that billing stopped start again after a top-up, and their owners are told once.

use std::time::Duration;

use dev::runtime::Outcome;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::Request;
use tests::world::{hours, minutes};
use tests::{World, run};
use uuid::Uuid;

use super::{
    Bus, NO_HOST, RETRIED, agent_status, in_error, publishing_function, run_job, seconds,
    set_balance, start_bus, sweep, try_sweep,
};

/// Runs a sweep. Returns how many agents it started again.
pub(super) async fn resumed(world: &World, bus: &Bus) -> u64 {
    let swept = sweep(world, bus).await;
    swept["resumed"].as_u64().expect("a count")
}

/// Stops an agent as a billing run and its stop job do.
pub(super) async fn stop_for_debt(world: &World, agent: Uuid) {
    let columns = "status = 'stopped', billing_status = 'suspended', stop_reason = 'billing'";
    world.set_columns(agent, columns).await;
}

/// An agent that billing stopped.
pub(super) async fn stopped_agent(world: &World, organization: Uuid) -> Uuid {
    let agent = world.agent(organization, "running").await;
    stop_for_debt(world, agent).await;
    agent
}

pub(super) async fn starts_of(world: &World, agent: Uuid) -> usize {
    let jobs = world.jobs_of(agent).await;
    let starts = jobs.iter().filter(|job| job["type"] == "milady_provision");
    starts.count()
}

pub(super) async fn stop_reason(world: &World, agent: Uuid) -> Option<String> {
    sqlx::query_scalar("SELECT stop_reason FROM milady_sandboxes WHERE id = $1")
        .bind(agent)
        .fetch_one(&world.pool)
        .await
        .expect("an agent")
}

/// The events of these starts: type and payload.
pub(super) async fn told(world: &World, organization: Uuid) -> Vec<(String, Value)> {
    sqlx::query_as(
        "SELECT type, payload FROM outbox_events WHERE organization_id = $1
            AND type IN ('agent.resumed', 'agent.start_failed') ORDER BY id",
    )
    .bind(organization)
    .fetch_all(&world.pool)
    .await
    .expect("events")
}

/// Ends the active starts of an organization as workers do if nothing fails.
pub(super) async fn complete_starts(world: &World, organization: Uuid) {
    for sql in [
        "UPDATE milady_sandboxes a SET status = 'provisioning' FROM jobs j
        WHERE j.agent_id = a.id AND j.type = 'milady_provision' AND j.status = 'pending' AND a.organization_id = $1",
        "UPDATE milady_sandboxes SET status = 'running' WHERE status = 'provisioning' AND organization_id = $1",
        "UPDATE jobs SET status = 'completed', completed_at = billing_clock() AT TIME ZONE 'UTC'
        WHERE type = 'milady_provision' AND organization_id = $1",
    ] {
        sqlx::query(sql)
            .bind(organization)
            .execute(&world.pool)
            .await
            .expect(sql);
    }
}

async fn start_job(world: &World, agent: Uuid) -> Uuid {
    sqlx::query_scalar("SELECT id FROM jobs WHERE agent_id = $1 AND type = 'milady_provision'")
        .bind(agent)
        .fetch_one(&world.pool)
        .await
        .expect("a start")
}

async fn grant(world: &World, organization: Uuid, amount: u32) {
    let key = world.super_admin().await;
    let body = json!({"organizationId": organization, "amount": amount, "reason": "paid"});
    let request = Request::new("POST", "/api/v1/admin/credits").key(&key);
    let granted = world
        .call(request.json(&body).header("idempotency-key", "once"))
        .await;
    assert_eq!(granted.status(), 201, "{granted:?}");
}

#[test]
fn after_a_top_up_an_agent_that_billing_stopped_starts_again_and_its_owner_is_told_once() {
    run(async {
        for is_by_route in [true, false] {
            let (world, bus) = (World::new().await, start_bus().await);
            let (organization, key) = world.tenant("0").await;
            let agent = world.agent(organization, "running").await;
            world.run_billing(1).await;
            world.mark_events_handed_over().await;
            world.run_billing(49).await;
            let shown = world.get(&key, &agent_path(agent, "")).await;
            assert_eq!(shown.json()["data"]["stopReason"], json!("billing"));
            let stop: Uuid = sqlx::query_scalar("SELECT id FROM jobs")
                .fetch_one(&world.pool)
                .await
                .expect("a stop");
            // Without a container there is nothing on a host to remove.
            assert_eq!(run_job(&world, stop).await, "completed");
            assert_eq!(agent_status(&world, agent).await.0, "stopped");
            assert_eq!(resumed(&world, &bus).await, 0);

            world.set_clock(minutes(49 * 60 + 1)).await;
            if is_by_route {
                grant(&world, organization, 10).await;
            } else {
                world.top_up(organization, "10").await;
            }
            assert_eq!(resumed(&world, &bus).await, 1);
            let start = start_job(&world, agent).await;
            assert!(super::announced_jobs(&bus).contains(&start));
            assert_eq!(resumed(&world, &bus).await, 0);
            assert!(told(&world, organization).await.is_empty());
            complete_starts(&world, organization).await;
            for _ in 0..2 {
                assert_eq!(resumed(&world, &bus).await, 0);
                let payload = json!({"agents": [{"id": agent, "name": "agent"}], "agentCount": 1});
                assert_eq!(
                    told(&world, organization).await,
                    [("agent.resumed".to_owned(), payload)]
                );
            }
            assert_eq!(stop_reason(&world, agent).await, None);
            // The debt is charged, and then the new hours.
            world.run_billing(51).await;
            assert_eq!(world.agent_row(agent).await.billing_status, "active");
            assert_eq!(
                world
                    .count("SELECT count(*) FROM cloud.resume_attempts")
                    .await,
                0
            );
        }
    });
}

#[test]
fn an_agent_whose_stop_no_worker_has_begun_keeps_running() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let organization = world.organization("0").await;
        let agent = world.agent(organization, "running").await;
        world.run_billing(1).await;
        world.mark_events_handed_over().await;
        world.run_billing(49).await;
        world.top_up(organization, "10").await;
        assert_eq!(resumed(&world, &bus).await, 1);
        let row = world.agent_row(agent).await;
        assert_eq!(
            (row.status.as_str(), row.billing_status.as_str()),
            ("running", "active")
        );
        assert_eq!(stop_reason(&world, agent).await, None);
        assert_eq!(starts_of(&world, agent).await, 0);
        assert_eq!(told(&world, organization).await.len(), 1);
        assert_eq!(resumed(&world, &bus).await, 0);
        assert_eq!(told(&world, organization).await.len(), 1);
    });
}

#[test]
fn a_top_up_that_is_too_small_for_all_starts_those_that_stopped_first() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let organization = world.organization("0").await;
        let mut agents = Vec::new();
        for _ in 0..3 {
            let agent = world.agent(organization, "running").await;
            // A day of one costs 4.80: 5 suffice for one, 9.60 for two.
            world.set_columns(agent, "hourly_rate = 0.2").await;
            agents.push(agent);
        }
        // The last one stopped first.
        for (at, index) in [(1, 2), (2, 0), (3, 1)] {
            world.set_clock(minutes(at)).await;
            stop_for_debt(&world, agents[index]).await;
        }
        set_balance(&world, organization, "10").await;
        assert_eq!(resumed(&world, &bus).await, 2);
        let starts = [
            starts_of(&world, agents[0]).await,
            starts_of(&world, agents[1]).await,
            starts_of(&world, agents[2]).await,
        ];
        assert_eq!(starts, [1, 0, 1]);
        // Credit that is spent and bought again is a top-up, however much there once was.
        set_balance(&world, organization, "2").await;
        assert_eq!(resumed(&world, &bus).await, 0);
        set_balance(&world, organization, "9").await;
        assert_eq!(resumed(&world, &bus).await, 0);
        set_balance(&world, organization, "15").await;
        assert_eq!(resumed(&world, &bus).await, 1);
        assert_eq!(starts_of(&world, agents[1]).await, 1);
    });
}

#[test]
fn a_refusal_is_repeated_after_a_top_up_or_after_an_hour() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let organization = world.organization("4").await;
        let agent = stopped_agent(&world, organization).await;
        assert_eq!(resumed(&world, &bus).await, 0);
        let due = "SELECT extract(epoch FROM due_at - billing_clock())::bigint FROM cloud.resume_attempts";
        assert_eq!(world.count(due).await, 3600);
        // No attempt: its time stays.
        world.set_clock(minutes(30)).await;
        assert_eq!(resumed(&world, &bus).await, 0);
        assert_eq!(world.count(due).await, 1800);
        // A top-up that is too small is an attempt.
        set_balance(&world, organization, "4.5").await;
        assert_eq!(resumed(&world, &bus).await, 0);
        assert_eq!(world.count(due).await, 3600);
        // Without a top-up, less is needed: an operator has exempted the agent.
        world.set_columns(agent, "billing_status = 'exempt'").await;
        world.set_clock(minutes(89)).await;
        assert_eq!(resumed(&world, &bus).await, 0);
        world.set_clock(minutes(90)).await;
        assert_eq!(resumed(&world, &bus).await, 1);
        assert_eq!(starts_of(&world, agent).await, 1);
    });
}

#[test]
fn an_exempt_agent_starts_before_those_that_have_to_be_paid() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let organization = world.organization("0").await;
        let unpaid = stopped_agent(&world, organization).await;
        world.set_clock(minutes(1)).await;
        let exempt = stopped_agent(&world, organization).await;
        world.set_columns(exempt, "billing_status = 'exempt'").await;
        assert_eq!(resumed(&world, &bus).await, 1);
        assert_eq!(starts_of(&world, exempt).await, 1);
        assert_eq!(starts_of(&world, unpaid).await, 0);
    });
}

#[test]
fn agents_that_stand_still_for_another_reason_are_left_alone() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (organization, key) = world.tenant("0").await;
        // Suspended later, with the debt of its storage.
        let before = world.agent(organization, "running").await;
        let suspended = world.post(&key, &agent_path(before, "/suspend")).await;
        assert_eq!(suspended.status(), 202, "{suspended:?}");
        let after = stopped_agent(&world, organization).await;
        let suspended = world.post(&key, &agent_path(after, "/suspend")).await;
        assert_eq!(suspended.status(), 200, "{suspended:?}");
        let others = world.agent(organization, "running").await;
        world.set_status(others, "stopped").await;
        let failed = world.agent(organization, "error").await;
        world.set_columns(failed, "stop_reason = 'failure'").await;
        let agents = [before, after, others, failed];
        for agent in agents {
            world
                .set_columns(agent, "billing_status = 'suspended'")
                .await;
        }
        world
            .execute(
                "UPDATE jobs SET status = 'completed';
                UPDATE milady_sandboxes SET status = 'stopped' WHERE status = 'running'",
            )
            .await;
        set_balance(&world, organization, "100").await;
        assert_eq!(resumed(&world, &bus).await, 0);
        let mut reasons = Vec::new();
        for agent in agents {
            assert_eq!(starts_of(&world, agent).await, 0);
            reasons.push(stop_reason(&world, agent).await);
        }
        let owner = Some("owner".to_owned());
        let expected = [owner.clone(), owner, None, Some("failure".to_owned())];
        assert_eq!(reasons, expected);
    });
}

#[test]
fn a_billing_run_does_not_take_over_the_owners_stop() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("0").await;
        let agent = world.agent(organization, "running").await;
        world.run_billing(1).await;
        world.mark_events_handed_over().await;
        // The stop is accepted, and its host has not answered yet.
        let suspended = world.post(&key, &agent_path(agent, "/suspend")).await;
        assert_eq!(suspended.status(), 202, "{suspended:?}");
        world.run_billing(49).await;
        assert_eq!(world.agent_row(agent).await.billing_status, "suspended");
        assert_eq!(stop_reason(&world, agent).await.as_deref(), Some("owner"));
    });
}

#[test]
fn an_owner_who_does_not_want_it_and_an_inactive_organization_start_nothing() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (organization, key) = world.tenant("10").await;
        let agent = stopped_agent(&world, organization).await;
        let set = async |wanted: bool| {
            let request = Request::new("PATCH", "/api/v1/settings").key(&key);
            let body = json!({"automaticResume": wanted});
            let changed = world.call(request.json(&body)).await;
            assert_eq!(changed.status(), 200, "{changed:?}");
        };
        set(false).await;
        assert_eq!(resumed(&world, &bus).await, 0);
        set(true).await;
        world
            .execute("UPDATE organizations SET is_active = false")
            .await;
        assert_eq!(resumed(&world, &bus).await, 0);
        world
            .execute("UPDATE organizations SET is_active = true")
            .await;
        assert_eq!(resumed(&world, &bus).await, 1);
        assert_eq!(starts_of(&world, agent).await, 1);
    });
}

#[test]
fn a_start_that_fails_is_not_repeated_and_its_owner_is_told_why() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let organization = world.organization("10").await;
        let agent = stopped_agent(&world, organization).await;
        assert_eq!(resumed(&world, &bus).await, 1);
        let start = start_job(&world, agent).await;
        for at in [0, 30] {
            world.set_clock(seconds(at)).await;
            assert_eq!(run_job(&world, start).await, RETRIED);
            assert_eq!(resumed(&world, &bus).await, 0);
            assert!(told(&world, organization).await.is_empty());
        }
        world.set_clock(seconds(150)).await;
        assert_eq!(run_job(&world, start).await, "failed");
        assert_eq!(agent_status(&world, agent).await, in_error(NO_HOST));
        assert_eq!(stop_reason(&world, agent).await.as_deref(), Some("failure"));
        let payload =
            json!({"agents": [{"id": agent, "name": "agent"}], "agentCount": 1, "reason": NO_HOST});
        // Neither an hour nor another top-up starts it again.
        for at in [hours(1), hours(2)] {
            assert_eq!(resumed(&world, &bus).await, 0);
            assert_eq!(
                told(&world, organization).await,
                [("agent.start_failed".to_owned(), payload.clone())]
            );
            world.set_clock(at).await;
            world.top_up(organization, "50").await;
        }
        assert_eq!(starts_of(&world, agent).await, 1);
    });
}

#[test]
fn credit_that_is_spent_before_the_worker_asks_for_it_fails_the_start_once_per_top_up() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let organization = world.organization("10").await;
        let agent = stopped_agent(&world, organization).await;
        assert_eq!(resumed(&world, &bus).await, 1);
        set_balance(&world, organization, "1").await;
        assert_eq!(
            run_job(&world, start_job(&world, agent).await).await,
            "failed"
        );
        for _ in 0..2 {
            assert_eq!(resumed(&world, &bus).await, 0);
            let told = told(&world, organization).await;
            assert_eq!((told.len(), told[0].0.as_str()), (1, "agent.start_failed"));
            assert_eq!(
                told[0].1["reason"],
                json!("Insufficient credits: $5 required, $1 available")
            );
        }
        assert_eq!(stop_reason(&world, agent).await.as_deref(), Some("billing"));
        world.top_up(organization, "9").await;
        assert_eq!(resumed(&world, &bus).await, 1);
        assert_eq!(starts_of(&world, agent).await, 2);
    });
}

#[test]
fn nobody_is_told_of_what_a_deleted_organization_had() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let organization = world.organization("10").await;
        stopped_agent(&world, organization).await;
        let waiting = world.organization("0").await;
        stopped_agent(&world, waiting).await;
        assert_eq!(resumed(&world, &bus).await, 1);
        world.execute("DELETE FROM organizations").await;
        assert_eq!(resumed(&world, &bus).await, 0);
        assert!(told(&world, organization).await.is_empty());
        for left in [
            "SELECT count(*) FROM cloud.resume_attempts",
            "SELECT count(*) FROM cloud.resume_notices",
        ] {
            assert_eq!(world.count(left).await, 0, "{left}");
        }
    });
}

#[test]
fn concurrent_sweeps_start_each_agent_once_and_tell_its_owner_once() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let sweeper = publishing_function(&world, "job-sweep", &bus);
        let (one, two) = (sweeper.start().await, sweeper.start().await);
        let both = async || {
            let minute = Duration::from_mins(1);
            let (first, second) =
                tokio::join!(one.invoke(json!({}), minute), two.invoke(json!({}), minute));
            let count = |outcome: Outcome| match outcome {
                Outcome::Success(counts) => counts["resumed"].as_u64().expect("a count"),
                other => panic!("job-sweep failed: {other:?}"),
            };
            count(first) + count(second)
        };
        for _ in 0..3 {
            let organization = world.organization("100").await;
            let mut agents = Vec::new();
            for _ in 0..5 {
                agents.push(stopped_agent(&world, organization).await);
            }
            assert_eq!(both().await, 5);
            for agent in &agents {
                assert_eq!(starts_of(&world, *agent).await, 1);
            }
            complete_starts(&world, organization).await;
            assert_eq!(both().await, 0);
            let told = told(&world, organization).await;
            assert_eq!(told.len(), 1);
            assert_eq!(told[0].1["agentCount"], json!(5));
        }
    });
}

#[test]
fn a_sweep_that_dies_before_its_commit_leaves_nothing_and_the_next_one_starts_the_agent() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let organization = world.organization("10").await;
        let agent = stopped_agent(&world, organization).await;
        let doomed = publishing_function(&world, "job-sweep", &bus).start().await;
        // It has enqueued the job when it waits for this lock.
        let mut holder = world.pool.begin().await.expect("begin");
        sqlx::query("LOCK TABLE cloud.resume_notices IN ACCESS EXCLUSIVE MODE")
            .execute(&mut *holder)
            .await
            .expect("a lock");
        let (outcome, ()) = tokio::join!(doomed.invoke(json!({}), Duration::from_mins(1)), async {
            world.wait_until_a_session_is_blocked().await;
            doomed.kill().await;
        });
        assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
        holder.rollback().await.expect("rollback");
        assert_eq!(resumed(&world, &bus).await, 1);
        assert_eq!(starts_of(&world, agent).await, 1);
        // If EventBridge is down, the job stays due, and the next sweep announces it. Within two minutes it would not be
        // announced again.
        world.set_clock(minutes(3)).await;
        bus.set_down(true);
        assert!(matches!(
            try_sweep(&world, &bus).await,
            Outcome::FunctionError { .. }
        ));
        bus.set_down(false);
        assert_eq!(resumed(&world, &bus).await, 0);
        assert_eq!(starts_of(&world, agent).await, 1);
    });
}
