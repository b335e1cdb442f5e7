//! The sweep, once a minute: no event and no job is forgotten, and nothing is done twice.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use dev::events::EventBus;
use dev::runtime::Outcome;
use serde_json::{Value, json};
use shared::domain::ids::{AgentId, AgentRef, OrganizationId};
use tests::calls::agent_path;
use tests::suite::Request;
use tests::world::hours;
use tests::{World, run};
use uuid::Uuid;

use super::{
    ANNOUNCED, Bus, STALE, agent_status, announced_jobs, in_error, job, job_id, provision,
    publishing_function, run_job, seconds, start_bus, sweep, tenant_with_agent, try_sweep,
};

/// Runs a sweep that fails. Returns its error.
async fn failed_sweep(world: &World, bus: &Bus) -> String {
    match try_sweep(world, bus).await {
        Outcome::FunctionError { message, .. } => message,
        other => panic!("not an error: {other:?}"),
    }
}

/// The events of the outbox as they are to be published: type and detail.
async fn expected_events(world: &World) -> Vec<(String, Value)> {
    let rows: Vec<(i64, String, Uuid, Value, DateTime<Utc>)> = sqlx::query_as(
        "SELECT id, type, organization_id, payload, occurred_at FROM outbox_events ORDER BY id",
    )
    .fetch_all(&world.pool)
    .await
    .expect("the outbox");
    let event = |(id, kind, organization, mut payload, at): (_, _, _, Value, DateTime<Utc>)| {
        payload["id"] = json!(id);
        payload["organizationId"] = json!(organization);
        payload["occurredAt"] = json!(at.to_rfc3339_opts(SecondsFormat::Millis, true));
        (kind, payload)
    };
    rows.into_iter().map(event).collect()
}

/// The events that the bus received, without product events.
fn received(bus: &EventBus) -> Vec<Value> {
    let events = bus.received().into_iter();
    let is_other = |event: &Value| event["detail-type"] != "product.events";
    events.filter(is_other).collect()
}

/// The same: type and detail.
fn received_events(bus: &EventBus) -> Vec<(String, Value)> {
    let events = received(bus).into_iter().map(|event| {
        let kind = event["detail-type"].as_str().expect("a type").to_owned();
        (kind, event["detail"].clone())
    });
    events.collect()
}

async fn unpublished(world: &World) -> i64 {
    let unpublished = "SELECT count(*) FROM outbox_events WHERE published_at IS NULL";
    world.count(unpublished).await
}

/// Billing warns two owners, and suspends one of them two days later.
async fn run_billing(world: &World) {
    let low = world.organization("1.5").await;
    world.agent(low, "running").await;
    let debtor = world.organization("0").await;
    world.agent(debtor, "running").await;
    world.run_billing(1).await;
    world.mark_events_handed_over().await;
    world.run_billing(49).await;
}

#[test]
fn billing_events_are_published_once_in_the_documented_form() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        run_billing(&world).await;
        let expected = expected_events(&world).await;
        let kinds: BTreeSet<&str> = expected.iter().map(|(kind, _)| kind.as_str()).collect();
        let all = ["agent.shutdown_scheduled", "agent.suspended", "credit.low"];
        assert_eq!(kinds, BTreeSet::from(all));
        let swept = sweep(&world, &bus).await;
        assert_eq!(swept["published"], json!(expected.len()));
        let events = received(&bus);
        // The stop job of the suspended agent is announced first.
        let (due, billing_events) = events.split_at(1);
        assert_eq!(due[0]["detail-type"], json!("job.due"));
        for (event, (kind, detail)) in billing_events.iter().zip(&expected) {
            assert_eq!(event["detail-type"], json!(kind));
            assert_eq!(event["source"], json!("milady.control-plane"));
            assert_eq!(event["detail"], *detail);
        }
        assert_eq!(billing_events.len(), expected.len());
        let marked = "SELECT count(*) FROM outbox_events WHERE published_at = billing_clock()";
        assert_eq!(world.count(marked).await, 3);
        // Published does not mean that the mail provider has accepted them.
        let not_handed_over = "SELECT count(*) FROM outbox_events WHERE handed_over_at IS NULL";
        assert_eq!(world.count(not_handed_over).await, 1);
        assert_eq!(sweep(&world, &bus).await["published"], json!(0));
    });
}

#[test]
fn refused_events_are_kept_and_published_by_the_next_sweep() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        run_billing(&world).await;
        let expected = expected_events(&world).await;
        bus.refuse(Some("credit.low"));
        let error = failed_sweep(&world, &bus).await;
        assert_eq!(
            error,
            "events not accepted by EventBridge: 1; the next sweep publishes them again"
        );
        assert_eq!(unpublished(&world).await, 1);
        let received_before = received(&bus).len();
        assert_eq!(failed_sweep(&world, &bus).await, error);
        bus.refuse(None);
        assert_eq!(sweep(&world, &bus).await["published"], json!(1));
        // Besides the due job, which every sweep announces, only the refused event was published.
        let sent = received_events(&bus).split_off(received_before);
        let sent: Vec<_> = sent
            .into_iter()
            .filter(|(kind, _)| kind != "job.due")
            .collect();
        let refused = expected
            .into_iter()
            .filter(|(kind, _)| kind == "credit.low");
        assert_eq!(sent, refused.collect::<Vec<_>>());
        assert_eq!(unpublished(&world).await, 0);
    });
}

#[test]
fn with_eventbridge_down_the_sweep_fails_and_loses_no_event() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        run_billing(&world).await;
        let expected = expected_events(&world).await;
        bus.set_down(true);
        // Also the due job, and a batch of product events of each run.
        let error = format!(
            "events not accepted by EventBridge: {}; the next sweep publishes them again",
            expected.len() + 3
        );
        assert_eq!(failed_sweep(&world, &bus).await, error);
        assert_eq!(failed_sweep(&world, &bus).await, error);
        assert_eq!(unpublished(&world).await, 3);
        assert_eq!(bus.received(), [Value::Null; 0]);
        bus.set_down(false);
        sweep(&world, &bus).await;
        assert_eq!(received_events(&bus)[1..], expected);
    });
}

#[test]
fn more_than_ten_events_are_published_in_order() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        world
            .execute(
                "INSERT INTO outbox_events (key, type, organization_id, payload, occurred_at)
                SELECT 'k' || n, 'credit.low', gen_random_uuid(), jsonb_build_object('balance', n),
                    billing_clock() FROM generate_series(1, 23) AS n",
            )
            .await;
        let (organization, key) = world.tenant("100").await;
        world.set_limit(organization, "running_starts", 21).await;
        let mut jobs = Vec::new();
        for at in 0..21 {
            world.set_clock(seconds(at)).await;
            let id = world.agent(organization, "pending").await;
            jobs.push(provision(&world, &key, id).await);
        }
        let swept = sweep(&world, &bus).await;
        assert_eq!(
            (&swept[ANNOUNCED], &swept["published"]),
            (&json!(21), &json!(23))
        );
        assert_eq!(announced_jobs(&bus), jobs);
        assert_eq!(received_events(&bus)[21..], expected_events(&world).await);
    });
}

#[test]
fn f74_a_due_job_is_announced_every_two_minutes_until_it_is_run() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (organization, key) = world.tenant("10").await;
        let mut jobs = Vec::new();
        for at in [0, 10] {
            world.set_clock(seconds(at)).await;
            let id = world.agent(organization, "pending").await;
            jobs.push(provision(&world, &key, id).await);
        }
        world.set_clock(seconds(9)).await;
        sweep(&world, &bus).await;
        assert_eq!(announced_jobs(&bus), jobs[..1]);
        world.set_clock(seconds(10)).await;
        sweep(&world, &bus).await;
        assert_eq!(announced_jobs(&bus), jobs);
        world.set_clock(seconds(128)).await;
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(0));
        world.set_clock(seconds(129)).await;
        sweep(&world, &bus).await;
        assert_eq!(announced_jobs(&bus)[2..], jobs[..1]);
        for job in &jobs {
            run_job(&world, *job).await;
        }
        // Their next attempts are due after 30 seconds, which is not a repetition.
        world.set_clock(seconds(158)).await;
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(0));
        world.set_clock(seconds(159)).await;
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(2));
        for event in bus.received() {
            assert_eq!(event["source"], json!("milady.control-plane"));
        }
    });
}

#[test]
fn a_start_without_a_job_ends_after_five_minutes() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (organization, key, with_job) = tenant_with_agent(&world).await;
        let without_job = world.agent(organization, "provisioning").await;
        world
            .set_columns(without_job, "updated_at = billing_clock()")
            .await;
        let start = provision(&world, &key, with_job).await;
        run_job(&world, start).await;
        world.set_clock(seconds(299)).await;
        assert_eq!(sweep(&world, &bus).await["orphaned"], json!(0));
        world.set_clock(seconds(301)).await;
        assert_eq!(sweep(&world, &bus).await["orphaned"], json!(1));
        assert_eq!(agent_status(&world, without_job).await, in_error(STALE));
        let failed = "SELECT count(*) FROM milady_sandboxes WHERE stop_reason = 'failure'";
        assert_eq!(world.count(failed).await, 1);
        // The other one waits for its next attempt.
        assert_eq!(agent_status(&world, with_job).await.0, "provisioning");
        assert_eq!(sweep(&world, &bus).await["orphaned"], json!(0));
        let errors = "SELECT sum(error_count)::bigint FROM milady_sandboxes";
        assert_eq!(world.count(errors).await, 1);
    });
}

#[test]
fn the_sweep_does_not_end_a_start_that_is_being_requested() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (organization, _, id) = tenant_with_agent(&world).await;
        world.set_columns(id, "status = 'provisioning'").await;
        world.set_clock(seconds(301)).await;
        // As a request does it: it locks the agent's row, inserts the job, and commits.
        let mut request = world.database.begin().await.expect("begin");
        let locked = shared::db::agents::lifecycle::agent_lock(
            &mut request,
            AgentRef {
                organization_id: OrganizationId::new(organization),
                agent_id: AgentId::new(id),
            },
        )
        .await;
        assert!(locked.expect("a lock").is_some());
        sqlx::query(
            "INSERT INTO public.jobs (type, organization_id, agent_id, data, scheduled_for)
            VALUES ('milady_provision', $1, $2, '{}', '2026-03-01')",
        )
        .bind(organization)
        .bind(id)
        .execute(&mut *request)
        .await
        .expect("a job");
        // The sweep skips the locked agent, and after the commit it sees the job.
        assert_eq!(sweep(&world, &bus).await["orphaned"], json!(0));
        request.commit().await.expect("commit");
        assert_eq!(sweep(&world, &bus).await["orphaned"], json!(0));
        assert_eq!(
            agent_status(&world, id).await,
            ("provisioning".to_owned(), None)
        );
    });
}

/// Suspended agents without a stop job.
#[derive(Default)]
struct NeglectedAgents {
    may_have_container: Vec<Uuid>,
    without_container: Vec<Uuid>,
}

async fn insert_neglected_agents(world: &World) -> NeglectedAgents {
    let organization = world.organization("0").await;
    let mut agents = NeglectedAgents::default();
    let recorded = "billing_status = 'suspended', node_id = 'n', container_name = 'c'";
    let not_recorded = "billing_status = 'suspended'";
    for (status, columns, may_have_container) in [
        ("running", not_recorded, true),
        ("disconnected", not_recorded, true),
        ("error", recorded, true),
        ("error", not_recorded, false),
        ("stopped", recorded, false),
        ("pending", not_recorded, false),
    ] {
        let id = world.agent(organization, status).await;
        world.set_columns(id, columns).await;
        if may_have_container {
            agents.may_have_container.push(id);
        } else {
            agents.without_container.push(id);
        }
    }
    agents
}

#[test]
fn a_suspended_agent_that_may_have_a_container_gets_one_stop_job() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let agents = insert_neglected_agents(&world).await;
        let swept = sweep(&world, &bus).await;
        assert_eq!((&swept["stops"], &swept[ANNOUNCED]), (&json!(3), &json!(3)));
        assert_eq!(sweep(&world, &bus).await["stops"], json!(0));
        let pending_stop = json!({
            "type": "milady_suspend", "status": "pending", "attempts": 0, "error": null,
        });
        for id in agents.may_have_container {
            assert_eq!(json!(world.jobs_of(id).await), json!([pending_stop]));
        }
        for id in agents.without_container {
            assert_eq!(world.jobs_of(id).await, [Value::Null; 0]);
        }
    });
}

#[test]
fn concurrent_sweeps_enqueue_one_stop_and_recover_each_job_once() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let sweeper = publishing_function(&world, "job-sweep", &bus);
        let (one, two) = (sweeper.start().await, sweeper.start().await);
        let minute = Duration::from_mins(1);
        for _ in 0..10 {
            insert_neglected_agents(&world).await;
            world
                .execute(
                    "INSERT INTO jobs (type, status, attempts, data, organization_id, updated_at)
                    SELECT 'milady_delete', 'in_progress', 1, '{}', id, '2026-02-01'
                    FROM organizations",
                )
                .await;
            let (first, second) =
                tokio::join!(one.invoke(json!({}), minute), two.invoke(json!({}), minute));
            assert!(matches!(first, Outcome::Success(_)), "{first:?}");
            assert!(matches!(second, Outcome::Success(_)), "{second:?}");
        }
        let stops = "SELECT count(*) FROM jobs WHERE type = 'milady_suspend'";
        assert_eq!(world.count(stops).await, 30);
        let recovered = "SELECT count(*) FROM jobs
            WHERE type = 'milady_delete' AND status = 'pending' AND attempts = 1";
        assert_eq!(
            world.count(recovered).await,
            1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10
        );
    });
}

#[test]
fn no_stop_is_enqueued_beside_an_active_or_a_legacy_one() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (organization, key) = world.tenant("0").await;
        let with_job = world.agent(organization, "running").await;
        job_id(&world.post(&key, &agent_path(with_job, "/suspend")).await);
        let with_legacy_job = world.agent(organization, "running").await;
        sqlx::query(
            "INSERT INTO jobs (type, organization_id, data)
            VALUES ('milady_suspend', $1, jsonb_build_object('agentId', $2::uuid))",
        )
        .bind(organization)
        .bind(with_legacy_job)
        .execute(&world.pool)
        .await
        .expect("a job");
        for id in [with_job, with_legacy_job] {
            world.set_columns(id, "billing_status = 'suspended'").await;
        }
        assert_eq!(sweep(&world, &bus).await["stops"], json!(0));
    });
}

#[test]
fn idempotency_keys_are_deleted_after_a_day() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (_, key, id) = tenant_with_agent(&world).await;
        let request = Request::new("POST", &agent_path(id, "/provision"))
            .key(&key)
            .header("idempotency-key", "once");
        let start = job_id(&world.call(request.clone()).await);
        world.set_clock(hours(24)).await;
        assert_eq!(sweep(&world, &bus).await["forgotten"], json!(0));
        assert_eq!(job_id(&world.call(request).await), start);
        world.set_clock(seconds(24 * 3_600 + 1)).await;
        assert_eq!(sweep(&world, &bus).await["forgotten"], json!(1));
        assert_eq!(
            world.count("SELECT count(*) FROM idempotency_keys").await,
            0
        );
    });
}

#[test]
fn a_start_that_the_sweep_ends_puts_its_agent_in_error_and_announces_its_webhook() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (_, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        world
            .execute(
                "UPDATE jobs SET status = 'in_progress', attempts = 3, webhook_status = 'pending',
                    webhook_url = 'https://hooks.example/', webhook_secret = 'x';
                UPDATE milady_sandboxes SET status = 'provisioning'",
            )
            .await;
        world.set_clock(seconds(301)).await;
        let swept = sweep(&world, &bus).await;
        assert_eq!(
            (&swept["recovered"], &swept[ANNOUNCED]),
            (&json!(1), &json!(1))
        );
        assert_eq!(job(&world, start).await.state(), ("failed", 3, Some(STALE)));
        assert_eq!(agent_status(&world, id).await, in_error(STALE));
        // The event is for its webhook, which is the only thing left to do.
        assert_eq!(announced_jobs(&bus), [start]);
    });
}
