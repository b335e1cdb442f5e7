//! The password of the functions' role is rotated while a function is warm. How often it is read again is tested in
//! `shared::db::login`.

use std::collections::BTreeMap;

use serde_json::json;
use tests::secrets_manager::{SecretsManager, StoredSecret};
use tests::suite::{RUNTIME_ROLE, Request};
use tests::{World, run};

use super::server::{postgres, root, sql};

const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:runtime";

#[test]
fn a_warm_function_reads_a_rotated_password_again() {
    run(async {
        let postgres = postgres().await;
        postgres
            .create_database("rotation", None)
            .await
            .expect("a database");
        let world = World::with_url(postgres.url("rotation"));
        let address = |password: &str| {
            let login = format!("postgres://{RUNTIME_ROLE}:{password}@");
            world.url.replacen("postgres://postgres@", &login, 1)
        };
        let migrate = world.function("db-migrate");
        migrate
            .with("RUNTIME_DATABASE_URL", &address("one"))
            .invoke_ok(json!({}))
            .await;
        let (_, key) = world.tenant("5").await;
        let secret = StoredSecret::Changed(address("one"), address("two"));
        let manager = SecretsManager::start(BTreeMap::from([(ARN.to_owned(), secret)])).await;
        let function = world
            .function("credit-get")
            .without("RUNTIME_DATABASE_URL")
            .with("RUNTIME_DATABASE_URL_ARN", ARN)
            .with("AWS_ENDPOINT_URL_SECRETS_MANAGER", &manager.url());
        let instance = function.start().await;
        let status = async || {
            let request = Request::new("GET", "/api/v1/credits/balance").key(&key);
            world.call_instance(&instance, request).await.status()
        };
        assert_eq!((status().await, manager.calls().await), (200, 1));
        let mut root = root(postgres).await;
        let mut rotate = async |password: &str| {
            let change = format!(
                "ALTER ROLE {RUNTIME_ROLE} PASSWORD '{password}';
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{RUNTIME_ROLE}'"
            );
            sql(&mut root, &change).await;
        };
        rotate("two").await;
        assert_eq!((status().await, manager.calls().await), (200, 2));
        assert_eq!((status().await, manager.calls().await), (200, 2));
        // The secret does not hold this one yet, and was read just now.
        rotate("three").await;
        for _ in 0..5 {
            assert_eq!((status().await, manager.calls().await), (500, 2));
        }
    });
}
