//! The Runtime API and the gateway, with a real function binary.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dev::gateway::Gateway;
use dev::runtime::{Function, Outcome, Pool, RuntimeApi};
use dev::template::Template;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::http::send;

const TEST_TIMEOUT: Duration = Duration::from_secs(20);

fn scripted_function() -> Function {
    Function {
        name: "scripted-function".to_owned(),
        binary: env!("CARGO_BIN_EXE_scripted-function").into(),
        env: BTreeMap::new(),
    }
}

#[tokio::test]
async fn instance_answers_consecutive_events_with_real_deadlines() {
    let api = RuntimeApi::start().await.unwrap();
    let instance = api.spawn(scripted_function()).unwrap();
    for n in 0..3 {
        let answer = instance.invoke(json!({"n": n}), TEST_TIMEOUT).await;
        assert_eq!(answer, Outcome::Success(json!({"n": n})));
    }
    let before = chrono::Utc::now().timestamp_millis();
    let answer = instance.invoke(json!({"do": "say"}), TEST_TIMEOUT).await;
    let Outcome::Success(report) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(report["function"], "scripted-function");
    assert_eq!(report["pid"], instance.pid());
    assert_eq!(report["home"], false, "the environment is not inherited");
    let left = report["deadline_ms"].as_i64().unwrap() - before;
    assert!((19_000..=21_000).contains(&left), "{left} ms left");
    assert!(instance.time_to_first_poll().unwrap() < TEST_TIMEOUT);
    assert!(instance.peak_memory_kib().unwrap() > 100);
    assert_eq!(instance.logs(), ["log line"]);
}

#[tokio::test]
async fn a_preparation_runs_in_the_process_of_the_function_and_its_failure_starts_nothing() {
    let api = RuntimeApi::start().await.unwrap();
    let preparation = "HOME=/prepared; export HOME";
    let instance = api.spawn_after(preparation, scripted_function()).await;
    let instance = instance.unwrap();
    let answer = instance.invoke(json!({"do": "say"}), TEST_TIMEOUT).await;
    let Outcome::Success(report) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(report["pid"], instance.pid());
    assert_eq!(report["home"], true);
    assert_eq!(instance.logs(), ["log line"]);
    let failing = "echo no such group >&2; false";
    let refused = api.spawn_after(failing, scripted_function()).await;
    let error = format!("{:#}", refused.unwrap_err());
    assert_eq!(
        error,
        "the preparation of scripted-function failed: no such group"
    );
}

#[tokio::test]
async fn each_kind_of_failure_has_its_outcome() {
    let api = RuntimeApi::start().await.unwrap();
    let instance = api.spawn(scripted_function()).unwrap();
    let error = |error_type: &str, message: &str| Outcome::FunctionError {
        error_type: error_type.to_owned(),
        message: message.to_owned(),
    };
    let failed = instance.invoke(json!({"do": "fail"}), TEST_TIMEOUT).await;
    assert_eq!(failed, error("Refused", "as instructed"));
    let big = instance.invoke(json!({"do": "big"}), TEST_TIMEOUT).await;
    assert!(
        matches!(&big, Outcome::FunctionError { error_type, .. }
            if error_type == "Function.ResponseSizeTooLarge"),
        "{big:?}"
    );
    let instance = api.spawn(scripted_function()).unwrap();
    let crashed = instance.invoke(json!({"do": "crash"}), TEST_TIMEOUT).await;
    assert!(matches!(&crashed, Outcome::Crashed { status } if status.contains('7')));
    assert!(!instance.is_alive());
    let instance = api.spawn(scripted_function()).unwrap();
    let started = Instant::now();
    let late = instance
        .invoke(json!({"do": "sleep"}), Duration::from_millis(300))
        .await;
    assert_eq!(late, Outcome::TimedOut);
    assert!(started.elapsed() < TEST_TIMEOUT);
    assert!(!instance.is_alive());
    let mut function = scripted_function();
    function
        .env
        .insert("FAIL_AT_START".to_owned(), "1".to_owned());
    let instance = api.spawn(function).unwrap();
    let crashed = instance.invoke(json!({}), TEST_TIMEOUT).await;
    assert!(matches!(&crashed, Outcome::Crashed { status } if status.contains('3')));
}

#[tokio::test]
async fn killed_instance_ends_its_invocation_as_a_crash() {
    let api = RuntimeApi::start().await.unwrap();
    let instance = Arc::new(api.spawn(scripted_function()).unwrap());
    instance.wait_until_ready().await.unwrap();
    let busy = Arc::clone(&instance);
    let invoked =
        tokio::spawn(async move { busy.invoke(json!({"do": "sleep"}), TEST_TIMEOUT).await });
    tokio::task::yield_now().await;
    instance.kill().await;
    let outcome = invoked.await.unwrap();
    assert!(matches!(&outcome, Outcome::Crashed { status } if status.contains('9')));
}

#[tokio::test]
async fn pool_reuses_idle_instances_and_replaces_dead_ones() {
    let api = RuntimeApi::start().await.unwrap();
    let pool = Pool::new(api, vec![scripted_function()]);
    let invoke = || async {
        let outcome = pool
            .invoke("scripted-function", json!({"do": "say"}), TEST_TIMEOUT)
            .await;
        let Ok(Outcome::Success(report)) = outcome else {
            panic!("{outcome:?}")
        };
        report["pid"].as_u64().unwrap()
    };
    let first = invoke().await;
    assert_eq!(invoke().await, first);
    let crash = json!({"do": "crash"});
    pool.invoke("scripted-function", crash, TEST_TIMEOUT)
        .await
        .unwrap();
    assert_ne!(invoke().await, first);
    assert!(
        pool.invoke("unknown", json!({}), TEST_TIMEOUT)
            .await
            .is_err()
    );
}

const TEMPLATE: &str = "
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties: {CorsConfiguration: {AllowOrigins: ['http://app'], AllowMethods: [POST]}}
  ScriptedFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: target/lambda/scripted-function/
      Timeout: 20
      Events:
        Post: {Type: HttpApi, Properties: {Method: POST, Path: '/orders/{orderId}'}}
";

async fn gateway(response_timeout: Duration) -> Gateway {
    let api = RuntimeApi::start().await.unwrap();
    let pool = Pool::new(api, vec![scripted_function()]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let template = Template::parse(TEMPLATE).unwrap();
    Gateway::start_with(listener, template, pool, response_timeout).unwrap()
}

async fn post(gateway: &Gateway, path: &str, body: &[u8]) -> (u16, Value) {
    let json = ["content-type: application/json"];
    let answer = send(gateway.address(), &format!("POST {path}"), &json, body).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn gateway_answers_like_an_http_api() {
    let gateway = gateway(TEST_TIMEOUT).await;
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
    let invocations = "/2015-03-31/functions/scripted-function/invocations";
    assert_eq!(
        post(&gateway, invocations, b"{\"n\":1}").await,
        (200, json!({"n": 1}))
    );
    let (status, error) = post(&gateway, invocations, b"{\"do\":\"fail\"}").await;
    assert_eq!((status, &error["errorType"]), (200, &json!("Refused")));
}

#[tokio::test]
async fn responses_are_dated_by_simulated_time() {
    let gateway = gateway(TEST_TIMEOUT).await;
    gateway.set_time("2030-02-03T04:00:00Z".parse().unwrap());
    let answer = send(gateway.address(), "GET /nowhere", &[], b"").await;
    let dates: Vec<&String> = answer
        .headers
        .iter()
        .filter(|header| header.starts_with("date:"))
        .collect();
    assert_eq!(dates, ["date: sun, 03 feb 2030 04:00:00 gmt"]);
}

#[tokio::test]
async fn gateway_enforces_its_limits() {
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
async fn cross_origin_requests_get_the_headers_of_an_http_api() {
    let gateway = gateway(TEST_TIMEOUT).await;
    let preflight = ["origin: http://app", "access-control-request-method: POST"];
    let answer = send(gateway.address(), "OPTIONS /orders/1", &preflight, b"").await;
    assert_eq!(answer.status, 204);
    for header in [
        "access-control-allow-origin: http://app",
        "access-control-allow-methods: post",
    ] {
        assert!(answer.headers.contains(&header.to_owned()), "{header}");
    }
    for (origin, is_allowed) in [("origin: http://app", true), ("origin: http://b", false)] {
        let answer = send(gateway.address(), "POST /orders/1", &[origin], b"").await;
        assert_eq!(answer.status, 200);
        let allowed = answer
            .headers
            .iter()
            .any(|header| header.starts_with("access-control-allow-origin"));
        assert_eq!(allowed, is_allowed, "{origin}");
    }
}
