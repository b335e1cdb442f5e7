//! A new version of the default image is rolled out to agents on simulated hosts.

use std::time::Duration;

use dev::runtime::Outcome;
use dev::sim::{Health, PulledImage, Script, Volume};
use serde_json::{Value, json};
use tests::run;
use tests::simulated_world::SimulatedWorld;
use tests::suite::Request;
use tests::world::minutes;
use uuid::Uuid;

const PATH: &str = "/api/v1/admin/image-roll-out";
const IMAGE: &str = "milady/agent:1";
/// The port of each agent's bridge on its host.
const BRIDGE_PORT: u16 = 1;

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

pub(super) fn old() -> String {
    digest('1')
}

pub(super) fn new() -> String {
    digest('2')
}

fn new_image() -> String {
    format!("milady/agent@{}", new())
}

fn state_of(agent: Uuid) -> String {
    json!({"memories": [{"text": agent}]}).to_string()
}

pub(super) struct Fleet {
    pub(super) world: SimulatedWorld,
    /// The agents, in the order in which they are restarted. Agent `n` runs on the host that `hosts` says.
    pub(super) agents: Vec<Uuid>,
    pub(super) hosts: Vec<usize>,
    pub(super) minute: i64,
}

impl Fleet {
    /// Hosts with an agent each, which runs the old version and has a state in its volume. The new version of the image is
    /// broken on the hosts of the agents for which `is_broken` says so, counted as they are restarted.
    pub(super) async fn new(hosts: usize, is_broken: impl Fn(usize) -> bool) -> Self {
        let scripts = (0..hosts)
            .map(|n| Script::new(&format!("h{n:02}")))
            .collect();
        let mut world = SimulatedWorld::new(scripts, 1, Health::Healthy).await;
        let setting = "DEFAULT_AGENT_IMAGE".to_owned();
        world.world.settings.insert(setting, IMAGE.to_owned());
        let agents: Vec<Uuid> =
            sqlx::query_scalar("SELECT id FROM milady_sandboxes ORDER BY created_at, id")
                .fetch_all(&world.world.pool)
                .await
                .expect("agents");
        let host_of = |agent: &Uuid| {
            let mut agents = world.agents.iter();
            agents.position(|there| there[0] == *agent).expect("a host")
        };
        let hosts: Vec<usize> = agents.iter().map(host_of).collect();
        for (place, (agent, host)) in agents.iter().zip(&hosts).enumerate() {
            let volume = Volume::of_agent(*agent, world.organization);
            let (name, state) = (volume.name.clone(), state_of(*agent));
            let is_broken = is_broken(place);
            let update = move |script: &mut Script| {
                let container = &mut script.containers[0];
                container.bridge_port = Some(BRIDGE_PORT);
                container.image_id = old();
                script.pulled.push(PulledImage {
                    name: None,
                    repository: "milady/agent".to_owned(),
                    digest: old(),
                });
                script.volumes.push(volume);
                script.states.insert(name, state);
                if is_broken {
                    script.broken_images.insert(new_image());
                }
            };
            world.sim.hosts()[*host].update_script(update).await;
        }
        sqlx::query(
            "UPDATE milady_sandboxes SET image_digest = $1, unsaved_since = billing_clock(), state_node_id = node_id,
                database_status = 'ready', database_uri = 'postgres://database.invalid/agent'",
        )
        .bind(old())
        .execute(&world.world.pool)
        .await
        .expect("agents");
        sqlx::query(
            "INSERT INTO cloud.host_upkeep (node_id, not_before, checked_at, image, image_digest)
            SELECT node_id, billing_clock(), billing_clock(), $1, $2 FROM docker_nodes",
        )
        .bind(IMAGE)
        .bind(new())
        .execute(&world.world.pool)
        .await
        .expect("the upkeep");
        Self {
            world,
            agents,
            hosts,
            minute: 0,
        }
    }

    pub(super) async fn start(&self, restarts_at_once: i32) -> Value {
        let body = json!({"digest": new(), "restartsAtOnce": restarts_at_once});
        let (world, operator) = (&self.world.world, &self.world.operator);
        let started = world.post_json(operator, PATH, &body).await;
        assert_eq!(started.status(), 200, "{started:?}");
        started.json()["data"]["rollOut"].clone()
    }

    async fn call(&self, method: &str, body: Option<Value>) -> Value {
        let request = Request::new(method, PATH).key(&self.world.operator);
        let request = body.iter().fold(request, Request::json);
        let answer = self.world.world.call(request).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        answer.json()["data"]["rollOut"].clone()
    }

    pub(super) async fn progress(&self) -> Value {
        self.call("GET", None).await
    }

    /// A minute later: the sweep, without its jobs. Nothing publishes its events here.
    pub(super) async fn sweep(&mut self) {
        self.minute += 1;
        self.world.world.set_clock(minutes(self.minute)).await;
        let instance = self.world.world.instance("job-sweep").await;
        match instance.invoke(json!({}), Duration::from_mins(1)).await {
            Outcome::Success(_) => {}
            Outcome::FunctionError { message, .. } if message.contains("not accepted") => {}
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn run_jobs(&self) {
        let due: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM jobs WHERE status = 'pending' AND scheduled_for <= billing_clock() AT TIME ZONE 'UTC'
            ORDER BY created_at, id",
        )
        .fetch_all(&self.world.world.pool)
        .await
        .expect("jobs");
        for job in due {
            self.world.world.run_job(job).await;
        }
    }

    /// A minute with its sweep and the jobs that are due.
    pub(super) async fn pass_minute(&mut self) {
        self.sweep().await;
        self.run_jobs().await;
    }

    pub(super) async fn count(&self, sql: &'static str) -> i64 {
        self.world.world.count(sql).await
    }

    pub(super) async fn row(&self, agent: Uuid) -> Value {
        sqlx::query_scalar(
            "SELECT jsonb_build_object('status', status, 'node', node_id, 'digest', image_digest,
                'image', docker_image, 'reason', stop_reason)
            FROM milady_sandboxes WHERE id = $1",
        )
        .bind(agent)
        .fetch_one(&self.world.world.pool)
        .await
        .expect("an agent")
    }

    /// The agent runs on its host with this version, and its volume has its state.
    pub(super) async fn assert_runs(&self, place: usize, expected_digest: &str) {
        let (agent, host) = (self.agents[place], self.hosts[place]);
        let expected = json!({
            "status": "running", "node": format!("h{host:02}"), "digest": expected_digest, "image": null, "reason": null,
        });
        assert_eq!(self.row(agent).await, expected);
        let script = self.world.sim.hosts()[host].script();
        let name = format!("milady-{agent}");
        let containers = script.containers.iter();
        let containers: Vec<_> = containers
            .map(|container| (container.name.as_str(), container.state.as_str()))
            .collect();
        assert_eq!(containers, [(name.as_str(), "running")]);
        assert_eq!(script.containers[0].image_id, expected_digest);
        assert_eq!(script.states.get(&name), Some(&state_of(agent)));
    }
}

/// The agents whose new version fails: one of ten.
const BROKEN: [usize; 5] = [4, 14, 24, 34, 44];
const NOT_RUNNING: &str = "SELECT count(*) FROM milady_sandboxes WHERE status <> 'running' OR stop_requested_at IS NOT NULL";

#[test]
fn f69_a_new_default_image_reaches_fifty_hosts_in_spite_of_failures_and_a_pause_and_no_agent_loses_its_state()
 {
    run(async {
        let mut fleet = Fleet::new(50, |place| BROKEN.contains(&place)).await;
        let begun = fleet.start(10).await;
        assert_eq!(
            (&begun["state"], &begun["waiting"], &begun["underWay"]),
            (&json!("running"), &json!(50), &json!(0)),
            "{begun}"
        );
        // Up to a point in the middle.
        let mut progress = begun;
        while progress["restarted"].as_i64() < Some(15) {
            assert!(fleet.minute < 40, "{progress}");
            fleet.pass_minute().await;
            assert!(fleet.count(NOT_RUNNING).await <= 10);
            progress = fleet.progress().await;
        }
        assert_eq!(progress["state"], json!("running"), "{progress}");

        // Paused: what is under way ends, and nothing begins.
        let paused = fleet.call("PATCH", Some(json!({"paused": true}))).await;
        assert_eq!(paused["state"], json!("paused"), "{paused}");
        assert_eq!(paused["pauseReason"], Value::Null);
        let waiting = paused["waiting"].clone();
        let open = "SELECT count(*) FROM cloud.image_restarts WHERE done_at IS NULL";
        while fleet.count(open).await > 0 {
            assert!(fleet.minute < 60, "{}", fleet.progress().await);
            fleet.pass_minute().await;
        }
        fleet.pass_minute().await;
        let still = fleet.progress().await;
        assert_eq!(still["waiting"], waiting, "{still}");
        assert_eq!(fleet.count(NOT_RUNNING).await, 0);

        let resumed = fleet.call("PATCH", Some(json!({"paused": false}))).await;
        assert_eq!(resumed["state"], json!("running"), "{resumed}");
        let mut progress = resumed;
        while progress["state"] == json!("running") {
            assert!(fleet.minute < 120, "{progress}");
            fleet.pass_minute().await;
            progress = fleet.progress().await;
        }
        let figures = [
            "state",
            "waiting",
            "underWay",
            "restarted",
            "failed",
            "skipped",
        ];
        assert_eq!(
            figures.map(|figure| progress[figure].clone()),
            [
                json!("done"),
                json!(0),
                json!(0),
                json!(45),
                json!(5),
                json!(0)
            ],
            "{progress}"
        );
        let failed = progress["agents"].as_array().expect("agents");
        assert_eq!(failed.len(), 5);
        for agent in failed {
            let error = agent["error"].as_str().expect("a reason");
            let expected = "The agent's container ended while it was being started";
            assert!(error.starts_with(expected), "{agent}");
            assert_eq!(agent["outcome"], json!("failed"), "{agent}");
            assert_eq!(agent["underWay"], json!(false), "{agent}");
        }
        for place in 0..50 {
            let expected = if BROKEN.contains(&place) {
                old()
            } else {
                new()
            };
            fleet.assert_runs(place, &expected).await;
        }
        // Each has a backup of its state, too.
        let saved = "SELECT count(DISTINCT sandbox_record_id) FROM milady_sandbox_backups
            WHERE snapshot_type = 'pre-shutdown'";
        assert_eq!(fleet.count(saved).await, 50);
        let jobs = "SELECT count(*) FROM jobs WHERE status IN ('pending', 'in_progress')";
        assert_eq!(fleet.count(jobs).await, 0);
        // The time between the stop and the start is not metered: each agent has a span before and one after it.
        let gaps = "SELECT count(*) FROM (SELECT started_at > lag(ended_at) OVER (PARTITION BY agent_id ORDER BY started_at) AS gap
            FROM usage_spans WHERE kind = 'running') AS spans WHERE gap";
        assert!(fleet.count(gaps).await >= 50);
    });
}

#[test]
fn f69_a_roll_out_whose_restarts_fail_pauses_by_itself_and_is_an_incident() {
    run(async {
        let mut fleet = Fleet::new(30, |_| true).await;
        fleet.start(20).await;
        let mut progress = fleet.progress().await;
        while progress["state"] == json!("running") {
            assert!(fleet.minute < 30, "{progress}");
            fleet.pass_minute().await;
            // A fifth of the organization's agents.
            assert!(fleet.count(NOT_RUNNING).await <= 6);
            progress = fleet.progress().await;
        }
        assert_eq!(progress["state"], json!("paused"), "{progress}");
        let reason = progress["pauseReason"].as_str().expect("a reason");
        assert!(reason.contains("of the last"), "{reason}");
        for _ in 0..6 {
            fleet.pass_minute().await;
        }
        let paused = fleet.progress().await;
        let failed = usize::try_from(paused["failed"].as_i64().expect("a number"));
        let failed = failed.expect("a count");
        assert!((5..=12).contains(&failed), "{paused}");
        for place in 0..30 {
            fleet.assert_runs(place, &old()).await;
        }
        fleet.world.world.refresh().await;
        let infrastructure = fleet
            .world
            .world
            .get(&fleet.world.operator, "/api/v1/admin/infrastructure")
            .await;
        let incidents = infrastructure.json()["data"]["incidents"].clone();
        let incidents = incidents.as_array().expect("incidents").iter();
        let mut paused = incidents.filter(|incident| incident["code"] == json!("roll_out_paused"));
        let incident = paused.next().expect("an incident");
        assert_eq!(incident["detail"], json!(reason), "{incident}");
        let cancelled = fleet.call("DELETE", None).await;
        assert_eq!(cancelled["state"], json!("cancelled"), "{cancelled}");
        assert_eq!(cancelled["waiting"], json!(0), "{cancelled}");
    });
}

#[test]
fn f69_an_agent_that_cannot_be_saved_or_whose_roll_out_is_cancelled_keeps_running_as_it_is() {
    run(async {
        let mut fleet = Fleet::new(2, |_| false).await;
        // The state of the first agent cannot be read.
        let without_state = fleet.world.sim.hosts()[fleet.hosts[0]].clone();
        without_state
            .update_script(|script| script.states.clear())
            .await;
        fleet.start(1).await;
        fleet.pass_minute().await;
        let skipped = fleet.progress().await;
        assert_eq!(skipped["skipped"], json!(1), "{skipped}");
        assert_eq!(
            skipped["agents"][0]["error"],
            json!("The agent's state could not be saved")
        );
        assert_eq!(fleet.row(fleet.agents[0]).await["digest"], json!(old()));
        // The stop of the second one is enqueued when the operator cancels.
        fleet.sweep().await;
        assert_eq!(fleet.progress().await["underWay"], json!(1));
        fleet.call("DELETE", None).await;
        fleet.run_jobs().await;
        fleet.pass_minute().await;
        fleet.assert_runs(1, &old()).await;
        assert_eq!(fleet.row(fleet.agents[0]).await["status"], json!("running"));
    });
}

#[test]
fn f69_an_agent_that_is_stopped_when_a_roll_out_is_cancelled_is_still_started_and_one_that_its_owner_stops_stays_so()
 {
    run(async {
        let mut fleet = Fleet::new(10, |_| false).await;
        fleet.start(2).await;
        fleet.pass_minute().await;
        let stopped = "SELECT count(*) FROM milady_sandboxes WHERE status = 'stopped' AND stop_reason = 'drain'";
        assert_eq!(fleet.count(stopped).await, 2);
        fleet.call("DELETE", None).await;
        let path = format!("/api/v1/milady/agents/{}/suspend", fleet.agents[0]);
        let (world, operator) = (&fleet.world.world, &fleet.world.operator);
        let suspended = world.post(operator, &path).await;
        assert_eq!(suspended.status(), 200, "{suspended:?}");
        for _ in 0..3 {
            fleet.pass_minute().await;
        }
        let left = fleet.row(fleet.agents[0]).await;
        assert_eq!(
            (&left["status"], &left["reason"]),
            (&json!("stopped"), &json!("owner"))
        );
        fleet.assert_runs(1, &new()).await;
        let progress = fleet.progress().await;
        assert_eq!(
            (&progress["restarted"], &progress["skipped"]),
            (&json!(1), &json!(1)),
            "{progress}"
        );
    });
}

#[test]
fn f69_an_agent_that_no_start_brings_back_is_given_up_and_its_owner_is_told() {
    run(async {
        const FAILURE: &str = "The agent could not be started again after an update of its image: five starts have failed";
        let mut fleet = Fleet::new(1, |_| false).await;
        fleet.start(1).await;
        // The stop.
        fleet.pass_minute().await;
        let agent = fleet.agents[0];
        let mut starts = Vec::new();
        for minute in [2, 3, 32, 33, 92, 93, 212, 213, 214, 215, 1_000] {
            fleet.minute = minute - 1;
            fleet.sweep().await;
            let pending =
                "SELECT count(*) FROM jobs WHERE type = 'milady_provision' AND status = 'pending'";
            if fleet.count(pending).await > 0 {
                starts.push(minute);
                let world = &fleet.world.world;
                world.execute("UPDATE jobs SET status = 'failed'").await;
                let failed = "status = 'error', stop_reason = 'failure', error_message = 'why'";
                world.set_columns(agent, failed).await;
            }
        }
        // Put back at once, then later and later, and never again.
        assert_eq!(starts, [2, 3, 33, 93, 213]);
        let progress = fleet.progress().await;
        assert_eq!(
            (&progress["state"], &progress["failed"]),
            (&json!("done"), &json!(1)),
            "{progress}"
        );
        let listed = &progress["agents"][0];
        assert_eq!(
            (&listed["error"], &listed["underWay"]),
            (&json!("why"), &json!(false)),
            "{listed}"
        );
        let told: Vec<Value> = sqlx::query_scalar(
            "SELECT payload FROM outbox_events WHERE type = 'agent.start_failed' ORDER BY id",
        )
        .fetch_all(&fleet.world.world.pool)
        .await
        .expect("events");
        let [payload] = told.try_into().expect("one event");
        assert_eq!(payload["agents"][0]["id"], json!(agent));
        assert_eq!(payload["reason"], json!(FAILURE));
        fleet.world.world.refresh().await;
        let fleet_now = fleet.world.world.cached_fleet().await;
        let mut incidents = fleet_now["incidents"].as_array().expect("incidents").iter();
        let incident = incidents.find(|incident| incident["containerId"] == json!(agent));
        let incident = incident.expect("an incident");
        assert_eq!(
            (&incident["code"], &incident["detail"]),
            (
                &json!("container_failed"),
                &json!("The agent is in error: why")
            ),
            "{incident}"
        );
    });
}
