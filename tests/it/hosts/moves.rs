//! Agents that leave a host: it is drained, or lost.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{Lab, run};
use uuid::Uuid;

const NODES: &str = "/api/v1/admin/docker-nodes";

/// Lets agents be placed on this host only.
pub(super) async fn enable_only(lab: &Lab, node: &str) {
    sqlx::query("UPDATE docker_nodes SET enabled = node_id = $1")
        .bind(node)
        .execute(&lab.world.pool)
        .await
        .expect("hosts");
}

/// Runs the jobs of these agents that wait.
pub(super) async fn run_jobs(lab: &Lab, agents: &[Uuid]) {
    for agent in agents {
        let pending = "SELECT id FROM jobs WHERE agent_id = $1 AND status = 'pending'";
        let job = sqlx::query_scalar(pending)
            .bind(agent)
            .fetch_optional(&lab.world.pool)
            .await;
        if let Some(id) = job.expect("the agent's jobs") {
            assert_eq!(lab.run(id).await, "completed");
        }
    }
}

async fn variable(lab: &Lab, agent: Uuid, name: &str) -> Value {
    let params = json!({"name": name});
    lab.bridge_result(agent, "env.get", params).await["value"].clone()
}

/// Has the agent remember a message and its answer.
pub(super) async fn talk(lab: &Lab, agent: Uuid) {
    let params = json!({"text": "hello"});
    lab.bridge_result(agent, "message.send", params).await;
}

pub(super) async fn memories(lab: &Lab, agent: Uuid) -> Value {
    lab.bridge_result(agent, "status.get", json!({})).await["memories"].clone()
}

#[test]
fn f70_a_drain_moves_each_running_agent_to_another_host_and_then_the_host_can_be_removed() {
    run(async {
        let Some(lab) = Lab::new(2).await else {
            return;
        };
        let operator = lab.world.super_admin().await;
        enable_only(&lab, "n1").await;
        let mut agents = Vec::new();
        for messages in [1, 2] {
            let agent = lab.running_agent(json!({})).await;
            for _ in 0..messages {
                talk(&lab, agent).await;
            }
            agents.push(agent);
        }
        let stopped = lab.running_agent(json!({})).await;
        let (_, outcome) = lab.request_and_run(stopped, "/suspend").await;
        assert_eq!(outcome, "completed");
        lab.world
            .execute("UPDATE docker_nodes SET enabled = true")
            .await;
        lab.advance_clock(TimeDelta::minutes(5)).await;

        let path = format!("{NODES}/n1/drain");
        let body = json!({"movesAtOnce": 1});
        let drained = lab.world.post_json(&operator, &path, &body).await;
        assert_eq!(drained.status(), 200, "{drained:?}");
        let plan = async || lab.world.get(&operator, &path).await.json()["data"].clone();
        let fate_of = |plan: &Value, agent: Uuid| -> Value {
            let agents = plan["agents"].as_array().expect("agents");
            let found = agents.iter().find(|found| found["agentId"] == json!(agent));
            found.map_or(Value::Null, |found| found["fate"].clone())
        };
        assert_eq!(fate_of(&plan().await, agents[0]), json!("moves"));
        assert_eq!(fate_of(&plan().await, stopped), json!("saved"));
        let remove = Request::new("DELETE", &format!("{NODES}/n1")).key(&operator);
        assert_eq!(lab.world.call(remove.clone()).await.status(), 409);
        for _ in 0..10 {
            // Twice, as overlapping sweeps do.
            lab.sweep().await;
            lab.sweep().await;
            let active = "SELECT count(*) FROM jobs WHERE status IN ('pending', 'in_progress')";
            assert!(lab.world.count(active).await <= 1);
            run_jobs(&lab, &agents).await;
            lab.advance_clock(TimeDelta::minutes(1)).await;
        }
        let drained = plan().await;
        assert_ne!(drained["doneAt"], Value::Null, "{drained}");
        assert_eq!(drained["moved"], json!(2), "{drained}");
        for (agent, expected) in agents.iter().zip([2, 4]) {
            assert_eq!(lab.containers(*agent).await, [0, 1]);
            assert_eq!(memories(&lab, *agent).await, json!(expected));
            let row = lab.placement(*agent).await;
            assert_eq!(row["status"], json!("running"), "{row}");
        }
        // Its owner suspended it, so it stays as it is.
        assert_eq!(lab.placement(stopped).await["status"], json!("stopped"));
        let overlaps =
            "SELECT count(*) FROM usage_spans a JOIN usage_spans b ON a.agent_id = b.agent_id
            AND a.id < b.id AND a.started_at < coalesce(b.ended_at, 'infinity')
            AND b.started_at < coalesce(a.ended_at, 'infinity')";
        assert_eq!(lab.world.count(overlaps).await, 0);
        assert_eq!(lab.world.call(remove).await.status(), 200);
        let started = lab.try_start(stopped).await;
        assert_eq!(started.1, "completed");
        assert_eq!(lab.containers(stopped).await, [0, 1]);
    });
}

#[test]
fn f70_a_moved_agent_stands_still_because_of_the_move_and_does_not_go_back() {
    run(async {
        let Some(lab) = Lab::new(2).await else {
            return;
        };
        let operator = lab.world.super_admin().await;
        enable_only(&lab, "n1").await;
        let agent = lab.running_agent(json!({})).await;
        lab.world
            .execute("UPDATE docker_nodes SET enabled = true")
            .await;
        let path = format!("/api/v1/admin/agents/{agent}/move");
        let moved = lab.world.post(&operator, &path).await;
        assert_eq!(moved.status(), 202, "{moved:?}");
        assert_eq!(moved.json()["data"]["fromNode"], json!("n1"));
        assert_eq!(lab.world.post(&operator, &path).await.status(), 409);
        run_jobs(&lab, &[agent]).await;
        let reason: Option<String> =
            sqlx::query_scalar("SELECT stop_reason FROM milady_sandboxes WHERE id = $1")
                .bind(agent)
                .fetch_one(&lab.world.pool)
                .await
                .expect("an agent");
        assert_eq!(reason.as_deref(), Some("drain"));
        let metered =
            "SELECT count(*) FROM usage_spans WHERE kind = 'running' AND ended_at IS NULL";
        assert_eq!(lab.world.count(metered).await, 0);
        // The credit that a start needs is gone, but the agent only continues.
        lab.world
            .execute("UPDATE organizations SET credit_balance = 1")
            .await;
        lab.sweep().await;
        run_jobs(&lab, &[agent]).await;
        assert_eq!(lab.containers(agent).await, [0, 1]);
        lab.sweep().await;
        lab.world
            .execute("UPDATE organizations SET credit_balance = 100")
            .await;
        let (_, outcome) = lab.request_and_run(agent, "/suspend").await;
        assert_eq!(outcome, "completed");
        enable_only(&lab, "n1").await;
        assert_ne!(lab.try_start(agent).await.1, "completed");
        assert_eq!(lab.containers(agent).await, [0, 0]);
    });
}

#[test]
fn f65_an_agent_of_a_lost_host_is_restored_elsewhere_with_new_secrets_and_its_old_copy_is_stopped()
{
    run(async {
        let Some(lab) = Lab::new(2).await else {
            return;
        };
        let operator = lab.world.super_admin().await;
        enable_only(&lab, "n1").await;
        let agent = lab.running_agent(json!({})).await;
        lab.world
            .execute("UPDATE docker_nodes SET enabled = true")
            .await;
        talk(&lab, agent).await;
        let snapshot = agent_path(agent, "/snapshot");
        let saved = lab.world.post(&lab.api_key, &snapshot).await;
        assert_eq!(saved.status(), 200, "{saved:?}");
        talk(&lab, agent).await;
        let secrets = ["JWT_SECRET", "MILADY_API_TOKEN", "DATABASE_URL"];
        let mut old = Vec::new();
        for name in secrets {
            old.push(variable(&lab, agent, name).await);
        }
        lab.world.refresh().await;
        lab.hosts[0].sshd.stop().expect("a stop");
        for _ in 0..5 {
            lab.advance_clock(TimeDelta::minutes(3)).await;
            lab.world.refresh().await;
        }
        let body = json!({"nodeId": "n1"});
        let path = format!("{NODES}/n1/lost");
        let declared = lab.world.post_json(&operator, &path, &body).await;
        assert_eq!(declared.status(), 200, "{declared:?}");
        lab.start(agent).await;
        assert_eq!(lab.containers(agent).await, [1, 1]);
        assert_eq!(memories(&lab, agent).await, json!(2));
        for (name, old) in secrets.into_iter().zip(old) {
            let new = variable(&lab, agent, name).await;
            assert!(new.is_string() && new != old, "{name}");
        }
        lab.hosts[0].sshd.restart().await.expect("a start");
        lab.advance_clock(TimeDelta::minutes(1)).await;
        lab.world.refresh().await;
        let containers = lab.hosts[0].engine.containers().await.expect("containers");
        assert!(
            containers
                .iter()
                .all(|container| container.state != "running"),
            "{containers:?}"
        );
        let shown = lab.world.get(&operator, &format!("{NODES}/n1")).await;
        assert_eq!(shown.json()["data"]["service"], json!("returned"));
        // The new copy is not touched.
        assert_eq!(memories(&lab, agent).await, json!(2));
    });
}

#[test]
fn f70_an_agent_whose_state_its_move_has_saved_is_started_elsewhere_although_its_stop_is_repeated()
{
    run(async {
        let Some(lab) = Lab::new(2).await else {
            return;
        };
        let operator = lab.world.super_admin().await;
        enable_only(&lab, "n1").await;
        let agent = lab.running_agent(json!({})).await;
        lab.world
            .execute("UPDATE docker_nodes SET enabled = true")
            .await;
        talk(&lab, agent).await;
        let snapshot = agent_path(agent, "/snapshot");
        let saved = lab.world.post(&lab.api_key, &snapshot).await;
        assert_eq!(saved.status(), 200, "{saved:?}");
        let path = format!("/api/v1/admin/agents/{agent}/move");
        let moved = lab.world.post(&operator, &path).await;
        assert_eq!(moved.status(), 202, "{moved:?}");
        // As an attempt leaves it that saved the state and could not remove the container. The next one cannot save it again.
        lab.world
            .set_columns(
                agent,
                "stop_requested_at = billing_clock(), stop_reason = 'drain', unsaved_since = NULL",
            )
            .await;
        lab.world
            .execute(
                "CREATE FUNCTION test_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'not this one' USING ERRCODE = '53100';
                END $$;
                CREATE TRIGGER test_refuse BEFORE INSERT ON milady_sandbox_backups
                    FOR EACH ROW EXECUTE FUNCTION test_refuse()",
            )
            .await;
        run_jobs(&lab, &[agent]).await;
        assert_eq!(lab.containers(agent).await, [0, 0]);
        lab.sweep().await;
        run_jobs(&lab, &[agent]).await;
        assert_eq!(lab.containers(agent).await, [0, 1]);
        assert_eq!(memories(&lab, agent).await, json!(2));
    });
}

#[test]
fn f70_an_agent_whose_only_state_is_on_a_drained_host_starts_there_and_is_moved() {
    run(async {
        let Some(lab) = Lab::new(2).await else {
            return;
        };
        let operator = lab.world.super_admin().await;
        enable_only(&lab, "n1").await;
        let agent = lab.running_agent(json!({})).await;
        talk(&lab, agent).await;
        lab.world
            .execute(
                "UPDATE docker_nodes SET enabled = true;
                CREATE FUNCTION test_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'not this one' USING ERRCODE = '53100';
                END $$;
                CREATE TRIGGER test_refuse BEFORE INSERT ON milady_sandbox_backups
                    FOR EACH ROW EXECUTE FUNCTION test_refuse()",
            )
            .await;
        let (_, outcome) = lab.request_and_run(agent, "/suspend").await;
        assert_eq!(outcome, "completed");
        lab.world
            .execute("DROP TRIGGER test_refuse ON milady_sandbox_backups")
            .await;
        let path = format!("{NODES}/n1/drain");
        let drained = lab.world.post(&operator, &path).await;
        assert_eq!(drained.status(), 200, "{drained:?}");
        lab.sweep().await;
        let done_at =
            async || lab.world.get(&operator, &path).await.json()["data"]["doneAt"].clone();
        assert_ne!(done_at().await, Value::Null);
        lab.start(agent).await;
        assert_eq!(lab.containers(agent).await, [1, 0]);
        assert_eq!(done_at().await, Value::Null);
        for _ in 0..4 {
            lab.advance_clock(TimeDelta::minutes(1)).await;
            lab.sweep().await;
            run_jobs(&lab, &[agent]).await;
        }
        assert_eq!(lab.containers(agent).await, [0, 1]);
        assert_eq!(memories(&lab, agent).await, json!(2));
        assert_ne!(done_at().await, Value::Null);
    });
}
