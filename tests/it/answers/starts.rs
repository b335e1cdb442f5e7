//! What a start makes of an engine's refusals. The host is a simulated one.

use dev::sim::{Answer, Container, Death, Health, Script};
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::lab::job_of;
use tests::run;
use tests::simulated_world::SimulatedWorld;
use uuid::Uuid;

const IMAGE: &str = "milady/agent:cloud-full-ui";
const CREATE: &str = "POST /containers/create";

/// A world with one empty simulated host that has the agents' image, and a new agent.
struct Start {
    fleet: SimulatedWorld,
    agent: Uuid,
}

impl Start {
    async fn new() -> Self {
        let mut script = Script::new("n1");
        script.images.insert(IMAGE.to_owned());
        let mut fleet = SimulatedWorld::new(vec![script], 0, Health::Healthy).await;
        let settings = &mut fleet.world.settings;
        settings.insert("DEFAULT_AGENT_IMAGE".to_owned(), IMAGE.to_owned());
        settings.insert("AGENT_HEALTH_SECONDS".to_owned(), "4".to_owned());
        let body = json!({"agentName": "agent"});
        let created = fleet
            .world
            .post_json(&fleet.operator, "/api/v1/milady/agents", &body)
            .await;
        assert_eq!(created.status(), 201, "{created:?}");
        let agent = serde_json::from_value(created.json()["data"]["id"].clone());
        Self {
            fleet,
            agent: agent.expect("an id"),
        }
    }

    /// The answers are given in place of the engine's own.
    async fn answers(&self, answers: Vec<Answer>) {
        self.fleet.sim.hosts()[0]
            .update_script(|script| script.answers = answers)
            .await;
    }

    /// Starts the agent and returns the job's outcome and error.
    async fn run(&self) -> (Value, Value) {
        let world = &self.fleet.world;
        let path = agent_path(self.agent, "/provision");
        let job = job_of(&world.post(&self.fleet.operator, &path).await);
        let outcome = world.run_job(job).await["outcome"].clone();
        let jobs = world.jobs_of(self.agent).await;
        (outcome, jobs[0]["error"].clone())
    }

    fn requests(&self, endpoint: &str) -> u64 {
        let counts = self.fleet.sim.hosts()[0].counts();
        counts.requests.get(endpoint).copied().unwrap_or_default()
    }

    fn containers(&self) -> Vec<Container> {
        self.fleet.sim.hosts()[0].script().containers
    }
}

/// Origin: `docker system prune --all` in a host's crontab, between our check and the creation.
#[test]
fn f85_an_image_that_goes_before_the_creation_is_pulled_again() {
    run(async {
        let start = Start::new().await;
        let gone = format!("No such image: {IMAGE}");
        start
            .answers(vec![Answer::refusal(CREATE, 404, &gone).times(1)])
            .await;
        assert_eq!(start.run().await, (json!("completed"), Value::Null));
        assert_eq!(start.requests(CREATE), 2);
        assert_eq!(start.requests("POST /images/create"), 1);
        assert_eq!(start.containers().len(), 1);
        // Once only: an image that goes each time is not pulled for ever.
        let start = Start::new().await;
        start
            .answers(vec![Answer::refusal(CREATE, 404, &gone)])
            .await;
        let expected = (json!("again"), json!("The image is not on the host"));
        assert_eq!(start.run().await, expected);
        assert_eq!(start.requests("POST /images/create"), 1);
    });
}

/// Origin: moby issues about names that stay reserved when a creation or removal broke off (`daemon/names.go`).
#[test]
fn f87_a_container_that_no_list_shows_is_removed_if_it_is_the_agents() {
    run(async {
        let id = "c".repeat(64);
        let taken = |agent: Uuid| {
            format!(
                "Conflict. The container name \"/milady-{agent}\" is already in use by container \"{id}\". You have to \
                remove (or rename) that container to be able to reuse that name."
            )
        };
        let details = |label: &str, attempt: &str, name: String| {
            let details = json!({
                "Id": id, "Name": name, "State": {"Status": "dead"}, "Created": "2026-02-01T00:00:00Z",
                "Config": {"Image": IMAGE, "Labels": {"milady.agent": label, "milady.attempt": attempt}},
            });
            Answer::new("GET /containers/{id}/json", 200, &details).times(1)
        };
        // The agent's own: removed, and the name is free.
        let start = Start::new().await;
        let agent = start.agent;
        start
            .answers(vec![
                Answer::refusal(CREATE, 409, &taken(agent)).times(1),
                details(&agent.to_string(), "0", format!("/milady-{agent}")),
            ])
            .await;
        assert_eq!(start.run().await, (json!("completed"), Value::Null));
        assert_eq!(start.requests("DELETE /containers/{id}"), 1);
        assert_eq!(start.containers().len(), 1);

        // Somebody else's: it stays.
        let start = Start::new().await;
        let agent = start.agent;
        start
            .answers(vec![
                Answer::refusal(CREATE, 409, &taken(agent)),
                details("another", "0", format!("/milady-{agent}")),
            ])
            .await;
        let error = "Another container has the agent's name";
        assert_eq!(start.run().await, (json!("again"), json!(error)));
        assert_eq!(start.requests("DELETE /containers/{id}"), 0);

        // Nobody's: the engine keeps a name with nothing behind it.
        let start = Start::new().await;
        start
            .answers(vec![Answer::refusal(CREATE, 409, &taken(start.agent))])
            .await;
        let error = "The container's name is taken";
        assert_eq!(start.run().await, (json!("again"), json!(error)));
    });
}

/// Origin: Docker's `State` of a container that the kernel killed in its first seconds (`container/state.go`).
#[test]
fn f88_the_owner_of_an_agent_that_is_killed_at_its_first_boot_reads_which_limit_it_reached() {
    run(async {
        for (death, cause) in [
            (
                Death {
                    exit_code: 137,
                    oom_killed: true,
                },
                "it needed more memory than its limit of 2 GiB",
            ),
            (
                Death {
                    exit_code: 1,
                    oom_killed: false,
                },
                "its program failed with exit code 1",
            ),
        ] {
            let start = Start::new().await;
            start.fleet.sim.hosts()[0]
                .update_script(|script| script.dies_at_start = Some(death))
                .await;
            let error = format!("The agent's container ended while it was being started: {cause}");
            assert_eq!(start.run().await, (json!("again"), json!(error)));
            assert_eq!(start.containers().len(), 0);
            let world = &start.fleet.world;
            let shown = world
                .get(&start.fleet.operator, &agent_path(start.agent, ""))
                .await;
            let shown = &shown.json()["data"]["lastDeath"];
            assert_eq!(shown["exitCode"], death.exit_code, "{shown}");
            assert_eq!(shown["outOfMemory"], death.oom_killed, "{shown}");
        }
    });
}
