//! Secrets in the database are encrypted: webhook secrets and the addresses of agents' databases.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use shared::app::deployment::secrets::{EncryptionProgress, encrypt_secrets};
use shared::db::{Database, Workload};
use shared::domain::encrypted::{EncryptedValue, OlderApplication};
use shared::encryption::{EncryptionKeys, Location};
use sqlx::{Connection, PgConnection};
use tests::calls::agent_path;
use tests::suite::{Request, SECRETS_KEYS};
use tests::{World, check_problem, run};
use uuid::Uuid;

use super::webhook::{
    WebhookReceiver, WebhookRow, allowing_private_webhooks, run_and_call, signature, webhook_row,
};
use super::{
    RETRIED, job, job_id, provision, run_job, run_job_on, seconds, set_balance, tenant_with_agent,
};

const NO_KEY: &str = "This deployment has no key for secrets";

/// A list with only a key that has encrypted nothing yet.
fn new_key() -> String {
    format!("new:{}", STANDARD.encode([7; 32]))
}

/// That key, and the one of all tests.
fn rotated_keys() -> String {
    format!("{},{SECRETS_KEYS}", new_key())
}

fn keys(list: &str) -> EncryptionKeys {
    EncryptionKeys::parse(list).expect("keys")
}

fn start_with_webhook(key: &str, agent: Uuid, receiver: &WebhookReceiver) -> Request {
    Request::new("POST", &agent_path(agent, "/provision"))
        .key(key)
        .header("x-webhook-url", &receiver.url())
}

/// Requests a start with a webhook. Returns its job and the webhook's secret.
async fn provision_with_webhook(
    world: &World,
    key: &str,
    agent: Uuid,
    receiver: &WebhookReceiver,
) -> (Uuid, String) {
    let function = allowing_private_webhooks(world, "agent-provision");
    let request = start_with_webhook(key, agent, receiver);
    let response = world.call_function(&function, request).await;
    let secret = response.json()["data"]["webhookSecret"].clone();
    let secret = secret.as_str().expect("a secret").to_owned();
    (job_id(&response), secret)
}

#[test]
fn a_webhook_secret_is_stored_encrypted_and_a_repeated_request_gets_it_again() {
    run(async {
        let (world, receiver) = (World::new().await, WebhookReceiver::answering(200).await);
        let (_, key, id) = tenant_with_agent(&world).await;
        let function = allowing_private_webhooks(&world, "agent-provision");
        let request = || start_with_webhook(&key, id, &receiver).header("idempotency-key", "once");
        let first = world.call_function(&function, request()).await;
        let repeated = world.call_function(&function, request()).await;
        assert_eq!((first.status(), repeated.status()), (202, 202));
        assert_eq!(first.json(), repeated.json());
        let secret = first.json()["data"]["webhookSecret"].clone();
        let secret = secret.as_str().expect("a secret");
        let stored: String = sqlx::query_scalar(
            "SELECT (SELECT string_agg(j::text, '') FROM public.jobs j)
                || (SELECT string_agg(k::text, '') FROM cloud.idempotency_keys k)",
        )
        .fetch_one(&world.pool)
        .await
        .expect("rows");
        assert_eq!(stored.matches("test:").count(), 2, "{stored}");
        assert!(!stored.contains(secret), "{stored}");
        // The outcome is of no use to another request.
        let (organization, other_key) = world.tenant("10").await;
        let other = world.agent(organization, "pending").await;
        let other_request =
            || start_with_webhook(&other_key, other, &receiver).header("idempotency-key", "once");
        let response = world.call_function(&function, other_request()).await;
        assert_eq!(response.status(), 202);
        world
            .execute(
                "UPDATE cloud.idempotency_keys a SET outcome = b.outcome
                FROM cloud.idempotency_keys b WHERE a.organization_id <> b.organization_id",
            )
            .await;
        check_problem(
            &world.call_function(&function, other_request()).await,
            503,
            "A stored secret cannot be decrypted",
        );
    });
}

#[test]
fn without_a_key_a_webhook_is_refused_and_an_agent_does_not_start() {
    run(async {
        let (world, receiver) = (World::new().await, WebhookReceiver::answering(200).await);
        let (_, key, id) = tenant_with_agent(&world).await;
        let keyless = allowing_private_webhooks(&world, "agent-provision").without("SECRETS_KEYS");
        let request = start_with_webhook(&key, id, &receiver);
        let refused = world.call_function(&keyless, request).await;
        check_problem(&refused, 503, NO_KEY);
        assert_eq!(world.jobs_of(id).await.len(), 0);
        let request = Request::new("POST", &agent_path(id, "/provision")).key(&key);
        let start = job_id(&world.call_function(&keyless, request).await);
        let worker = world.function("job-run").without("SECRETS_KEYS");
        assert_eq!(run_job_on(&worker.start().await, start).await, RETRIED);
        assert_eq!(
            job(&world, start).await.state(),
            ("pending", 1, Some(NO_KEY))
        );
    });
}

#[test]
fn a_secret_that_was_copied_from_another_job_signs_nothing() {
    run(async {
        let (world, receiver) = (World::new().await, WebhookReceiver::answering(200).await);
        let (organization, key, id) = tenant_with_agent(&world).await;
        let (first, _) = provision_with_webhook(&world, &key, id, &receiver).await;
        let other = world.agent(organization, "pending").await;
        provision_with_webhook(&world, &key, other, &receiver).await;
        world
            .execute(
                "UPDATE jobs a SET webhook_secret = b.webhook_secret FROM jobs b WHERE a.id <> b.id",
            )
            .await;
        set_balance(&world, organization, "0").await;
        let worker = allowing_private_webhooks(&world, "job-run").start().await;
        assert!(run_and_call(&worker, first).await.webhook_called);
        assert_eq!(
            webhook_row(&world, first).await,
            WebhookRow::new("pending", 1, Some(30))
        );
        assert_eq!(receiver.calls().len(), 0);
        worker.kill().await;
        let logs = worker.logs().join("\n");
        assert!(
            logs.contains("the secret that signs it cannot be decrypted"),
            "{logs}"
        );
    });
}

#[test]
fn after_a_rotation_older_secrets_are_read_and_db_migrate_encrypts_them_again() {
    run(async {
        let (world, receiver) = (World::new().await, WebhookReceiver::answering(200).await);
        let (organization, key, id) = tenant_with_agent(&world).await;
        let (first, first_secret) = provision_with_webhook(&world, &key, id, &receiver).await;
        let other = world.agent(organization, "pending").await;
        let (second, second_secret) = provision_with_webhook(&world, &key, other, &receiver).await;
        set_balance(&world, organization, "0").await;
        let worker =
            |keys: &str| allowing_private_webhooks(&world, "job-run").with("SECRETS_KEYS", keys);
        let rotated = worker(&rotated_keys()).start().await;
        assert!(run_and_call(&rotated, first).await.webhook_called);
        let migrate = |keys: &str| world.function("db-migrate").with("SECRETS_KEYS", keys);
        // Without the older key nothing can be encrypted again.
        let answer = migrate(&new_key()).invoke_ok(json!({})).await;
        assert_eq!(answer["secrets"], json!({"encrypted": 0, "left": 1}));
        let answer = migrate(&rotated_keys()).invoke_ok(json!({})).await;
        assert_eq!(answer["secrets"], json!({"encrypted": 1, "left": 0}));
        let answer = migrate(&rotated_keys()).invoke_ok(json!({})).await;
        assert_eq!(answer["secrets"], Value::Null);
        let renewed = worker(&new_key()).start().await;
        assert!(run_and_call(&renewed, second).await.webhook_called);
        let unix = seconds(0).timestamp();
        let expected = [first_secret, second_secret];
        let calls = receiver.calls();
        assert_eq!(calls.len(), 2);
        for (call, secret) in calls.iter().zip(expected) {
            let found = call.headers["x-milady-signature"].to_str().expect("a text");
            assert_eq!(found, signature(&secret, unix, &call.body));
        }
    });
}

#[test]
fn secrets_are_encrypted_again_in_batches_and_the_rest_is_counted() {
    run(async {
        let world = World::new().await;
        let old = keys(SECRETS_KEYS);
        let mut agents = Vec::new();
        let mut ciphertexts = Vec::new();
        for _ in 0..250 {
            let agent = Uuid::new_v4();
            agents.push(agent);
            ciphertexts.push(encrypt(&old, agent, "postgres://x").ciphertext);
        }
        sqlx::query(
            "INSERT INTO cloud.agent_databases (agent_id, key_id, ciphertext, is_own)
            SELECT agent, 'test', ciphertext, true FROM UNNEST($1, $2) AS u (agent, ciphertext)",
        )
        .bind(&agents)
        .bind(&ciphertexts)
        .execute(&world.pool)
        .await
        .expect("addresses");
        let owner = Database::new(world.url.parse().expect("a URL"), Workload::Deployment);
        let rotated = keys(&rotated_keys());
        let encrypt_again = async || {
            encrypt_secrets(&owner, &rotated, OlderApplication::Present, 1)
                .await
                .expect("progress")
        };
        for (encrypted, left) in [(200, 50), (50, 0), (0, 0)] {
            let progress = EncryptionProgress { encrypted, left };
            assert_eq!(encrypt_again().await, progress);
        }
        for agent in &agents {
            assert_eq!(address(&world, &new_key(), *agent).await, "postgres://x");
        }
        // What cannot be decrypted stays, and stops nothing.
        world
            .execute(
                "UPDATE cloud.agent_databases SET ciphertext = '\\x00', key_id = 'test'
                WHERE agent_id = (SELECT agent_id FROM cloud.agent_databases ORDER BY agent_id LIMIT 1)",
            )
            .await;
        let progress = EncryptionProgress {
            encrypted: 0,
            left: 1,
        };
        assert_eq!(encrypt_again().await, progress);
    });
}

fn address_location(agent: Uuid) -> Location {
    Location::new("cloud.agent_databases", "ciphertext", agent)
}

fn encrypt(keys: &EncryptionKeys, agent: Uuid, address: &str) -> EncryptedValue {
    keys.encrypt(address, &address_location(agent))
        .expect("encrypted")
}

/// The address of an agent's database, decrypted with these keys.
async fn address(world: &World, list: &str, agent: Uuid) -> String {
    let (key_id, ciphertext): (String, Vec<u8>) =
        sqlx::query_as("SELECT key_id, ciphertext FROM cloud.agent_databases WHERE agent_id = $1")
            .bind(agent)
            .fetch_one(&world.pool)
            .await
            .expect("an address");
    let value = EncryptedValue { key_id, ciphertext };
    let address = keys(list).decrypt(&value, &address_location(agent));
    address.expect("decrypted")
}

#[test]
fn the_address_of_an_agents_database_is_stored_encrypted_and_kept() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
        let uri = address(&world, SECRETS_KEYS, id).await;
        let own = PgConnection::connect(&uri).await.expect("the database");
        own.close().await.expect("closed");
        let row: (Option<String>, String, bool) = sqlx::query_as(
            "SELECT database_uri, database_status, is_own
            FROM milady_sandboxes a JOIN cloud.agent_databases d ON d.agent_id = a.id",
        )
        .fetch_one(&world.pool)
        .await
        .expect("an agent");
        assert_eq!(row, (None, "ready".to_owned(), true));
        // Another attempt to create it keeps the password.
        world
            .set_columns(id, "database_status = 'provisioning'")
            .await;
        world.set_clock(seconds(30)).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
        assert_eq!(address(&world, SECRETS_KEYS, id).await, uri);
    });
}

#[test]
fn addresses_of_the_older_application_are_read_and_encrypted_once_it_is_gone() {
    run(async {
        let world = World::new().await;
        let (organization, key, id) = tenant_with_agent(&world).await;
        let foreign = "postgres://u:word@db.example/theirs";
        world
            .set_columns(
                id,
                "database_uri = 'postgres://u:word@db.example/theirs', database_status = 'ready'",
            )
            .await;
        let own = world.agent(organization, "stopped").await;
        world
            .set_columns(
                own,
                "database_status = 'ready', database_uri =
                    'postgres://u:word@db.example/agent_' || replace(id::text, '-', '')",
            )
            .await;
        // The step that creates a database is skipped.
        let start = provision(&world, &key, id).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
        let addresses = "SELECT count(*) FROM cloud.agent_databases";
        assert_eq!(world.count(addresses).await, 0);
        let migrate = world.function("db-migrate");
        assert_eq!(migrate.invoke_ok(json!({})).await["secrets"], Value::Null);
        let gone = migrate.with("OLDER_APPLICATION", "gone");
        let answer = gone.invoke_ok(json!({})).await;
        assert_eq!(answer["secrets"], json!({"encrypted": 2, "left": 0}));
        assert_eq!(address(&world, SECRETS_KEYS, id).await, foreign);
        let plain = "SELECT count(*) FROM milady_sandboxes WHERE database_uri IS NOT NULL";
        assert_eq!(world.count(plain).await, 0);
        world.set_clock(seconds(30)).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
        assert_eq!(address(&world, SECRETS_KEYS, id).await, foreign);
        // A database of somebody else is not dropped.
        for (agent, has_database) in [(id, false), (own, true)] {
            world.delete(agent).await;
            let left: bool =
                sqlx::query_scalar("SELECT has_database FROM cloud.tombstones WHERE agent_id = $1")
                    .bind(agent)
                    .fetch_one(&world.pool)
                    .await
                    .expect("a tombstone");
            assert_eq!(left, has_database);
        }
        // A tombstone may lead back to its agent. Secrets go with it.
        assert_eq!(world.count(addresses).await, 2);
        world.execute("DELETE FROM cloud.tombstones").await;
        assert_eq!(world.count(addresses).await, 0);
    });
}
