//! Streamed responses of a real function binary, at the Runtime API and through the gateway.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use dev::gateway::Gateway;
use dev::runtime::{BodyStream, Function, Instance, Outcome, Pool, RuntimeApi};
use dev::template::Template;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const TEST_TIMEOUT: Duration = Duration::from_secs(20);

fn scripted_function() -> Function {
    Function {
        name: "scripted-function".to_owned(),
        binary: env!("CARGO_BIN_EXE_scripted-function").into(),
        env: BTreeMap::from([("STREAM".to_owned(), "1".to_owned())]),
    }
}

async fn instance() -> Instance {
    let api = RuntimeApi::start().await.unwrap();
    api.spawn(scripted_function()).unwrap()
}

/// A file that a streamed response waits for.
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

fn event(instruction: &Value) -> Value {
    let request = dev::gateway::event::Request {
        method: "POST".to_owned(),
        path: "/orders/1/stream".to_owned(),
        body: instruction.to_string().into_bytes(),
        ..Default::default()
    };
    dev::gateway::event::build(&request, "$default", &BTreeMap::new())
}

/// The first chunk, in which the function reports about itself.
async fn first_chunk(body: &mut BodyStream) -> Value {
    serde_json::from_slice(&body.next().await.unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn first_chunk_arrives_before_the_last_is_sent() {
    let instance = instance().await;
    let gate = Gate::new("first");
    let instruction = event(&json!({"gate": gate.0}));
    let mut streamed = instance
        .invoke_streaming(instruction, TEST_TIMEOUT)
        .await
        .unwrap();
    assert_eq!(streamed.prelude["statusCode"], 201);
    assert_eq!(streamed.prelude["headers"]["x-two"], json!(["a", "b"]));
    assert_eq!(streamed.prelude["cookies"], json!(["c=1"]));
    let report = first_chunk(&mut streamed.body).await;
    assert_eq!(report["pid"], instance.pid());
    let next = tokio::time::timeout(Duration::from_millis(50), streamed.body.next());
    assert!(next.await.is_err(), "nothing arrives before the gate opens");
    gate.open();
    assert_eq!(streamed.body.next().await.unwrap().unwrap(), "last");
    assert_eq!(streamed.body.next().await, None);
    assert_eq!(streamed.body.next().await, None, "the stream stays ended");
    // The next event, invoked without streaming.
    let answer = instance.invoke(event(&json!({})), TEST_TIMEOUT).await;
    let Outcome::Success(answer) = answer else {
        panic!("{answer:?}")
    };
    assert!(answer["body"].as_str().unwrap().ends_with("}\nlast"));
}

#[tokio::test]
async fn each_kind_of_stream_failure_has_its_outcome() {
    let instance = instance().await;
    let refused = Outcome::FunctionError {
        error_type: "Refused".to_owned(),
        message: "as instructed".to_owned(),
    };
    let failed = instance.invoke_streaming(event(&json!({"do": "fail"})), TEST_TIMEOUT);
    assert_eq!(failed.await.unwrap_err(), refused);
    // The Rust runtime writes an error in mid-stream into the payload and ends the stream normally:
    // see its `EventCompletionRequest`. So functions cannot rely on trailers.
    let aborted = instance
        .invoke(event(&json!({"do": "error"})), TEST_TIMEOUT)
        .await;
    assert!(
        matches!(&aborted, Outcome::Success(answer) if answer["body"].as_str().unwrap()
            .contains("}\nLambda-Runtime-Function-Error-Type: Runtime.StreamError\r\n")),
        "{aborted:?}"
    );
    let gate = Gate::new("fails");
    let instruction = event(&json!({"do": "crash", "gate": gate.0}));
    let mut streamed = instance
        .invoke_streaming(instruction, TEST_TIMEOUT)
        .await
        .unwrap();
    first_chunk(&mut streamed.body).await;
    gate.open();
    let broken = streamed.body.next().await.unwrap().unwrap_err();
    assert!(matches!(&broken, Outcome::Crashed { status } if status.contains('7')));
    assert_eq!(streamed.body.next().await, None);
    assert!(!instance.is_alive());
}

#[tokio::test]
async fn timeout_and_kill_end_a_stream() {
    let gate = Gate::new("never");
    let instruction = event(&json!({"gate": gate.0}));
    for is_killed in [false, true] {
        let instance = instance().await;
        instance.wait_until_ready().await.unwrap();
        let time = if is_killed {
            TEST_TIMEOUT
        } else {
            TEST_TIMEOUT / 20
        };
        let mut streamed = instance
            .invoke_streaming(instruction.clone(), time)
            .await
            .unwrap();
        first_chunk(&mut streamed.body).await;
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
  ScriptedFunction:
    Type: AWS::Serverless::Function
    Metadata: {Routes: ['POST /orders/{orderId}/stream']}
    Properties:
      CodeUri: target/lambda/scripted-function/
      Timeout: 20
      FunctionUrlConfig: {AuthType: NONE, InvokeMode: RESPONSE_STREAM}
";

async fn gateway() -> Gateway {
    let api = RuntimeApi::start().await.unwrap();
    let pool = Pool::new(api, vec![scripted_function()]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // The API's limit does not apply to function URLs.
    let limit = Duration::ZERO;
    Gateway::start_with(listener, Template::parse(TEMPLATE).unwrap(), pool, limit).unwrap()
}

/// A client that has read the first chunk of an answer.
struct Client {
    head: Vec<String>,
    report: Value,
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Sends an instruction and reads the answer up to the end of its first chunk.
    async fn start(gateway: &Gateway, instruction: &Value) -> Self {
        let (mut reader, head) = ask(gateway, instruction).await;
        read_line(&mut reader).await;
        let report = serde_json::from_str(&read_line(&mut reader).await).unwrap();
        assert_eq!(read_line(&mut reader).await, "");
        Self {
            head,
            report,
            reader,
        }
    }

    async fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.reader.read_to_end(&mut rest).await;
        rest
    }
}

async fn ask(gateway: &Gateway, instruction: &Value) -> (BufReader<TcpStream>, Vec<String>) {
    let body = instruction.to_string();
    let length = body.len();
    let request = format!(
        "POST /orders/1/stream HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         origin: http://app\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let line = read_line(&mut reader).await;
        if line.is_empty() {
            return (reader, head);
        }
        head.push(line);
    }
}

async fn read_line(from: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    let read = tokio::time::timeout(TEST_TIMEOUT, from.read_line(&mut line));
    read.await.unwrap().unwrap();
    line.trim_end().to_owned()
}

#[tokio::test]
async fn concurrent_streams_come_from_separate_instances() {
    let gateway = gateway().await;
    let gates = [Gate::new("one"), Gate::new("two")];
    let [one, two] = gates.each_ref().map(|gate| json!({"gate": gate.0}));
    let one = Client::start(&gateway, &one).await;
    let two = Client::start(&gateway, &two).await;
    assert_ne!(one.report["pid"], two.report["pid"]);
    assert_eq!(one.report["path"], "/orders/1/stream");
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
    let pids = [one.report["pid"].clone(), two.report["pid"].clone()];
    for (client, gate) in [(one, &gates[0]), (two, &gates[1])] {
        gate.open();
        assert_eq!(client.rest().await, b"4\r\nlast\r\n0\r\n\r\n");
    }
    let again = Client::start(&gateway, &json!({})).await;
    assert!(
        pids.contains(&again.report["pid"]),
        "an idle instance is reused"
    );
}

#[tokio::test]
async fn stream_of_several_megabytes_arrives_complete() {
    let gateway = gateway().await;
    let instruction = json!({"do": "big", "chunks": 160});
    let client = Client::start(&gateway, &instruction).await;
    let chunked = client.rest().await;
    let (mut remaining, mut payload) = (chunked.as_slice(), Vec::new());
    // Each chunk is its length, a line end, its data and a line end; the last one is empty.
    while remaining != b"0\r\n\r\n" {
        let end = remaining.windows(2).position(|two| two == b"\r\n").unwrap();
        let length = std::str::from_utf8(&remaining[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        payload.extend_from_slice(&remaining[end + 2..][..length]);
        remaining = &remaining[end + 2 + length + 2..];
    }
    assert!(payload == vec![b'x'; 160 * 64 * 1024], "{}", payload.len());
}

#[tokio::test]
async fn function_runs_to_its_end_without_a_reader() {
    let instance = instance().await;
    let gate = Gate::new("away");
    let instruction = event(&json!({"do": "big", "chunks": 160, "gate": gate.0}));
    drop(
        instance
            .invoke_streaming(instruction, TEST_TIMEOUT)
            .await
            .unwrap(),
    );
    gate.open();
    // The instance takes the next event, so it has sent all ten megabytes although nobody read
    // them.
    let answer = instance.invoke(event(&json!({})), TEST_TIMEOUT).await;
    assert!(matches!(answer, Outcome::Success(_)), "{answer:?}");
}

#[tokio::test]
async fn instance_returns_to_the_pool_after_a_client_hangs_up() {
    let gateway = gateway().await;
    let (gate, finished) = (Gate::new("hangup"), Gate::new("finished"));
    let instruction = json!({"do": "big", "chunks": 160, "gate": gate.0, "finished": finished.0});
    let client = Client::start(&gateway, &instruction).await;
    let pid = client.report["pid"].clone();
    drop(client);
    let meanwhile = Client::start(&gateway, &json!({})).await;
    assert_ne!(
        meanwhile.report["pid"], pid,
        "the first instance is still busy"
    );
    gate.open();
    let last = async {
        while !finished.0.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, last).await.unwrap();
    let mut others = vec![meanwhile];
    while others.last().unwrap().report["pid"] != pid {
        let instruction = json!({"gate": "/nowhere"});
        assert!(others.len() < 9, "the instance does not return to the pool");
        others.push(Client::start(&gateway, &instruction).await);
    }
}

#[tokio::test]
async fn crash_in_mid_stream_breaks_off_the_answer() {
    let gateway = gateway().await;
    let gate = Gate::new("dies");
    let instruction = json!({"do": "crash", "gate": gate.0});
    let client = Client::start(&gateway, &instruction).await;
    let pid = client.report["pid"].clone();
    gate.open();
    assert_eq!(client.rest().await, b"", "the answer has no final chunk");
    let next = Client::start(&gateway, &json!({})).await;
    assert_ne!(next.report["pid"], pid);
    let (_, head) = ask(&gateway, &json!({"do": "fail"})).await;
    assert_eq!(head[0], "HTTP/1.1 502 Bad Gateway");
}
