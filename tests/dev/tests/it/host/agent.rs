//! Runs the sample agent in a container.

use std::net::{Ipv4Addr, SocketAddr};

use dev::host::{Engine, image};
use serde_json::{Value, json};

use super::{free_port, until};
use crate::http::send;

/// An agent in a container, set up as on a host.
pub struct Agent {
    /// The container's name.
    pub name: String,
    /// The address of its web port.
    pub web: SocketAddr,
    /// The address of its bridge port.
    pub bridge: SocketAddr,
}

impl Agent {
    /// Starts an agent without waiting until it is ready.
    pub async fn start(engine: &Engine, name: &str, environment: &[&str]) -> Self {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (web, bridge) = (address(free_port()), address(free_port()));
        let binding = |port: SocketAddr| json!([{"HostIp": "127.0.0.1", "HostPort": port.port().to_string()}]);
        let network = json!({
            "Name": format!("net-{name}"),
            "Options": {"com.docker.network.bridge.enable_icc": "false"},
        });
        let network = engine.call("POST", "/networks/create", Some(&network));
        network.await.unwrap();
        let body = json!({
            "Image": image::CHECKED,
            "Env": environment,
            "Labels": {"agent": name},
            "ExposedPorts": {"2138/tcp": {}, "31337/tcp": {}},
            "HostConfig": {
                "NetworkMode": format!("net-{name}"),
                "PortBindings": {"2138/tcp": binding(web), "31337/tcp": binding(bridge)},
                "Mounts": [{"Type": "volume", "Source": format!("v-{name}"), "Target": "/app/data"}],
                "Memory": 268_435_456, "PidsLimit": 64, "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges"],
                "RestartPolicy": {"Name": "no"},
            },
        });
        engine.run(name, &body).await.unwrap();
        Self {
            name: name.to_owned(),
            web,
            bridge,
        }
    }

    pub async fn wait_until_ready(self, engine: &Engine) -> Self {
        until("an agent is ready", async || {
            let log = engine.logs(&self.name).await.unwrap();
            log.contains("is ready").then_some(())
        })
        .await;
        self
    }

    pub async fn bridge_result(&self, method: &str, params: Value) -> Value {
        let call = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let body = call.to_string();
        let answer = send(self.bridge, "POST /bridge", &[], body.as_bytes()).await;
        assert_eq!((answer.status, &answer.body["id"]), (200, &json!(7)));
        let kind = "content-type: application/json".to_owned();
        assert!(answer.headers.contains(&kind));
        answer.body["result"].clone()
    }

    pub async fn health(&self) -> u16 {
        send(self.web, "GET /health", &[], b"").await.status
    }

    pub async fn snapshot(&self) -> Value {
        send(self.bridge, "POST /api/snapshot", &[], b"").await.body
    }
}
