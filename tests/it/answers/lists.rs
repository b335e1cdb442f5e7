//! What engines say of containers, in all the versions that hosts have.

use dev::sim::{Answer, ApiVersions, Script};
use serde_json::{Value, json};
use shared::domain::fleet::{ContainerState, DockerHealth};
use tests::run;

use super::{engine, start};

const LIST: &str = "GET /containers/json";

struct EngineVersion {
    /// The engine, and where its answers come from.
    origin: &'static str,
    version: &'static str,
    api: ApiVersions,
    /// A container as its list shows it.
    container: Value,
    state: ContainerState,
    health: Option<DockerHealth>,
}

/// The members that all engines have.
fn with(members: &Value) -> Value {
    let mut container = json!({
        "Id": "a".repeat(64), "Names": ["/milady-x"], "Image": "milady/agent:sample",
        "ImageID": format!("sha256:{}", "0".repeat(64)), "Command": "/agent", "Created": 1_772_323_200,
        "Ports": [], "Labels": {"milady.agent": "x", "milady.attempt": "2"}, "State": "running",
        "Status": "Up 3 minutes", "HostConfig": {"NetworkMode": "milady-agents"},
        "NetworkSettings": {"Networks": {}}, "Mounts": [],
    });
    for (name, value) in members.as_object().into_iter().flatten() {
        container[name] = value.clone();
    }
    container
}

fn engine_versions() -> Vec<EngineVersion> {
    let docker = "Docker: api/types/container, daemon/list.go";
    let podman = "Podman: pkg/api/handlers/compat/containers.go, libpod/define/containerstate.go";
    let case = |origin, version, api, members: Value, state, health| EngineVersion {
        origin,
        version,
        api,
        container: with(&members),
        state,
        health,
    };
    let none = || json!({});
    vec![
        case(
            docker,
            "20.10.24",
            ApiVersions::DOCKER_20,
            none(),
            ContainerState::Running,
            None,
        ),
        case(
            docker,
            "20.10.24",
            ApiVersions::DOCKER_20,
            json!({"Status": "Up 3 minutes (unhealthy)"}),
            ContainerState::Running,
            Some(DockerHealth::Unhealthy),
        ),
        case(
            docker,
            "24.0.9",
            ApiVersions::DOCKER_24,
            none(),
            ContainerState::Running,
            None,
        ),
        case(
            docker,
            "28.5.2",
            ApiVersions::DOCKER_28,
            json!({"ImageManifestDescriptor": null, "Ports": null, "HostConfig": {}}),
            ContainerState::Running,
            None,
        ),
        // Since API 1.52 the list has the health.
        case(
            docker,
            "29.1.0",
            ApiVersions::DOCKER_29,
            json!({"Health": {"Status": "healthy", "FailingStreak": 0}}),
            ContainerState::Running,
            Some(DockerHealth::Healthy),
        ),
        case(
            docker,
            "29.1.0",
            ApiVersions::DOCKER_29,
            json!({"Names": ["/other/alias", "/milady-x"], "NetworkSettings": null}),
            ContainerState::Running,
            None,
        ),
        case(
            podman,
            "5.4.2",
            ApiVersions::PODMAN_5,
            json!({"State": "stopped", "Status": "", "NetworkSettings": null}),
            ContainerState::Exited,
            None,
        ),
        case(
            podman,
            "5.4.2",
            ApiVersions::PODMAN_5,
            json!({"State": "initialized", "Status": ""}),
            ContainerState::Created,
            None,
        ),
        case(
            podman,
            "5.4.2",
            ApiVersions::PODMAN_5,
            json!({"State": "configured", "Status": "", "HostConfig": null}),
            ContainerState::Created,
            None,
        ),
        case(
            podman,
            "5.4.2",
            ApiVersions::PODMAN_5,
            json!({"State": "stopping", "Status": "Up 3 minutes"}),
            ContainerState::Stopping,
            None,
        ),
        case(
            "any engine: a state that nobody has seen before",
            "99.0.0",
            ApiVersions::DOCKER_29,
            json!({"State": "hibernating", "Status": "Asleep"}),
            ContainerState::Unknown,
            None,
        ),
        case(
            "any engine: a state that is no text",
            "99.0.0",
            ApiVersions::DOCKER_29,
            json!({"State": 7, "Status": "Up 3 minutes", "Labels": {"milady.agent": "x", "milady.attempt": "2", "n": 1}}),
            ContainerState::Running,
            None,
        ),
    ]
}

#[test]
fn f86_each_container_is_read_from_each_engine_whatever_the_others_are_like() {
    run(async {
        for case in engine_versions() {
            let name = format!("{} {}: {}", case.origin, case.version, case.container);
            // Its neighbours are containers of other software, and what is no container at all. No row can hold the second
            // id, and a path would lead elsewhere with the third.
            let list = json!([
                {"Id": "b".repeat(64), "State": "unheard of", "Names": null, "Created": "yesterday"},
                case.container,
                {"Names": ["/without-an-id"]}, 7, null,
                {"Id": "", "State": "exited"}, {"Id": "c\u{0}", "State": "exited"},
                {"Id": "../../info", "State": "exited"}, {"Id": "d".repeat(129), "State": "exited"},
            ]);
            let script = Script::new("versions").engine(case.version, case.api);
            let (sim, client) = start(script.answer(Answer::new(LIST, 200, &list)));
            let engine = engine(&client, &sim.hosts()[0]).await;
            let version = engine.read_version().await.expect(&name);
            assert_eq!(version.as_deref(), Some(case.version), "{name}");
            let containers = engine.list_containers().await.expect(&name);
            assert_eq!(containers.len(), 2, "{name}");
            assert_eq!(containers[0].state(), ContainerState::Unknown, "{name}");
            let container = &containers[1];
            assert_eq!(container.name, "milady-x", "{name}");
            assert_eq!(container.state(), case.state, "{name}");
            assert_eq!(container.health(), case.health, "{name}");
            assert_eq!(container.label.as_deref(), Some("x"), "{name}");
            assert_eq!(container.attempt, Some(2), "{name}");
            assert_eq!(container.created_at.timestamp(), 1_772_323_200, "{name}");
        }
    });
}

/// Origin: Go writes a list that was never filled as `null`.
#[test]
fn f86_an_empty_list_is_empty_in_both_its_forms() {
    run(async {
        for list in [json!([]), json!(null)] {
            let script = Script::new("empty").engine("29.1.0", ApiVersions::DOCKER_29);
            let (sim, client) = start(script.answer(Answer::new(LIST, 200, &list)));
            let engine = engine(&client, &sim.hosts()[0]).await;
            assert_eq!(engine.list_containers().await.expect("a list"), []);
        }
    });
}

/// Origin: Docker writes 0 and null, Podman -1 and 0, where there is no limit; Podman names `Healthcheck` what Docker
/// names `Health`.
#[test]
fn f86_the_details_of_a_container_are_read_from_each_engine() {
    run(async {
        for (details, is_running, restarts) in [
            (
                json!({"State": {"Status": "running", "Running": true}, "RestartCount": 2}),
                true,
                2,
            ),
            (
                json!({"State": {"Status": "stopped", "Healthcheck": {}}, "HostConfig": {"PidsLimit": -1, "Memory": 0}}),
                false,
                0,
            ),
            (
                json!({"State": {"Status": "running"}, "RestartCount": null, "HostConfig": {"PidsLimit": null}}),
                true,
                0,
            ),
            (json!({"State": {"Status": "hibernating"}}), false, 0),
            (
                json!({"State": {"Status": "exited"}, "RestartCount": i64::MIN}),
                false,
                0,
            ),
            (json!({}), false, 0),
        ] {
            let case = details.to_string();
            let answer = Answer::new("GET /containers/{id}/json", 200, &details);
            let (sim, client) = start(Script::new("details").answer(answer));
            let engine = engine(&client, &sim.hosts()[0]).await;
            let runtime = engine.inspect("one").await.expect(&case);
            assert_eq!(runtime.is_running, is_running, "{case}");
            assert_eq!(runtime.restart_count, restarts, "{case}");
            assert_eq!(runtime.limits.pids, None, "{case}");
            assert_eq!(runtime.limits.memory_bytes, None, "{case}");
        }
    });
}
