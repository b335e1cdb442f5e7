//! What a deployment relies on: CloudFormation's request for the schema, the header of what stands in front of the API,
//! the limits of the edge, metrics of one stack, and a rule for every event. What the templates say of themselves is
//! tested in `tests/dev`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use dev::runtime::Outcome;
use dev::sim::{Facts, Fault, Health, Script};
use dev::template::Template;
use serde_json::{Value, json};
use shared::api::openapi::DOCUMENT;
use shared::domain::limits::DEFAULT_REQUESTS_PER_MINUTE;
use shared::domain::mail::MailTemplate;
use shared::events::SOURCE;
use tests::calls::agent_path;
use tests::secrets_manager::{SecretsManager, StoredSecret};
use tests::simulated_world::SimulatedWorld;
use tests::suite::{self, Request};
use tests::{Function, World, check_problem, run};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Where CloudFormation takes answers.
struct Answers(MockServer);

impl Answers {
    async fn start() -> Self {
        let server = MockServer::start().await;
        Mock::given(method("PUT"))
            .respond_with(ResponseTemplate::new(200))
            .with_priority(2)
            .mount(&server)
            .await;
        Self(server)
    }

    /// Refuses as many answers as this before it takes one.
    async fn refuse(&self, count: u64) {
        Mock::given(method("PUT"))
            .respond_with(ResponseTemplate::new(503))
            .up_to_n_times(count)
            .with_priority(1)
            .mount(&self.0)
            .await;
    }

    /// All answers that arrived, also those that were refused.
    async fn received(&self) -> Vec<Value> {
        let requests = self.0.received_requests().await.expect("requests");
        let answers = requests.iter().map(|request| {
            // The address is signed for a request without one.
            assert_eq!(request.headers.get("content-type"), None);
            assert_eq!(request.url.query(), Some("X-Amz-Signature=secret"));
            serde_json::from_slice(&request.body).expect("JSON")
        });
        answers.collect()
    }

    async fn last(&self) -> Value {
        let answers = self.received().await;
        answers.last().expect("an answer").clone()
    }

    /// The event that CloudFormation invokes the function with.
    fn request(&self, kind: &str, before: Option<u64>, now: u64) -> Value {
        let properties = |migrations: u64| json!({"Migrations": migrations.to_string()});
        let mut event = json!({
            "RequestType": kind,
            "ServiceToken": "arn:aws:lambda:us-east-1:123456789012:function:db-migrate",
            "ResponseURL": format!("{}/answer?X-Amz-Signature=secret", self.0.uri()),
            "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/blue/1",
            "RequestId": "request-1",
            "ResourceType": "Custom::Schema",
            "LogicalResourceId": "Schema",
            "ResourceProperties": properties(now),
        });
        if kind != "Create" {
            event["PhysicalResourceId"] = json!("schema-1");
        }
        if let Some(before) = before {
            event["OldResourceProperties"] = properties(before);
        }
        event
    }
}

#[test]
fn f97_the_first_deployment_creates_the_schema_before_it_goes_on() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        let answers = Answers::start().await;
        let migrate = world.function("db-migrate");
        let returned = migrate.invoke_ok(answers.request("Create", None, 36)).await;
        assert_eq!(returned, Value::Null);
        let [answer] = answers.received().await.try_into().expect("one answer");
        assert_eq!(
            answer,
            json!({
                "Status": "SUCCESS",
                "PhysicalResourceId": "Schema",
                "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/blue/1",
                "RequestId": "request-1",
                "LogicalResourceId": "Schema",
            })
        );
        // Nothing is left to do.
        let again = migrate.invoke_ok(json!({})).await;
        assert_eq!(again["migrations"]["applied"], 0);
        migrate
            .invoke_ok(answers.request("Update", Some(36), 37))
            .await;
        let updated = answers.last().await;
        assert_eq!(updated["Status"], "SUCCESS");
        assert_eq!(updated["PhysicalResourceId"], "schema-1");
    });
}

#[test]
fn f97_a_deletion_and_a_rollback_succeed_and_touch_nothing() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        // Nor do they need a database or correct settings.
        let nowhere = Function::new("db-migrate", "postgres://postgres@127.0.0.1:9/x");
        let answers = Answers::start().await;
        for function in [
            world.function("db-migrate"),
            nowhere.with("OLDER_APPLICATION", "hunter2"),
        ] {
            for (kind, before) in [("Delete", None), ("Update", Some(9_999))] {
                function.invoke_ok(answers.request(kind, before, 36)).await;
                let answer = answers.last().await;
                assert_eq!(answer["Status"], "SUCCESS", "{kind}: {answer}");
                assert_eq!(answer["PhysicalResourceId"], "schema-1", "{kind}");
            }
        }
        assert_eq!(answers.received().await.len(), 4);
        let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'cloud'";
        assert_eq!(world.count(schemas).await, 0);
    });
}

#[test]
fn f97_without_a_database_or_with_a_wrong_setting_the_deployment_fails_with_the_reason() {
    run(async {
        let nowhere = || Function::new("db-migrate", "postgres://postgres@127.0.0.1:9/x");
        let misspelt = nowhere().with("OLDER_APPLICATION", "hunter2");
        let no_address = nowhere().without("OWNER_DATABASE_URL");
        for (function, reason) in [
            (nowhere(), "the database request failed"),
            (misspelt, "OLDER_APPLICATION is not present or gone"),
            (no_address, "OWNER_DATABASE_URL is not set"),
        ] {
            let answers = Answers::start().await;
            let started = Instant::now();
            function
                .invoke_ok(answers.request("Create", None, 36))
                .await;
            assert!(started.elapsed() < Duration::from_secs(20));
            let [answer] = answers.received().await.try_into().expect("one answer");
            assert_eq!(answer["Status"], "FAILED");
            let text = answer["Reason"].as_str().expect("a reason");
            assert!(text.contains(reason), "{text}");
            assert!(!text.contains("hunter2") && !text.contains("127.0.0.1"));
            // An operator who invokes it reads the same.
            let error = function.invoke_error(json!({})).await;
            assert!(error.contains(reason), "{error}");
        }
    });
}

#[test]
fn f97_an_answer_that_is_not_taken_is_sent_again_and_in_the_end_the_invocation_fails() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        let migrate = world.function("db-migrate");
        let answers = Answers::start().await;
        answers.refuse(2).await;
        migrate.invoke_ok(answers.request("Delete", None, 36)).await;
        assert_eq!(answers.received().await.len(), 3);
        // Lambda repeats a failed invocation.
        answers.refuse(3).await;
        let error = migrate
            .invoke_error(answers.request("Delete", None, 36))
            .await;
        assert_eq!(error, "CloudFormation refused the answer");
        let mut event = answers.request("Delete", None, 36);
        event["ResponseURL"] = json!("http://cloudformation.example/answer");
        let error = migrate.invoke_error(event).await;
        assert_eq!(error, "the ResponseURL is not an https address");
    });
}

const FIRST: &str = "the-first-secret-of-the-distribution";
const SECOND: &str = "the-second-secret-of-the-distribution";
const REFUSAL: &str = "This address is not open to callers; use that of the service";

#[test]
fn f99_only_requests_through_the_distribution_are_answered() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let guarded = |name: &str| {
            let function = world.function(name).with("ORIGIN_SECRET", FIRST);
            function.with("ORIGIN_SECRET_OTHER", SECOND)
        };
        let instance = guarded("agent-list").start().await;
        for (sent, is_answered) in [
            (Some(FIRST), true),
            (Some(SECOND), true),
            (Some("the-first-secret"), false),
            (Some(""), false),
            (None, false),
        ] {
            let mut request = Request::new("GET", "/api/v1/milady/agents").key(&key);
            if let Some(sent) = sent {
                request = request.header("x-origin-secret", sent);
            }
            let response = world.call_instance(&instance, request).await;
            if is_answered {
                assert_eq!(response.status(), 200, "{sent:?}");
            } else {
                check_problem(&response, 403, REFUSAL);
            }
        }
        // The URL of the stream is as public as the API's own address.
        let path = agent_path(world.agent(organization, "running").await, "/stream");
        let request = Request::new("POST", &path).key(&key).json(&json!({}));
        let response = world
            .call_function(&guarded("agent-stream"), request.clone())
            .await;
        assert_eq!(
            (response.status(), response.json()["error"].as_str()),
            (403, Some(REFUSAL))
        );
        let request = request.header("x-origin-secret", FIRST);
        let response = world.call_function(&guarded("agent-stream"), request).await;
        assert_eq!(response.status(), 400, "the message is not valid");
    });
}

#[test]
fn f99_a_function_does_not_start_without_the_secret_that_it_should_ask_for() {
    run(async {
        let world = World::new().await;
        let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:runtime";
        let settings = json!({"RUNTIME_DATABASE_URL": suite::runtime_url(&world.url)});
        let stored = StoredSecret::Text(settings.to_string());
        let manager = SecretsManager::start(BTreeMap::from([(arn.to_owned(), stored)])).await;
        let function = || world.function("agent-list");
        let without_value = function()
            .without("RUNTIME_DATABASE_URL")
            .with("RUNTIME_DATABASE_URL_ARN", arn)
            .with("ORIGIN_SECRET_ARN", arn)
            .with("AWS_ENDPOINT_URL_SECRETS_MANAGER", &manager.url());
        for (function, error) in [
            (
                without_value,
                "ORIGIN_SECRET_ARN names a secret that does not hold the setting",
            ),
            (
                function().with("ORIGIN_SECRET", "hunter2"),
                "ORIGIN_SECRET is shorter than 32 bytes",
            ),
        ] {
            let instance = function.start().await;
            let outcome = instance.invoke(json!({}), Duration::from_secs(15)).await;
            assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
            let logs = instance.logs().join("\n");
            assert!(logs.contains(error) && !logs.contains("hunter2"), "{logs}");
        }
    });
}

/// The metrics in the lines of a log.
fn metrics(lines: &[String]) -> Vec<Value> {
    let lines = lines.iter();
    lines
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["_aws"].is_object())
        .collect()
}

#[test]
fn f100_metrics_name_their_stack_or_have_no_dimension() {
    run(async {
        let world = World::new().await;
        for (stack, dimensions) in [("blue", json!([["Stack"]])), ("", json!([[]]))] {
            let function = world.function("billing-hourly").with("STACK_NAME", stack);
            let instance = function.start().await;
            let outcome = instance.invoke(json!({}), Duration::from_mins(1)).await;
            assert!(matches!(outcome, Outcome::Success(_)), "{outcome:?}");
            instance.kill().await;
            let [metric] = metrics(&instance.logs()).try_into().expect("one line");
            let definition = &metric["_aws"]["CloudWatchMetrics"][0];
            assert_eq!(definition["Namespace"], "Milady/Billing");
            assert_eq!(definition["Dimensions"], dimensions);
            assert_eq!(metric["Stack"].as_str().unwrap_or_default(), stack);
        }
    });
}

#[test]
fn a_complete_refresh_run_counts_the_hosts_that_it_could_not_read_and_measures_the_fullest_disk() {
    run(async {
        let full = Facts {
            disk_percent: 81,
            ..Facts::default()
        };
        let scripts = vec![
            Script::new("a-healthy").facts(full),
            Script::new("b-no-docker").fault(Fault::DockerDown),
            Script::new("c-no-docker").fault(Fault::DockerDown),
        ];
        let mut fleet = SimulatedWorld::new(scripts, 1, Health::Healthy).await;
        let settings = &mut fleet.world.settings;
        settings.insert("STACK_NAME".to_owned(), "blue".to_owned());
        fleet.world.refresh().await;
        let lines = fleet.world.logs("fleet-refresh").await;
        let [metric] = metrics(&lines).try_into().expect("one line");
        assert_eq!(metric["UnreadableHosts"], 2);
        assert_eq!(metric["FullestDisk"], 81);
        assert_eq!(metric["Stack"], "blue");
        let definition = &metric["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(definition["Namespace"], "Milady/Fleet");
    });
}

#[test]
fn the_upkeep_counts_the_hosts_at_which_it_failed() {
    run(async {
        let scripts = vec![
            Script::new("a-healthy"),
            Script::new("b-no-docker").fault(Fault::DockerDown),
        ];
        let fleet = SimulatedWorld::new(scripts, 0, Health::Healthy).await;
        let instance = fleet.world.function("host-upkeep").start().await;
        let outcome = instance.invoke(json!({}), Duration::from_mins(15)).await;
        assert!(matches!(outcome, Outcome::Success(_)), "{outcome:?}");
        instance.kill().await;
        let [metric] = metrics(&instance.logs()).try_into().expect("one line");
        assert_eq!(metric["FailedUpkeeps"], 1);
        let definition = &metric["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(definition["Namespace"], "Milady/Fleet");
    });
}

#[test]
fn f101_every_event_that_is_published_has_a_rule() {
    let template = Template::load().expect("template.yaml");
    let queued = template.functions.iter().flat_map(|f| &f.queues);
    let queued = queued.flat_map(|queue| &queue.rules);
    let rules = template.functions.iter().flat_map(|f| &f.rules);
    let rules = rules.chain(queued);
    let ours = rules.filter(|rule| rule.pattern["source"][0] == SOURCE);
    let consumed: BTreeSet<String> = ours
        .filter_map(|rule| rule.pattern["detail-type"].as_array().cloned())
        .flatten()
        .filter_map(|kind| kind.as_str().map(str::to_owned))
        .collect();
    let mails = MailTemplate::ALL.iter().map(|template| template.as_str());
    // Product events have a rule of their own, if they go anywhere.
    let others = [
        "job.due",
        "tombstone.due",
        "fleet.refresh_requested",
        "fleet.refresh_shard",
    ];
    let published: BTreeSet<String> = mails.chain(others).map(str::to_owned).collect();
    assert_eq!(consumed, published);
}

#[test]
fn f49_the_edge_refuses_only_floods_and_answers_like_a_function() {
    let edge = Template::load().expect("the templates").edge;
    let own = u64::try_from(DEFAULT_REQUESTS_PER_MINUTE).expect("a limit");
    let document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
    let problem = &document["components"]["schemas"]["Problem"];
    let required = problem["required"].as_array().expect("a list");
    assert!(!edge.rules.is_empty());
    for rule in &edge.rules {
        // A window touches two minutes of the clock, by which functions count. Their own refusal comes first.
        assert_eq!(rule.window, Duration::from_mins(1), "{}", rule.name);
        assert!(rule.limit >= 2 * own, "{}", rule.name);
        let refusal = &rule.refusal;
        let body: Value = serde_json::from_str(&refusal.body).expect("JSON");
        for name in required {
            assert!(!body[name.as_str().expect("a name")].is_null(), "{name}");
        }
        for (name, value) in body.as_object().expect("an object") {
            assert!(!problem["properties"][name].is_null(), "{name}: {value}");
        }
        assert_eq!(body["status"], refusal.status);
        assert_eq!(body["error"], body["detail"]);
        assert_eq!(body["success"], false);
        // Whoever waits so long has no request within the window.
        let seconds = rule.window.as_secs().to_string();
        let header = ("Retry-After".to_owned(), seconds);
        assert!(refusal.headers.contains(&header), "{}", rule.name);
    }
}
