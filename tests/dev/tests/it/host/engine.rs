//! The Docker Engine and the sample agent in it.

use std::time::{Duration, Instant};

use dev::host::{Container, Engine, image};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::agent::Agent;
use super::footprint::Footprint;
use super::{directory, is_missing, until};
use crate::http::send;

async fn find_container(engine: &Engine, name: &str) -> Option<Container> {
    let containers = engine.containers().await.unwrap();
    containers
        .into_iter()
        .find(|container| container.name == name)
}

async fn state(engine: &Engine, name: &str) -> String {
    find_container(engine, name).await.unwrap().state
}

#[tokio::test]
async fn two_engines_run_agents_and_leave_nothing_behind() {
    if is_missing(Engine::availability()) {
        return;
    }
    let (one, two) = tokio::try_join!(Engine::start("one"), Engine::start("two")).unwrap();
    let directories = [directory(&one), directory(&two)];
    assert_ne!(directories[0], directories[1]);
    for engine in [&one, &two] {
        image::import(engine).await.unwrap();
    }
    let name = "AGENT_NAME=it's \"$(id)\" `id`\n\\ ü";
    let environment = [name];
    let (first, second) = tokio::join!(
        Agent::start(&one, "agent", &environment),
        Agent::start(&two, "agent", &["AGENT_NAME=b", "X="]),
    );
    let (first, second) = tokio::join!(first.wait_until_ready(&one), second.wait_until_ready(&two));
    assert_eq!((first.health().await, second.health().await), (200, 200));
    let named = first.bridge_result("name.get", json!({})).await;
    assert_eq!(named["name"], name["AGENT_NAME=".len()..]);
    let value = second.bridge_result("env.get", json!({"name": "X"})).await;
    assert_eq!(value, json!({"value": ""}));
    for engine in [&one, &two] {
        let container = find_container(engine, "agent").await.unwrap();
        assert_eq!(container.labels["agent"], "agent");
        assert_eq!(container.image, image::CHECKED);
        until("Docker calls it healthy", async || {
            let status = find_container(engine, "agent").await?.status;
            status.contains("(healthy)").then_some(())
        })
        .await;
    }
    let [of_one, of_two] = directories.map(|directory| Footprint::of(&directory));
    for footprint in [&of_one, &of_two] {
        assert_eq!(footprint.bridges.len(), 1, "{footprint:?}");
        // The shells, dockerd, containerd, a proxy per port, a shim, the agent.
        assert!(footprint.processes.len() >= 7, "{footprint:?}");
        assert_eq!(footprint.remaining().len(), {
            footprint.directories.len() + footprint.processes.len() + footprint.bridges.len()
        });
    }
    drop(one);
    assert_eq!(of_one.remaining(), [""; 0]);
    assert_eq!(second.health().await, 200, "the other engine goes on");
    drop(two);
    assert_eq!(of_two.remaining(), [""; 0]);
}

#[tokio::test]
async fn agent_keeps_its_memories_across_every_kind_of_restart() {
    if is_missing(Engine::availability()) {
        return;
    }
    let engine = Engine::start("memory").await.unwrap();
    image::import(&engine).await.unwrap();
    let agent = Agent::start(&engine, "mind", &[])
        .await
        .wait_until_ready(&engine)
        .await;
    let reply = agent.bridge_result("message.send", json!({"text": "hello you"}));
    assert_eq!(reply.await["text"], "You said: hello you");
    let started = |container: Value| container["State"]["StartedAt"].clone();
    let inspect = async || engine.call("GET", "/containers/mind/json", None).await;
    let before = started(inspect().await.unwrap());

    // Docker goes down while the agent runs, and comes back.
    engine.stop().unwrap();
    assert!(engine.containers().await.is_err());
    until("its port is closed", async || {
        TcpStream::connect(agent.web).await.is_err().then_some(())
    })
    .await;
    engine.restart().await.unwrap();
    assert_eq!(
        started(inspect().await.unwrap()),
        before,
        "the container ran on"
    );
    let status = agent.bridge_result("status.get", json!({})).await;
    assert_eq!(status["memories"], 2);

    engine.pause("mind").await.unwrap();
    assert_eq!(state(&engine, "mind").await, "paused");
    engine.unpause("mind").await.unwrap();
    engine.kill("mind").await.unwrap();
    assert_eq!(state(&engine, "mind").await, "exited");
    engine.start_container("mind").await.unwrap();
    let agent = agent.wait_until_ready(&engine).await;
    let stopped_at = Instant::now();
    let stopped = engine.call("POST", "/containers/mind/stop?t=10", None);
    stopped.await.unwrap();
    assert!(
        stopped_at.elapsed() < Duration::from_secs(5),
        "the agent handles SIGTERM"
    );
    let ended = inspect().await.unwrap();
    assert_eq!(ended["State"]["ExitCode"], 0);

    // A new container with the old volume has the agent's state.
    engine.remove("mind").await.unwrap();
    assert_eq!(engine.containers().await.unwrap(), []);
    let delete = engine.call("DELETE", "/networks/net-mind", None);
    delete.await.unwrap();
    drop(agent);
    let agent = Agent::start(&engine, "mind", &[])
        .await
        .wait_until_ready(&engine)
        .await;
    let snapshot = agent.snapshot().await;
    assert_eq!(snapshot["memories"][0]["text"], "hello you");
    assert_eq!(snapshot["memories"][1]["role"], "assistant");
    let other = json!({"memories": [], "config": {"a": 1}, "workspaceFiles": {"b": "c"}});
    let body = other.to_string();
    let restore = send(agent.bridge, "POST /api/restore", &[], body.as_bytes());
    assert_eq!(restore.await.status, 200);
    assert_eq!(agent.snapshot().await, other);
}

#[tokio::test]
async fn agent_shows_the_fault_of_its_environment() {
    if is_missing(Engine::availability()) {
        return;
    }
    let engine = Engine::start("faults").await.unwrap();
    image::import(&engine).await.unwrap();
    let agent = Agent::start(&engine, "ends", &["SAMPLE_FAULT=exit"]).await;
    until("the agent has ended", async || {
        let status = find_container(&engine, &agent.name).await?.status;
        status.starts_with("Exited (3)").then_some(())
    })
    .await;
    let ready = async |name: &str, fault: &str| {
        let agent = Agent::start(&engine, name, &[fault]).await;
        agent.wait_until_ready(&engine).await
    };
    let unhealthy = ready("ill", "SAMPLE_FAULT=unhealthy").await;
    assert_eq!(unhealthy.health().await, 503);
    until("Docker calls it unhealthy", async || {
        let status = find_container(&engine, "ill").await?.status;
        status.contains("(unhealthy)").then_some(())
    })
    .await;
    let garbage = ready("garbage", "SAMPLE_FAULT=garbage").await;
    assert_eq!(garbage.health().await, 200);
    assert_eq!(garbage.snapshot().await, Value::Null, "not JSON");
    let big = ready("big", "SAMPLE_FAULT=big:3").await;
    let files = &big.snapshot().await["workspaceFiles"];
    assert_eq!(files["big"].as_str().unwrap().len(), 3 << 20);
    let silent = ready("silent", "SAMPLE_FAULT=silent").await;
    let answer = tokio::time::timeout(Duration::from_millis(300), silent.health());
    assert!(answer.await.is_err());
    let slow = ready("slow", "SAMPLE_FAULT=slow:0.3").await;
    let sent_at = Instant::now();
    assert_eq!(slow.health().await, 200);
    assert!(sent_at.elapsed() >= Duration::from_millis(300));
}
