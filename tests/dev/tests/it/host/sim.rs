//! Compares the answers of simulated engines with those of a real one.

use std::process::{Command, Stdio};

use dev::host::{Engine, Sshd, image};
use dev::sim::{Container, Key, Script, Sim, SimHost};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Running, free_port, is_missing, until};
use crate::http::send;

/// Reports what a simulated answer has and the real one lacks or has with another JSON type.
/// Compares the first elements of lists, and ignores labels, which differ by design.
fn compare(path: &str, sim: &Value, real: &Value, differences: &mut Vec<String>) {
    match (sim, real) {
        (Value::Object(_), Value::Object(_)) if path.ends_with("/Labels") => {}
        (Value::Object(sim), Value::Object(real)) => {
            for (name, value) in sim {
                let path = format!("{path}/{name}");
                match real.get(name) {
                    Some(real) => compare(&path, value, real, differences),
                    None => differences.push(format!("{path} is not in the real answer")),
                }
            }
        }
        (Value::Array(sim), Value::Array(real)) => {
            if let (Some(sim), Some(real)) = (sim.first(), real.first()) {
                compare(&format!("{path}[]"), sim, real, differences);
            }
        }
        _ => {
            let [sim, real] = [sim, real].map(|value| match value {
                Value::Null => "null",
                Value::Bool(_) => "a boolean",
                Value::Number(_) => "a number",
                Value::String(_) => "a string",
                Value::Array(_) => "a list",
                Value::Object(_) => "an object",
            });
            if sim != real {
                differences.push(format!("{path} is {sim}, and {real} in the real answer"));
            }
        }
    }
}

#[test]
fn compare_reports_missing_fields_and_different_types() {
    let mut differences = Vec::new();
    let sim = json!([{"Id": "a", "Created": 1, "Labels": {"a": 1}, "Mounts": [{"Name": "x"}], "More": {}}]);
    let real =
        json!([{"Id": "b", "Created": "1", "Labels": {"b": ""}, "Mounts": [{}], "More": []}]);
    compare("/list", &sim, &real, &mut differences);
    differences.sort();
    let expected = [
        "/list[]/Created is a number, and a string in the real answer",
        "/list[]/More is an object, and a list in the real answer",
        "/list[]/Mounts[]/Name is not in the real answer",
    ];
    assert_eq!(differences, expected);
}

/// Forwards a local port to the engine of a simulated host with the ssh program.
fn forward(host: &SimHost, key: &std::path::Path) -> (u16, Running) {
    let port = free_port();
    let client = Command::new("ssh")
        .args(["-F", "/dev/null", "-N", "-o", "BatchMode=yes", "-o"])
        .args([
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ])
        .args(["-o", "IdentitiesOnly=yes", "-i"])
        .arg(key)
        .args(["-p", &host.port().to_string(), "-L"])
        .arg(format!("127.0.0.1:{port}:/var/run/docker.sock"))
        .arg("root@127.0.0.1")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (port, Running(client))
}

#[tokio::test]
async fn simulated_engine_answers_in_the_format_of_a_real_one() {
    if is_missing(Engine::availability().and(Sshd::availability())) {
        return;
    }
    let engine = Engine::start("form").await.unwrap();
    image::import(&engine).await.unwrap();
    let network = json!({"Name": "milady-agents", "Driver": "bridge"});
    engine
        .call("POST", "/networks/create", Some(&network))
        .await
        .unwrap();
    let agent = Uuid::from_u128(7);
    let name = format!("milady-{agent}");
    let body = json!({
        "Image": image::CHECKED,
        "Labels": {"milady.agent": agent},
        "ExposedPorts": {"2138/tcp": {}},
        "HostConfig": {
            "NetworkMode": "milady-agents",
            "PortBindings": {"2138/tcp": [{"HostIp": "127.0.0.1", "HostPort": free_port().to_string()}]},
            "Mounts": [{"Type": "volume", "Source": name, "Target": "/app/data"}],
        },
    });
    engine.run(&name, &body).await.unwrap();

    let directory = std::env::temp_dir().join(format!("sim-form-{}", std::process::id()));
    let key = Key::find_or_create(&directory.join("key")).unwrap();
    let container = Container::of_agent(agent, Uuid::nil())
        .image(image::CHECKED)
        .agent(20_000, dev::sim::Health::Healthy)
        .state("running", "Up 2 seconds (health: starting)");
    let sim = Sim::start(&key, [Script::new("form").with_container(container)]).unwrap();
    let (port, _client) = forward(&sim.hosts()[0], &directory.join("key"));
    let address = ([127, 0, 0, 1], port).into();
    until("the forwarded port", async || {
        let connected = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
        connected.is_ok().then_some(())
    })
    .await;

    let mut differences = Vec::new();
    for path in [
        "/version".to_owned(),
        "/containers/json?all=true".to_owned(),
        format!("/containers/{name}/json"),
        format!("/images/{}/json", image::CHECKED),
    ] {
        let real = engine.call("GET", &path, None).await.unwrap();
        let sim = send(address, &format!("GET /v1.41{path}"), &[], b"").await;
        assert_eq!(sim.status, 200, "{path}");
        assert!(!sim.body.is_null(), "{path}");
        compare(&path, &sim.body, &real, &mut differences);
        let empty = [&sim.body, &real].map(|list| list.as_array().is_some_and(Vec::is_empty));
        assert_eq!(empty, [false, false], "{path}");
    }
    assert_eq!(differences, [""; 0]);
    let real = engine
        .call("GET", "/containers/nobody/json", None)
        .await
        .unwrap_err();
    let sim = send(address, "GET /containers/nobody/json", &[], b"").await;
    assert_eq!(sim.status, 404);
    let message = sim.body["message"].as_str().unwrap();
    assert!(real.to_string().ends_with(message), "{real:#} {message}");
    std::fs::remove_dir_all(directory).unwrap();
}
