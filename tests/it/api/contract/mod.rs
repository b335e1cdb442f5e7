//! The contract with existing clients, as data: `answers.json` has what each route answers where hosts are simulated,
//! `host_answers.json` what needs an agent that really runs. The tests ask the routes and compare: every member that
//! the contract names is there, has its type, and is null only where the contract says so.

mod shape;

use std::collections::BTreeSet;

use chrono::TimeDelta;
use dev::sim::{Container, Fault, Health, Script};
use serde_json::{Map, Value, json};
use tests::simulated_world::SimulatedWorld;
use tests::suite::{CRON_SECRET, Request, Response};
use tests::world::minutes;
use tests::{Lab, World, run};
use uuid::Uuid;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

struct Contract {
    shapes: Map<String, Value>,
    /// By route and status.
    answers: Map<String, Value>,
    compared: BTreeSet<String>,
}

impl Contract {
    fn read(text: &str) -> Self {
        let mut data: Value = serde_json::from_str(text).expect("JSON");
        let mut part = |name: &str| match data[name].take() {
            Value::Object(part) => part,
            other => panic!("{name} is {other}"),
        };
        Self {
            shapes: part("shapes"),
            answers: part("answers"),
            compared: BTreeSet::new(),
        }
    }

    /// Compares a response of this route and returns its body.
    fn check(&mut self, route: &str, response: &Response) -> Value {
        let answer = format!("{route} {}", response.status());
        let shape = self.answers.get(&answer);
        let shape = shape.unwrap_or_else(|| panic!("no {answer}: {}", response.text()));
        let is_stream = route.ends_with("/stream") && response.status() == 200;
        let body = if is_stream {
            events(response.text())
        } else {
            response.json()
        };
        let differences = shape::differences(&self.shapes, shape, &body);
        assert!(
            differences.is_empty(),
            "{answer}: {differences:#?} {body:#}"
        );
        self.compared.insert(answer);
        body
    }

    /// Panics if the contract has an answer that was not compared.
    fn finish(self) {
        let all: BTreeSet<String> = self.answers.into_iter().map(|(answer, _)| answer).collect();
        let missed: Vec<&String> = all.difference(&self.compared).collect();
        assert!(missed.is_empty(), "not compared: {missed:#?}");
    }
}

/// The events of a stream: their names and data.
fn events(text: &str) -> Value {
    let events = text.split("\n\n").filter_map(|event| {
        let (name, data) = event.strip_prefix("event: ")?.split_once("\ndata: ")?;
        let data: Value = serde_json::from_str(data).expect("JSON");
        Some(json!({"event": name, "data": data}))
    });
    events.collect()
}

/// A client of the API whose answers are compared.
struct Client<'a> {
    world: &'a World,
    key: &'a str,
    contract: Contract,
}

impl Client<'_> {
    /// Asks a route, with an id in the place of its path parameter, and compares the answer.
    async fn ask(&mut self, route: &str, id: &str, body: Value, status: u64) -> Value {
        let (path, query) = route.split_once('?').unwrap_or((route, ""));
        let (method, target) = path.split_once(' ').expect("a route");
        let target = match (target.find('{'), target.find('}')) {
            (Some(begin), Some(end)) => {
                format!("{}{id}{}?{query}", &target[..begin], &target[end + 1..])
            }
            _ => format!("{target}?{query}"),
        };
        let request = Request::new(method, &target)
            .key(self.key)
            .header("idempotency-key", &Uuid::new_v4().to_string());
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        let response = self.world.call(request).await;
        assert_eq!(response.status(), status, "{route} {}", response.text());
        self.contract.check(path, &response)
    }

    async fn get(&mut self, target: &str, id: &str) -> Value {
        self.ask(&format!("GET {target}"), id, Value::Null, 200)
            .await
    }
}

fn id_in(value: &Value) -> String {
    value.as_str().expect("an id").to_owned()
}

const AGENTS: &str = "/api/v1/milady/agents";
const AGENT: &str = "/api/v1/milady/agents/{agentId}";
const NODES: &str = "/api/v1/admin/docker-nodes";
const NODE: &str = "/api/v1/admin/docker-nodes/{nodeId}";
const CONTAINERS: &str = "/api/v1/admin/docker-containers";

#[test]
fn every_answer_has_what_the_contract_names() {
    run(async {
        let unclaimed = Uuid::new_v4();
        let scripts = vec![
            Script::new("host1").with_container(Container::of_agent(unclaimed, Uuid::nil())),
            Script::new("host2").fault(Fault::Refusing),
        ];
        let fleet = SimulatedWorld::new(scripts, 1, Health::Healthy).await;
        let mut client = Client {
            world: &fleet.world,
            key: &fleet.operator,
            contract: Contract::read(include_str!("answers.json")),
        };
        stopped_agents(&mut client, fleet.organization).await;
        running_agents(&mut client, &fleet).await;
        refusals(&mut client).await;
        fleet.world.run_billing(2).await;
        // The balance is known from the run on.
        fleet.world.set_clock(minutes(121)).await;
        credit(&mut client, &fleet).await;
        let missing = fleet.world.agent(fleet.organization, "running").await;
        let columns = "node_id = 'host1', container_name = 'milady-gone'";
        fleet.world.set_columns(missing, columns).await;
        hosts(&mut client).await;
        containers(&mut client, &fleet).await;
        private_network(&mut client).await;
        client.contract.finish();
    });
}

/// Agents without a container.
async fn stopped_agents(client: &mut Client<'_>, organization: Uuid) {
    let world = client.world;
    let config = json!({"tokenContractAddress": "0x1", "chain": "base", "tokenName": "Ada", "tokenTicker": "ADA"});
    let body = json!({"agentName": "a", "agentConfig": config, "dockerImage": "elizaos/agent:v1"});
    let created = client.ask(&format!("POST {AGENTS}"), "", body, 201).await;
    let created = id_in(&created["data"]["id"]);
    for path in [AGENTS, "/api/v1/milaidy/agents"] {
        let listed = client.get(path, "").await;
        let mut rows = listed["data"].as_array().expect("rows").iter();
        let row = rows.find(|row| row["id"] == json!(created));
        let row = row.expect("the new agent");
        assert_eq!(row["token_address"], json!("0x1"), "{row}");
        assert_eq!(row["dockerImage"], json!("elizaos/agent:v1"), "{row}");
    }
    client.get(AGENT, &created).await;
    let provision = format!("POST {AGENT}/provision");
    let queued = client.ask(&provision, &created, Value::Null, 202).await;
    client.ask(&provision, &created, Value::Null, 409).await;
    let job = id_in(&queued["data"]["jobId"]);
    client.get("/api/v1/jobs/{jobId}", &job).await;
    let delete = format!("DELETE {AGENT}");
    // A worker has begun the start.
    world
        .execute("UPDATE jobs SET status = 'in_progress', attempts = 1")
        .await;
    client.ask(&delete, &created, Value::Null, 409).await;

    let pending = world.agent(organization, "pending").await.to_string();
    let suspend = json!({"action": "suspend"});
    client
        .ask(&format!("PATCH {AGENT}"), &pending, suspend, 200)
        .await;
    let resume = format!("POST {AGENT}/resume");
    client.ask(&resume, &pending, Value::Null, 202).await;
    client.ask(&resume, &pending, Value::Null, 409).await;

    let stopped = world.agent(organization, "stopped").await;
    world.backup(stopped, "auto").await;
    let stopped = stopped.to_string();
    client.get(&format!("{AGENT}/backups"), &stopped).await;
    client
        .ask(&format!("POST {AGENT}/suspend"), &stopped, Value::Null, 200)
        .await;
    client
        .ask(
            &format!("POST {AGENT}/snapshot"),
            &stopped,
            Value::Null,
            409,
        )
        .await;
    let mut message =
        json!({"jsonrpc": "2.0", "id": 1, "method": "message.send", "params": {"text": "Hello"}});
    client
        .ask(
            &format!("POST {AGENT}/stream"),
            &stopped,
            message.clone(),
            200,
        )
        .await;
    message["method"] = json!("status.get");
    client
        .ask(&format!("POST {AGENT}/bridge"), &stopped, message, 200)
        .await;
    client.ask(&delete, &stopped, Value::Null, 200).await;
}

async fn running_agents(client: &mut Client<'_>, fleet: &SimulatedWorld) {
    let world = client.world;
    let columns =
        r#"bridge_url = 'http://10.0.0.1:1', environment_vars = '{"MILADY_API_TOKEN": "k"}'"#;
    world.set_columns(fleet.agents[0][0], columns).await;
    let running = fleet.agents[0][0].to_string();
    for verb in ["provision", "resume"] {
        client
            .ask(&format!("POST {AGENT}/{verb}"), &running, Value::Null, 200)
            .await;
    }
    client.get(AGENT, &running).await;
    client.get(&format!("{AGENT}/logs"), &running).await;
    client
        .get("/api/compat/agents/{agentId}/logs?tail=5", &running)
        .await;
    let made = client
        .ask(
            &format!("POST {AGENT}/pairing-token"),
            &running,
            Value::Null,
            200,
        )
        .await;
    let pair = Request::new("POST", "/api/auth/pair")
        .header("origin", &format!("https://{running}.agents.example"))
        .json(&json!({"token": made["data"]["token"]}));
    let paired = world.call(pair).await;
    client.contract.check("POST /api/auth/pair", &paired);
    let on_lost_host = fleet.agents[1][0].to_string();
    client
        .ask(
            &format!("POST {AGENT}/suspend"),
            &on_lost_host,
            Value::Null,
            202,
        )
        .await;
    let placed = world.agent(fleet.organization, "running").await.to_string();
    client
        .ask(&format!("DELETE {AGENT}"), &placed, Value::Null, 202)
        .await;
}

async fn refusals(client: &mut Client<'_>) {
    let world = client.world;
    let anonymous = world.call(Request::new("GET", AGENTS)).await;
    client.contract.check(&format!("GET {AGENTS}"), &anonymous);
    client
        .ask(&format!("POST {AGENTS}"), "", json!({}), 400)
        .await;
    let nobodys = Uuid::new_v4().to_string();
    client
        .ask(&format!("GET {AGENT}"), &nobodys, Value::Null, 404)
        .await;
    let (poor, key) = world.tenant("4.99").await;
    let agent = world.agent(poor, "stopped").await;
    let refused = world
        .post(&key, &format!("{AGENTS}/{agent}/provision"))
        .await;
    client
        .contract
        .check(&format!("POST {AGENT}/provision"), &refused);
}

/// After a billing run.
async fn credit(client: &mut Client<'_>, fleet: &SimulatedWorld) {
    const CREDITS: &str = "/api/v1/credits";
    let grant = json!({"organizationId": fleet.organization, "amount": 1.5, "reason": "a test"});
    client
        .ask("POST /api/v1/admin/credits", "", grant, 201)
        .await;
    client.get(&format!("{CREDITS}/balance"), "").await;
    client.get("/api/credits/balance", "").await;
    let rows = client.get(&format!("{CREDITS}/transactions"), "").await;
    let mut rows = rows["data"].as_array().expect("rows").iter();
    let usage = rows
        .find(|row| row["type"] == json!("usage"))
        .expect("a charge");
    assert_eq!(usage["agentId"], Value::Null, "{usage}");
    let path = format!("{CREDITS}/transactions/{{transactionId}}/charges");
    client.get(&path, &id_in(&usage["id"])).await;
    let of_agent = format!("{CREDITS}/transactions?agentId={}", fleet.agents[0][0]);
    let charges = client.get(&of_agent, "").await;
    assert_eq!(
        charges["data"][0]["transactionId"], usage["id"],
        "{charges}"
    );
    for query in [
        "usage?group=agent",
        "usage?group=day",
        "usage?group=hour",
        "series?step=hour",
    ] {
        client.get(&format!("{CREDITS}/{query}"), "").await;
    }
    let cron = || Request::new("GET", "/api/cron/milady-billing");
    let authorization = format!("Bearer {CRON_SECRET}");
    for request in [cron(), cron().header("authorization", &authorization)] {
        let response = client.world.call(request).await;
        client
            .contract
            .check("GET /api/cron/milady-billing", &response);
    }
}

async fn hosts(client: &mut Client<'_>) {
    client.get(NODES, "").await;
    let body = json!({"nodeId": "host3", "hostname": "127.0.0.1", "sshPort": 9});
    client
        .ask(&format!("POST {NODES}"), "", body.clone(), 201)
        .await;
    client.ask(&format!("POST {NODES}"), "", body, 409).await;
    let disable = json!({"enabled": false});
    client
        .ask(&format!("PATCH {NODE}"), "host3", disable, 200)
        .await;
    client
        .ask(&format!("DELETE {NODE}"), "host3", Value::Null, 200)
        .await;
    client
        .ask(&format!("DELETE {NODE}"), "host1", Value::Null, 409)
        .await;
    client.get(NODE, "host1").await;
    for host in ["host1", "host2"] {
        client
            .ask(&format!("POST {NODE}/health-check"), host, Value::Null, 200)
            .await;
    }
    client
        .ask(&format!("POST {NODES}/sync"), "", Value::Null, 200)
        .await;
    client.world.refresh().await;
    client.get("/api/v1/admin/infrastructure", "").await;
}

async fn containers(client: &mut Client<'_>, fleet: &SimulatedWorld) {
    let agent = fleet.agents[0][0];
    client.get(CONTAINERS, "").await;
    client
        .ask(
            &format!("GET {CONTAINERS}?status=asleep"),
            "",
            Value::Null,
            400,
        )
        .await;
    let logs = format!("{CONTAINERS}/{{containerId}}/logs");
    client.get(&logs, &agent.to_string()).await;
    let audit = client
        .ask(&format!("POST {CONTAINERS}/audit"), "", Value::Null, 200)
        .await;
    assert_eq!(audit["data"]["totalGhostContainers"], json!(1), "{audit}");
    let name = format!("milady-{agent}");
    for (action, node, status) in [
        ("logs", "host1", 200),
        ("inspect", "host1", 200),
        ("restart", "host1", 200),
        ("inspect", "nowhere", 404),
    ] {
        let body = json!({"action": action, "nodeId": node, "containerName": name});
        let route = "POST /api/v1/admin/infrastructure/containers/actions";
        client.ask(route, "", body, status).await;
    }
}

async fn private_network(client: &mut Client<'_>) {
    const ROUTE: &str = "GET /api/v1/admin/headscale";
    client.ask(ROUTE, "", Value::Null, 503).await;
    let headscale = MockServer::start().await;
    let node = json!({
        "id": "1", "name": "host1", "givenName": "host1-1", "user": {"id": "1", "name": "milady"},
        "ipAddresses": ["100.64.0.7"], "lastSeen": "2026-02-28T23:59:58.123456789Z",
        "expiry": "0001-01-01T00:00:00Z", "createdAt": "2025-12-01T08:00:00Z", "online": true,
        "forcedTags": ["tag:host"], "validTags": [], "invalidTags": [],
    });
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"nodes": [node]})))
        .mount(&headscale)
        .await;
    let function = client.world.function("admin-headscale");
    let function = function
        .with("HEADSCALE_API_URL", &headscale.uri())
        .with("HEADSCALE_API_KEY", "key");
    let request = Request::new("GET", "/api/v1/admin/headscale").key(client.key);
    let response = client.world.call_function(&function, request).await;
    client.contract.check(ROUTE, &response);
}

#[test]
fn every_answer_about_an_agent_that_runs_has_what_the_contract_names() {
    run(async {
        let Some(lab) = Lab::live(1).await else {
            return;
        };
        let mut client = Client {
            world: &lab.world,
            key: &lab.api_key,
            contract: Contract::read(include_str!("host_answers.json")),
        };
        let agent = lab.agent(json!({})).await;
        let id = agent.to_string();
        let post = |verb: &str| format!("POST {AGENT}/{verb}");
        client
            .ask(&post("provision?sync=true"), &id, Value::Null, 200)
            .await;
        let job = id_in(&lab.last_job(agent).await["id"]);
        client.get("/api/v1/jobs/{jobId}", &job).await;
        let mut message = json!({"jsonrpc": "2.0", "id": 1, "method": "status.get", "params": {}});
        client.ask(&post("bridge"), &id, message.clone(), 200).await;
        message["method"] = json!("message.send");
        message["params"] = json!({"text": "Hello"});
        let events = client.ask(&post("stream"), &id, message, 200).await;
        let chunks = events.as_array().expect("events").iter();
        let chunks = chunks.filter(|event| event["event"] == json!("chunk"));
        let texts = chunks.map(|event| event["data"]["text"].as_str().expect("a text"));
        assert_eq!(texts.collect::<String>(), "You said: Hello");
        client.ask(&post("snapshot"), &id, Value::Null, 200).await;
        lab.advance_clock(TimeDelta::minutes(1)).await;
        client.ask(&post("suspend"), &id, Value::Null, 200).await;
        client
            .ask(&post("resume?sync=true"), &id, Value::Null, 200)
            .await;
        client.ask(&post("restore"), &id, Value::Null, 200).await;
        client
            .ask(&format!("DELETE {AGENT}"), &id, Value::Null, 200)
            .await;
        client.contract.finish();
    });
}
