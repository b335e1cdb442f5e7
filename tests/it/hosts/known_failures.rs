//! Known failures of older deployments that can only be tested with a host. The others are tested beside their
//! subject.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use dev::runtime::Outcome;
use rust_decimal::dec;
use serde_json::{Value, json};
use tests::calls::{JOB_TIMEOUT, agent_path};
use tests::lab::job_of;
use tests::suite::Request;
use tests::world::hours;
use tests::{Lab, run};
use uuid::Uuid;

#[test]
fn f01_f02_an_unpaid_agent_stops_and_is_charged_again_when_it_runs_again() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let world = &lab.world;
        let agent = lab.running_agent(json!({})).await;
        sqlx::query("UPDATE organizations SET credit_balance = 0 WHERE id = $1")
            .bind(lab.organization)
            .execute(&world.pool)
            .await
            .expect("no credit");
        world.run_billing(1).await;
        world.mark_events_handed_over().await;
        world.run_billing(49).await;
        assert_eq!(world.agent_row(agent).await.billing_status, "suspended");
        assert_eq!(lab.containers(agent).await, [1]);

        // The container is stopped, and the state is saved.
        let job = lab.last_job(agent).await;
        assert_eq!(job["type"], json!("milady_suspend"));
        let id: Uuid = serde_json::from_value(job["id"].clone()).expect("an id");
        assert_eq!(lab.run(id).await, "completed");
        lab.assert_nothing_runs(agent, "suspended for debt").await;

        // It runs again only with credit, and is charged then.
        let refused = world
            .post(&lab.api_key, &agent_path(agent, "/resume"))
            .await;
        assert_eq!(refused.status(), 402, "{refused:?}");
        let stopped = world.get(&lab.api_key, &agent_path(agent, "")).await;
        assert_eq!(stopped.json()["data"]["stopReason"], json!("billing"));
        world.top_up(lab.organization, "50").await;
        lab.start(agent).await;
        let running = world.get(&lab.api_key, &agent_path(agent, "")).await;
        assert_eq!(running.json()["data"]["stopReason"], json!(null));
        let row = world.agent_row(agent).await;
        assert_eq!(
            (row.billing_status.as_str(), row.status.as_str()),
            ("active", "running")
        );
        let before = world.charged(lab.organization).await;
        world.run_billing(50).await;
        let owed_and_new = world.charged(lab.organization).await - before;
        assert_eq!(owed_and_new, dec!(0.02) * dec!(50));

        // It can be deleted.
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;
    });
}

#[test]
fn f15_f35_a_stop_while_the_host_is_down_charges_nothing_and_completes_later() {
    run(async {
        let Some(lab) = Lab::live(1).await else {
            return;
        };
        let world = &lab.world;
        let agent = lab.running_agent_live(json!({})).await;
        lab.hosts[0].sshd.stop().expect("the host is away");
        let response = world
            .post(&lab.api_key, &agent_path(agent, "/suspend"))
            .await;
        let job = job_of(&response);
        let placement = lab.placement(agent).await;
        assert_eq!(
            (&placement["status"], &placement["node"]),
            (&json!("running"), &json!("n1"))
        );
        assert_eq!(
            (lab.containers(agent).await, lab.slots().await),
            (vec![1], vec![1])
        );
        let bridge_response = lab.bridge(agent, "status.get", json!({})).await.json();
        assert_eq!(
            bridge_response["error"]["message"],
            json!("Sandbox is not running")
        );

        // Hours later nothing has been charged, and the job still retries.
        let before = world.charged(lab.organization).await;
        world.run_billing(5).await;
        assert_eq!(world.charged(lab.organization).await, before);
        assert_eq!(lab.run(job).await, "again");
        let error = lab.last_job(agent).await["error"].clone();
        assert_eq!(error, json!("The host cannot be reached"));

        lab.hosts[0].sshd.restart().await.expect("it is back");
        world.set_clock(hours(6)).await;
        assert_eq!(lab.run(job).await, "completed");
        lab.assert_nothing_runs(agent, "stopped for real").await;
        assert_eq!(lab.placement(agent).await["status"], json!("stopped"));
    });
}

#[test]
fn f16_a_stop_without_a_snapshot_keeps_the_state_on_its_host() {
    run(async {
        let Some(lab) = Lab::live(2).await else {
            return;
        };
        let world = &lab.world;
        let agent = lab.running_agent_live(json!({})).await;
        lab.bridge_result(agent, "message.send", json!({"text": "keep this"}))
            .await;
        // A paused process does not answer.
        lab.hosts[0]
            .engine
            .pause(&format!("milady-{agent}"))
            .await
            .expect("frozen");
        let suspended = world
            .post(&lab.api_key, &agent_path(agent, "/suspend"))
            .await;
        assert_eq!(suspended.status(), 200, "{suspended:?}");
        let message = suspended.json()["data"]["message"].clone();
        assert_eq!(
            message,
            json!("Agent suspended; its state could not be saved and is kept on its host")
        );
        lab.assert_nothing_runs(agent, "suspended").await;
        assert_eq!(lab.volumes(agent).await, [1, 0]);
        let backups = world
            .get(&lab.api_key, &agent_path(agent, "/backups"))
            .await;
        assert_eq!(backups.json()["data"], json!([]));

        // It is not started on another host, where its state is not.
        lab.advance_clock(TimeDelta::minutes(1)).await;
        lab.hosts[0].sshd.stop().expect("the host is away");
        let response = world
            .post(&lab.api_key, &agent_path(agent, "/resume?sync=true"))
            .await;
        let job = job_of(&response);
        assert_eq!(
            lab.last_job(agent).await["error"],
            json!("The host cannot be reached")
        );
        lab.hosts[0].sshd.restart().await.expect("it is back");
        lab.advance_clock(TimeDelta::minutes(1)).await;
        assert_eq!(lab.run(job).await, "completed");
        assert_eq!(lab.containers(agent).await, [1, 0]);
        let status = lab.bridge_result(agent, "status.get", json!({})).await;
        assert_eq!(status["memories"], json!(2));
    });
}

#[test]
fn f17_concurrent_starts_on_one_free_slot_create_one_container() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        lab.world
            .execute("UPDATE docker_nodes SET capacity = 1")
            .await;
        let mut starts = Vec::new();
        for _ in 0..4 {
            let agent = lab.agent(json!({})).await;
            let response = lab
                .world
                .post(&lab.api_key, &agent_path(agent, "/provision"))
                .await;
            starts.push((agent, job_of(&response)));
        }
        let world = &lab.world;
        let runs = starts.iter().map(|(_, job)| async move {
            let event = json!({"detail-type": "job.due", "detail": {"jobId": job}});
            let worker = world.function("job-run").start().await;
            match worker.invoke(event, JOB_TIMEOUT).await {
                Outcome::Success(response) => response["outcome"].clone(),
                other => panic!("{other:?}"),
            }
        });
        let mut outcome = futures_util::future::join_all(runs).await;
        outcome.sort_by_key(Value::to_string);
        assert_eq!(
            outcome,
            ["again", "again", "again", "completed"].map(Value::from)
        );
        assert_eq!(lab.slots().await, [1]);
        let all = lab.hosts[0].engine.containers().await.expect("containers");
        assert_eq!(all.len(), 1, "{all:?}");
        for (agent, _) in starts {
            let error = lab.last_job(agent).await["error"].clone();
            assert!(
                error.is_null() || error == json!("No host has a free slot"),
                "{error}"
            );
        }
    });
}

#[test]
fn f25_a_host_that_is_down_does_not_delay_agents_on_other_hosts() {
    run(async {
        let Some(lab) = Lab::new(2).await else { return };
        let on_first_host = lab.running_agent(json!({})).await;
        lab.world
            .execute("UPDATE docker_nodes SET enabled = node_id = 'n2'")
            .await;
        let other = lab.running_agent(json!({})).await;
        lab.hosts[0].sshd.stop().expect("a host is away");
        assert_eq!(lab.delete(on_first_host).await, "again");
        let began = Instant::now();
        let list = lab.world.get(&lab.api_key, "/api/v1/milady/agents").await;
        assert_eq!(list.json()["data"].as_array().map(Vec::len), Some(2));
        assert_eq!(lab.delete(other).await, "completed");
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?}",
            began.elapsed()
        );
    });
}

#[test]
fn f27_no_agent_is_placed_on_an_overloaded_host() {
    run(async {
        let Some(lab) = Lab::new(2).await else { return };
        lab.hosts[0].sshd.simulate_load(451).expect("a load");
        let agent = lab.running_agent(json!({})).await;
        assert_eq!(lab.containers(agent).await, [0, 1]);
        lab.hosts[1].sshd.simulate_load(451).expect("a load");
        let other = lab.agent(json!({})).await;
        let (_, outcome) = lab.try_start(other).await;
        assert_eq!(outcome, "again");
        let error = lab.last_job(other).await["error"].clone();
        assert_eq!(error, json!("All hosts are too busy"));
        assert_eq!(lab.slots().await, [0, 1]);
    });
}

#[test]
fn f33_a_container_that_never_becomes_healthy_is_removed() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let mute = json!({"environmentVars": {"SAMPLE_FAULT": "silent"}});
        let agent = lab.agent(mute).await;
        let (job, outcome) = lab.try_start(agent).await;
        assert_eq!(outcome, "again");
        let error = lab.last_job(agent).await["error"].clone();
        assert_eq!(
            error,
            json!("The agent does not answer on its health endpoint")
        );
        lab.assert_nothing_runs(agent, "after the first try").await;
        for (wait, outcome) in [(31, "again"), (121, "failed")] {
            lab.advance_clock(TimeDelta::seconds(wait)).await;
            assert_eq!(lab.run(job).await, outcome);
        }
        lab.assert_nothing_runs(agent, "after the last try").await;
        assert_eq!(lab.placement(agent).await["status"], json!("error"));
        assert_eq!(lab.world.ledger(lab.organization).await, Vec::new());
    });
}

#[test]
fn f14_the_sweep_removes_the_container_of_a_failed_start() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let agent = lab.running_agent(json!({})).await;
        // The state after a worker was killed in the last attempt.
        lab.world
            .set_columns(
                agent,
                "status = 'error', error_message = 'why', unsaved_since = NULL",
            )
            .await;
        lab.advance_clock(TimeDelta::minutes(6)).await;
        lab.sweep().await;
        let job = lab.last_job(agent).await;
        assert_eq!(job["type"], json!("milady_suspend"));
        let id: Uuid = serde_json::from_value(job["id"].clone()).expect("an id");
        assert_eq!(lab.run(id).await, "completed");
        lab.assert_nothing_runs(agent, "cleaned up").await;
        let placement = lab.placement(agent).await;
        assert_eq!(
            (&placement["status"], &placement["error"]),
            (&json!("error"), &json!("why"))
        );
        lab.advance_clock(TimeDelta::minutes(6)).await;
        lab.sweep().await;
        assert_eq!(lab.last_job(agent).await["id"], job["id"]);
        // The owner can start it again, and delete it.
        lab.start(agent).await;
        let request = Request::new("DELETE", &agent_path(agent, "")).key(&lab.api_key);
        let deletion = job_of(&lab.world.call(request).await);
        assert_eq!(lab.run(deletion).await, "completed");
        lab.assert_gone(agent, "deleted").await;
    });
}
