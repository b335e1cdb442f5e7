//! Moves between simulated hosts: what becomes of an agent and its volume when the copy is too large, or when a host or the
//! worker fails during it.

use std::time::Duration;

use chrono::TimeDelta;
use dev::runtime::Outcome;
use dev::sim::{Answer, Data, Fault, Health, Script, Volume};
use serde_json::{Value, json};
use tests::calls::JOB_TIMEOUT;
use tests::run;
use tests::simulated_world::SimulatedWorld;
use tests::suite::{self, Request};
use tests::wait::wait_until;
use uuid::Uuid;

const DRAIN: &str = "/api/v1/admin/docker-nodes/a/drain";
const READ: &str = "GET /containers/{id}/archive";
const WRITE: &str = "PUT /containers/{id}/archive";

/// An agent on host `a`, whose volume is there, and an empty host `b`.
struct Hosts {
    fleet: SimulatedWorld,
    agent: Uuid,
}

impl Hosts {
    async fn new(data: Data) -> Self {
        let scripts = vec![Script::new("a"), Script::new("b")];
        let fleet = SimulatedWorld::new(scripts, 1, Health::Healthy).await;
        let agent = fleet.agents[0][0];
        fleet
            .world
            .execute("UPDATE docker_nodes SET status = 'healthy', capacity = 100")
            .await;
        let volume = Volume::of_agent(agent, fleet.organization);
        fleet.sim.hosts()[0]
            .update_script(|script| {
                script.volumes.push(volume);
                script.data = data;
            })
            .await;
        Self { fleet, agent }
    }

    async fn update(&self, host: usize, update: impl FnOnce(&mut Script)) {
        self.fleet.sim.hosts()[host].update_script(update).await;
    }

    /// Requests the move and runs the job that stops the agent. Returns the job that starts it.
    async fn stop_for_move(&self) -> Uuid {
        let path = format!("/api/v1/admin/agents/{}/move", self.agent);
        let accepted = self.fleet.world.post(&self.fleet.operator, &path).await;
        assert_eq!(accepted.status(), 202, "{accepted:?}");
        let stop = self.waiting_job().await.expect("a stop");
        assert_eq!(self.attempt(stop).await, "completed");
        self.sweep().await;
        self.waiting_job().await.expect("a start")
    }

    async fn waiting_job(&self) -> Option<Uuid> {
        sqlx::query_scalar("SELECT id FROM jobs WHERE agent_id = $1 AND status = 'pending'")
            .bind(self.agent)
            .fetch_optional(&self.fleet.world.pool)
            .await
            .expect("jobs")
    }

    async fn attempt(&self, job: Uuid) -> String {
        let answer = self.fleet.world.run_job(job).await;
        answer["outcome"].as_str().expect("an outcome").to_owned()
    }

    async fn job(&self, job: Uuid) -> Value {
        sqlx::query_scalar(
            "SELECT jsonb_build_object('error', error, 'steps', steps, 'result', result) FROM jobs WHERE id = $1",
        )
        .bind(job)
        .fetch_one(&self.fleet.world.pool)
        .await
        .expect("a job")
    }

    /// The agent's host, its status, and whether its volume there holds unsaved state.
    async fn row(&self) -> Value {
        sqlx::query_scalar(
            "SELECT jsonb_build_array(node_id, status, unsaved_since IS NOT NULL) FROM milady_sandboxes
            WHERE id = $1",
        )
        .bind(self.agent)
        .fetch_one(&self.fleet.world.pool)
        .await
        .expect("an agent")
    }

    /// The agent's containers and volumes on a host, with the containers that volumes are read through.
    fn found(&self, host: usize) -> [usize; 3] {
        let script = self.fleet.sim.hosts()[host].script();
        let (name, reader) = (
            format!("milady-{}", self.agent),
            format!("milady-copy-{}", self.agent),
        );
        let containers = |name: &str| {
            let named = script.containers.iter();
            named.filter(|container| container.name == name).count()
        };
        let volumes = script.volumes.iter().filter(|volume| volume.name == name);
        [containers(&name), volumes.count(), containers(&reader)]
    }

    /// The bytes that host `b` has received.
    fn received(&self) -> u64 {
        self.fleet.sim.hosts()[1].counts().archive_bytes
    }

    async fn sweep(&self) {
        let instance = self.fleet.world.instance("job-sweep").await;
        match instance.invoke(json!({}), Duration::from_mins(1)).await {
            Outcome::Success(_) => {}
            Outcome::FunctionError { message, .. } if message.contains("not accepted") => {}
            other => panic!("{other:?}"),
        }
    }

    async fn set_minute(&self, minute: i64) {
        let at = suite::epoch() + TimeDelta::minutes(minute);
        self.fleet.world.set_clock(at).await;
    }
}

#[test]
fn f70_a_move_copies_the_volume_and_leaves_the_old_one() {
    run(async {
        let hosts = Hosts::new(Data::of_size(3_000_000)).await;
        let start = hosts.stop_for_move().await;
        let metered =
            "SELECT count(*) FROM usage_spans WHERE kind = 'running' AND ended_at IS NULL";
        // The agent on the other host.
        assert_eq!(hosts.fleet.world.count(metered).await, 1);
        assert_eq!(hosts.attempt(start).await, "completed");
        assert_eq!(hosts.fleet.world.count(metered).await, 2);
        assert!(hosts.received() > 3_000_000);
        assert_eq!((hosts.found(0), hosts.found(1)), ([0, 1, 0], [1, 1, 0]));
        assert_eq!(hosts.row().await, json!(["b", "running", true]));
        let job = hosts.job(start).await;
        let steps = job["steps"].as_array().expect("steps");
        let copy = steps.iter().find(|step| step["name"] == json!("copy"));
        let copy = copy.expect("a copy");
        assert_eq!(copy["status"], json!("done"));
        assert_eq!(copy["progress"]["totalBytes"], json!(3_000_000));
        assert_eq!(copy["progress"]["copiedBytes"], json!(hosts.received()));
        assert!(steps.iter().all(|step| step["name"] != json!("restore")));
        assert_eq!(
            job["result"]["notice"],
            json!(
                "The agent was moved to another host with all its data. Its old volume stays on the former host until \
                the agent is deleted"
            )
        );
        let columns = "SELECT count(*) FROM milady_sandboxes WHERE former_nodes = '{a}'
            AND coalesce(cardinality(left_nodes), 0) = 0";
        assert_eq!(hosts.fleet.world.count(columns).await, 1);
    });
}

#[test]
fn f70_an_agent_whose_data_cannot_be_copied_in_time_goes_on_where_it_is() {
    run(async {
        // 12 TB, which no test machine copies in ten minutes.
        let hosts = Hosts::new(Data::of_size(12_000_000_000_000)).await;
        let world = &hosts.fleet.world;
        let drained = world.post(&hosts.fleet.operator, DRAIN).await;
        assert_eq!(drained.status(), 200, "{drained:?}");
        hosts.sweep().await;
        let stop = hosts.waiting_job().await.expect("a stop");
        assert_eq!(hosts.attempt(stop).await, "completed");
        hosts.sweep().await;
        let start = hosts.waiting_job().await.expect("a start");
        assert_eq!(hosts.attempt(start).await, "again");
        let reason = hosts.job(start).await["error"].clone();
        let text = reason.as_str().expect("a reason");
        assert!(
            text.starts_with("The agent cannot be moved: its data of 12000 GB would take about "),
            "{text}"
        );
        assert_eq!((hosts.found(0), hosts.found(1)), ([0, 1, 0], [0, 0, 0]));
        // At once, and on the host that takes no other agents.
        assert_eq!(hosts.attempt(start).await, "completed");
        assert_eq!(hosts.row().await, json!(["a", "running", true]));
        assert_eq!((hosts.found(0), hosts.found(1)), ([1, 1, 0], [0, 0, 0]));
        let received = hosts.received();

        // The drain does not stop it again.
        hosts.set_minute(40).await;
        hosts.sweep().await;
        assert_eq!(hosts.waiting_job().await, None);
        let plan = world.get(&hosts.fleet.operator, DRAIN).await.json()["data"].clone();
        let agent = &plan["agents"][0];
        assert_eq!(
            (&agent["fate"], &agent["error"]),
            (&json!("stays"), &reason)
        );
        assert_eq!(plan["doneAt"], Value::Null);
        assert_eq!(hosts.received(), received);

        // Its owner has made room, and the operator asks again.
        hosts
            .update(0, |script| script.data = Data::of_size(1_000))
            .await;
        let start = hosts.stop_for_move().await;
        assert_eq!(hosts.attempt(start).await, "completed");
        assert_eq!(hosts.row().await, json!(["b", "running", true]));
    });
}

#[test]
fn f70_an_agent_whose_move_is_refused_returns_to_its_host_although_that_is_full_or_disabled() {
    run(async {
        for change in [
            // Another start has taken the slot.
            "UPDATE docker_nodes SET allocated_count = capacity WHERE node_id = 'a'",
            "UPDATE docker_nodes SET enabled = false WHERE node_id = 'a'",
        ] {
            let hosts = Hosts::new(Data::of_size(12_000_000_000_000)).await;
            let world = &hosts.fleet.world;
            let start = hosts.stop_for_move().await;
            world.execute(change).await;
            let allocated = "SELECT allocated_count::bigint FROM docker_nodes WHERE node_id = 'a'";
            let before = world.count(allocated).await;
            assert_eq!(hosts.attempt(start).await, "again", "{change}");
            assert_eq!(hosts.attempt(start).await, "completed", "{change}");
            assert_eq!(hosts.row().await, json!(["a", "running", true]), "{change}");
            assert_eq!(
                (hosts.found(0), hosts.found(1)),
                ([1, 1, 0], [0, 0, 0]),
                "{change}"
            );
            assert_eq!(world.count(allocated).await, before + 1, "{change}");
        }
    });
}

#[test]
fn f70_a_copy_that_fails_on_either_host_is_begun_again_with_an_empty_volume() {
    run(async {
        let incomplete = Data {
            reported_bytes: 2_000_000,
            ..Data::of_size(1_000)
        };
        for (host, endpoint, message, data, error, is_counted) in [
            (
                0,
                READ,
                "input/output error",
                Data::of_size(1_000),
                "Docker refused the request",
                0,
            ),
            (
                1,
                WRITE,
                "write /x: no space left on device",
                Data::of_size(1_000),
                "The host's disk is full",
                1,
            ),
            // The engine of the former host leaves out a file that it cannot read.
            (
                0,
                "none",
                "",
                incomplete,
                "The agent's data was not copied completely",
                0,
            ),
        ] {
            let hosts = Hosts::new(data).await;
            let answer = Answer::refusal(endpoint, 500, message).times(1);
            hosts
                .update(host, |script| script.answers.push(answer))
                .await;
            let start = hosts.stop_for_move().await;
            assert_eq!(hosts.attempt(start).await, "again", "{error}");
            assert_eq!(hosts.job(start).await["error"], json!(error));
            assert_eq!(
                (hosts.found(0), hosts.found(1)),
                ([0, 1, 0], [0, 0, 0]),
                "{error}"
            );
            assert_eq!(hosts.row().await[0], json!("a"), "{error}");
            // Only the new host's own failures count against it.
            let failed = "SELECT count(*) FROM failed_starts";
            assert_eq!(hosts.fleet.world.count(failed).await, is_counted, "{error}");
            hosts
                .update(0, |script| script.data = Data::of_size(1_000))
                .await;
            hosts.set_minute(1).await;
            assert_eq!(hosts.attempt(start).await, "completed", "{error}");
            assert_eq!(hosts.row().await[0], json!("b"), "{error}");
            assert_eq!(
                (hosts.found(0), hosts.found(1)),
                ([0, 1, 0], [1, 1, 0]),
                "{error}"
            );
        }
    });
}

#[test]
fn f70_a_copy_whose_worker_is_killed_is_begun_again_from_the_host_that_is_left() {
    run(async {
        let slow = Data {
            pause: Duration::from_millis(20),
            ..Data::of_size(20_000_000)
        };
        let hosts = Hosts::new(slow).await;
        let start = hosts.stop_for_move().await;
        let worker = hosts.fleet.world.function("job-run").start().await;
        let event = json!({"detail-type": "job.due", "detail": {"jobId": start}});
        let killed = async {
            wait_until("a part of the data is copied", async || {
                hosts.received() > 0
            })
            .await;
            worker.kill().await;
        };
        let (outcome, ()) = tokio::join!(worker.invoke(event, JOB_TIMEOUT), killed);
        assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
        assert_eq!((hosts.found(0), hosts.found(1)), ([0, 1, 1], [1, 1, 0]));
        // The host that is left still has the only copy.
        let remove = Request::new("DELETE", "/api/v1/admin/docker-nodes/a");
        let refused = hosts
            .fleet
            .world
            .call(remove.key(&hosts.fleet.operator))
            .await;
        assert_eq!(refused.status(), 409, "{refused:?}");

        hosts
            .update(0, |script| {
                script.data = Data::of_size(20_000_000);
                script.fault = Some(Fault::Refusing);
            })
            .await;
        hosts.set_minute(6).await;
        hosts.sweep().await;
        hosts.set_minute(7).await;
        assert_eq!(hosts.attempt(start).await, "again");
        let error = hosts.job(start).await["error"].clone();
        assert_eq!(error, json!("The host cannot be reached"));
        assert_eq!(hosts.found(1), [0, 0, 0]);
        hosts.update(0, |script| script.fault = None).await;
        hosts.set_minute(10).await;
        let before = hosts.received();
        assert_eq!(hosts.attempt(start).await, "completed");
        assert!(hosts.received() - before > 20_000_000);
        assert_eq!(hosts.row().await, json!(["b", "running", true]));
        assert_eq!((hosts.found(0), hosts.found(1)), ([0, 1, 0], [1, 1, 0]));
    });
}

#[test]
fn f70_a_move_that_ends_after_its_worker_was_killed_leaves_the_agent_with_its_data() {
    run(async {
        let hosts = Hosts::new(Data::of_size(1_000)).await;
        hosts.stop_for_move().await;
        // As a killed worker and the clean-up after it leave the row.
        hosts
            .fleet
            .world
            .set_columns(
                hosts.agent,
                "status = 'error', node_id = 'b', state_node_id = NULL, unsaved_since = NULL, former_nodes = '{a}'",
            )
            .await;
        hosts
            .fleet
            .world
            .execute(
                "DELETE FROM jobs; UPDATE agent_moves SET start_due_at = requested_at;
                UPDATE organizations SET is_active = false",
            )
            .await;
        hosts.sweep().await;
        assert_eq!(hosts.row().await, json!(["a", "error", true]));
    });
}

#[test]
fn f70_a_move_whose_last_start_left_a_container_ends_after_its_cleanup_and_leaves_the_agent_with_its_data()
 {
    run(async {
        let hosts = Hosts::new(Data::of_size(1_000)).await;
        hosts.stop_for_move().await;
        // As the worker of the last attempt leaves the row if it is killed, or if the new host is gone.
        hosts
            .fleet
            .world
            .set_columns(
                hosts.agent,
                "status = 'error', node_id = 'b', container_name = 'milady-' || id, state_node_id = NULL,
                unsaved_since = NULL, former_nodes = '{a}'",
            )
            .await;
        hosts
            .fleet
            .world
            .execute(
                "DELETE FROM jobs; UPDATE agent_moves SET starts = 5, start_due_at = requested_at",
            )
            .await;
        let open = "SELECT count(*) FROM agent_moves WHERE done_at IS NULL";
        hosts.sweep().await;
        assert_eq!(hosts.fleet.world.count(open).await, 1);
        hosts.set_minute(6).await;
        hosts.sweep().await;
        let cleanup = hosts.waiting_job().await.expect("a stop");
        assert_eq!(hosts.attempt(cleanup).await, "completed");
        hosts.sweep().await;
        assert_eq!(hosts.fleet.world.count(open).await, 0);
        assert_eq!(hosts.row().await, json!(["a", "error", true]));
    });
}
