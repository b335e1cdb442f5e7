//! What a host keeps from one start to the next.

use std::fs;
use std::path::PathBuf;

use dev::host::{Engine, Options, Sshd, image, remove};
use serde_json::json;

use crate::agent::Agent;
use crate::traces::Traces;
use crate::{directory, is_missing, until};

/// A directory of this test's own, empty.
fn place(name: &str) -> PathBuf {
    let place = std::env::temp_dir().join(format!("milady-kept-{}-{name}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    place
}

#[tokio::test]
async fn an_engine_finds_its_containers_again_and_those_that_should_run_do() {
    if is_missing(Engine::availability()) {
        return;
    }
    let kept = place("engine");
    let engine = Engine::start_keeping("kept", &kept).await.unwrap();
    image::import(&engine).await.unwrap();
    let agent = Agent::start(&engine, "mind", &[]).await;
    let agent = agent.ready(&engine).await;
    Agent::start(&engine, "once", &[]).await;
    let policy = json!({"RestartPolicy": {"Name": "unless-stopped"}});
    let update = engine.call("POST", "/containers/mind/update", Some(&policy));
    update.await.unwrap();
    let said = agent.ask("message.send", json!({"text": "hello you"}));
    assert_eq!(said.await["text"], "You said: hello you");
    let socket = engine.socket().to_owned();
    let traces = Traces::of(&directory(&engine));
    drop(engine);
    assert_eq!(traces.left(), [""; 0], "it all ends with the engine");

    let engine = Engine::start_keeping("kept", &kept).await.unwrap();
    assert_eq!(engine.socket(), socket);
    until("the agent runs again", async || {
        let containers = engine.containers().await.unwrap();
        let states = containers.iter().map(|found| found.state.as_str());
        states.eq(["running", "exited"]).then_some(())
    })
    .await;
    let memories = until("the agent answers again", async || {
        let connected = tokio::net::TcpStream::connect(agent.bridge).await;
        connected.ok()?;
        let log = engine.logs("mind").await.unwrap();
        // Once for each start.
        (log.matches("is ready").count() == 2).then_some(())
    });
    memories.await;
    let status = agent.ask("status.get", json!({})).await;
    assert_eq!(status["memories"], 2, "it remembers");

    drop(engine);
    remove(&kept).await.unwrap();
    assert!(!kept.exists());
    remove(&kept).await.unwrap();
}

#[tokio::test]
async fn an_engine_is_given_the_sample_agent_once() {
    if is_missing(Engine::availability()) {
        return;
    }
    let engine = Engine::start("provided").await.unwrap();
    let mut found = Vec::new();
    for _ in 0..2 {
        image::provide(engine.socket()).await.unwrap();
        let path = format!("/images/{}/json", image::SAMPLE);
        found.push(engine.call("GET", &path, None).await.unwrap());
    }
    assert_eq!(found[0]["Id"], found[1]["Id"]);
}

#[tokio::test]
async fn a_server_with_kept_keys_is_the_same_host_the_next_time() {
    if is_missing(Sshd::availability()) {
        return;
    }
    let keys = place("keys");
    let options = Options {
        keys: Some(keys.clone()),
        ..Options::default()
    };
    let mut seen = Vec::new();
    for _ in 0..2 {
        let sshd = Sshd::start(&options).await.unwrap();
        let key = fs::read_to_string(sshd.private_key_path()).unwrap();
        seen.push((sshd.fingerprint(), key));
    }
    assert_eq!(seen[0], seen[1]);
    let other = Sshd::start(&Options::default()).await.unwrap();
    assert_ne!(other.fingerprint(), seen[0].0);
    fs::remove_dir_all(keys).unwrap();
}
