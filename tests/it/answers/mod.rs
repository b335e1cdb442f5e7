//! Engines, SSH servers and agents as they really answer. `refusals` and `lists` read what Docker 20.10 to 29 and
//! Podman 5 say, `engines` replays what each of them answers as a whole, `starts` what a start makes of it, `deaths` what a
//! refresh run makes of containers that die. The answers are written from the documentation and the source of each; every
//! case names its origin. `tests/README.md` counts the cases.

mod deaths;
mod engines;
mod lists;
mod refusals;
mod ssh;
mod starts;

use std::sync::Arc;

use dev::sim::{Key, Script, Sim, SimHost};
use shared::domain::address::AddressPolicy;
use shared::hosts::{DOCKER_SOCKET, Engine, Fingerprint, HostClient, SshKey, Target};

/// A simulated host with this script, and a client that may log in to it.
fn start(script: Script) -> (Sim, HostClient) {
    let key = Key::random();
    let text = key.to_openssh().expect("a key");
    let sim = Sim::start(&key, [script]).expect("a simulated host");
    let client = HostClient::new(SshKey::parse(&text).expect("a key"), AddressPolicy::Any);
    (sim, client)
}

fn target(host: &SimHost) -> Target {
    Target {
        node_id: host.name().to_owned(),
        hostname: "127.0.0.1".to_owned(),
        port: host.port(),
        user: "root".to_owned(),
        fingerprint: Fingerprint::parse(host.fingerprint()),
        key_type: None,
        docker_socket: DOCKER_SOCKET.to_owned(),
    }
}

async fn engine(client: &HostClient, host: &SimHost) -> Engine {
    let connection = client.connect(&target(host)).await.expect("a connection");
    Engine::connect(Arc::clone(&connection), DOCKER_SOCKET)
        .await
        .expect("an engine")
}
