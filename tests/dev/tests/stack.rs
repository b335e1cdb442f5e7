//! The Runtime API and the gateway with a real function binary.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test: it looks at the clock, and may panic"
)]

mod http;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dev::gateway::Gateway;
use dev::runtime::{Function, Outcome, Pool, RuntimeApi};
use dev::template::Template;
use http::send;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const ENOUGH: Duration = Duration::from_secs(20);

fn obedient() -> Function {
    Function {
        name: "obedient".to_owned(),
        binary: env!("CARGO_BIN_EXE_obedient").into(),
        env: BTreeMap::new(),
    }
}

#[tokio::test]
async fn an_instance_answers_event_after_event_with_real_deadlines() {
    let api = RuntimeApi::start().await.unwrap();
    let instance = api.spawn(obedient()).unwrap();
    for n in 0..3 {
        let answer = instance.invoke(json!({"n": n}), ENOUGH).await;
        assert_eq!(answer, Outcome::Success(json!({"n": n})));
    }
    let before = chrono::Utc::now().timestamp_millis();
    let answer = instance.invoke(json!({"do": "say"}), ENOUGH).await;
    let Outcome::Success(said) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(said["function"], "obedient");
    assert_eq!(said["pid"], instance.pid());
    assert_eq!(said["home"], false, "the environment is not inherited");
    let left = said["deadline_ms"].as_i64().unwrap() - before;
    assert!((19_000..=21_000).contains(&left), "{left} ms left");
    assert!(instance.time_to_first_poll().unwrap() < ENOUGH);
    assert!(instance.peak_memory_kib().unwrap() > 100);
    assert_eq!(instance.logs(), ["said"]);
}

#[tokio::test]
async fn every_way_to_fail_has_its_outcome() {
    let api = RuntimeApi::start().await.unwrap();
    let instance = api.spawn(obedient()).unwrap();
    let error = |error_type: &str, message: &str| Outcome::FunctionError {
        error_type: error_type.to_owned(),
        message: message.to_owned(),
    };
    let failed = instance.invoke(json!({"do": "fail"}), ENOUGH).await;
    assert_eq!(failed, error("Refused", "as ordered"));
    let big = instance.invoke(json!({"do": "big"}), ENOUGH).await;
    assert!(
        matches!(&big, Outcome::FunctionError { error_type, .. }
            if error_type == "Function.ResponseSizeTooLarge"),
        "{big:?}"
    );
    let instance = api.spawn(obedient()).unwrap();
    let crashed = instance.invoke(json!({"do": "crash"}), ENOUGH).await;
    assert!(matches!(&crashed, Outcome::Crashed { status } if status.contains('7')));
    assert!(!instance.is_alive());
    let instance = api.spawn(obedient()).unwrap();
    let started = Instant::now();
    let late = instance
        .invoke(json!({"do": "sleep"}), Duration::from_millis(300))
        .await;
    assert_eq!(late, Outcome::TimedOut);
    assert!(started.elapsed() < ENOUGH);
    assert!(!instance.is_alive());
    let mut function = obedient();
    function
        .env
        .insert("FAIL_AT_START".to_owned(), "1".to_owned());
    let instance = api.spawn(function).unwrap();
    let crashed = instance.invoke(json!({}), ENOUGH).await;
    assert!(matches!(&crashed, Outcome::Crashed { status } if status.contains('3')));
}

#[tokio::test]
async fn a_kill_from_elsewhere_ends_the_invocation_as_a_crash() {
    let api = RuntimeApi::start().await.unwrap();
    let instance = Arc::new(api.spawn(obedient()).unwrap());
    instance.ready().await.unwrap();
    let busy = Arc::clone(&instance);
    let invoked = tokio::spawn(async move { busy.invoke(json!({"do": "sleep"}), ENOUGH).await });
    tokio::task::yield_now().await;
    instance.kill().await;
    let outcome = invoked.await.unwrap();
    assert!(matches!(&outcome, Outcome::Crashed { status } if status.contains('9')));
}

#[tokio::test]
async fn a_pool_reuses_idle_instances_and_replaces_dead_ones() {
    let api = RuntimeApi::start().await.unwrap();
    let pool = Pool::new(api, vec![obedient()]);
    let say = || async {
        let outcome = pool.invoke("obedient", json!({"do": "say"}), ENOUGH).await;
        let Ok(Outcome::Success(said)) = outcome else {
            panic!("{outcome:?}")
        };
        said["pid"].as_u64().unwrap()
    };
    let first = say().await;
    assert_eq!(say().await, first);
    let crash = json!({"do": "crash"});
    pool.invoke("obedient", crash, ENOUGH).await.unwrap();
    assert_ne!(say().await, first);
    assert!(pool.invoke("unknown", json!({}), ENOUGH).await.is_err());
}

const TEMPLATE: &str = "
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties: {CorsConfiguration: {AllowOrigins: ['http://app'], AllowMethods: [POST]}}
  Obedient:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: target/lambda/obedient/
      Timeout: 20
      Events:
        Post: {Type: HttpApi, Properties: {Method: POST, Path: '/orders/{orderId}'}}
";

async fn gateway(answer_within: Duration) -> Gateway {
    let api = RuntimeApi::start().await.unwrap();
    let pool = Pool::new(api, vec![obedient()]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let template = Template::parse(TEMPLATE).unwrap();
    Gateway::start_with(listener, template, pool, answer_within).unwrap()
}

/// Status and body.
async fn post(gateway: &Gateway, path: &str, body: &[u8]) -> (u16, Value) {
    let json = ["content-type: application/json"];
    let answer = send(gateway.address(), &format!("POST {path}"), &json, body).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn the_gateway_answers_as_an_http_api_does() {
    let gateway = gateway(ENOUGH).await;
    let (status, event) = post(&gateway, "/orders/a%20b?x=1", b"{}").await;
    assert_eq!(status, 200);
    assert_eq!(event["routeKey"], "POST /orders/{orderId}");
    assert_eq!(event["pathParameters"]["orderId"], "a b");
    assert_eq!(event["requestContext"]["http"]["sourceIp"], "127.0.0.1");
    for order in ["fail", "crash", "big"] {
        let body = json!({"do": order}).to_string();
        let expected = (500, json!({"message": "Internal Server Error"}));
        assert_eq!(
            post(&gateway, "/orders/1", body.as_bytes()).await,
            expected,
            "{order}"
        );
    }
    let expected = (404, json!({"message": "Not Found"}));
    assert_eq!(post(&gateway, "/nowhere", b"").await, expected);
    let invocations = "/2015-03-31/functions/obedient/invocations";
    assert_eq!(
        post(&gateway, invocations, b"{\"n\":1}").await,
        (200, json!({"n": 1}))
    );
    let (status, error) = post(&gateway, invocations, b"{\"do\":\"fail\"}").await;
    assert_eq!((status, &error["errorType"]), (200, &json!("Refused")));
}

#[tokio::test]
async fn the_gateway_keeps_its_limits() {
    let gateway = gateway(Duration::from_millis(300)).await;
    let expected = (503, json!({"message": "Service Unavailable"}));
    assert_eq!(
        post(&gateway, "/orders/1", b"{\"do\":\"sleep\"}").await,
        expected
    );
    let long = vec![b' '; 6 * 1024 * 1024 + 1];
    let expected = (413, json!({"message": "Request Entity Too Large"}));
    assert_eq!(post(&gateway, "/orders/1", &long).await, expected);
}

#[tokio::test]
async fn another_origin_is_let_in_as_an_http_api_does() {
    let gateway = gateway(ENOUGH).await;
    let preflight = ["origin: http://app", "access-control-request-method: POST"];
    let answer = send(gateway.address(), "OPTIONS /orders/1", &preflight, b"").await;
    assert_eq!(answer.status, 204);
    for header in [
        "access-control-allow-origin: http://app",
        "access-control-allow-methods: post",
    ] {
        assert!(answer.headers.contains(&header.to_owned()), "{header}");
    }
    for (origin, is_let_in) in [("origin: http://app", true), ("origin: http://b", false)] {
        let answer = send(gateway.address(), "POST /orders/1", &[origin], b"").await;
        assert_eq!(answer.status, 200);
        let allowed = answer
            .headers
            .iter()
            .any(|header| header.starts_with("access-control-allow-origin"));
        assert_eq!(allowed, is_let_in, "{origin}");
    }
}
