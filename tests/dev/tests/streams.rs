//! Streamed responses of a real function binary, at the Runtime API and through the gateway.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use dev::gateway::Gateway;
use dev::runtime::{Function, Instance, Outcome, Pieces, Pool, RuntimeApi};
use dev::template::Template;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const ENOUGH: Duration = Duration::from_secs(20);

fn obedient() -> Function {
    Function {
        name: "obedient".to_owned(),
        binary: env!("CARGO_BIN_EXE_obedient").into(),
        env: BTreeMap::from([("STREAM".to_owned(), "1".to_owned())]),
    }
}

async fn instance() -> Instance {
    let api = RuntimeApi::start().await.unwrap();
    api.spawn(obedient()).unwrap()
}

/// A file that streams wait for.
struct Gate(PathBuf);

impl Gate {
    fn new(name: &str) -> Self {
        let name = format!("milady-gate-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn open(&self) {
        std::fs::write(&self.0, "").unwrap();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn event(order: &Value) -> Value {
    let request = dev::gateway::event::Request {
        method: "POST".to_owned(),
        path: "/orders/1/stream".to_owned(),
        body: order.to_string().into_bytes(),
        ..Default::default()
    };
    dev::gateway::event::build(&request, "$default", &BTreeMap::new())
}

/// What the function says at once about itself.
async fn first(body: &mut Pieces) -> Value {
    serde_json::from_slice(&body.next().await.unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn the_first_piece_is_there_before_the_last_is_sent() {
    let instance = instance().await;
    let gate = Gate::new("first");
    let order = event(&json!({"gate": gate.0}));
    let mut streamed = instance.invoke_streaming(order, ENOUGH).await.unwrap();
    assert_eq!(streamed.prelude["statusCode"], 201);
    assert_eq!(streamed.prelude["headers"]["x-two"], json!(["a", "b"]));
    assert_eq!(streamed.prelude["cookies"], json!(["c=1"]));
    let said = first(&mut streamed.body).await;
    assert_eq!(said["pid"], instance.pid());
    let next = tokio::time::timeout(Duration::from_millis(50), streamed.body.next());
    assert!(next.await.is_err(), "nothing before the gate is open");
    gate.open();
    assert_eq!(streamed.body.next().await.unwrap().unwrap(), "last");
    assert_eq!(streamed.body.next().await, None);
    assert_eq!(streamed.body.next().await, None, "and stays ended");
    // The next event, by somebody who wants all of it in one piece.
    let answer = instance.invoke(event(&json!({})), ENOUGH).await;
    let Outcome::Success(answer) = answer else {
        panic!("{answer:?}")
    };
    assert!(answer["body"].as_str().unwrap().ends_with("}\nlast"));
}

#[tokio::test]
async fn every_way_a_stream_fails_has_its_outcome() {
    let instance = instance().await;
    let refused = Outcome::FunctionError {
        error_type: "Refused".to_owned(),
        message: "as ordered".to_owned(),
    };
    let failed = instance.invoke_streaming(event(&json!({"do": "fail"})), ENOUGH);
    assert_eq!(failed.await.unwrap_err(), refused);
    // The runtime for Rust puts an error midway into the payload and ends well: see its
    // `EventCompletionRequest`. A function must not count on trailers.
    let said = instance
        .invoke(event(&json!({"do": "error"})), ENOUGH)
        .await;
    assert!(
        matches!(&said, Outcome::Success(answer) if answer["body"].as_str().unwrap()
            .contains("}\nLambda-Runtime-Function-Error-Type: Runtime.StreamError\r\n")),
        "{said:?}"
    );
    let gate = Gate::new("fails");
    let order = event(&json!({"do": "crash", "gate": gate.0}));
    let mut streamed = instance.invoke_streaming(order, ENOUGH).await.unwrap();
    first(&mut streamed.body).await;
    gate.open();
    let broken = streamed.body.next().await.unwrap().unwrap_err();
    assert!(matches!(&broken, Outcome::Crashed { status } if status.contains('7')));
    assert_eq!(streamed.body.next().await, None);
    assert!(!instance.is_alive());
}

#[tokio::test]
async fn the_time_of_a_stream_is_up_at_its_end_too_and_a_kill_ends_it() {
    let gate = Gate::new("never");
    let order = event(&json!({"gate": gate.0}));
    for is_killed in [false, true] {
        let instance = instance().await;
        instance.ready().await.unwrap();
        let time = if is_killed { ENOUGH } else { ENOUGH / 20 };
        let mut streamed = instance
            .invoke_streaming(order.clone(), time)
            .await
            .unwrap();
        first(&mut streamed.body).await;
        if is_killed {
            instance.kill().await;
        }
        let broken = streamed.body.next().await.unwrap().unwrap_err();
        if is_killed {
            assert!(matches!(&broken, Outcome::Crashed { status } if status.contains('9')));
        } else {
            assert_eq!(broken, Outcome::TimedOut);
        }
        assert!(!instance.is_alive());
    }
}

const TEMPLATE: &str = "
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties: {CorsConfiguration: {AllowOrigins: ['http://app'], AllowMethods: [POST]}}
  Obedient:
    Type: AWS::Serverless::Function
    Metadata: {Route: 'POST /orders/{orderId}/stream'}
    Properties:
      CodeUri: target/lambda/obedient/
      Timeout: 20
      FunctionUrlConfig: {AuthType: NONE, InvokeMode: RESPONSE_STREAM}
";

async fn gateway() -> Gateway {
    let api = RuntimeApi::start().await.unwrap();
    let pool = Pool::new(api, vec![obedient()]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // The limit of the API is not one of function URLs.
    let limit = Duration::ZERO;
    Gateway::start_with(listener, Template::parse(TEMPLATE).unwrap(), pool, limit).unwrap()
}

/// A client in the midst of an answer.
struct Client {
    head: Vec<String>,
    said: Value,
    rest: BufReader<TcpStream>,
}

impl Client {
    /// Sends an order and reads the answer up to and with its first piece.
    async fn start(gateway: &Gateway, order: &Value) -> Self {
        let (mut rest, head) = ask(gateway, order).await;
        line(&mut rest).await;
        let said = serde_json::from_str(&line(&mut rest).await).unwrap();
        assert_eq!(line(&mut rest).await, "");
        Self { head, said, rest }
    }

    async fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.rest.read_to_end(&mut rest).await;
        rest
    }
}

async fn ask(gateway: &Gateway, order: &Value) -> (BufReader<TcpStream>, Vec<String>) {
    let body = order.to_string();
    let length = body.len();
    let request = format!(
        "POST /orders/1/stream HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         origin: http://app\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut rest = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        match line(&mut rest).await {
            line if line.is_empty() => return (rest, head),
            line => head.push(line),
        }
    }
}

async fn line(from: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    let read = tokio::time::timeout(ENOUGH, from.read_line(&mut line));
    read.await.unwrap().unwrap();
    line.trim_end().to_owned()
}

#[tokio::test]
async fn two_streams_at_once_come_from_two_instances_piece_by_piece() {
    let gateway = gateway().await;
    let gates = [Gate::new("one"), Gate::new("two")];
    let [one, two] = gates.each_ref().map(|gate| json!({"gate": gate.0}));
    let one = Client::start(&gateway, &one).await;
    let two = Client::start(&gateway, &two).await;
    assert_ne!(one.said["pid"], two.said["pid"]);
    assert_eq!(one.said["path"], "/orders/1/stream");
    assert_eq!(one.head[0], "HTTP/1.1 201 Created");
    for header in [
        "content-type: text/event-stream",
        "x-two: b",
        "set-cookie: c=1",
        "access-control-allow-origin: http://app",
        "transfer-encoding: chunked",
    ] {
        assert!(one.head.contains(&header.to_owned()), "{header}");
    }
    let pids = [one.said["pid"].clone(), two.said["pid"].clone()];
    for (client, gate) in [(one, &gates[0]), (two, &gates[1])] {
        gate.open();
        assert_eq!(client.rest().await, b"4\r\nlast\r\n0\r\n\r\n");
    }
    let again = Client::start(&gateway, &json!({})).await;
    assert!(pids.contains(&again.said["pid"]), "an idle one is taken");
}

#[tokio::test]
async fn a_stream_of_some_megabytes_arrives_whole() {
    let gateway = gateway().await;
    let order = json!({"do": "big", "chunks": 160});
    let client = Client::start(&gateway, &order).await;
    let chunked = client.rest().await;
    let (mut left, mut payload) = (chunked.as_slice(), Vec::new());
    // Each chunk is its length, itself, and a line's end after both; the last one is empty.
    while left != b"0\r\n\r\n" {
        let end = left.windows(2).position(|two| two == b"\r\n").unwrap();
        let length = std::str::from_utf8(&left[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        payload.extend_from_slice(&left[end + 2..][..length]);
        left = &left[end + 2 + length + 2..];
    }
    assert!(payload == vec![b'x'; 160 * 64 * 1024], "{}", payload.len());
}

#[tokio::test]
async fn a_reader_that_goes_away_stops_nothing() {
    let instance = instance().await;
    let gate = Gate::new("away");
    let order = event(&json!({"do": "big", "chunks": 160, "gate": gate.0}));
    drop(instance.invoke_streaming(order, ENOUGH).await.unwrap());
    gate.open();
    // It takes the next event, so it has got rid of ten megabytes that nobody took.
    let answer = instance.invoke(event(&json!({})), ENOUGH).await;
    assert!(matches!(answer, Outcome::Success(_)), "{answer:?}");
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_its_instance_to_others() {
    let gateway = gateway().await;
    let (gate, done) = (Gate::new("hangup"), Gate::new("done"));
    let order = json!({"do": "big", "chunks": 160, "gate": gate.0, "done": done.0});
    let client = Client::start(&gateway, &order).await;
    let pid = client.said["pid"].clone();
    drop(client);
    let meanwhile = Client::start(&gateway, &json!({})).await;
    assert_ne!(meanwhile.said["pid"], pid, "it is busy still");
    gate.open();
    let last = async {
        while !done.0.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(ENOUGH, last).await.unwrap();
    let mut others = vec![meanwhile];
    while others.last().unwrap().said["pid"] != pid {
        let gate = json!({"gate": "/nowhere"});
        assert!(others.len() < 9, "it never comes back");
        others.push(Client::start(&gateway, &gate).await);
    }
}

#[tokio::test]
async fn a_function_that_dies_midway_ends_the_answer_visibly() {
    let gateway = gateway().await;
    let gate = Gate::new("dies");
    let order = json!({"do": "crash", "gate": gate.0});
    let client = Client::start(&gateway, &order).await;
    let pid = client.said["pid"].clone();
    gate.open();
    assert_eq!(client.rest().await, b"", "no last chunk");
    let next = Client::start(&gateway, &json!({})).await;
    assert_ne!(next.said["pid"], pid);
    let (_, head) = ask(&gateway, &json!({"do": "fail"})).await;
    assert_eq!(head[0], "HTTP/1.1 502 Bad Gateway");
}
