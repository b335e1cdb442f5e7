//! Secrets in Secrets Manager, against a stand-in that speaks its protocol, and that no struct shows a secret.

use std::collections::BTreeMap;
use std::time::Instant;

use dev::host::SilentPort;
use dev::runtime::Outcome;
use dev::sim::{Key, Script, Sim};
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::{Digest, Sha256};
use shared::api::auth::Session;
use shared::api::billing::trigger;
use shared::app::agent::pairing::PairedAgent;
use shared::app::agent::start::{JobTicket, Webhook};
use shared::app::deployment::bootstrap::FirstOrganization;
use shared::app::organization::create::OrganizationRequest;
use shared::app::organization::key_create::CreatedKey;
use shared::app::settings::{Change, SettingsChange, UpdatedSettings};
use shared::app::webhook::register::OwnWebhook;
use shared::db::agents::placement::runtime_record_find;
use shared::db::agents::records::NewAgent;
use shared::db::agents::secrets::StoredEnvironment;
use shared::db::identity::settings::OrganizationSettings;
use shared::db::jobs::queue::StartJob;
use shared::db::webhooks::registered::WebhookTarget;
use shared::domain::address::AddressPolicy;
use shared::domain::container::{AGENT_LIMITS, PlatformVariables};
use shared::domain::fleet::HostReadError;
use shared::domain::ids::{AgentId, AgentRef, ApiKeyId, JobId, OrganizationId, UserId};
use shared::domain::job::{JobKind, JobStatus};
use shared::domain::pricing::Prices;
use shared::hosts::{ContainerSpec, DOCKER_SOCKET, DataMount, Fingerprint, HostClient, Target};
use shared::secrets::{KeptSecret, Secret, SecretErrorReason, Secrets};
use shared::webhook_client::Message;
use tests::secrets_manager::{SECRET_ACCESS_KEY, SecretsManager, StoredSecret, secrets_at};
use tests::suite::{self, Request};
use tests::{Function, World, reason, run};
use uuid::Uuid;

fn stored(name: &str) -> Secret {
    Secret::Stored(arn(name))
}

fn arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}")
}

#[test]
fn a_stored_secret_is_read_and_every_failure_has_its_reason() {
    run(async {
        let odd = "line one\nline \"two\" \\ ü€😀\n";
        let manager = SecretsManager::start(BTreeMap::from([
            (arn("key"), StoredSecret::Text(odd.to_owned())),
            (arn("bytes"), StoredSecret::Binary("AAEC".to_owned())),
            (arn("fault"), StoredSecret::InternalError),
            (
                arn("hiccup"),
                StoredSecret::TextAfterError("word".to_owned()),
            ),
        ]))
        .await;
        let secrets = secrets_at(&manager.url());
        assert_eq!(
            reason(secrets.read(&stored("key")).await),
            Ok(odd.to_owned())
        );
        assert_eq!(manager.calls().await, 1);
        assert_eq!(
            reason(secrets.read(&stored("bytes")).await),
            Err(SecretErrorReason::NotText)
        );
        assert_eq!(
            reason(secrets.read(&stored("none")).await),
            Err(SecretErrorReason::Unreadable)
        );
        assert_eq!(manager.calls().await, 3);
        // A request that fails inside the service is repeated, once.
        assert_eq!(
            reason(secrets.read(&stored("fault")).await),
            Err(SecretErrorReason::Unreadable)
        );
        assert_eq!(manager.calls().await, 5);
        assert_eq!(
            reason(secrets.read(&stored("hiccup")).await),
            Ok("word".to_owned())
        );
        assert_eq!(manager.calls().await, 7);
        // Nothing is asked without credentials.
        assert_eq!(
            reason(Secrets::default().read(&stored("key")).await),
            Err(SecretErrorReason::Unreadable)
        );
        assert_eq!(manager.calls().await, 7);
    });
}

#[test]
fn an_unreachable_or_silent_service_times_out() {
    run(async {
        let silent = SilentPort::start().expect("a silent host");
        for port in [9, silent.port()] {
            let secrets = secrets_at(&format!("http://127.0.0.1:{port}"));
            let began = Instant::now();
            let reading = tokio::spawn(async move { secrets.read(&stored("key")).await });
            let read = reading.await.expect("no panic");
            assert_eq!(reason(read), Err(SecretErrorReason::Unreadable));
            assert!(began.elapsed().as_secs() < 7, "{:?}", began.elapsed());
        }
    });
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The signature of a request as AWS's documentation computes it: "Create a signed AWS API request".
fn signature(request: &wiremock::Request, signed_headers: &str, scope: &str) -> String {
    let header = |name: &str| request.headers[name].to_str().expect("a text").to_owned();
    let headers = signed_headers
        .split(';')
        .map(|name| format!("{name}:{}\n", header(name)));
    let body = hex::encode(Sha256::digest(&request.body));
    let canonical = format!(
        "POST\n/\n\n{}\n{signed_headers}\n{body}",
        headers.collect::<String>()
    );
    let text = format!(
        "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
        header("x-amz-date"),
        hex::encode(Sha256::digest(canonical))
    );
    let first_key = format!("AWS4{SECRET_ACCESS_KEY}").into_bytes();
    let key = scope
        .split('/')
        .fold(first_key, |key, part| hmac(&key, part));
    hex::encode(hmac(&key, &text))
}

#[test]
fn a_request_is_signed_as_aws_documents_it() {
    run(async {
        let secret = (arn("key"), StoredSecret::Text("word".to_owned()));
        let manager = SecretsManager::start(BTreeMap::from([secret])).await;
        let read = secrets_at(&manager.url()).read(&stored("key")).await;
        assert_eq!(reason(read), Ok("word".to_owned()));
        let [request] = manager.requests().await.try_into().expect("one request");
        let header = |name: &str| request.headers[name].to_str().expect("a text");
        assert_eq!(header("x-amz-security-token"), "a-session-token");
        let date = header("x-amz-date").split('T').next().expect("a date");
        let scope = format!("{date}/us-east-1/secretsmanager/aws4_request");
        let signed_headers = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target";
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={signed_headers}, Signature={}",
            signature(&request, signed_headers, &scope)
        );
        assert_eq!(header("authorization"), expected);
    });
}

/// A function whose database address is in the secret `runtime`.
fn reading_from(manager: &SecretsManager, function: Function) -> Function {
    function
        .without("RUNTIME_DATABASE_URL")
        .with("RUNTIME_DATABASE_URL_ARN", &arn("runtime"))
        .with("AWS_ENDPOINT_URL_SECRETS_MANAGER", &manager.url())
}

#[test]
fn a_function_reads_a_secret_with_several_settings_once() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let settings = json!({
            "RUNTIME_DATABASE_URL": suite::runtime_url(&world.url),
            "SESSION_SECRET": suite::SESSION_SECRET,
        });
        let secret = (arn("runtime"), StoredSecret::Text(settings.to_string()));
        let manager = SecretsManager::start(BTreeMap::from([secret])).await;
        let function = reading_from(&manager, world.function("session"))
            .without("SESSION_SECRET")
            .with("SESSION_SECRET_ARN", &arn("runtime"));
        let instance = function.start().await;
        for _ in 0..2 {
            let request = Request::new("POST", "/api/v1/session")
                .header("origin", suite::ORIGIN)
                .json(&json!({"apiKey": key}));
            let response = world.call_instance(&instance, request).await;
            assert_eq!(response.status(), 200, "{response:?}");
        }
        assert_eq!(manager.calls().await, 1);
    });
}

#[test]
fn a_setting_that_cannot_be_read_ends_the_function_and_no_log_holds_a_secret() {
    run(async {
        let text = |text: &str| StoredSecret::Text(text.to_owned());
        for (secret, variable, value, error) in [
            (
                StoredSecret::InternalError,
                "LOG_LEVEL",
                "trace".to_owned(),
                "RUNTIME_DATABASE_URL_ARN names a secret that cannot be read",
            ),
            (
                text("mysql://hunter2@x/y"),
                "LOG_LEVEL",
                "trace".to_owned(),
                "RUNTIME_DATABASE_URL is not a postgres:// address",
            ),
            (
                text(r#"{"OTHER": "hunter2"}"#),
                "LOG_LEVEL",
                "trace".to_owned(),
                "RUNTIME_DATABASE_URL_ARN names a secret that does not hold the setting",
            ),
            (
                text("postgres://hunter2@x/y"),
                "RUNTIME_DATABASE_URL",
                "postgres://hunter2@x/y".to_owned(),
                "RUNTIME_DATABASE_URL_ARN sets a secret that is set already",
            ),
            (
                text("postgres://hunter2@x/y"),
                "RUNTIME_DATABASE_URL_ARN",
                "hunter2".to_owned(),
                "RUNTIME_DATABASE_URL_ARN is not the ARN of a secret",
            ),
        ] {
            let manager = SecretsManager::start(BTreeMap::from([(arn("runtime"), secret)])).await;
            let function = Function::new("credit-get", "postgres://postgres@nowhere/x");
            let function = reading_from(&manager, function).with(variable, &value);
            let instance = function.start().await;
            let outcome = instance
                .invoke(json!({}), std::time::Duration::from_secs(15))
                .await;
            assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
            let logs = instance.logs().join("\n");
            assert!(logs.contains(error) && !logs.contains("hunter2"), "{logs}");
        }
    });
}

#[test]
fn a_key_that_hosts_refuse_is_read_again_at_most_once_a_minute() {
    run(async {
        let (old, new) = (Key::random(), Key::random());
        let openssh = |key: &Key| key.to_openssh().expect("a key");
        let secret = StoredSecret::Changed(openssh(&old), openssh(&new));
        let manager = SecretsManager::start(BTreeMap::from([(arn("key"), secret)])).await;
        let sim = Sim::start(&new, [Script::new("n1")]).expect("a simulated host");
        let other = Sim::start(&Key::random(), [Script::new("n2")]).expect("a simulated host");
        let secrets = secrets_at(&manager.url());
        let hosts = HostClient::with_key_source(Some(stored("key")), secrets, AddressPolicy::Any);
        let target = |sim: &Sim| {
            let host = &sim.hosts()[0];
            Target {
                node_id: host.name().to_owned(),
                hostname: "127.0.0.1".to_owned(),
                port: host.port(),
                user: "root".to_owned(),
                fingerprint: Fingerprint::parse(host.fingerprint()),
                key_type: None,
                docker_socket: DOCKER_SOCKET.to_owned(),
            }
        };
        hosts.connect(&target(&sim)).await.expect("the newer key");
        assert_eq!(manager.calls().await, 2);
        for _ in 0..3 {
            let refused = hosts
                .connect(&target(&other))
                .await
                .expect_err("no such key");
            assert_eq!(refused.reason(), HostReadError::AuthFailed);
        }
        assert_eq!(manager.calls().await, 2);
    });
}

#[test]
fn a_secret_that_is_needed_again_and_again_is_read_at_most_every_30_seconds() {
    run(async {
        let secret = (arn("key"), StoredSecret::Text("word".to_owned()));
        let manager = SecretsManager::start(BTreeMap::from([secret])).await;
        let kept = |name: &str| KeptSecret::new(stored(name), secrets_at(&manager.url()));
        let (key, missing) = (kept("key"), kept("none"));
        for _ in 0..3 {
            assert_eq!(reason(key.text().await), Ok("word".to_owned()));
        }
        assert_eq!(manager.calls().await, 1);
        for _ in 0..3 {
            let unreadable = Err(SecretErrorReason::Unreadable);
            assert_eq!(reason(missing.text().await), unreadable);
        }
        assert_eq!(manager.calls().await, 2);
    });
}

#[test]
fn a_key_that_cannot_be_read_is_not_read_again_for_each_host() {
    run(async {
        let manager = SecretsManager::start(BTreeMap::new()).await;
        let secrets = secrets_at(&manager.url());
        let hosts = HostClient::with_key_source(Some(stored("key")), secrets, AddressPolicy::Any);
        for number in 0..3 {
            let target = Target {
                node_id: format!("n{number}"),
                hostname: "127.0.0.1".to_owned(),
                port: 9,
                user: "root".to_owned(),
                fingerprint: None,
                key_type: None,
                docker_socket: DOCKER_SOCKET.to_owned(),
            };
            let refused = hosts.connect(&target).await.expect_err("no key");
            assert_eq!(refused.reason(), HostReadError::NoKey);
        }
        assert_eq!(manager.calls().await, 1);
    });
}

const CANARY: &str = "canary-5d1e";

/// What is formatted into a log or a failed assertion, of each struct that holds a secret.
fn formatted(world: &World) -> Vec<String> {
    let canary = || CANARY.to_owned();
    let at = suite::epoch();
    let config = json!({"key": CANARY});
    let message = Message {
        url: CANARY,
        secret: Some(CANARY),
        body: CANARY,
        at,
    };
    let own_webhook = OwnWebhook {
        url: canary(),
        new_secret: canary(),
    };
    let change = SettingsChange {
        webhook: Change::Set(Some(own_webhook)),
        slack_url: Change::Set(Some(canary())),
        ..SettingsChange::default()
    };
    let settings = UpdatedSettings {
        settings: OrganizationSettings::default(),
        webhook_secret: Some(canary()),
    };
    let ticket = JobTicket {
        job_id: JobId::new(Uuid::nil()),
        kind: JobKind::Provision,
        status: JobStatus::Pending,
        estimated_completion_at: None,
        webhook_secret: Some(canary()),
    };
    let job_webhook = Webhook {
        url: canary(),
        secret: canary(),
    };
    let paired = PairedAgent {
        agent_name: None,
        api_token: Some(canary()),
    };
    let first = FirstOrganization {
        organization_id: OrganizationId::new(Uuid::nil()),
        user_id: UserId::new(Uuid::nil()),
        api_key: canary(),
    };
    let organization = OrganizationRequest {
        admin_id: UserId::new(Uuid::nil()),
        name: String::new(),
        slug: String::new(),
        owner_email: canary(),
        owner_name: None,
    };
    let key = CreatedKey {
        id: ApiKeyId::new(Uuid::nil()),
        api_key: canary(),
    };
    let session = Session {
        expires_at: at,
        cookie: canary(),
    };
    let trigger = trigger::Deps {
        pool: world.database.clone(),
        prices: Prices::default(),
        cron_secret: Some(canary()),
    };
    let container = ContainerSpec {
        name: String::new(),
        image: String::new(),
        environment: vec![format!("JWT_SECRET={CANARY}")],
        ports: Vec::new(),
        data: DataMount::Volume(String::new()),
        agent_id: String::new(),
        organization_id: String::new(),
        job_id: String::new(),
        attempt: 1,
        receives_data: false,
        limits: AGENT_LIMITS,
        disk_bytes: None,
    };
    let start = StartJob {
        kind: JobKind::Provision,
        user_id: UserId::new(Uuid::nil()),
        agent_name: None,
        backup_id: None,
        webhook_url: Some(CANARY),
    };
    let agent = NewAgent {
        name: String::new(),
        character_id: None,
        config: Some(config.clone()),
        environment: config.clone(),
        docker_image: None,
    };
    let environment = StoredEnvironment {
        column: config.clone(),
        encrypted: None,
    };
    let target = WebhookTarget {
        url: String::new(),
        secret: canary(),
    };
    let platform = PlatformVariables {
        agent_name: "",
        config: Some(&config),
        origins: &[],
        database_uri: Some(CANARY),
    };
    vec![
        format!("{message:?}"),
        format!("{change:?}"),
        format!("{settings:?}"),
        format!("{ticket:?}"),
        format!("{job_webhook:?}"),
        format!("{paired:?}"),
        format!("{first:?}"),
        format!("{organization:?}"),
        format!("{key:?}"),
        format!("{session:?}"),
        format!("{trigger:?}"),
        format!("{container:?}"),
        format!("{start:?}"),
        format!("{agent:?}"),
        format!("{environment:?}"),
        format!("{target:?}"),
        format!("{platform:?}"),
        format!("{:?}", Secret::Text(canary())),
    ]
}

#[test]
fn no_struct_that_holds_a_secret_shows_it() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "stopped").await;
        world
            .set_columns(agent, "database_uri = 'postgres://u:canary-5d1e@h/d'")
            .await;
        let agent = AgentRef {
            organization_id: OrganizationId::new(organization),
            agent_id: AgentId::new(agent),
        };
        let mut conn = world.database.statements();
        let record = runtime_record_find(&mut conn, agent).await;
        let record = record.expect("a row").expect("an agent");
        assert!(record.database_uri.is_some());
        let mut texts = formatted(&world);
        texts.push(format!("{record:?}"));
        for text in texts {
            assert!(!text.contains(CANARY), "{text}");
        }
    });
}
