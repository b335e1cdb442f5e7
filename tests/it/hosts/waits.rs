//! Who says nothing is waited for, for so long, and then that is said. All of it at the same time.

use std::time::{Duration, Instant};

use dev::host::Silent;
use futures_util::StreamExt;
use serde_json::json;
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{Lab, run};

use super::bad::{Canary, asked, run_in, says, worker};

#[test]
fn who_says_nothing_is_not_waited_for_for_ever() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        tokio::join!(silent_host(), mute_agent(&lab), pausing_agent(&lab));
    });
}

/// A host that takes connections and never says a word. Its lab is its own: no agent may come to it.
async fn silent_host() {
    let Some(lab) = Lab::new(1).await else {
        return;
    };
    let silent = Silent::start().expect("a port");
    let lead = async |port: u16| {
        sqlx::query("UPDATE docker_nodes SET ssh_port = $1")
            .bind(i32::from(port))
            .execute(&lab.world.pool)
            .await
            .expect("a node");
    };
    lead(silent.port()).await;
    let agent = lab.agent(json!({})).await;
    let job = asked(&lab, agent).await;
    let began = Instant::now();
    assert_eq!(run_in(&lab, &worker(&lab), job).await, "again");
    let took = began.elapsed();
    let due = Duration::from_secs(10)..Duration::from_secs(20);
    assert!(due.contains(&took), "{took:?}");
    says(&lab, agent, "The host did not answer in time").await;
    lab.assert_nothing_runs(agent, "a silent host").await;
    lead(lab.hosts[0].sshd.port()).await;
    super::bad::works(&lab, agent, job).await;
}

/// An agent that takes requests and never answers.
async fn mute_agent(lab: &Lab) {
    let fault = json!({"environmentVars": {"SAMPLE_FAULT": "mute"}});
    let agent = lab.running(fault).await;
    let began = Instant::now();
    let answer = lab.bridge(agent, "status.get", json!({})).await;
    let took = began.elapsed();
    assert_eq!(answer.status(), 200, "{answer:?}");
    let error = json!({"code": -32000, "message": "Agent did not answer in time"});
    assert_eq!(
        answer.json(),
        json!({"jsonrpc": "2.0", "id": 1, "error": error})
    );
    let due = Duration::from_secs(25)..Duration::from_secs(28);
    assert!(due.contains(&took), "{took:?}");
    let canary = Canary::of(lab);
    for line in lab.world.logs("agent-bridge").await {
        canary.is_silent_in(&line);
    }
}

/// An agent that thinks between its words.
async fn pausing_agent(lab: &Lab) {
    let fault = json!({"environmentVars": {"SAMPLE_FAULT": "pausing:20"}});
    let agent = lab.running(fault).await;
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "message.send", "params": {"text": "x"},
    });
    let path = agent_path(agent, "/stream");
    let request = Request::new("POST", &path).key(&lab.key).json(&message);
    let event = lab.world.event(&request);
    let instance = lab.world.function("agent-stream").start().await;
    let began = Instant::now();
    let streamed = instance
        .invoke_streaming(event, Duration::from_mins(1))
        .await;
    let mut body = streamed.expect("a stream").body;
    let mut seen = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.expect("a piece");
        let text = String::from_utf8_lossy(&piece).into_owned();
        let is_chunk = text.starts_with("event: chunk");
        seen.push((text, began.elapsed()));
        if is_chunk {
            break;
        }
    }
    let texts: Vec<&str> = seen.iter().map(|(text, _)| text.as_str()).collect();
    let connected = "event: connected\ndata: {\"id\":1}\n\n";
    let chunk = "event: chunk\ndata: {\"chunk\":\"You \"}\n\n";
    assert_eq!(texts, [connected, ": still here\n\n", chunk]);
    let comment = seen[1].1;
    let due = Duration::from_secs(15)..Duration::from_secs(20);
    assert!(due.contains(&comment), "{comment:?}");
    instance.kill().await;
}
