//! An agent's answer while it is being given.

use std::time::{Duration, Instant};

use dev::runtime::Instance;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{Lab, run};
use uuid::Uuid;

use super::bad::Canary;

/// The piece, and when it came.
type Heard = (String, Duration);

/// What comes of saying this to an agent; `meanwhile` is done as soon as something has.
async fn heard(
    lab: &Lab,
    instance: &Instance,
    agent: Uuid,
    text: &str,
    meanwhile: impl AsyncFn(usize),
) -> (Value, Vec<Heard>) {
    let message = json!({
        "jsonrpc": "2.0", "id": "a", "method": "message.send", "params": {"text": text},
    });
    let path = agent_path(agent, "/stream");
    let request = Request::new("POST", &path).key(&lab.key).json(&message);
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

fn whole(pieces: &[Heard]) -> String {
    pieces.iter().map(|(text, _)| text.as_str()).collect()
}

fn refused(why: &str) -> String {
    let error = json!({"jsonrpc": "2.0", "id": "a", "error": {"code": -32000, "message": why}});
    format!("event: error\ndata: {error}\n\n")
}

#[test]
fn what_an_agent_says_arrives_while_it_speaks_and_its_end_is_an_error() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let instance = lab.world.function("agent-stream").start().await;
        let fault = json!({"environmentVars": {"SAMPLE_FAULT": "pausing:0.2"}});
        let agent = lab.agent(fault).await;
        let nothing = async |_| {};
        let (prelude, pieces) = heard(&lab, &instance, agent, "a b", nothing).await;
        assert_eq!(prelude["statusCode"], json!(200), "{prelude}");
        assert_eq!(whole(&pieces), refused("Sandbox is not running"));

        lab.start(agent).await;
        let (prelude, pieces) = heard(&lab, &instance, agent, "a \"b\"", nothing).await;
        assert_eq!(prelude["statusCode"], json!(200), "{prelude}");
        let kind = &prelude["headers"]["content-type"];
        assert_eq!(kind, &json!("text/event-stream"), "{prelude}");
        let expected = [
            "event: connected\ndata: {\"id\":\"a\"}\n\n",
            "event: chunk\ndata: {\"chunk\":\"You \"}\n\n",
            "event: chunk\ndata: {\"chunk\":\"said: \"}\n\n",
            "event: chunk\ndata: {\"chunk\":\"a \"}\n\n",
            "event: chunk\ndata: {\"chunk\":\"\\\"b\\\"\"}\n\n",
            "event: done\ndata: {\"text\":\"You said: a \\\"b\\\"\"}\n\n",
        ];
        let texts: Vec<&str> = pieces.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, expected);
        // Five pauses lie between the first piece and the last.
        let apart = pieces[5].1.saturating_sub(pieces[0].1);
        assert!(apart >= Duration::from_millis(900), "{pieces:?}");

        // Its container ends while it speaks.
        let engine = &lab.hosts[0].engine;
        let kill = async |piece| {
            if piece == 2 {
                engine
                    .kill(&format!("milady-{agent}"))
                    .await
                    .expect("killed");
            }
        };
        let (_, pieces) = heard(&lab, &instance, agent, "a b", kill).await;
        let said = whole(&pieces);
        let error = refused("Sandbox bridge is unreachable");
        assert!(said.ends_with(&format!("\n\n{error}")), "{said}");
        assert!(
            said.starts_with(expected[0]) && !said.contains("event: done"),
            "{said}"
        );

        // Nobody is there any more.
        let (_, pieces) = heard(&lab, &instance, agent, "a b", nothing).await;
        assert_eq!(whole(&pieces), error);
        let answer = lab.bridge(agent, "status.get", json!({})).await;
        let message = &answer.json()["error"]["message"];
        assert_eq!(message, &json!("Sandbox bridge is unreachable"));

        instance.kill().await;
        let canary = Canary::of(&lab);
        for line in instance.logs() {
            canary.is_silent_in(&line);
        }
    });
}
