//! Streaming an agent's response.

use std::time::{Duration, Instant};

use dev::runtime::Instance;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{Lab, run};
use uuid::Uuid;

use super::failures::HostSecrets;

/// A piece of the stream, and when it arrived.
type TimedPiece = (String, Duration);

/// Sends a message and collects the stream. `meanwhile` runs after each piece, with the number of pieces.
async fn stream_message(
    lab: &Lab,
    instance: &Instance,
    agent: Uuid,
    text: &str,
    meanwhile: impl AsyncFn(usize),
) -> (Value, Vec<TimedPiece>) {
    let message = json!({
        "jsonrpc": "2.0", "id": "a", "method": "message.send", "params": {"text": text},
    });
    let path = agent_path(agent, "/stream");
    let request = Request::new("POST", &path).key(&lab.api_key).json(&message);
    let began = Instant::now();
    let event = lab.world.event(&request);
    let streamed = instance
        .invoke_streaming(event, Duration::from_mins(1))
        .await;
    let mut streamed = streamed.expect("a stream");
    let mut pieces = Vec::new();
    while let Some(piece) = streamed.body.next().await {
        let piece = piece.expect("a piece");
        let text = String::from_utf8(piece.to_vec()).expect("a text");
        pieces.push((text, began.elapsed()));
        meanwhile(pieces.len()).await;
    }
    (streamed.prelude, pieces)
}

fn concat(pieces: &[TimedPiece]) -> String {
    pieces.iter().map(|(text, _)| text.as_str()).collect()
}

fn error_event(why: &str) -> String {
    let error = json!({
        "jsonrpc": "2.0", "id": "a", "error": {"code": -32000, "message": why}, "message": why,
    });
    format!("event: error\ndata: {error}\n\n")
}

#[test]
fn chunks_arrive_while_the_agent_speaks_and_its_end_is_an_error() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let instance = lab.world.function("agent-stream").start().await;
        let fault = json!({"environmentVars": {"SAMPLE_FAULT": "pausing:0.2"}});
        let agent = lab.agent(fault).await;
        let no_action = async |_| {};
        let (prelude, pieces) = stream_message(&lab, &instance, agent, "a b", no_action).await;
        assert_eq!(prelude["statusCode"], json!(200), "{prelude}");
        assert_eq!(concat(&pieces), error_event("Sandbox is not running"));

        lab.start(agent).await;
        let (prelude, pieces) = stream_message(&lab, &instance, agent, "a \"b\"", no_action).await;
        assert_eq!(prelude["statusCode"], json!(200), "{prelude}");
        let content_type = &prelude["headers"]["content-type"];
        assert_eq!(content_type, &json!("text/event-stream"), "{prelude}");
        let expected = [
            "event: connected\ndata: {\"id\":\"a\"}\n\n",
            "event: chunk\ndata: {\"text\":\"You \"}\n\n",
            "event: chunk\ndata: {\"text\":\"said: \"}\n\n",
            "event: chunk\ndata: {\"text\":\"a \"}\n\n",
            "event: chunk\ndata: {\"text\":\"\\\"b\\\"\"}\n\n",
            "event: done\ndata: {\"text\":\"You said: a \\\"b\\\"\"}\n\n",
        ];
        let texts: Vec<&str> = pieces.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, expected);
        // The agent pauses five times between the first and the last piece.
        let spread = pieces[5].1.saturating_sub(pieces[0].1);
        assert!(spread >= Duration::from_millis(900), "{pieces:?}");

        // The container is killed while the agent speaks.
        let engine = &lab.hosts[0].engine;
        let kill = async |piece| {
            if piece == 2 {
                engine
                    .kill(&format!("milady-{agent}"))
                    .await
                    .expect("killed");
            }
        };
        let (_, pieces) = stream_message(&lab, &instance, agent, "a b", kill).await;
        let streamed_text = concat(&pieces);
        let error = error_event("Sandbox bridge is unreachable");
        assert!(
            streamed_text.ends_with(&format!("\n\n{error}")),
            "{streamed_text}"
        );
        assert!(
            streamed_text.starts_with(expected[0]) && !streamed_text.contains("event: done"),
            "{streamed_text}"
        );

        // The container does not run any more.
        let (_, pieces) = stream_message(&lab, &instance, agent, "a b", no_action).await;
        assert_eq!(concat(&pieces), error);
        let response = lab.bridge(agent, "status.get", json!({})).await;
        let message = &response.json()["error"]["message"];
        assert_eq!(message, &json!("Sandbox bridge is unreachable"));

        instance.kill().await;
        let secrets = HostSecrets::of(&lab);
        for line in instance.logs() {
            secrets.assert_absent_from(&line);
        }
    });
}
