//! Containers that die while their agents run. Origin of the states: Docker's `container/state.go`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dev::runtime::Outcome;
use dev::sim::{Answer, Container, Death, Health, Script};
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::mail_provider::MailProvider;
use tests::run;
use tests::simulated_world::SimulatedWorld;
use tests::world::minutes;
use uuid::Uuid;

use crate::jobs::webhook::WebhookReceiver;
use crate::webhooks::save;

const OUT_OF_MEMORY: Death = Death {
    exit_code: 137,
    oom_killed: true,
};

/// One host with two agents that run.
async fn fleet() -> SimulatedWorld {
    SimulatedWorld::new(vec![Script::new("n1")], 2, Health::Healthy).await
}

async fn change(fleet: &SimulatedWorld, agent: Uuid, change: impl FnOnce(&mut Container)) {
    fleet.sim.hosts()[0]
        .update_script(|script| {
            let name = format!("milady-{agent}");
            let mut containers = script.containers.iter_mut();
            let container = containers.find(|container| container.name == name);
            change(container.expect("a container"));
        })
        .await;
}

fn container(fleet: &SimulatedWorld, agent: Uuid) -> Container {
    let script = fleet.sim.hosts()[0].script();
    let container = script.find(&format!("milady-{agent}"));
    container.expect("a container").clone()
}

/// Runs at this minute and returns how many agents lost their container.
async fn run_at(fleet: &SimulatedWorld, minute: i64) -> Value {
    fleet.world.set_clock(minutes(minute)).await;
    fleet.world.refresh().await["lost"].clone()
}

async fn row(fleet: &SimulatedWorld, agent: Uuid) -> Value {
    sqlx::query_scalar(
        "SELECT jsonb_build_object('status', status, 'error', error_message, 'reason', stop_reason,
            'container', container_name) FROM milady_sandboxes WHERE id = $1",
    )
    .bind(agent)
    .fetch_one(&fleet.world.pool)
    .await
    .expect("an agent")
}

/// The end of the agent's metered time.
async fn metered_until(fleet: &SimulatedWorld, agent: Uuid) -> Option<DateTime<Utc>> {
    sqlx::query_scalar("SELECT ended_at FROM usage_spans WHERE agent_id = $1 AND kind = 'running'")
        .bind(agent)
        .fetch_one(&fleet.world.pool)
        .await
        .expect("one span")
}

/// A run takes less than this.
fn is_at(at: Option<DateTime<Utc>>, minute: i64) -> bool {
    at.is_some_and(|at| (minutes(minute)..minutes(minute) + TimeDelta::seconds(50)).contains(&at))
}

#[test]
fn f73_a_container_that_ends_again_and_again_is_stopped_and_its_agent_is_in_error() {
    run(async {
        let fleet = fleet().await;
        let world = &fleet.world;
        let (agent, other) = (fleet.agents[0][0], fleet.agents[0][1]);
        change(&fleet, agent, |container| {
            container.memory_bytes = Some(2 << 30);
            container.restart_count = 40;
            container.restart_after(OUT_OF_MEMORY, Utc::now());
            for n in 0..60 {
                container.lines.push((Utc::now(), format!("line {n}")));
            }
        })
        .await;
        // How often it had ended before says nothing of now.
        assert_eq!(run_at(&fleet, 30).await, json!(0));
        assert_eq!(row(&fleet, agent).await["status"], "running");
        change(&fleet, agent, |container| container.restart_count += 5).await;
        assert_eq!(run_at(&fleet, 31).await, json!(1));
        let error = "The agent's container ended 5 times within a minute and was stopped: it needed more memory \
                     than its limit of 2 GiB";
        let expected =
            json!({"status": "error", "error": error, "reason": "failure", "container": null});
        assert_eq!(row(&fleet, agent).await, expected);
        // It is charged until the run that first saw it, and nobody else is touched.
        let until = metered_until(&fleet, agent).await;
        assert!(is_at(until, 30), "{until:?}");
        assert_eq!(metered_until(&fleet, other).await, None);
        assert_eq!(row(&fleet, other).await["status"], "running");
        assert_eq!(
            world
                .count("SELECT allocated_count::bigint FROM docker_nodes")
                .await,
            1
        );
        assert_eq!(container(&fleet, agent).state, "exited");
        assert_eq!(
            world.events(fleet.organization).await,
            ["agent.container_died"]
        );
        // The owner reads how it ended and what it wrote last.
        let shown = world.get(&fleet.operator, &agent_path(agent, "")).await;
        let death = shown.json()["data"]["lastDeath"].clone();
        assert_eq!(
            (
                &death["exitCode"],
                &death["outOfMemory"],
                &death["restarts"]
            ),
            (&json!(137), &json!(true), &json!(5)),
            "{death}"
        );
        let log = death["log"].as_str().expect("a log");
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 50, "{log}");
        assert!(
            lines[0].ends_with("line 10") && lines[49].ends_with("line 59"),
            "{log}"
        );
        // The operators see it.
        let snapshot = world.cached_fleet().await;
        let incidents = snapshot["incidents"].as_array().expect("incidents");
        let incident = incidents
            .iter()
            .find(|incident| incident["containerId"] == json!(agent));
        let incident = incident.expect("an incident");
        assert_eq!(incident["severity"], "critical", "{incident}");
        assert_eq!(
            incident["detail"],
            json!(format!("The agent is in error: {error}"))
        );
        assert_eq!(run_at(&fleet, 32).await, json!(0));
        assert_eq!(world.events(fleet.organization).await.len(), 1);
    });
}

#[test]
fn f73_an_agent_whose_container_has_ended_is_charged_until_then() {
    run(async {
        let fleet = fleet().await;
        let agent = fleet.agents[0][0];
        let failed = Death {
            exit_code: 1,
            oom_killed: false,
        };
        change(&fleet, agent, |container| {
            container.end(failed, Utc::now() - TimeDelta::minutes(10));
        })
        .await;
        // While Docker itself is being restarted, all containers look like this.
        assert_eq!(run_at(&fleet, 30).await, json!(0));
        assert_eq!(run_at(&fleet, 31).await, json!(1));
        let row = row(&fleet, agent).await;
        assert_eq!(
            row["error"],
            "The agent's container has ended: its program failed with exit code 1"
        );
        let until = metered_until(&fleet, agent).await;
        // Not to the second, because this machine's clock goes on between the two runs.
        let expected = minutes(20)..minutes(22);
        assert!(until.is_some_and(|at| expected.contains(&at)), "{until:?}");
    });
}

#[test]
fn f73_the_last_answer_of_an_agent_is_a_sign_of_life_and_what_is_charged_stays_charged() {
    run(async {
        let fleet = fleet().await;
        let world = &fleet.world;
        let (answered, charged) = (fleet.agents[0][0], fleet.agents[0][1]);
        world
            .set_columns(
                answered,
                "last_heartbeat_at = billing_clock() + interval '90 minutes'",
            )
            .await;
        for agent in [answered, charged] {
            change(&fleet, agent, |container| {
                container.end(OUT_OF_MEMORY, Utc::now() - TimeDelta::minutes(50));
            })
            .await;
        }
        world.run_billing(1).await;
        assert_eq!(run_at(&fleet, 99).await, json!(0));
        assert_eq!(run_at(&fleet, 100).await, json!(2));
        assert_eq!(metered_until(&fleet, answered).await, Some(minutes(90)));
        // It ended in minute 50, and the hour up to minute 60 was charged before anybody knew.
        assert_eq!(metered_until(&fleet, charged).await, Some(minutes(60)));
    });
}

#[test]
fn f73_a_dead_container_that_could_not_be_stopped_is_stopped_by_a_later_run() {
    run(async {
        let fleet = fleet().await;
        let agent = fleet.agents[0][0];
        change(&fleet, agent, |container| {
            container.restart_after(OUT_OF_MEMORY, Utc::now());
        })
        .await;
        assert_eq!(run_at(&fleet, 30).await, json!(0));
        let refusal = Answer::refusal("POST /containers/{id}/stop", 500, "try later");
        fleet.sim.hosts()[0]
            .update_script(|script| script.answers = vec![refusal.times(1)])
            .await;
        change(&fleet, agent, |container| container.restart_count += 5).await;
        assert_eq!(run_at(&fleet, 31).await, json!(1));
        assert_eq!(container(&fleet, agent).state, "restarting");
        assert_eq!(run_at(&fleet, 32).await, json!(0));
        assert_eq!(container(&fleet, agent).state, "exited");
        let to_stop = "SELECT count(*) FROM cloud.container_deaths WHERE to_stop";
        assert_eq!(fleet.world.count(to_stop).await, 0);
        // A death is forgotten with its agent.
        fleet.world.delete(agent).await;
        run_at(&fleet, 33).await;
        let deaths = "SELECT count(*) FROM cloud.container_deaths";
        assert_eq!(fleet.world.count(deaths).await, 0);
    });
}

#[test]
fn f73_an_agent_that_a_job_works_on_or_that_is_to_stop_is_left_alone() {
    run(async {
        let fleet = fleet().await;
        let (busy, stopping) = (fleet.agents[0][0], fleet.agents[0][1]);
        for agent in [busy, stopping] {
            change(&fleet, agent, |container| {
                container.end(OUT_OF_MEMORY, Utc::now());
            })
            .await;
        }
        let world = &fleet.world;
        let suspend = world
            .post(&fleet.operator, &agent_path(busy, "/suspend"))
            .await;
        assert!(suspend.status() < 300, "{suspend:?}");
        world
            .set_columns(stopping, "stop_requested_at = billing_clock()")
            .await;
        for minute in [30, 31, 32] {
            assert_eq!(run_at(&fleet, minute).await, json!(0), "{minute}");
        }
    });
}

#[test]
fn f65_f73_what_is_stopped_on_a_lost_host_that_answers_again_did_not_die() {
    run(async {
        let fleet = fleet().await;
        fleet
            .world
            .execute(
                "INSERT INTO cloud.host_withdrawals (node_id, kind, requested_by, requested_at, moves_at_once,
                    was_enabled, last_read_at)
                VALUES ('n1', 'loss', gen_random_uuid(), billing_clock(), 2, true, billing_clock())",
            )
            .await;
        for minute in [30, 31, 32] {
            run_at(&fleet, minute).await;
        }
        assert_eq!(container(&fleet, fleet.agents[0][0]).state, "exited");
        let deaths = "SELECT count(*) FROM cloud.container_deaths";
        assert_eq!(fleet.world.count(deaths).await, 0);
    });
}

/// What the function's schedule does.
async fn invoke(fleet: &SimulatedWorld, function: &str) {
    let instance = fleet.world.instance(function).await;
    let outcome = instance.invoke(json!({}), Duration::from_mins(1)).await;
    assert!(matches!(outcome, Outcome::Success(_)), "{outcome:?}");
}

#[test]
fn f73_the_owner_is_told_once_why_the_container_died_and_what_to_do() {
    run(async {
        let mut fleet = fleet().await;
        let provider = MailProvider::start_smtp().await;
        for (name, value) in [
            ("SMTP_URL", provider.smtp_url()),
            ("ALLOW_PRIVATE_WEBHOOKS", "true".to_owned()),
        ] {
            fleet.world.settings.insert(name.to_owned(), value);
        }
        let world = &fleet.world;
        world
            .execute("UPDATE users SET email = 'owner@a.example'")
            .await;
        let receiver = WebhookReceiver::answering(200).await;
        save(
            world,
            &fleet.operator,
            &json!({"webhookUrl": receiver.url()}),
        )
        .await;
        let agent = fleet.agents[0][0];
        change(&fleet, agent, |container| {
            container.memory_bytes = Some(2 << 30);
            container.restart_after(OUT_OF_MEMORY, Utc::now());
        })
        .await;
        assert_eq!(run_at(&fleet, 30).await, json!(0));
        change(&fleet, agent, |container| container.restart_count += 5).await;
        for (minute, lost) in [(31, 1), (32, 0)] {
            assert_eq!(run_at(&fleet, minute).await, json!(lost), "{minute}");
            for function in ["notify", "webhook-deliver"] {
                invoke(&fleet, function).await;
            }
        }
        let reason = "it needed more memory than its limit of 2 GiB";
        let [mail] = provider.taken().try_into().expect("one mail");
        let mail = mail.parsed();
        assert_eq!(mail.subject(), "Failed: 1 agent");
        for form in [&mail.text, &mail.html] {
            for text in [reason, "start the agent again", "agent"] {
                assert!(form.contains(text), "{text}: {form}");
            }
        }
        let [call] = receiver.calls().try_into().expect("one call");
        let event: Value = serde_json::from_str(&call.body).expect("JSON");
        assert_eq!(event["event"], "agent.container_died");
        assert_eq!(event["data"]["agents"][0]["id"], json!(agent));
        assert_eq!(event["data"]["exitCode"], json!(137));
        let told = event["data"]["reason"].as_str().expect("a reason");
        assert!(told.ends_with(reason), "{told}");
        let notices = world.get(&fleet.operator, "/api/v1/notices").await;
        let notices = notices.json()["data"].clone();
        assert_eq!(notices.as_array().map(Vec::len), Some(1), "{notices}");
        assert_eq!(notices[0]["kind"], "agent.container_died");
        assert_eq!(notices[0]["state"], "handed_over");
    });
}

#[test]
fn f73_a_dead_container_is_stopped_although_its_agent_was_deleted_meanwhile() {
    run(async {
        let fleet = fleet().await;
        let agent = fleet.agents[0][0];
        change(&fleet, agent, |container| {
            container.restart_after(OUT_OF_MEMORY, Utc::now());
        })
        .await;
        assert_eq!(run_at(&fleet, 30).await, json!(0));
        let refusal = Answer::refusal("POST /containers/{id}/stop", 500, "try later");
        fleet.sim.hosts()[0]
            .update_script(|script| script.answers = vec![refusal.times(2)])
            .await;
        change(&fleet, agent, |container| container.restart_count += 5).await;
        assert_eq!(run_at(&fleet, 31).await, json!(1));
        fleet.world.delete(agent).await;
        run_at(&fleet, 32).await;
        assert_eq!(container(&fleet, agent).state, "restarting");
        run_at(&fleet, 33).await;
        assert_eq!(container(&fleet, agent).state, "exited");
        let deaths = "SELECT count(*) FROM cloud.container_deaths";
        assert_eq!(fleet.world.count(deaths).await, 0);
    });
}

#[test]
fn an_agent_whose_row_is_held_keeps_no_other_one_waiting_and_follows_in_the_next_run() {
    run(async {
        for is_gone in [false, true] {
            let fleet = fleet().await;
            let [held, other] = fleet.agents[0][..] else {
                panic!("two agents");
            };
            if is_gone {
                fleet.sim.hosts()[0]
                    .update_script(|script| script.containers.clear())
                    .await;
            } else {
                for agent in [held, other] {
                    change(&fleet, agent, |container| {
                        container.end(OUT_OF_MEMORY, Utc::now());
                    })
                    .await;
                }
            }
            assert_eq!(run_at(&fleet, 30).await, json!(0), "{is_gone}");
            let mut lock = fleet.world.pool.begin().await.expect("begin");
            sqlx::query("SELECT FROM milady_sandboxes WHERE id = $1 FOR NO KEY UPDATE")
                .bind(held)
                .execute(&mut *lock)
                .await
                .expect("the lock");
            assert_eq!(run_at(&fleet, 31).await, json!(1), "{is_gone}");
            assert_eq!(row(&fleet, other).await["status"], "error");
            lock.rollback().await.expect("rollback");
            assert_eq!(row(&fleet, held).await["status"], "running");
            assert_eq!(run_at(&fleet, 32).await, json!(1), "{is_gone}");
            assert_eq!(row(&fleet, held).await["status"], "error");
        }
    });
}
