//! The edge in front of the gateway, with a real function binary and plain HTTP.

use std::collections::BTreeMap;

use dev::gateway::Gateway;
use dev::runtime::{Function, Pool, RuntimeApi};
use dev::template::{Edge, Template};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::http::send;

const TEMPLATE: &str = "
Resources:
  ScriptedFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: target/lambda/scripted-function/
      Timeout: 20
      Events:
        Post: {Type: HttpApi, Properties: {Method: POST, Path: '/orders'}}
";

const EDGE: &str = r#"
Resources:
  Acl:
    Type: AWS::WAFv2::WebACL
    Properties:
      CustomResponseBodies:
        Flood: {ContentType: APPLICATION_JSON, Content: '{"error": "a flood"}'}
      Rules:
        - Name: keys
          Priority: 1
          Statement:
            RateBasedStatement:
              Limit: 2
              EvaluationWindowSec: 600
              AggregateKeyType: CUSTOM_KEYS
              CustomKeys: [{Header: {Name: x-api-key, TextTransformations: [{Priority: 0, Type: NONE}]}}]
          Action:
            Block:
              CustomResponse:
                ResponseCode: 429
                CustomResponseBodyKey: Flood
                ResponseHeaders: [{Name: Retry-After, Value: "60"}]
"#;

async fn gateway() -> Gateway {
    let function = Function {
        name: "scripted-function".to_owned(),
        binary: env!("CARGO_BIN_EXE_scripted-function").into(),
        env: BTreeMap::new(),
    };
    let pool = Pool::new(RuntimeApi::start().await.unwrap(), vec![function]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut template = Template::parse(TEMPLATE).unwrap();
    template.edge = Edge::parse(EDGE, &[]).unwrap();
    Gateway::start(listener, template, pool).unwrap()
}

#[tokio::test]
async fn f49_the_edge_answers_a_flood_and_invokes_nothing() {
    let gateway = gateway().await;
    let order = async |key: &str, body: &str| {
        let headers = ["content-type: application/json", key];
        send(gateway.address(), "POST /orders", &headers, body.as_bytes()).await
    };
    for _ in 0..2 {
        assert_eq!(order("x-api-key: flood", "{}").await.status, 200);
    }
    // The function would crash, which is a 500.
    let crash = r#"{"do": "crash"}"#;
    let refused = order("x-api-key: flood", crash).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.body, json!({"error": "a flood"}));
    for header in ["retry-after: 60", "content-type: application/json"] {
        assert!(refused.headers.contains(&header.to_owned()), "{header}");
    }
    assert_eq!(order("x-api-key: other", "{}").await.status, 200);
    assert_eq!(order("x-other: flood", "{}").await.status, 200);
    assert_eq!(order("x-other: flood", crash).await.status, 500);
}

#[tokio::test]
async fn a_connection_is_kept_although_the_body_of_a_refused_request_is_not_read() {
    let gateway = gateway().await;
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let request = "POST /orders HTTP/1.1\r\nhost: localhost\r\nx-api-key: flood\r\ncontent-type: \
            application/json\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(request.as_bytes()).await.unwrap();
        statuses.push(read_status(&mut stream).await);
    }
    assert_eq!(statuses, ["200", "200", "429", "429", "429"]);
}

/// Reads one response and returns its status.
async fn read_status(stream: &mut BufReader<TcpStream>) -> String {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert!(!line.is_empty(), "the connection ended after {lines:?}");
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let length = lines
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    lines[0].split(' ').nth(1).unwrap().to_owned()
}
