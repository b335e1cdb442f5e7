//! Agents' environments once no older application reads them.

use serde_json::{Value, json};
use shared::domain::encrypted::EncryptedValue;
use shared::encryption::{EncryptionKeys, Location};
use tests::calls::agent_path;
use tests::suite::{Request, SECRETS_KEYS};
use tests::{Function, World, check_problem, run};
use uuid::Uuid;

fn gone(world: &World, function: &str) -> Function {
    world.function(function).with("OLDER_APPLICATION", "gone")
}

fn create(key: &str) -> Request {
    let variables = json!({"API_KEY": "canary", "EMPTY": "", "MILADY_API_TOKEN": "the-agents-key"});
    Request::new("POST", "/api/v1/milady/agents")
        .key(key)
        .json(&json!({"agentName": "a", "environmentVars": variables}))
}

async fn column(world: &World) -> Value {
    sqlx::query_scalar("SELECT environment_vars FROM milady_sandboxes")
        .fetch_one(&world.pool)
        .await
        .expect("an environment")
}

async fn decrypted(world: &World, agent: Uuid) -> Value {
    let (key_id, ciphertext): (String, Vec<u8>) = sqlx::query_as(
        "SELECT key_id, ciphertext FROM cloud.agent_environments WHERE agent_id = $1",
    )
    .bind(agent)
    .fetch_one(&world.pool)
    .await
    .expect("an environment");
    let location = Location::new("cloud.agent_environments", "ciphertext", agent);
    let keys = EncryptionKeys::parse(SECRETS_KEYS).expect("keys");
    let text = keys.decrypt(&EncryptedValue { key_id, ciphertext }, &location);
    serde_json::from_str(&text.expect("decrypted")).expect("JSON")
}

fn id(response: &tests::suite::Response) -> Uuid {
    assert_eq!(response.status(), 201, "{response:?}");
    serde_json::from_value(response.json()["data"]["id"].clone()).expect("an id")
}

async fn names(world: &World, key: &str, agent: Uuid) -> Value {
    let response = world.get(key, &agent_path(agent, "")).await;
    response.json()["data"]["environmentNames"].clone()
}

#[test]
fn db_migrate_encrypts_environments_and_keeps_their_names() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("50").await;
        let agent = id(&world.call(create(&key)).await);
        let variables = column(&world).await;
        assert_eq!(variables["API_KEY"], "canary");
        let listed = names(&world, &key, agent).await;
        let migrate = gone(&world, "db-migrate");
        let answer = migrate.invoke_ok(json!({})).await;
        assert_eq!(answer["secrets"], json!({"encrypted": 1, "left": 0}));
        assert_eq!(
            column(&world).await,
            json!({"API_KEY": "", "EMPTY": "", "MILADY_API_TOKEN": ""})
        );
        assert_eq!(decrypted(&world, agent).await, variables);
        assert_eq!(names(&world, &key, agent).await, listed);
        assert_eq!(migrate.invoke_ok(json!({})).await["secrets"], Value::Null);
        // What another application writes all the same is encrypted by the next run.
        world
            .set_columns(
                agent,
                "environment_vars = environment_vars || '{\"API_KEY\": \"later\", \"NEW\": \"x\"}'",
            )
            .await;
        let answer = migrate.invoke_ok(json!({})).await;
        assert_eq!(answer["secrets"], json!({"encrypted": 1, "left": 0}));
        assert_eq!(
            decrypted(&world, agent).await,
            json!({"API_KEY": "later", "EMPTY": "", "MILADY_API_TOKEN": "the-agents-key", "NEW": "x"})
        );
        let rows = "SELECT count(*) FROM cloud.agent_environments";
        assert_eq!(world.count(rows).await, 1);
        world.delete(agent).await;
        assert_eq!(world.count(rows).await, 0);
        let keyless = migrate
            .without("SECRETS_KEYS")
            .invoke_error(json!({}))
            .await;
        assert!(
            keyless.contains("OLDER_APPLICATION=gone needs SECRETS_KEYS"),
            "{keyless}"
        );
    });
}

#[test]
fn db_migrate_writes_secrets_back_for_an_older_application() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let agent = id(&world.call(create(&key)).await);
        let plain = column(&world).await;
        let address =
            "database_uri = 'postgres://u:word@db.example/theirs', database_status = 'ready'";
        world.set_columns(agent, address).await;
        let migrate = gone(&world, "db-migrate");
        let encrypted = migrate.invoke_ok(json!({})).await;
        assert_eq!(encrypted["secrets"]["left"], json!(0));
        let refused = migrate.invoke_error(json!({"decrypt": true})).await;
        assert!(refused.contains("OLDER_APPLICATION=present"), "{refused}");
        // An agent whose secret cannot be decrypted stays as it is.
        let other = world.agent(organization, "stopped").await;
        sqlx::query("INSERT INTO cloud.agent_databases VALUES ($1, '\\x00', 'lost', true)")
            .bind(other)
            .execute(&world.pool)
            .await
            .expect("an address");
        let present = world.function("db-migrate");
        let event = json!({"decrypt": true});
        let answer = present.invoke_ok(event.clone()).await;
        assert_eq!(answer["decryption"], json!({"decrypted": 1, "left": 1}));
        let written: Value = sqlx::query_scalar(
            "SELECT jsonb_build_array(environment_vars, database_uri) FROM milady_sandboxes WHERE id = $1",
        )
        .bind(agent)
        .fetch_one(&world.pool)
        .await
        .expect("an agent");
        assert_eq!(
            written,
            json!([plain, "postgres://u:word@db.example/theirs"])
        );
        let again = present.invoke_ok(event).await;
        assert_eq!(again["decryption"], json!({"decrypted": 0, "left": 1}));
    });
}

#[test]
fn a_new_agents_environment_is_never_written_in_plain_text() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("50").await;
        let creation = gone(&world, "agent-create");
        let keyless = creation.clone().without("SECRETS_KEYS");
        check_problem(
            &world.call_function(&keyless, create(&key)).await,
            503,
            "This deployment has no key for secrets",
        );
        let agents = "SELECT count(*) FROM milady_sandboxes";
        assert_eq!(world.count(agents).await, 0);
        let agent = id(&world.call_function(&creation, create(&key)).await);
        let names = json!({"API_KEY": "", "EMPTY": "", "MILADY_API_TOKEN": ""});
        assert_eq!(column(&world).await, names);
        assert_eq!(decrypted(&world, agent).await["API_KEY"], "canary");
    });
}

#[test]
fn a_browser_is_paired_with_an_agent_whose_environment_is_encrypted() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("50").await;
        let creation = gone(&world, "agent-create");
        let agent = id(&world.call_function(&creation, create(&key)).await);
        world.set_status(agent, "running").await;
        let made = world.post(&key, &agent_path(agent, "/pairing-token")).await;
        assert_eq!(made.status(), 200, "{made:?}");
        let token = made.json()["data"]["token"].clone();
        let redeem = || {
            Request::new("POST", "/api/auth/pair")
                .header("origin", &format!("https://{agent}.agents.example"))
                .json(&json!({"token": token}))
        };
        let keyless = world.function("agent-pair").without("SECRETS_KEYS");
        check_problem(
            &world.call_function(&keyless, redeem()).await,
            503,
            "This deployment has no key for secrets",
        );
        // The token was not used up.
        let paired = world.call(redeem()).await;
        assert_eq!(
            (paired.status(), &paired.json()["apiKey"]),
            (200, &json!("the-agents-key"))
        );
        assert_eq!(world.call(redeem()).await.status(), 401);
    });
}
