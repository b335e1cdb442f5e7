//! Known failures that need a host to be shown impossible; the other ones stand beside what they are
//! about.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use dev::runtime::Outcome;
use rust_decimal::dec;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::lab::job_of;
use tests::suite::Request;
use tests::world::hours;
use tests::{Lab, run};
use uuid::Uuid;

#[test]
fn f01_f02_what_is_not_paid_for_really_stops_and_is_charged_again_when_it_runs_again() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let world = &lab.world;
        let agent = lab.running(json!({})).await;
        sqlx::query("UPDATE organizations SET credit_balance = 0 WHERE id = $1")
            .bind(lab.organization)
            .execute(&world.pool)
            .await
            .expect("no credit");
        world.tick(1).await;
        world.hand_over().await;
        world.tick(49).await;
        assert_eq!(world.agent_row(agent).await.billing_status, "suspended");
        assert_eq!(lab.containers(agent).await, [1]);

        // The container itself is stopped, with its state saved.
        let job = lab.last_job(agent).await;
        assert_eq!(job["type"], json!("milady_suspend"));
        let id: Uuid = serde_json::from_value(job["id"].clone()).expect("an id");
        assert_eq!(lab.run(id).await, "completed");
        lab.assert_nothing_runs(agent, "suspended for debt").await;

        // Without credit it does not run again; with credit it does, and is charged.
        let refused = world.post(&lab.key, &agent_path(agent, "/resume")).await;
        assert_eq!(refused.status(), 402, "{refused:?}");
        world.top_up(lab.organization, "50").await;
        lab.start(agent).await;
        let row = world.agent_row(agent).await;
        assert_eq!(
            (row.billing_status.as_str(), row.status.as_str()),
            ("active", "running")
        );
        let before = world.charged(lab.organization).await;
        world.tick(50).await;
        let owed_and_new = world.charged(lab.organization).await - before;
        assert_eq!(owed_and_new, dec!(0.02) * dec!(50));

        // And it can be deleted.
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;
    });
}

#[test]
fn f15_f35_a_stop_while_the_host_is_away_is_no_stop_yet_costs_nothing_and_is_done_later() {
    run(async {
        let Some(lab) = Lab::live(1).await else {
            return;
        };
        let world = &lab.world;
        let agent = lab.running_live(json!({})).await;
        lab.hosts[0].sshd.stop().expect("the host is away");
        let asked = world.post(&lab.key, &agent_path(agent, "/suspend")).await;
        let job = job_of(&asked);
        let place = lab.place(agent).await;
        assert_eq!(
            (&place["status"], &place["node"]),
            (&json!("running"), &json!("n1"))
        );
        assert_eq!(
            (lab.containers(agent).await, lab.slots().await),
            (vec![1], vec![1])
        );
        let unheard = lab.bridge(agent, "status.get", json!({})).await.json();
        assert_eq!(unheard["error"]["message"], json!("Sandbox is not running"));

        // Hours later: tried on, and nothing was charged since.
        let before = world.charged(lab.organization).await;
        world.tick(5).await;
        assert_eq!(world.charged(lab.organization).await, before);
        assert_eq!(lab.run(job).await, "again");
        let error = lab.last_job(agent).await["error"].clone();
        assert_eq!(error, json!("The host cannot be reached"));

        lab.hosts[0].sshd.start_again().await.expect("it is back");
        world.at(hours(6)).await;
        assert_eq!(lab.run(job).await, "completed");
        lab.assert_nothing_runs(agent, "stopped for real").await;
        assert_eq!(lab.place(agent).await["status"], json!("stopped"));
    });
}

#[test]
fn f16_a_stop_without_a_snapshot_says_so_and_the_state_is_not_lost() {
    run(async {
        let Some(lab) = Lab::live(2).await else {
            return;
        };
        let world = &lab.world;
        let agent = lab.running_live(json!({})).await;
        lab.ask(agent, "message.send", json!({"text": "keep this"}))
            .await;
        // A process that is frozen answers nothing.
        lab.hosts[0]
            .engine
            .pause(&format!("milady-{agent}"))
            .await
            .expect("frozen");
        let suspended = world.post(&lab.key, &agent_path(agent, "/suspend")).await;
        assert_eq!(suspended.status(), 200, "{suspended:?}");
        let message = suspended.json()["data"]["message"].clone();
        assert_eq!(
            message,
            json!("Agent suspended; its state could not be read and is kept on its host")
        );
        lab.assert_nothing_runs(agent, "suspended").await;
        assert_eq!(lab.volumes(agent).await, [1, 0]);
        let backups = world.get(&lab.key, &agent_path(agent, "/backups")).await;
        assert_eq!(backups.json()["data"], json!([]));

        // It is not started where its state is not.
        lab.later(TimeDelta::minutes(1)).await;
        lab.hosts[0].sshd.stop().expect("the host is away");
        let answer = world
            .post(&lab.key, &agent_path(agent, "/resume?sync=true"))
            .await;
        let job = job_of(&answer);
        assert_eq!(
            lab.last_job(agent).await["error"],
            json!("The host cannot be reached")
        );
        lab.hosts[0].sshd.start_again().await.expect("it is back");
        lab.later(TimeDelta::minutes(1)).await;
        assert_eq!(lab.run(job).await, "completed");
        assert_eq!(lab.containers(agent).await, [1, 0]);
        let status = lab.ask(agent, "status.get", json!({})).await;
        assert_eq!(status["memories"], json!(2));
    });
}

#[test]
fn f17_four_starts_at_once_on_one_free_slot_make_one_container() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        lab.world
            .execute("UPDATE docker_nodes SET capacity = 1")
            .await;
        let mut starts = Vec::new();
        for _ in 0..4 {
            let agent = lab.agent(json!({})).await;
            let answer = lab
                .world
                .post(&lab.key, &agent_path(agent, "/provision"))
                .await;
            starts.push((agent, job_of(&answer)));
        }
        let world = &lab.world;
        let runs = starts.iter().map(|(_, job)| async move {
            let event = json!({"detail-type": "job.due", "detail": {"jobId": job}});
            let worker = world.function("job-run").start().await;
            match worker.invoke(event, Duration::from_mins(1)).await {
                Outcome::Success(answer) => answer["outcome"].clone(),
                other => panic!("{other:?}"),
            }
        });
        let mut ran = futures_util::future::join_all(runs).await;
        ran.sort_by_key(Value::to_string);
        assert_eq!(
            ran,
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
fn f25_a_host_that_is_away_stands_in_nobody_elses_way() {
    run(async {
        let Some(lab) = Lab::new(2).await else { return };
        let there = lab.running(json!({})).await;
        lab.world
            .execute("UPDATE docker_nodes SET enabled = node_id = 'n2'")
            .await;
        let other = lab.running(json!({})).await;
        lab.hosts[0].sshd.stop().expect("a host is away");
        assert_eq!(lab.delete(there).await, "again");
        let began = Instant::now();
        let list = lab.world.get(&lab.key, "/api/v1/milady/agents").await;
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
fn f27_a_host_that_is_too_busy_gets_nothing_more() {
    run(async {
        let Some(lab) = Lab::new(2).await else { return };
        lab.hosts[0].sshd.pretend_load(451).expect("a load");
        let agent = lab.running(json!({})).await;
        assert_eq!(lab.containers(agent).await, [0, 1]);
        lab.hosts[1].sshd.pretend_load(451).expect("a load");
        let other = lab.agent(json!({})).await;
        let (_, ran) = lab.try_start(other).await;
        assert_eq!(ran, "again");
        let error = lab.last_job(other).await["error"].clone();
        assert_eq!(error, json!("All hosts are too busy"));
        assert_eq!(lab.slots().await, [0, 1]);
    });
}

#[test]
fn f33_an_image_that_never_answers_its_health_endpoint_does_not_run_on() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let mute = json!({"environmentVars": {"SAMPLE_FAULT": "silent"}});
        let agent = lab.agent(mute).await;
        let (job, ran) = lab.try_start(agent).await;
        assert_eq!(ran, "again");
        let error = lab.last_job(agent).await["error"].clone();
        assert_eq!(
            error,
            json!("The agent does not answer on its health endpoint")
        );
        lab.assert_nothing_runs(agent, "after the first try").await;
        for (wait, outcome) in [(31, "again"), (121, "failed")] {
            lab.later(TimeDelta::seconds(wait)).await;
            assert_eq!(lab.run(job).await, outcome);
        }
        lab.assert_nothing_runs(agent, "after the last try").await;
        assert_eq!(lab.place(agent).await["status"], json!("error"));
        assert_eq!(lab.world.ledger(lab.organization).await, Vec::new());
    });
}

#[test]
fn f14_what_a_start_that_failed_for_good_could_not_remove_is_removed_by_the_sweep() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let agent = lab.running(json!({})).await;
        // As if its worker had been killed at the last try, and taken for dead.
        lab.world
            .set(
                agent,
                "status = 'error', error_message = 'why', unsaved_since = NULL",
            )
            .await;
        lab.later(TimeDelta::minutes(6)).await;
        lab.sweep().await;
        let job = lab.last_job(agent).await;
        assert_eq!(job["type"], json!("milady_suspend"));
        let id: Uuid = serde_json::from_value(job["id"].clone()).expect("an id");
        assert_eq!(lab.run(id).await, "completed");
        lab.assert_nothing_runs(agent, "cleaned up").await;
        let place = lab.place(agent).await;
        assert_eq!(
            (&place["status"], &place["error"]),
            (&json!("error"), &json!("why"))
        );
        lab.later(TimeDelta::minutes(6)).await;
        lab.sweep().await;
        assert_eq!(lab.last_job(agent).await["id"], job["id"]);
        // The owner can start it again, and delete it.
        lab.start(agent).await;
        let request = Request::new("DELETE", &agent_path(agent, "")).key(&lab.key);
        let deletion = job_of(&lab.world.call(request).await);
        assert_eq!(lab.run(deletion).await, "completed");
        lab.assert_gone(agent, "deleted").await;
    });
}
