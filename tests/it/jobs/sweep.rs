//! The minute's sweep: nothing that should be told or done is forgotten, and nothing is done twice.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use dev::events::EventBus;
use dev::runtime::Outcome;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::Request;
use tests::world::hours;
use tests::{World, run};
use uuid::Uuid;

use super::{
    Bus, STALE, agent, bus, fresh, function, in_error, job, job_id, provision, run_job, seconds,
    sweep, told, try_sweep,
};

/// What a sweep that did not finish says.
async fn failed_sweep(world: &World, bus: &Bus) -> String {
    match try_sweep(world, bus).await {
        Outcome::FunctionError { message, .. } => message,
        other => panic!("not an error: {other:?}"),
    }
}

/// An event of the outbox as it is to be published: its type and its detail.
async fn outbox(world: &World) -> Vec<(String, Value)> {
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

fn published(bus: &EventBus) -> Vec<(String, Value)> {
    let events = bus.received().into_iter().map(|event| {
        let kind = event["detail-type"].as_str().expect("a type").to_owned();
        (kind, event["detail"].clone())
    });
    events.collect()
}

async fn unpublished(world: &World) -> i64 {
    let waiting = "SELECT count(*) FROM outbox_events WHERE published_at IS NULL";
    world.count(waiting).await
}

/// Two owners who are warned, and one who is suspended two days later.
async fn mails(world: &World) {
    let low = world.organization("1.5").await;
    world.agent(low, "running").await;
    let debtor = world.organization("0").await;
    world.agent(debtor, "running").await;
    world.tick(1).await;
    world.hand_over().await;
    world.tick(49).await;
}

#[test]
fn what_billing_has_to_say_is_published_once_and_as_documented() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        mails(&world).await;
        let expected = outbox(&world).await;
        let kinds: BTreeSet<&str> = expected.iter().map(|(kind, _)| kind.as_str()).collect();
        let all = ["agent.shutdown_scheduled", "agent.suspended", "credit.low"];
        assert_eq!(kinds, BTreeSet::from(all));
        let swept = sweep(&world, &bus).await;
        assert_eq!(swept["published"], json!(expected.len()));
        let events = bus.received();
        // The suspended agent's stop job is due, and is told of first.
        let (due, mails) = events.split_at(1);
        assert_eq!(due[0]["detail-type"], json!("job.due"));
        for (event, (kind, detail)) in mails.iter().zip(&expected) {
            assert_eq!(event["detail-type"], json!(kind));
            assert_eq!(event["source"], json!("milady.control-plane"));
            assert_eq!(event["detail"], *detail);
        }
        assert_eq!(mails.len(), expected.len());
        let marked = "SELECT count(*) FROM outbox_events WHERE published_at = billing_clock()";
        assert_eq!(world.count(marked).await, 3);
        // The mail provider has not taken them by that.
        let waiting = "SELECT count(*) FROM outbox_events WHERE handed_over_at IS NULL";
        assert_eq!(world.count(waiting).await, 1);
        assert_eq!(sweep(&world, &bus).await["published"], json!(0));
    });
}

#[test]
fn what_eventbridge_refuses_is_kept_and_sent_by_the_next_sweep() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        mails(&world).await;
        let expected = outbox(&world).await;
        bus.refuse(Some("credit.low"));
        let said = failed_sweep(&world, &bus).await;
        assert_eq!(said, "1 events were not taken and are kept");
        assert_eq!(unpublished(&world).await, 1);
        let so_far = bus.received().len();
        assert_eq!(failed_sweep(&world, &bus).await, said);
        bus.refuse(None);
        assert_eq!(sweep(&world, &bus).await["published"], json!(1));
        // Beside the job that each of these sweeps told of, only the refused event went out.
        let sent = published(&bus).split_off(so_far);
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
fn while_eventbridge_is_down_the_sweep_fails_and_nothing_is_lost() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        mails(&world).await;
        let expected = outbox(&world).await;
        bus.set_down(true);
        let waiting = format!("{} events were not taken and are kept", expected.len() + 1);
        assert_eq!(failed_sweep(&world, &bus).await, waiting);
        assert_eq!(failed_sweep(&world, &bus).await, waiting);
        assert_eq!(unpublished(&world).await, 3);
        assert_eq!(bus.received(), [Value::Null; 0]);
        bus.set_down(false);
        sweep(&world, &bus).await;
        assert_eq!(published(&bus)[1..], expected);
    });
}

#[test]
fn more_than_ten_events_go_in_tens_and_in_order() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        world
            .execute(
                "INSERT INTO outbox_events (key, type, organization_id, payload, occurred_at)
                SELECT 'k' || n, 'credit.low', gen_random_uuid(), jsonb_build_object('balance', n),
                    billing_clock() FROM generate_series(1, 23) AS n",
            )
            .await;
        let (organization, key) = world.tenant("100").await;
        let mut jobs = Vec::new();
        for at in 0..21 {
            world.at(seconds(at)).await;
            let id = world.agent(organization, "pending").await;
            jobs.push(provision(&world, &key, id).await);
        }
        let swept = sweep(&world, &bus).await;
        assert_eq!(
            (&swept["told"], &swept["published"]),
            (&json!(21), &json!(23))
        );
        assert_eq!(told(&bus), jobs);
        assert_eq!(published(&bus)[21..], outbox(&world).await);
    });
}

#[test]
fn only_jobs_that_are_due_are_told_of_each_minute_until_somebody_runs_them() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let (organization, key) = world.tenant("10").await;
        let mut jobs = Vec::new();
        for at in [0, 10] {
            world.at(seconds(at)).await;
            let id = world.agent(organization, "pending").await;
            jobs.push(provision(&world, &key, id).await);
        }
        world.at(seconds(9)).await;
        sweep(&world, &bus).await;
        assert_eq!(told(&bus), jobs[..1]);
        world.at(seconds(10)).await;
        sweep(&world, &bus).await;
        assert_eq!(told(&bus)[1..], jobs);
        for job in &jobs {
            run_job(&world, *job).await;
        }
        world.at(seconds(39)).await;
        assert_eq!(sweep(&world, &bus).await["told"], json!(0));
        world.at(seconds(40)).await;
        assert_eq!(sweep(&world, &bus).await["told"], json!(2));
        for event in bus.received() {
            assert_eq!(event["source"], json!("milady.control-plane"));
        }
    });
}

#[test]
fn a_start_that_nobody_works_on_ends_after_five_minutes() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let (organization, key, worked_on) = fresh(&world).await;
        let orphan = world.agent(organization, "provisioning").await;
        world.set(orphan, "updated_at = billing_clock()").await;
        let start = provision(&world, &key, worked_on).await;
        run_job(&world, start).await;
        world.at(seconds(299)).await;
        assert_eq!(sweep(&world, &bus).await["orphaned"], json!(0));
        world.at(seconds(301)).await;
        assert_eq!(sweep(&world, &bus).await["orphaned"], json!(1));
        assert_eq!(agent(&world, orphan).await, in_error(STALE));
        // The other one waits for its next try.
        assert_eq!(agent(&world, worked_on).await.0, "provisioning");
        assert_eq!(sweep(&world, &bus).await["orphaned"], json!(0));
        let errors = "SELECT sum(error_count)::bigint FROM milady_sandboxes";
        assert_eq!(world.count(errors).await, 1);
    });
}

#[test]
fn a_start_that_is_asked_for_while_the_sweep_looks_is_not_ended_by_it() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let (organization, _, id) = fresh(&world).await;
        world.set(id, "status = 'provisioning'").await;
        world.at(seconds(301)).await;
        // As a request does it: the agent's row is held, its job is written, both are given free.
        let mut request = world.pool.begin().await.expect("begin");
        let locked = shared::db::agents::owner::agent_lock(&mut request, organization, id).await;
        assert!(locked.expect("a lock").is_some());
        sqlx::query(
            "INSERT INTO jobs (type, organization_id, agent_id, data, scheduled_for)
            VALUES ('milady_provision', $1, $2, '{}', '2026-03-01')",
        )
        .bind(organization)
        .bind(id)
        .execute(&mut *request)
        .await
        .expect("a job");
        // What somebody is deciding about is left alone, and afterwards the job is seen.
        assert_eq!(sweep(&world, &bus).await["orphaned"], json!(0));
        request.commit().await.expect("commit");
        assert_eq!(sweep(&world, &bus).await["orphaned"], json!(0));
        assert_eq!(agent(&world, id).await, ("provisioning".to_owned(), None));
    });
}

/// Agents that billing suspended and nobody stops: those that may have a container, and those that
/// have none.
async fn neglected(world: &World) -> (Vec<Uuid>, Vec<Uuid>) {
    let organization = world.organization("0").await;
    let mut both = (Vec::new(), Vec::new());
    let recorded = "billing_status = 'suspended', node_id = 'n', container_name = 'c'";
    let bare = "billing_status = 'suspended'";
    for (status, columns, is_there) in [
        ("running", bare, true),
        ("disconnected", bare, true),
        ("error", recorded, true),
        ("error", bare, false),
        ("stopped", recorded, false),
        ("pending", bare, false),
    ] {
        let id = world.agent(organization, status).await;
        world.set(id, columns).await;
        if is_there { &mut both.0 } else { &mut both.1 }.push(id);
    }
    both
}

#[test]
fn a_suspended_agent_that_may_have_a_container_gets_one_stop_job() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let (there, nothing) = neglected(&world).await;
        let swept = sweep(&world, &bus).await;
        assert_eq!((&swept["stops"], &swept["told"]), (&json!(3), &json!(3)));
        assert_eq!(sweep(&world, &bus).await["stops"], json!(0));
        let waits = json!({
            "type": "milady_suspend", "status": "pending", "attempts": 0, "error": null,
        });
        for id in there {
            assert_eq!(json!(world.jobs_of(id).await), json!([waits]));
        }
        for id in nothing {
            assert_eq!(world.jobs_of(id).await, [Value::Null; 0]);
        }
    });
}

#[test]
fn two_sweeps_at_once_make_one_stop_job_and_recover_a_job_once() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let sweeper = function(&world, "job-sweep", &bus);
        let (one, two) = (sweeper.start().await, sweeper.start().await);
        let minute = Duration::from_mins(1);
        for _ in 0..10 {
            neglected(&world).await;
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
fn a_job_under_way_is_enough_be_it_an_older_web_apps() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let (organization, key) = world.tenant("0").await;
        let ours = world.agent(organization, "running").await;
        job_id(&world.post(&key, &agent_path(ours, "/suspend")).await);
        let theirs = world.agent(organization, "running").await;
        sqlx::query(
            "INSERT INTO jobs (type, organization_id, data)
            VALUES ('milady_suspend', $1, jsonb_build_object('agentId', $2::uuid))",
        )
        .bind(organization)
        .bind(theirs)
        .execute(&world.pool)
        .await
        .expect("a job");
        for id in [ours, theirs] {
            world.set(id, "billing_status = 'suspended'").await;
        }
        assert_eq!(sweep(&world, &bus).await["stops"], json!(0));
    });
}

#[test]
fn an_idempotency_key_is_forgotten_after_a_day() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let (_, key, id) = fresh(&world).await;
        let request = Request::new("POST", &agent_path(id, "/provision"))
            .key(&key)
            .header("idempotency-key", "once");
        let start = job_id(&world.call(request.clone()).await);
        world.at(hours(24)).await;
        assert_eq!(sweep(&world, &bus).await["forgotten"], json!(0));
        assert_eq!(job_id(&world.call(request).await), start);
        world.at(seconds(24 * 3_600 + 1)).await;
        assert_eq!(sweep(&world, &bus).await["forgotten"], json!(1));
        assert_eq!(
            world.count("SELECT count(*) FROM idempotency_keys").await,
            0
        );
    });
}

#[test]
fn a_start_that_ends_in_a_sweep_ends_its_agent_too_and_tells_its_webhook() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let (_, key, id) = fresh(&world).await;
        let start = provision(&world, &key, id).await;
        world
            .execute(
                "UPDATE jobs SET status = 'in_progress', attempts = 3, webhook_status = 'pending',
                    webhook_url = 'https://hooks.example/', webhook_secret = 'x';
                UPDATE milady_sandboxes SET status = 'provisioning'",
            )
            .await;
        world.at(seconds(301)).await;
        let swept = sweep(&world, &bus).await;
        assert_eq!(
            (&swept["recovered"], &swept["told"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(job(&world, start).await.state(), ("failed", 3, Some(STALE)));
        assert_eq!(agent(&world, id).await, in_error(STALE));
        // Whoever runs this job now finds nothing but its webhook to do.
        assert_eq!(told(&bus), [start]);
    });
}
