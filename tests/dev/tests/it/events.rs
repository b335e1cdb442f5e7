//! The stand-in for `EventBridge`, over plain HTTP and with a real function binary.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use dev::events::EventBus;
use dev::runtime::{Function, Pool, RuntimeApi};
use dev::template::Template;
use serde_json::{Value, json};

use crate::http::{Answer, send};

const TEMPLATE: &str = "
Resources:
  Bus: {Type: AWS::Events::EventBus, Properties: {Name: ours}}
  ScriptedFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: target/lambda/scripted-function/
      Timeout: 20
      EventInvokeConfig: {MaximumRetryAttempts: 1}
      Events:
        Ordered:
          Type: EventBridgeRule
          Properties: {EventBusName: !Ref Bus, Pattern: {source: [me], detail-type: [order]}}
        Slow:
          Type: SQS
          Properties: {Queue: !GetAtt Slow.Arn, BatchSize: 1, ScalingConfig: {MaximumConcurrency: 2}}
        Quick:
          Type: SQS
          Properties: {Queue: !GetAtt Quick.Arn, BatchSize: 1, ScalingConfig: {MaximumConcurrency: 2}}
  Slow: {Type: AWS::SQS::Queue}
  Quick: {Type: AWS::SQS::Queue}
  SlowOrdered:
    Type: AWS::Events::Rule
    Properties:
      EventBusName: !Ref Bus
      EventPattern: {detail-type: [slow]}
      Targets: [{Id: queue, Arn: !GetAtt Slow.Arn}]
  QuickOrdered:
    Type: AWS::Events::Rule
    Properties:
      EventBusName: !Ref Bus
      EventPattern: {detail-type: [quick]}
      Targets: [{Id: queue, Arn: !GetAtt Quick.Arn}]
";

async fn bus() -> EventBus {
    let template = Template::parse(TEMPLATE).unwrap();
    let retry_after = [Duration::from_millis(10); 2];
    EventBus::start_with(&template, &retry_after).await.unwrap()
}

async fn delivering_bus() -> EventBus {
    let bus = bus().await;
    let api = RuntimeApi::start().await.unwrap();
    bus.deliver_to(Pool::new(api, vec![scripted_function()]));
    bus
}

fn scripted_function() -> Function {
    Function {
        name: "scripted-function".to_owned(),
        binary: env!("CARGO_BIN_EXE_scripted-function").into(),
        env: BTreeMap::new(),
    }
}

async fn put(bus: &EventBus, entries: Value) -> Answer {
    let target = "x-amz-target: AWSEvents.PutEvents";
    let body = json!({ "Entries": entries }).to_string();
    call(bus, target, body.as_bytes()).await
}

async fn call(bus: &EventBus, target: &str, body: &[u8]) -> Answer {
    let address = bus.address().strip_prefix("http://").unwrap().parse();
    let kind = "content-type: application/x-amz-json-1.1";
    send(address.unwrap(), "POST /", &[target, kind], body).await
}

fn entry(detail_type: &str, detail: &Value) -> Value {
    let detail = detail.to_string();
    json!({"Source": "me", "DetailType": detail_type, "Detail": detail, "EventBusName": "ours"})
}

/// A file in which the function records its events.
struct RecordFile(PathBuf);

impl RecordFile {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("dev-{name}-{}", std::process::id())))
    }

    fn read(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Drop for RecordFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn event_reaches_the_function_whose_rule_matches() {
    let bus = delivering_bus().await;
    let records = RecordFile::new("matching");
    let detail = json!({"do": "note", "file": records.0});
    let answer = put(
        &bus,
        json!([entry("order", &detail), entry("other", &detail)]),
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["FailedEntryCount"], 0);
    bus.wait_until_idle().await;
    let received = bus.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0]["id"], answer.body["Entries"][0]["EventId"]);
    assert_eq!(records.read(), received[..1]);
}

#[tokio::test]
async fn dropped_bus_delivers_nothing_any_more() {
    let template = Template::parse(TEMPLATE).unwrap();
    let wait = Duration::from_millis(300);
    let bus = EventBus::start_with(&template, &[wait; 2]).await.unwrap();
    let api = RuntimeApi::start().await.unwrap();
    bus.deliver_to(Pool::new(api, vec![scripted_function()]));
    let records = RecordFile::new("dropped");
    let detail = json!({"do": "note", "file": records.0, "then": "fail"});
    put(&bus, json!([entry("order", &detail)])).await;
    while records.read().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(bus);
    tokio::time::sleep(2 * wait).await;
    assert_eq!(records.read().len(), 1);
}

#[tokio::test]
async fn failed_function_is_retried_as_the_template_says() {
    let bus = delivering_bus().await;
    let records = RecordFile::new("failing");
    let detail = json!({"do": "note", "file": records.0, "then": "fail"});
    put(&bus, json!([entry("order", &detail)])).await;
    bus.wait_until_idle().await;
    let event = bus.received().remove(0);
    assert_eq!(records.read(), [event.clone(), event]);
}

#[tokio::test]
async fn events_that_wait_in_one_queue_do_not_delay_those_of_another() {
    let bus = delivering_bus().await;
    let records = RecordFile::new("queued");
    let sleep = json!({"do": "sleep"});
    for _ in 0..3 {
        put(&bus, json!(vec![entry("slow", &sleep); 10])).await;
    }
    let note = json!({"do": "note", "file": records.0});
    put(&bus, json!([entry("quick", &note)])).await;
    let event = bus.received().remove(30);
    let started = std::time::Instant::now();
    while records.read().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(15), "not delivered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let message = &records.read()[0]["Records"][0];
    let body = message["body"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), event);
}

#[tokio::test]
async fn refusals_have_the_format_of_event_bridge() {
    let bus = bus().await;
    let invalid = json!({"Source": "me", "DetailType": "order", "Detail": "1"});
    let answer = put(&bus, json!([invalid, entry("order", &json!({}))])).await;
    assert_eq!(
        (answer.status, &answer.body["FailedEntryCount"]),
        (200, &json!(1))
    );
    assert_eq!(answer.body["Entries"][0]["ErrorCode"], "MalformedDetail");
    assert!(answer.body["Entries"][1]["EventId"].is_string());
    assert_eq!(bus.received().len(), 1);

    let empty = put(&bus, json!([])).await;
    assert_eq!(empty.status, 400);
    assert_eq!(empty.body["__type"], "ValidationException");
    let json = "content-type: application/x-amz-json-1.1".to_owned();
    assert!(empty.headers.contains(&json), "{:?}", empty.headers);
    let other = call(&bus, "x-amz-target: AWSEvents.PutRule", b"{}").await;
    assert_eq!(other.status, 400);
    assert_eq!(other.body["__type"], "UnknownOperationException");
}

#[tokio::test]
async fn bus_can_be_down_and_refuse_a_detail_type() {
    let bus = bus().await;
    let both = json!([entry("order", &json!({})), entry("other", &json!({}))]);
    bus.set_down(true);
    assert_eq!(put(&bus, both.clone()).await.status, 500);
    assert_eq!(bus.received(), [Value::Null; 0]);
    bus.set_down(false);
    bus.refuse(Some("order"));
    let answer = put(&bus, both.clone()).await;
    assert_eq!(answer.body["FailedEntryCount"], 1);
    assert_eq!(
        answer.body["Entries"][0]["ErrorCode"],
        "ThrottlingException"
    );
    bus.refuse(None);
    assert_eq!(put(&bus, both).await.body["FailedEntryCount"], 0);
    assert_eq!(bus.received().len(), 3);
}

#[tokio::test]
async fn start_refuses_invalid_patterns_and_unknown_buses() {
    for (right, wrong) in [
        ("detail-type: [order]", "detail-type: order"),
        ("source: [me]", "sauce: [me]"),
        ("!Ref Bus", "theirs"),
    ] {
        assert!(TEMPLATE.contains(right), "{right}");
        let template = Template::parse(&TEMPLATE.replace(right, wrong)).unwrap();
        assert!(EventBus::start(&template).await.is_err(), "{wrong}");
    }
}
