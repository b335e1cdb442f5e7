//! The functions of an earlier release on the newest tables: what runs while a deployment is under way, and after it was
//! rolled back. `.ci/previous_release` builds that release and runs this test.

use std::path::PathBuf;
use std::time::Duration;

use dev::events::EventBus;
use dev::runtime::Outcome;
use dev::template::Template;
use rust_decimal::dec;
use serde_json::{Value, json};
use tests::calls::{JOB_TIMEOUT, agent_path};
use tests::suite::{Request, Response};
use tests::world::hours;
use tests::{Function, World, run};

/// The directory of that release's binaries.
const BINARIES: &str = "PREVIOUS_BINARIES";

/// The earlier release in a world whose tables are the newest.
struct PreviousRelease {
    world: World,
    binaries: PathBuf,
}

impl PreviousRelease {
    async fn new() -> Self {
        let binaries = std::env::var(BINARIES).expect("run .ci/previous_release");
        Self {
            world: World::new().await,
            binaries: binaries.into(),
        }
    }

    fn function(&self, name: &str) -> Function {
        self.world.function(name).from_directory(&self.binaries)
    }

    async fn call(&self, request: Request) -> Response {
        let function = self.world.function_for(&request);
        let function = function.from_directory(&self.binaries);
        self.world.call_function(&function, request).await
    }

    async fn invoke(&self, name: &str, event: Value) -> Value {
        let instance = self.function(name).start().await;
        match instance.invoke(event, JOB_TIMEOUT).await {
            Outcome::Success(answer) => answer,
            other => panic!("{name} failed: {other:?}"),
        }
    }
}

fn hour(name: &str) -> Value {
    json!({"scheduledTime": format!("2026-03-01T{name}:00:00Z")})
}

#[test]
#[ignore = "needs the binaries of an earlier release, see .ci/previous_release"]
fn the_previous_release_serves_and_bills_on_the_newest_tables() {
    run(async {
        let mut previous = PreviousRelease::new().await;
        let template = Template::load().expect("template.yaml");
        let bus = EventBus::start(&template).await.expect("an event bus");
        let endpoint = ("AWS_ENDPOINT_URL_EVENTBRIDGE".to_owned(), bus.address());
        previous.world.settings.extend([endpoint]);
        let operator = previous.world.super_admin().await;
        let (organization, key) = previous.world.tenant("10").await;
        let agent = previous.world.agent(organization, "running").await;

        let body = json!({"agentName": "smoke"});
        let create = Request::new("POST", "/api/v1/milady/agents").json(&body);
        let created = previous.call(create.key(&key)).await;
        assert_eq!(created.status(), 201, "{created:?}");
        let of_agent = agent_path(agent, "");
        for (path, key, status) in [
            ("/api/openapi.json", "", 200),
            ("/api/v1/milady/agents", "", 401),
            ("/api/v1/milady/agents", key.as_str(), 200),
            (of_agent.as_str(), key.as_str(), 200),
            ("/api/v1/milady/config", key.as_str(), 200),
            ("/api/v1/credits/balance", key.as_str(), 200),
            ("/api/v1/credits/transactions", key.as_str(), 200),
            ("/api/v1/admin/docker-nodes", operator.as_str(), 200),
            ("/api/v1/admin/docker-nodes", key.as_str(), 403),
        ] {
            let mut request = Request::new("GET", path);
            if !key.is_empty() {
                request = request.key(key);
            }
            let answer = previous.call(request).await;
            assert_eq!(answer.status(), status, "{path}: {answer:?}");
        }

        // While `billing-hourly` is shifted, both releases run, and no hour is charged twice.
        previous.world.set_clock(hours(3)).await;
        let first = previous.invoke("billing-hourly", hour("01")).await;
        assert_eq!(first["complete"], json!(true), "{first}");
        let newest = previous.world.function("billing-hourly");
        let second = newest.invoke_ok(hour("02")).await;
        assert_eq!(second["complete"], json!(true), "{second}");
        let third = previous.invoke("billing-hourly", hour("03")).await;
        assert_eq!(third["complete"], json!(true), "{third}");
        assert_eq!(previous.world.charged(organization).await, dec!(0.06));

        for name in ["job-sweep", "fleet-refresh", "notify", "billing-audit"] {
            previous.invoke(name, json!({})).await;
        }

        // After a rollback its `db-migrate` is asked for fewer migrations than there are.
        let migrate = previous.function("db-migrate").start().await;
        let outcome = migrate.invoke(json!({}), Duration::from_mins(1)).await;
        let Outcome::FunctionError { message, .. } = outcome else {
            // Both releases have the same migrations.
            assert!(matches!(outcome, Outcome::Success(_)), "{outcome:?}");
            return;
        };
        assert!(message.contains("are not the ones"), "{message}");
    });
}
