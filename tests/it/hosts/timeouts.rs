//! Silent hosts and agents run into timeouts. All cases wait at the same time.

use std::time::{Duration, Instant};

use dev::host::SilentPort;
use futures_util::StreamExt;
use serde_json::json;
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{Lab, run};

use super::failures::{HostSecrets, assert_job_error, request_start, run_job, worker};

#[test]
fn silent_hosts_and_agents_time_out() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        tokio::join!(silent_host(), mute_agent(&lab), pausing_agent(&lab));
    });
}

/// A host that accepts connections and sends nothing. It has a lab of its own, so that no other agent is placed
/// on it.
async fn silent_host() {
    let Some(lab) = Lab::new(1).await else {
        return;
    };
    let silent = SilentPort::start().expect("a port");
    let point_to = async |port: u16| {
        sqlx::query("UPDATE docker_nodes SET ssh_port = $1")
            .bind(i32::from(port))
            .execute(&lab.world.pool)
            .await
            .expect("a node");
    };
    point_to(silent.port()).await;
    let agent = lab.agent(json!({})).await;
    let job = request_start(&lab, agent).await;
    let began = Instant::now();
    assert_eq!(run_job(&lab, &worker(&lab), job).await, "again");
    let elapsed = began.elapsed();
    let expected = Duration::from_secs(10)..Duration::from_secs(20);
    assert!(expected.contains(&elapsed), "{elapsed:?}");
    assert_job_error(&lab, agent, "The host did not answer in time").await;
    lab.assert_nothing_runs(agent, "a silent host").await;
    point_to(lab.hosts[0].sshd.port()).await;
    super::failures::assert_retry_succeeds(&lab, agent, job).await;
}

/// An agent that accepts requests and never answers.
async fn mute_agent(lab: &Lab) {
    let fault = json!({"environmentVars": {"SAMPLE_FAULT": "mute"}});
    let agent = lab.running_agent(fault).await;
    let began = Instant::now();
    let response = lab.bridge(agent, "status.get", json!({})).await;
    let elapsed = began.elapsed();
    assert_eq!(response.status(), 200, "{response:?}");
    let error = json!({"code": -32000, "message": "Agent did not answer in time"});
    assert_eq!(
        response.json(),
        json!({"jsonrpc": "2.0", "id": 1, "error": error})
    );
    let expected = Duration::from_secs(25)..Duration::from_secs(28);
    assert!(expected.contains(&elapsed), "{elapsed:?}");
    let secrets = HostSecrets::of(lab);
    for line in lab.world.logs("agent-bridge").await {
        secrets.assert_absent_from(&line);
    }
}

/// An agent that pauses between its words: the stream keeps the connection alive.
async fn pausing_agent(lab: &Lab) {
    let fault = json!({"environmentVars": {"SAMPLE_FAULT": "pausing:20"}});
    let agent = lab.running_agent(fault).await;
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "message.send", "params": {"text": "x"},
    });
    let path = agent_path(agent, "/stream");
    let request = Request::new("POST", &path).key(&lab.api_key).json(&message);
    let event = lab.world.event(&request);
    let instance = lab.world.function("agent-stream").start().await;
    let began = Instant::now();
    let streamed = instance
        .invoke_streaming(event, Duration::from_mins(1))
        .await;
    let mut body = streamed.expect("a stream").body;
    let mut pieces = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.expect("a piece");
        let text = String::from_utf8_lossy(&piece).into_owned();
        let is_chunk = text.starts_with("event: chunk");
        pieces.push((text, began.elapsed()));
        if is_chunk {
            break;
        }
    }
    let texts: Vec<&str> = pieces.iter().map(|(text, _)| text.as_str()).collect();
    let connected = "event: connected\ndata: {\"id\":1}\n\n";
    let chunk = "event: chunk\ndata: {\"text\":\"You \"}\n\n";
    assert_eq!(texts, [connected, ": still here\n\n", chunk]);
    let comment = pieces[1].1;
    let expected = Duration::from_secs(15)..Duration::from_secs(20);
    assert!(expected.contains(&comment), "{comment:?}");
    instance.kill().await;
}
