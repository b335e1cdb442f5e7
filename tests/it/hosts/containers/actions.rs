//! Starting, stopping and restarting a container, and pulling its image.

use std::time::{Duration, Instant};

use dev::host::{Registry, SilentPort, image};
use serde_json::json;
use tests::lab::can_run;
use tests::suite::Request;
use tests::{Lab, run, wait_until};
use uuid::Uuid;

use super::super::failures::HostSecrets;
use super::{
    LOCK_AGENTS, LOCK_JOBS, TableLock, act_on_agent, action_request, assert_refused, call,
    container_id, container_name, docker_inspect, is_running, lab, last_audit_entry, run_container,
};

const RESUME: &str = "The agent is not charged for running: resume it instead";
const SUSPEND: &str = "The agent would still be charged: suspend it instead";
const BUSY: &str = "A job is under way for this container's agent";

async fn started_at(lab: &Lab, id: &str) -> String {
    let inspected = docker_inspect(&lab.hosts[0].engine, id).await;
    inspected["State"]["StartedAt"]
        .as_str()
        .expect("a date")
        .to_owned()
}

#[test]
fn a_billed_container_can_be_started_and_restarted_but_not_stopped() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let agent = lab.running_agent(json!({})).await;
        let id = container_id(&lab, agent).await;

        let first = started_at(&lab, &id).await;
        let restarted = act_on_agent(&lab, "restart", agent).await;
        assert_eq!(restarted.status(), 200, "{restarted:?}");
        let data = restarted.json()["data"].clone();
        let expected = json!({"action": "restart", "nodeId": "n1", "containerName": container_name(agent),
            "containerId": id, "performedAt": data["performedAt"]});
        assert_eq!(data, expected);
        assert!(is_running(engine, &id).await && started_at(&lab, &id).await != first);

        // The container has exited.
        engine.kill(&id).await.expect("killed");
        assert!(!is_running(engine, &id).await);
        let started = act_on_agent(&lab, "start", agent).await;
        assert_eq!(started.status(), 200, "{started:?}");
        assert!(is_running(engine, &id).await);
        let again = act_on_agent(&lab, "start", agent).await;
        assert_eq!(again.status(), 200, "{again:?}");
        assert_eq!(
            last_audit_entry(&lab.world).await,
            json!(["container.start", "ok", null])
        );

        assert_refused(&act_on_agent(&lab, "stop", agent).await, 409, SUSPEND);
        assert!(is_running(engine, &id).await);
        assert_eq!(
            last_audit_entry(&lab.world).await,
            json!(["container.stop", "refused", SUSPEND])
        );

        // A repeated key returns the first response and does nothing.
        let request = action_request("restart", "n1", &container_name(agent))
            .header("idempotency-key", "once");
        let once = call(&lab, request.clone()).await;
        let moment = started_at(&lab, &id).await;
        let again = call(&lab, request).await;
        assert_eq!((once.status(), once.json()), (200, again.json()));
        assert_eq!(started_at(&lab, &id).await, moment);

        // An action that Docker refuses in this state is a conflict.
        engine.pause(&id).await.expect("paused");
        let paused = act_on_agent(&lab, "start", agent).await;
        // A paused process cannot be killed, not even when the engine ends.
        engine.unpause(&id).await.expect("unpaused");
        assert_refused(
            &paused,
            409,
            "Docker refuses this action while the container is in this state",
        );
    });
}

/// F09 and F33: operators cannot bypass the credit gate.
#[test]
fn f09_an_unbilled_container_can_be_stopped_but_not_started() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let agent = lab.running_agent(json!({})).await;
        let id = container_id(&lab, agent).await;
        for columns in [
            "status = 'stopped', last_backup_at = now()",
            "status = 'pending'",
            "status = 'provisioning'",
            "status = 'error'",
            "status = 'disconnected'",
            "status = 'running', stop_requested_at = now()",
            "status = 'running', stop_requested_at = NULL, billing_status = 'suspended'",
            "status = 'stopped', billing_status = 'suspended'",
        ] {
            lab.world.set_columns(agent, columns).await;
            engine.kill(&id).await.expect("killed");
            for action in ["start", "restart"] {
                assert_refused(&act_on_agent(&lab, action, agent).await, 409, RESUME);
                assert!(!is_running(engine, &id).await, "{columns}");
            }
            engine.start_container(&id).await.expect("started");
            let at_rest = ["'stopped'", "'pending'", "'error'"];
            let may_be_stopped = at_rest.iter().any(|status| columns.contains(status));
            let stopped = act_on_agent(&lab, "stop", agent).await;
            if may_be_stopped {
                assert_eq!(stopped.status(), 200, "{columns} {stopped:?}");
            } else {
                assert_refused(&stopped, 409, SUSPEND);
            }
            assert_eq!(is_running(engine, &id).await, !may_be_stopped, "{columns}");
            engine.start_container(&id).await.expect("started");
        }
        let reason = "SELECT count(*) FROM milady_sandboxes WHERE stop_reason = 'operator'";
        assert_eq!(lab.world.count(reason).await, 1);

        // One container whose agent is on another host according to its row, and one without any agent.
        lab.world
            .set_columns(
                agent,
                "status = 'running', billing_status = 'active', node_id = 'n9'",
            )
            .await;
        let other = Uuid::new_v4();
        run_container(engine, &container_name(other), None).await;
        for unclaimed in [agent, other] {
            for action in ["start", "restart"] {
                assert_refused(
                    &act_on_agent(&lab, action, unclaimed).await,
                    409,
                    "No agent's row claims this container: nobody would pay for it",
                );
            }
            assert!(is_running(engine, &container_name(unclaimed)).await);
            let stopped = act_on_agent(&lab, "stop", unclaimed).await;
            assert_eq!(stopped.status(), 200, "{stopped:?}");
            assert!(!is_running(engine, &container_name(unclaimed)).await);
        }
    });
}

#[test]
fn a_container_whose_agent_has_a_job_is_left_alone() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let agent = lab.running_agent(json!({})).await;
        let id = container_id(&lab, agent).await;
        lab.world
            .execute(
                "INSERT INTO jobs (type, organization_id, agent_id, data, status)
                SELECT 'milady_suspend', organization_id, id, '{}', 'in_progress'
                FROM milady_sandboxes",
            )
            .await;
        let before = started_at(&lab, &id).await;
        for action in ["start", "restart", "stop"] {
            assert_refused(&act_on_agent(&lab, action, agent).await, 409, BUSY);
        }
        assert!(is_running(engine, &id).await);
        assert_eq!(started_at(&lab, &id).await, before);
        // Reading logs is allowed.
        assert_eq!(act_on_agent(&lab, "logs", agent).await.status(), 200);
    });
}

/// F08: the agent is suspended while its container starts.
#[test]
fn a_container_whose_billing_ends_during_its_start_is_stopped() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let agent = lab.running_agent(json!({})).await;
        let id = container_id(&lab, agent).await;
        engine.kill(&id).await.expect("killed");
        let jobs = TableLock::acquire(&lab.world, LOCK_JOBS).await;
        let meanwhile = async {
            lab.world.wait_until_a_session_is_blocked().await;
            // The row was read once, and is read again after the container has started.
            let agents = TableLock::acquire(&lab.world, LOCK_AGENTS).await;
            jobs.run_and_release("").await;
            wait_until("a start", async || is_running(engine, &id).await).await;
            lab.world.wait_until_a_session_is_blocked().await;
            agents
                .run_and_release("UPDATE milady_sandboxes SET billing_status = 'suspended'")
                .await;
        };
        let (response, ()) = tokio::join!(act_on_agent(&lab, "start", agent), meanwhile);
        assert_refused(&response, 409, RESUME);
        assert!(!is_running(engine, &id).await);
    });
}

#[test]
fn a_host_or_engine_that_is_down_is_502_without_its_address() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let (sshd, engine) = (&lab.hosts[0].sshd, &lab.hosts[0].engine);
        let agent = lab.running_agent(json!({})).await;
        let id = container_id(&lab, agent).await;
        let secrets = HostSecrets::of(&lab);
        let actions = ["logs", "inspect", "restart", "stop", "start", "pull-image"];
        for (down, sentence) in [
            ("docker", "Docker does not answer on the host"),
            ("host", "The host cannot be reached"),
        ] {
            if down == "docker" {
                engine.stop().expect("stopped");
            } else {
                sshd.stop().expect("stopped");
            }
            for action in actions {
                let response = act_on_agent(&lab, action, agent).await;
                assert_refused(&response, 502, sentence);
                secrets.assert_absent_from(response.text());
                assert_eq!(
                    last_audit_entry(&lab.world).await,
                    json!([format!("container.{action}"), "failed", sentence])
                );
            }
            let response = call(
                &lab,
                super::remove_ghost_request("n1", &container_name(agent), &id),
            )
            .await;
            assert_refused(&response, 502, sentence);
            let path = format!("/api/v1/admin/docker-containers/{agent}/logs");
            assert_refused(&lab.world.get(&lab.api_key, &path).await, 503, sentence);
            engine.restart().await.expect("an engine");
            sshd.restart().await.expect("an SSH server");
            // The same function connects again.
            assert_eq!(
                act_on_agent(&lab, "logs", agent).await.status(),
                200,
                "{down}"
            );
        }
        for line in lab.world.logs("container-action").await {
            secrets.assert_absent_from(&line);
        }
    });
}

#[test]
fn an_image_is_pulled_with_our_account_at_its_registry() {
    run(async {
        if !can_run(&Registry::availability()) {
            return;
        }
        let Some(mut lab) = lab(1).await else {
            return;
        };
        let registry = Registry::start().await.expect("a registry");
        lab.allow_images(&registry.name());
        let engine = &lab.hosts[0].engine;
        let image = registry
            .push(engine, image::SAMPLE, "team/agent")
            .await
            .expect("pushed");
        let agent = lab.agent(json!({"dockerImage": image})).await;
        lab.world
            .set_columns(
                agent,
                "status = 'running', node_id = 'n1', container_name = 'milady-' || id",
            )
            .await;
        run_container(engine, &container_name(agent), Some(agent)).await;
        let (user, password) = registry.credentials();
        let accounts = |password: &str| {
            let accounts = json!({registry.name(): {"username": user, "password": password}});
            lab.world
                .function("container-action")
                .with("REGISTRY_ACCOUNTS", &accounts.to_string())
        };
        let request =
            || action_request("pull-image", "n1", &container_name(agent)).key(&lab.api_key);
        let cannot = "The registry refuses our account; check REGISTRY_ACCOUNTS";
        assert_refused(&lab.world.call(request()).await, 502, cannot);
        let wrong = lab.world.call_function(&accounts("wrong"), request()).await;
        assert_refused(&wrong, 502, cannot);
        let path = format!("/images/{image}/json");
        assert!(engine.call("GET", &path, None).await.is_err());
        let pulled = lab
            .world
            .call_function(&accounts(password), request())
            .await;
        assert_eq!(pulled.status(), 200, "{pulled:?}");
        assert_eq!(pulled.json()["data"]["image"], json!(image));
        assert!(engine.call("GET", &path, None).await.is_ok());
        let misconfigured = lab
            .world
            .function("container-action")
            .with("REGISTRY_ACCOUNTS", "{\"broken-canary");
        let response = lab.world.call_function(&misconfigured, request()).await;
        assert_refused(&response, 502, "The registry's credentials cannot be read");

        // An image that is not allowed is not pulled, and none is pulled for a container without an agent.
        lab.world
            .set_columns(agent, "docker_image = 'evil/miner:1'")
            .await;
        assert_refused(
            &lab.world.call(request()).await,
            409,
            "The agent's image is not one that agents may run",
        );
        let unclaimed = container_name(Uuid::new_v4());
        run_container(engine, &unclaimed, None).await;
        let nobody = call(&lab, action_request("pull-image", "n1", &unclaimed)).await;
        assert_refused(&nobody, 409, "No agent is known for this container");
    });
}

#[test]
fn a_silent_registry_times_out_before_the_gateway() {
    run(async {
        let Some(mut lab) = lab(1).await else {
            return;
        };
        let silent = SilentPort::start().expect("a port");
        let registry = format!("127.0.0.1:{}", silent.port());
        lab.allow_images(&registry);
        let image = format!("{registry}/agent:1");
        let agent = lab.agent(json!({"dockerImage": image})).await;
        lab.world
            .set_columns(
                agent,
                "status = 'running', node_id = 'n1', container_name = 'milady-' || id",
            )
            .await;
        run_container(&lab.hosts[0].engine, &container_name(agent), Some(agent)).await;
        let began = Instant::now();
        let response = act_on_agent(&lab, "pull-image", agent).await;
        assert_eq!(response.status(), 502, "{response:?}");
        assert!(
            began.elapsed() < Duration::from_secs(28),
            "{:?}",
            began.elapsed()
        );
        let sentence = response.json()["error"]
            .as_str()
            .expect("a sentence")
            .to_owned();
        let late = "The image could not be pulled within 25 seconds; repeat the request to continue the pull";
        assert_eq!(sentence, late);
        // The function serves the next request.
        let next = Request::new("POST", super::ACTIONS).key(&lab.api_key);
        assert_eq!(lab.world.call(next.json(&json!({}))).await.status(), 400);
    });
}
