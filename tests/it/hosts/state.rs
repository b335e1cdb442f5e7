//! The states of agents: which copy counts, where it is kept, and what happens to one that cannot be stored.

use chrono::TimeDelta;
use dev::runtime::Outcome;
use serde_json::{Value, json};
use tests::calls::{JOB_TIMEOUT, agent_path};
use tests::lab::job_of;
use tests::lost_answer::LostAnswer;
use tests::suite::runtime_url;
use tests::{Lab, run};
use uuid::Uuid;

/// An agent that runs and has two memories.
async fn agent_with_memories(lab: &Lab) -> Uuid {
    let agent = lab.running_agent(json!({})).await;
    lab.bridge_result(agent, "message.send", json!({"text": "keep this"}))
        .await;
    agent
}

async fn memories(lab: &Lab, agent: Uuid) -> Value {
    lab.bridge_result(agent, "status.get", json!({})).await["memories"].clone()
}

/// Advances the clock, so that the next job is the agent's last one, requests an operation and runs its job once.
async fn run_next(lab: &Lab, agent: Uuid, operation: &str) -> String {
    lab.advance_clock(TimeDelta::minutes(1)).await;
    lab.request_and_run(agent, operation).await.1
}

async fn backup_types(lab: &Lab, agent: Uuid) -> Vec<Value> {
    let backups = lab
        .world
        .get(&lab.api_key, &agent_path(agent, "/backups"))
        .await;
    let backups = backups.json()["data"].as_array().cloned().expect("backups");
    let types = backups.iter().map(|backup| backup["snapshotType"].clone());
    types.collect()
}

#[test]
fn f68_a_backup_replaces_the_volume_only_at_the_owners_request_and_only_if_it_holds_a_state() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let agent = agent_with_memories(&lab).await;
        let no_state =
            "UPDATE milady_sandbox_backups SET state_data = '{\"config\": {}}', state_bytes = NULL";
        assert_eq!(run_next(&lab, agent, "/suspend").await, "completed");
        lab.world.execute(no_state).await;
        assert_eq!(run_next(&lab, agent, "/provision").await, "completed");
        assert_eq!(memories(&lab, agent).await, json!(2));
        assert_restore_fails(&lab, agent).await;
        assert_eq!(memories(&lab, agent).await, json!(2));
        assert_eq!(run_next(&lab, agent, "/suspend").await, "completed");
        lab.world.execute(no_state).await;
        assert_restore_fails(&lab, agent).await;
        assert_eq!(run_next(&lab, agent, "/provision").await, "completed");
        assert_eq!(memories(&lab, agent).await, json!(2));
    });
}

async fn assert_restore_fails(lab: &Lab, agent: Uuid) {
    assert_eq!(run_next(lab, agent, "/restore").await, "failed");
    let error = lab.last_job(agent).await["error"].clone();
    assert_eq!(error, json!("The backup holds no state of an agent"));
}

#[test]
fn f68_state_that_is_left_on_a_host_is_reported_and_stays_there_until_the_agent_is_deleted() {
    run(async {
        let Some(lab) = Lab::new(2).await else { return };
        let agent = agent_with_memories(&lab).await;
        let on_first = lab.placement(agent).await["node"] == json!("n1");
        let (first, other) = if on_first { (0, 1) } else { (1, 0) };
        lab.advance_clock(TimeDelta::minutes(2)).await;
        let saved = lab
            .world
            .post(&lab.api_key, &agent_path(agent, "/snapshot"))
            .await;
        assert_eq!(saved.status(), 200, "{saved:?}");
        lab.bridge_result(agent, "message.send", json!({"text": "not saved"}))
            .await;
        // A paused process does not answer, so its state is not saved.
        let container = format!("milady-{agent}");
        lab.hosts[first]
            .engine
            .pause(&container)
            .await
            .expect("frozen");
        assert_eq!(run_next(&lab, agent, "/suspend").await, "completed");

        // The owner takes the older state instead, on whichever host there is.
        lab.hosts[first].sshd.stop().expect("the host is away");
        assert_eq!(run_next(&lab, agent, "/restore").await, "completed");
        assert_eq!(memories(&lab, agent).await, json!(2));
        let notice = lab.last_job(agent).await["result"]["notice"].clone();
        assert_eq!(
            notice,
            json!(
                "The agent was started on another host, from its newest backup if it has one. What no backup holds is \
                left in its volume on the former host, until the agent is deleted"
            )
        );
        lab.hosts[first].sshd.restart().await.expect("it is back");
        assert_eq!(lab.volumes(agent).await, [1, 1]);

        // It is not started where that would remove what was left.
        assert_eq!(run_next(&lab, agent, "/suspend").await, "completed");
        lab.hosts[other].sshd.stop().expect("a host is away");
        lab.advance_clock(TimeDelta::minutes(1)).await;
        let (start, outcome) = lab.request_and_run(agent, "/provision").await;
        assert_eq!(outcome, "again");
        assert_eq!(lab.volumes(agent).await, [1, 1]);
        lab.hosts[other].sshd.restart().await.expect("it is back");
        lab.advance_clock(TimeDelta::minutes(1)).await;
        assert_eq!(lab.run(start).await, "completed");
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;
    });
}

#[test]
fn f71_a_start_whose_last_commit_is_not_answered_keeps_its_container() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let agent = lab.agent(json!({})).await;
        let requested = lab
            .world
            .post(&lab.api_key, &agent_path(agent, "/provision"))
            .await;
        let proxy = LostAnswer::start(&runtime_url(&lab.world.url), "completed").await;
        let worker = lab.world.function("job-run");
        let worker = worker
            .with("RUNTIME_DATABASE_URL", proxy.url())
            .start()
            .await;
        let event = json!({"detail-type": "job.due", "detail": {"jobId": job_of(&requested)}});
        let outcome = worker.invoke(event, JOB_TIMEOUT).await;
        worker.kill().await;
        assert!(matches!(outcome, Outcome::Success(_)), "{outcome:?}");
        assert!(proxy.has_lost());
        let job = lab.last_job(agent).await;
        assert_eq!(job["status"], json!("completed"), "{job}");
        assert_eq!(lab.placement(agent).await["status"], json!("running"));
        assert_eq!(
            (lab.containers(agent).await, lab.slots().await),
            (vec![1], vec![1])
        );
        assert_eq!(memories(&lab, agent).await, json!(0));
    });
}

#[test]
fn f75_a_stop_goes_on_when_the_store_refuses_the_state() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let agent = agent_with_memories(&lab).await;
        lab.world
            .execute(
                "CREATE FUNCTION test_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'not this one' USING ERRCODE = TG_ARGV[0];
                END $$;
                CREATE TRIGGER test_refuse BEFORE INSERT ON milady_sandbox_backups
                    FOR EACH ROW EXECUTE FUNCTION test_refuse('53100')",
            )
            .await;
        assert_eq!(run_next(&lab, agent, "/suspend").await, "completed");
        lab.assert_nothing_runs(agent, "suspended").await;
        assert_eq!(lab.volumes(agent).await, [1]);
        let unsaved = "SELECT count(*) FROM milady_sandboxes WHERE unsaved_since IS NOT NULL";
        assert_eq!(lab.world.count(unsaved).await, 1);
        assert_eq!(backup_types(&lab, agent).await, Vec::<Value>::new());
        let steps = lab.last_job(agent).await["steps"].clone();
        assert_eq!(
            (&steps[0]["name"], &steps[0]["status"]),
            (&json!("snapshot"), &json!("failed"))
        );
        assert_eq!(run_next(&lab, agent, "/provision").await, "completed");
        assert_eq!(memories(&lab, agent).await, json!(2));

        // A state that only JSONB refuses is stored as bytes.
        lab.world
            .execute(
                "DROP TRIGGER test_refuse ON milady_sandbox_backups;
                CREATE TRIGGER test_refuse BEFORE INSERT ON milady_sandbox_backups
                    FOR EACH ROW WHEN (NEW.state_bytes IS NULL) EXECUTE FUNCTION test_refuse('57014')",
            )
            .await;
        assert_eq!(run_next(&lab, agent, "/suspend").await, "completed");
        assert_eq!(backup_types(&lab, agent).await, [json!("pre-shutdown")]);
        assert_eq!(lab.world.count(unsaved).await, 0);
        assert_eq!(run_next(&lab, agent, "/restore").await, "completed");
        assert_eq!(memories(&lab, agent).await, json!(2));
    });
}
