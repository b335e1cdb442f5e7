//! The typical call of each function: its sample event in `events/`, or what its schedule sends, with what a seeded
//! database and two simulated hosts have in the place of the sample's ids. Owns: that each call has rows of its own where
//! it changes them, so that the second call of a function does what the first did.

use dev::events::EventBus;
use dev::host::image;
use dev::schedule;
use dev::sim::{Fault, Health, Script};
use dev::template::{self, Template};
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::lab::job_of;
use tests::object_store::ObjectStore;
use tests::simulated_world::SimulatedWorld;
use tests::suite::{CRON_SECRET, ORIGIN, Request};
use tests::world::{hours, minutes};
use tests::{Function, sample_event};
use uuid::Uuid;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// What the sample events name.
const AGENT: &str = "11111111-2222-4333-8444-555555555555";
const BACKUP: &str = "22222222-3333-4444-8555-666666666666";
const ORGANIZATION: &str = "33333333-4444-4555-8666-777777777777";
const MAIL: &str = "55555555-6666-4777-8888-999999999999";
const TRANSACTION: &str = "019ca700-3e80-8000-8000-000000000001";
const USER: &str = "44444444-5555-4666-8777-888888888888";
const KEY: &str = "77777777-8888-4999-8aaa-bbbbbbbbbbbb";
const HOST: &str = "local";
const SAMPLE_CRON_SECRET: &str = "dev-cron-secret";
const SAMPLE_ORIGIN: &str = "http://localhost:3000";
const SAMPLE_DOMAIN: &str = ".agents.localhost";

/// They wait for a job after its event was accepted. Nobody runs jobs here, so for them `EventBridge` cannot be reached.
const WAITING: [&str; 3] = ["agent-restore", "agent-suspend", "agent-update"];
const UNREACHABLE: &str = "http://127.0.0.1:9";
/// Whatever an agent is asked: the answer is healthy, a message and a state at once.
const ANSWER: &[u8] =
    br#"{"jsonrpc":"2.0","id":1,"result":{"text":"Hello"},"status":"ok","memories":[]}"#;
/// Running agents per host: more than calls change.
const AGENTS: usize = 12;
/// How often each function is called.
pub const CALLS: usize = 2;

/// The functions of a seeded world, and what they are called with.
pub struct Calls {
    fleet: SimulatedWorld,
    /// Accepts events and delivers none.
    _bus: EventBus,
    _store: ObjectStore,
    /// Stands for Headscale and for receivers of webhooks.
    receiver: MockServer,
    /// A running agent that no call changes.
    agent: Uuid,
    /// A backup of that agent in the bucket.
    backup: Uuid,
    /// A charge of its organization.
    transaction: String,
    /// Running agents that no call has changed yet.
    running: Vec<Uuid>,
    /// Organizations with debt that no call has written off yet.
    indebted: Vec<Uuid>,
    /// The clock, in hours.
    hour: i64,
    /// The calls so far.
    number: usize,
}

impl Calls {
    pub async fn new() -> Self {
        let scripts = [HOST, "other"].map(|name| {
            let mut script = Script::new(name).fault(Fault::Answers(ANSWER));
            script.images.insert(image::SAMPLE.to_owned());
            script
        });
        let mut fleet = SimulatedWorld::new(scripts.into(), AGENTS, Health::Healthy).await;
        let template = Template::load().expect("template.yaml");
        let bus = EventBus::start(&template).await.expect("an event bus");
        let store = ObjectStore::start().await;
        store.serve(&mut fleet.world);
        let receiver = MockServer::start().await;
        let answer = ResponseTemplate::new(200).set_body_json(json!({"nodes": []}));
        let answer = Mock::given(any()).respond_with(answer);
        answer.mount(&receiver).await;
        for (setting, value) in [
            ("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.address()),
            ("ALLOW_PRIVATE_WEBHOOKS", "true".to_owned()),
            ("HEADSCALE_API_URL", receiver.uri()),
            ("HEADSCALE_API_KEY", "key".to_owned()),
        ] {
            fleet.world.settings.insert(setting.to_owned(), value);
        }
        let world = &fleet.world;
        world
            .execute(
                r#"UPDATE docker_nodes SET capacity = 100;
                UPDATE milady_sandboxes SET bridge_url = 'http://10.0.0.1:1', bridge_port = web_ui_port,
                    environment_vars = '{"MILADY_API_TOKEN": "k"}'"#,
            )
            .await;
        let mut running = fleet.agents[0].clone();
        let agent = running.pop().expect("an agent");
        let backup = world.backup(agent, "auto").await;
        sqlx::query(
            "INSERT INTO cloud.backup_objects (backup_id, organization_id, agent_id, created_at)
            VALUES ($1, $2, $3, billing_clock())",
        )
        .bind(backup)
        .bind(fleet.organization)
        .bind(agent)
        .execute(&world.pool)
        .await
        .expect("an object");
        let mut indebted = Vec::new();
        for _ in 0..CALLS {
            let organization = world.organization("0").await;
            world.agent(organization, "running").await;
            indebted.push(organization);
        }
        let hour = 2;
        world.run_billing(hour).await;
        // The balance is known from the run on.
        world.set_clock(minutes(hour * 60 + 1)).await;
        world.refresh().await;
        let path = "/api/v1/credits/transactions";
        let history = world.get(&fleet.operator, path).await.json();
        let mut rows = history["data"].as_array().expect("rows").iter();
        let charge = rows.find(|row| row["type"] == json!("usage"));
        let transaction = text(&charge.expect("a charge")["id"]);
        Self {
            fleet,
            _bus: bus,
            _store: store,
            receiver,
            agent,
            backup,
            transaction,
            running,
            indebted,
            hour,
            number: 0,
        }
    }

    pub fn function(&self, function: &template::Function) -> Function {
        let memory = function.memory_mib.to_string();
        let with_settings = self.fleet.world.function(&function.name);
        let with_settings = with_settings.with("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory);
        if WAITING.contains(&function.name.as_str()) {
            with_settings.with("AWS_ENDPOINT_URL_EVENTBRIDGE", UNREACHABLE)
        } else {
            with_settings
        }
    }

    /// The event of the next call. Each event of a schedule is that of the next hour.
    pub async fn event(&mut self, function: &template::Function) -> Value {
        self.number += 1;
        if let Some(scheduled) = function.schedules.first() {
            self.hour += 1;
            let due = hours(self.hour);
            self.fleet.world.set_clock(due).await;
            return schedule::event(scheduled.input.as_deref(), due).expect("an event");
        }
        // What they show is stale after 90 seconds.
        let reads_snapshot = ["admin-infrastructure", "agent-figures", "node-figures"];
        if reads_snapshot.contains(&function.name.as_str()) {
            self.fleet.world.refresh().await;
        }
        let mut event = sample_event(&function.name).to_string();
        for (sample, value) in self.values(&function.name).await {
            event = event.replace(&sample, &value);
        }
        let mut event: Value = serde_json::from_str(&event).expect("JSON");
        if event["headers"]["idempotency-key"].is_string() {
            event["headers"]["idempotency-key"] = json!(format!("call-{}", self.number));
        }
        event
    }

    /// What stands in a sample event, and what replaces it, in this order.
    async fn values(&mut self, function: &str) -> Vec<(String, String)> {
        let agent = self.agent_for(function).await;
        let organization = self.organization_for(function).await;
        let host = self.host_for(function).await;
        let mut values = Vec::from_iter(self.own_value(function, agent).await);
        let operator = &self.fleet.operator;
        values.extend([
            (sample_key(), operator.clone()),
            (AGENT.to_owned(), agent.to_string()),
            (BACKUP.to_owned(), self.backup.to_string()),
            (ORGANIZATION.to_owned(), organization.to_string()),
            (TRANSACTION.to_owned(), self.transaction.clone()),
            (SAMPLE_CRON_SECRET.to_owned(), CRON_SECRET.to_owned()),
            (SAMPLE_ORIGIN.to_owned(), ORIGIN.to_owned()),
            (SAMPLE_DOMAIN.to_owned(), ".agents.example".to_owned()),
        ]);
        // In paths, in the path parameters, and in bodies, which are JSON in a text.
        for (before, after) in [
            ("docker-nodes/", ""),
            (r#""nodeId":""#, r#"""#),
            (r#"\"nodeId\":\""#, r#"\""#),
        ] {
            values.push((
                format!("{before}{HOST}{after}"),
                format!("{before}{host}{after}"),
            ));
        }
        values
    }

    async fn agent_for(&mut self, function: &str) -> Uuid {
        let (world, organization) = (&self.fleet.world, self.fleet.organization);
        match function {
            "agent-delete" => world.agent(organization, "pending").await,
            "agent-provision" | "agent-restore" | "agent-resume" => {
                world.agent(organization, "stopped").await
            }
            "agent-move" | "agent-snapshot" | "agent-suspend" | "agent-update" => {
                self.running.pop().expect("a running agent")
            }
            _ => self.agent,
        }
    }

    async fn organization_for(&mut self, function: &str) -> Uuid {
        match function {
            "credit-refund" => self.fleet.world.organization("50").await,
            "credit-write-off" => self.indebted.pop().expect("an organization with debt"),
            _ => self.fleet.organization,
        }
    }

    async fn host_for(&self, function: &str) -> String {
        if !["node-lost", "node-remove"].contains(&function) {
            return HOST.to_owned();
        }
        let pool = &self.fleet.world.pool;
        let host = format!("host-{}", self.number);
        sqlx::query(
            "INSERT INTO docker_nodes (node_id, hostname, ssh_port, created_at, updated_at)
            VALUES ($1, '127.0.0.1', 9, billing_clock(), billing_clock())",
        )
        .bind(&host)
        .execute(pool)
        .await
        .expect("a host");
        if function == "node-lost" {
            sqlx::query(
                "INSERT INTO unread_hosts (node_id, last_read_at, since, checked_at)
                VALUES ($1, billing_clock() - interval '12 minutes', billing_clock() - interval '11 minutes',
                    billing_clock())",
            )
            .bind(&host)
            .execute(pool)
            .await
            .expect("an unread host");
        }
        host
    }

    /// What only this function's sample has.
    async fn own_value(&self, function: &str, agent: Uuid) -> Option<(String, String)> {
        let (world, operator) = (&self.fleet.world, &self.fleet.operator);
        Some(match function {
            "agent-pair" => {
                let path = agent_path(agent, "/pairing-token");
                let made = world.post(operator, &path).await.json();
                ("0".repeat(64), text(&made["data"]["token"]))
            }
            "agent-restore" => {
                let backup = world.backup(agent, "auto").await;
                let in_body = |id: &str| format!(r#"\"backupId\":\"{id}"#);
                (in_body(AGENT), in_body(&backup.to_string()))
            }
            "credit-grant" => (AGENT.to_owned(), self.fleet.organization.to_string()),
            "job-get" | "job-run" => {
                let stopped = world.agent(self.fleet.organization, "stopped").await;
                let path = agent_path(stopped, "/provision");
                let job = job_of(&world.post(operator, &path).await);
                (AGENT.to_owned(), job.to_string())
            }
            "mail-retry" => (MAIL.to_owned(), self.failed_mail().await.to_string()),
            "node-probe" => {
                let in_body = |host: &str, port: u16| format!(r#"\"{host}\",\"sshPort\":{port},"#);
                let port = self.fleet.sim.hosts()[0].port();
                let sample = in_body("no-such-host.invalid", 22);
                (sample, in_body("127.0.0.1", port))
            }
            "node-register" => {
                let in_body = |host: &str| format!(r#"\"nodeId\":\"{host}\""#);
                (in_body("n1"), in_body(&format!("host-{}", self.number)))
            }
            "organization-create" => ("acme".to_owned(), format!("acme-{}", self.number)),
            "organization-key-create" => (USER.to_owned(), self.user().await.to_string()),
            "organization-key-revoke" => {
                let path = format!(
                    "/api/v1/admin/organizations/{}/api-keys",
                    self.fleet.organization
                );
                let body =
                    json!({"name": "laptop", "permissions": ["read"], "userId": self.user().await});
                let made = world.post_json(operator, &path, &body).await.json();
                (KEY.to_owned(), text(&made["data"]["id"]))
            }
            "organization-user-create" => ("bob@".to_owned(), format!("bob-{}@", self.number)),
            "webhook-test" => (sample_key(), self.key_with_webhook().await),
            _ => return None,
        })
    }

    async fn user(&self) -> Uuid {
        sqlx::query_scalar("SELECT id FROM users WHERE organization_id = $1 LIMIT 1")
            .bind(self.fleet.organization)
            .fetch_one(&self.fleet.world.pool)
            .await
            .expect("a user")
    }

    async fn failed_mail(&self) -> Uuid {
        sqlx::query_scalar(
            "WITH event AS (
                INSERT INTO outbox_events (key, type, organization_id, payload, occurred_at)
                VALUES (gen_random_uuid()::text, 'credit.low', $1, '{}', billing_clock()) RETURNING id)
            INSERT INTO cloud.mail_deliveries (event_id, organization_id, template, recipient, state, attempts, reason,
                created_at, updated_at)
            SELECT id, $1, 'credit.low', 'anna@mail.example', 'failed', 1, 'the reason', billing_clock(),
                billing_clock()
            FROM event RETURNING id",
        )
        .bind(self.fleet.organization)
        .fetch_one(&self.fleet.world.pool)
        .await
        .expect("a delivery")
    }

    /// A key of a new organization with a webhook: an organization may test its webhook only so often.
    async fn key_with_webhook(&self) -> String {
        let (_, key) = self.fleet.world.tenant("5").await;
        let body = json!({"webhookUrl": format!("{}/hook", self.receiver.uri())});
        let request = Request::new("PATCH", "/api/v1/settings").key(&key);
        let saved = self.fleet.world.call(request.json(&body)).await;
        assert_eq!(saved.status(), 200, "{saved:?}");
        key
    }
}

/// The API key of the sample events.
fn sample_key() -> String {
    format!("eliza_{}", "d0".repeat(32))
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
