//! What a host keeps from one start to the next.

use std::fs;
use std::path::PathBuf;

use dev::host::{Engine, Options, Sshd, image, remove_engine_data};
use serde_json::json;

use super::agent::Agent;
use super::footprint::Footprint;
use super::{directory, is_missing, until};

/// An empty directory for one test.
pub fn temporary_directory(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("milady-kept-{}-{name}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory
}

#[tokio::test]
async fn persistent_engine_restarts_the_containers_that_should_run() {
    if is_missing(Engine::availability()) {
        return;
    }
    let data_directory = temporary_directory("engine");
    let engine = Engine::start_persistent("kept", &data_directory)
        .await
        .unwrap();
    image::import(&engine).await.unwrap();
    let agent = Agent::start(&engine, "mind", &[]).await;
    let agent = agent.wait_until_ready(&engine).await;
    Agent::start(&engine, "once", &[]).await;
    let policy = json!({"RestartPolicy": {"Name": "unless-stopped"}});
    let update = engine.call("POST", "/containers/mind/update", Some(&policy));
    update.await.unwrap();
    let reply = agent.bridge_result("message.send", json!({"text": "hello you"}));
    assert_eq!(reply.await["text"], "You said: hello you");
    let socket = engine.socket().to_owned();
    let footprint = Footprint::of(&directory(&engine));
    drop(engine);
    assert_eq!(
        footprint.remaining(),
        [""; 0],
        "everything ends with the engine"
    );

    let engine = Engine::start_persistent("kept", &data_directory)
        .await
        .unwrap();
    assert_eq!(engine.socket(), socket);
    until("the agent runs again", async || {
        let containers = engine.containers().await.unwrap();
        let states = containers.iter().map(|container| container.state.as_str());
        states.eq(["running", "exited"]).then_some(())
    })
    .await;
    let answers = until("the agent answers again", async || {
        let connected = tokio::net::TcpStream::connect(agent.bridge).await;
        connected.ok()?;
        let log = engine.logs("mind").await.unwrap();
        // The agent logs this once per start.
        (log.matches("is ready").count() == 2).then_some(())
    });
    answers.await;
    let status = agent.bridge_result("status.get", json!({})).await;
    assert_eq!(status["memories"], 2, "the agent kept its memories");

    drop(engine);
    remove_engine_data(&data_directory).await.unwrap();
    assert!(!data_directory.exists());
    remove_engine_data(&data_directory).await.unwrap();
}

#[tokio::test]
async fn sample_agent_is_imported_once() {
    if is_missing(Engine::availability()) {
        return;
    }
    let engine = Engine::start("provided").await.unwrap();
    let mut images = Vec::new();
    for _ in 0..2 {
        image::import_if_outdated(engine.socket()).await.unwrap();
        let path = format!("/images/{}/json", image::SAMPLE);
        images.push(engine.call("GET", &path, None).await.unwrap());
    }
    assert_eq!(images[0]["Id"], images[1]["Id"]);
}

#[tokio::test]
async fn server_with_kept_keys_is_the_same_host_at_the_next_start() {
    if is_missing(Sshd::availability()) {
        return;
    }
    let keys = temporary_directory("keys");
    let options = Options {
        keys: Some(keys.clone()),
        ..Options::default()
    };
    let mut identities = Vec::new();
    for _ in 0..2 {
        let sshd = Sshd::start(&options).await.unwrap();
        let key = fs::read_to_string(sshd.private_key_path()).unwrap();
        identities.push((sshd.fingerprint(), key));
    }
    assert_eq!(identities[0], identities[1]);
    let other = Sshd::start(&Options::default()).await.unwrap();
    assert_ne!(other.fingerprint(), identities[0].0);
    fs::remove_dir_all(keys).unwrap();
}
