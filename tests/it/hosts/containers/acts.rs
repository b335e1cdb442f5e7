//! Starting, stopping, restarting, pulling.

use std::time::{Duration, Instant};

use dev::host::{Registry, Silent, image};
use serde_json::json;
use tests::lab::can;
use tests::suite::Request;
use tests::{Lab, run};
use uuid::Uuid;

use super::super::bad::Canary;
use super::{
    AGENTS, Held, JOBS, act, call, container, id_of, lab, last_entry, name, refused, runs, seen,
    until, wanted,
};

const RESUME: &str = "The agent is not charged for running: resume it instead";
const SUSPEND: &str = "The agent would be charged on: suspend it instead";
const BUSY: &str = "A job is under way for this container's agent";

/// When a container's process began.
async fn began(lab: &Lab, id: &str) -> String {
    let seen = seen(&lab.hosts[0].engine, id).await;
    seen["State"]["StartedAt"]
        .as_str()
        .expect("a date")
        .to_owned()
}

#[test]
fn a_paid_container_is_started_and_restarted_and_not_stopped() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let agent = lab.running(json!({})).await;
        let id = id_of(&lab, agent).await;

        let first = began(&lab, &id).await;
        let restarted = act(&lab, "restart", agent).await;
        assert_eq!(restarted.status(), 200, "{restarted:?}");
        let data = restarted.json()["data"].clone();
        let expected = json!({"action": "restart", "nodeId": "n1", "containerName": name(agent),
            "containerId": id, "performedAt": data["performedAt"]});
        assert_eq!(data, expected);
        assert!(runs(engine, &id).await && began(&lab, &id).await != first);

        // It ended, and nobody started it again.
        engine.kill(&id).await.expect("killed");
        assert!(!runs(engine, &id).await);
        let started = act(&lab, "start", agent).await;
        assert_eq!(started.status(), 200, "{started:?}");
        assert!(runs(engine, &id).await);
        let again = act(&lab, "start", agent).await;
        assert_eq!(again.status(), 200, "{again:?}");
        assert_eq!(
            last_entry(&lab.world).await,
            json!(["container.start", "ok", null])
        );

        refused(&act(&lab, "stop", agent).await, 409, SUSPEND);
        assert!(runs(engine, &id).await);
        assert_eq!(
            last_entry(&lab.world).await,
            json!(["container.stop", "refused", SUSPEND])
        );

        // The same key: the same answer, and nothing is done.
        let request = wanted("restart", "n1", &name(agent)).header("idempotency-key", "once");
        let once = call(&lab, request.clone()).await;
        let moment = began(&lab, &id).await;
        let again = call(&lab, request).await;
        assert_eq!((once.status(), once.json()), (200, again.json()));
        assert_eq!(began(&lab, &id).await, moment);

        // What Docker does not do in this state is said, and is no 500.
        engine.pause(&id).await.expect("paused");
        let paused = act(&lab, "start", agent).await;
        // What is frozen cannot be killed, not even when the engine ends.
        engine.unpause(&id).await.expect("unpaused");
        refused(
            &paused,
            409,
            "Docker does not do this with a container in this state",
        );
    });
}

/// F09 and F33: no operator's way around the gate.
#[test]
fn f09_nothing_is_started_that_is_not_charged_and_what_is_not_charged_may_be_stopped() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let agent = lab.running(json!({})).await;
        let id = id_of(&lab, agent).await;
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
            lab.world.set(agent, columns).await;
            engine.kill(&id).await.expect("killed");
            for action in ["start", "restart"] {
                refused(&act(&lab, action, agent).await, 409, RESUME);
                assert!(!runs(engine, &id).await, "{columns}");
            }
            engine.start_container(&id).await.expect("started");
            let still = ["'stopped'", "'pending'", "'error'"];
            let still = still.iter().any(|status| columns.contains(status));
            let stopped = act(&lab, "stop", agent).await;
            if still {
                assert_eq!(stopped.status(), 200, "{columns} {stopped:?}");
            } else {
                refused(&stopped, 409, SUSPEND);
            }
            assert_eq!(runs(engine, &id).await, !still, "{columns}");
            engine.start_container(&id).await.expect("started");
        }

        // Nobody's, though an agent of that id runs elsewhere, and nobody's at all.
        lab.world
            .set(
                agent,
                "status = 'running', billing_status = 'active', node_id = 'n9'",
            )
            .await;
        let other = Uuid::new_v4();
        container(engine, &name(other), None).await;
        for ghost in [agent, other] {
            for action in ["start", "restart"] {
                refused(
                    &act(&lab, action, ghost).await,
                    409,
                    "No agent's row claims this container: nobody would pay for it",
                );
            }
            assert!(runs(engine, &name(ghost)).await);
            let stopped = act(&lab, "stop", ghost).await;
            assert_eq!(stopped.status(), 200, "{stopped:?}");
            assert!(!runs(engine, &name(ghost)).await);
        }
    });
}

#[test]
fn nothing_is_done_to_a_container_whose_agent_a_job_works_on() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let agent = lab.running(json!({})).await;
        let id = id_of(&lab, agent).await;
        lab.world
            .execute(
                "INSERT INTO jobs (type, organization_id, agent_id, data, status)
                SELECT 'milady_suspend', organization_id, id, '{}', 'in_progress'
                FROM milady_sandboxes",
            )
            .await;
        let before = began(&lab, &id).await;
        for action in ["start", "restart", "stop"] {
            refused(&act(&lab, action, agent).await, 409, BUSY);
        }
        assert!(runs(engine, &id).await);
        assert_eq!(began(&lab, &id).await, before);
        // Looking disturbs nobody.
        assert_eq!(act(&lab, "logs", agent).await.status(), 200);
    });
}

/// F08 by another way: the agent is suspended while its container is being started.
#[test]
fn what_stops_being_charged_while_it_starts_is_stopped_again() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let agent = lab.running(json!({})).await;
        let id = id_of(&lab, agent).await;
        engine.kill(&id).await.expect("killed");
        let jobs = Held::on(&lab.world, JOBS).await;
        let meanwhile = async {
            lab.world.until_somebody_waits().await;
            // The agent's row was read; it is read again when the container runs.
            let agents = Held::on(&lab.world, AGENTS).await;
            jobs.and("").await;
            until("a start", async || runs(engine, &id).await).await;
            lab.world.until_somebody_waits().await;
            agents
                .and("UPDATE milady_sandboxes SET billing_status = 'suspended'")
                .await;
        };
        let (answer, ()) = tokio::join!(act(&lab, "start", agent), meanwhile);
        refused(&answer, 409, RESUME);
        assert!(!runs(engine, &id).await);
    });
}

#[test]
fn a_host_or_engine_that_is_down_is_502_and_nothing_says_where_it_is() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let (sshd, engine) = (&lab.hosts[0].sshd, &lab.hosts[0].engine);
        let agent = lab.running(json!({})).await;
        let id = id_of(&lab, agent).await;
        let canary = Canary::of(&lab);
        let actions = ["logs", "inspect", "restart", "stop", "start", "pull-image"];
        for (down, said) in [
            ("docker", "Docker does not answer on the host"),
            ("host", "The host cannot be reached"),
        ] {
            if down == "docker" {
                engine.stop().expect("stopped");
            } else {
                sshd.stop().expect("stopped");
            }
            for action in actions {
                let answer = act(&lab, action, agent).await;
                refused(&answer, 502, said);
                canary.is_silent_in(answer.text());
                assert_eq!(
                    last_entry(&lab.world).await,
                    json!([format!("container.{action}"), "failed", said])
                );
            }
            let answer = call(&lab, super::removal("n1", &name(agent), &id)).await;
            refused(&answer, 502, said);
            let path = format!("/api/v1/admin/docker-containers/{agent}/logs");
            refused(&lab.world.get(&lab.key, &path).await, 503, said);
            engine.start_again().await.expect("an engine");
            sshd.start_again().await.expect("an SSH server");
            // The function that lost its connection goes on.
            assert_eq!(act(&lab, "logs", agent).await.status(), 200, "{down}");
        }
        for line in lab.world.logs("container-action").await {
            canary.is_silent_in(&line);
        }
    });
}

#[test]
fn an_agents_image_is_pulled_with_the_account_of_its_registry() {
    run(async {
        if !can(&Registry::availability()) {
            return;
        }
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let registry = Registry::start().await.expect("a registry");
        let image = registry
            .take(engine, image::SAMPLE, "team/agent")
            .await
            .expect("pushed");
        let agent = lab.agent(json!({"dockerImage": image})).await;
        lab.world
            .set(
                agent,
                "status = 'running', node_id = 'n1', container_name = 'milady-' || id",
            )
            .await;
        container(engine, &name(agent), Some(agent)).await;
        let (user, password) = registry.account();
        let accounts = |password: &str| {
            let accounts = json!({registry.name(): {"username": user, "password": password}});
            lab.world
                .function("container-action")
                .with("REGISTRY_ACCOUNTS", &accounts.to_string())
        };
        let request = || wanted("pull-image", "n1", &name(agent)).key(&lab.key);
        let cannot = "The image cannot be pulled";
        refused(&lab.world.call(request()).await, 502, cannot);
        let wrong = lab.world.call_on(&accounts("wrong"), request()).await;
        refused(&wrong, 502, cannot);
        let path = format!("/images/{image}/json");
        assert!(engine.call("GET", &path, None).await.is_err());
        let pulled = lab.world.call_on(&accounts(password), request()).await;
        assert_eq!(pulled.status(), 200, "{pulled:?}");
        assert_eq!(pulled.json()["data"]["image"], json!(image));
        assert!(engine.call("GET", &path, None).await.is_ok());
        let unread = lab
            .world
            .function("container-action")
            .with("REGISTRY_ACCOUNTS", "{\"broken-canary");
        let unread = lab.world.call_on(&unread, request()).await;
        refused(&unread, 502, "The registry's credentials cannot be read");

        // Not any image, and not one of nobody's.
        lab.world.set(agent, "docker_image = 'evil/miner:1'").await;
        refused(
            &lab.world.call(request()).await,
            409,
            "The agent's image is not one that agents may run",
        );
        let ghost = name(Uuid::new_v4());
        container(engine, &ghost, None).await;
        let nobody = call(&lab, wanted("pull-image", "n1", &ghost)).await;
        refused(&nobody, 409, "No agent of this container is known");
    });
}

#[test]
fn a_registry_that_says_nothing_is_given_up_before_the_gateway_does() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let silent = Silent::start().expect("a port");
        let image = format!("127.0.0.1:{}/agent:1", silent.port());
        let agent = lab.agent(json!({"dockerImage": image})).await;
        lab.world
            .set(
                agent,
                "status = 'running', node_id = 'n1', container_name = 'milady-' || id",
            )
            .await;
        container(&lab.hosts[0].engine, &name(agent), Some(agent)).await;
        let began = Instant::now();
        let answer = act(&lab, "pull-image", agent).await;
        assert_eq!(answer.status(), 502, "{answer:?}");
        assert!(
            began.elapsed() < Duration::from_secs(28),
            "{:?}",
            began.elapsed()
        );
        let said = answer.json()["error"]
            .as_str()
            .expect("a sentence")
            .to_owned();
        let late = "The image could not be pulled within 25 seconds; asking again goes on with it";
        assert_eq!(said, late);
        // The next request is served.
        let next = Request::new("POST", super::ACTIONS).key(&lab.key);
        assert_eq!(lab.world.call(next.json(&json!({}))).await.status(), 400);
    });
}
