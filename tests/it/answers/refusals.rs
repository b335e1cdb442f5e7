//! What engines refuse, and what each refusal means.

use std::time::Duration;

use dev::sim::{Answer, Container, Script};
use shared::domain::container::AGENT_LIMITS;
use shared::hosts::{ContainerSpec, DataMount, Engine, EngineError, EngineErrorReason, NextStep};
use tests::{reason, run};

use super::{engine, start};

pub(super) const CREATE: &str = "POST /containers/create";
pub(super) const START: &str = "POST /containers/{id}/start";
pub(super) const RESTART: &str = "POST /containers/{id}/restart";
pub(super) const REMOVE: &str = "DELETE /containers/{id}";
pub(super) const STOP: &str = "POST /containers/{id}/stop";
const INSPECT: &str = "GET /containers/{id}/json";
const VOLUME: &str = "DELETE /volumes/{name}";
pub(super) const PULL: &str = "POST /images/create";

struct Refusal {
    /// The engine, and where its text comes from.
    origin: &'static str,
    call: &'static str,
    status: u16,
    message: &'static str,
    reason: EngineErrorReason,
    /// What the owner reads.
    owner: &'static str,
    next: NextStep,
}

#[rustfmt::skip]
const REFUSALS: &[Refusal] = &[
    // F84: a conflict is more than a taken name.
    Refusal { origin: "Docker: daemon/delete.go", call: RESTART, status: 409,
        message: "removal of container 3f4e is already in progress",
        reason: EngineErrorReason::BeingRemoved, owner: "The container is still being removed", next: NextStep::NewContainer },
    Refusal { origin: "Docker: daemon/start.go", call: START, status: 409,
        message: "container is marked for removal and cannot be started",
        reason: EngineErrorReason::BeingRemoved, owner: "The container is still being removed", next: NextStep::NewContainer },
    Refusal { origin: "Docker: daemon/start.go", call: START, status: 409,
        message: "cannot start a paused container, try unpause instead",
        reason: EngineErrorReason::StateConflict, owner: "The container is in a state that does not allow this", next: NextStep::LaterAttempt },
    Refusal { origin: "Docker: daemon/delete.go", call: REMOVE, status: 409,
        message: "cannot remove container \"/milady-x\": container is running: stop the container before removing or force remove",
        reason: EngineErrorReason::StateConflict, owner: "The container is in a state that does not allow this", next: NextStep::LaterAttempt },
    Refusal { origin: "Podman: pkg/api/handlers/compat/containers_start.go, libpod/container_internal.go", call: START, status: 500,
        message: "container 3f4e must be in Created or Stopped state to be started: container state improper",
        reason: EngineErrorReason::StateConflict, owner: "The container is in a state that does not allow this", next: NextStep::LaterAttempt },
    Refusal { origin: "Podman: libpod/container_internal.go", call: START, status: 500,
        message: "cannot start container 3f4e as it is being removed: container state improper",
        reason: EngineErrorReason::BeingRemoved, owner: "The container is still being removed", next: NextStep::NewContainer },
    Refusal { origin: "Docker: volume/service/errors.go", call: VOLUME, status: 409,
        message: "remove milady-x: volume is in use - [3f4e]",
        reason: EngineErrorReason::InUse, owner: "It is still in use", next: NextStep::LaterAttempt },
    Refusal { origin: "Podman: libpod/define/errors.go", call: VOLUME, status: 409,
        message: "volume milady-x is being used by the following container(s): 3f4e: volume is being used",
        reason: EngineErrorReason::InUse, owner: "It is still in use", next: NextStep::LaterAttempt },
    // F83: no addresses are left for the agents' network.
    Refusal { origin: "Docker 20.10: libnetwork/ipamapi", call: CREATE, status: 404,
        message: "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
        reason: EngineErrorReason::NoNetwork, owner: "The host has no addresses left for a network", next: NextStep::LaterAttempt },
    Refusal { origin: "Docker 28: libnetwork/ipamapi", call: CREATE, status: 400,
        message: "all predefined address pools have been fully subnetted",
        reason: EngineErrorReason::NoNetwork, owner: "The host has no addresses left for a network", next: NextStep::LaterAttempt },
    // F85: the image went after the check.
    Refusal { origin: "Docker: daemon/images/image.go", call: CREATE, status: 404,
        message: "No such image: milady/agent:sample",
        reason: EngineErrorReason::ImageGone, owner: "The image is not on the host", next: NextStep::PullImage },
    Refusal { origin: "Docker 29 with containerd: daemon/containerd/image.go", call: CREATE, status: 404,
        message: "No such image: milady/agent:sample: not found",
        reason: EngineErrorReason::ImageGone, owner: "The image is not on the host", next: NextStep::PullImage },
    Refusal { origin: "Podman: containers/storage, errors.go", call: CREATE, status: 404,
        message: "milady/agent:sample: image not known",
        reason: EngineErrorReason::ImageGone, owner: "The image is not on the host", next: NextStep::PullImage },
    // F87: the name is taken.
    Refusal { origin: "Docker: daemon/names.go", call: CREATE, status: 409,
        message: "Conflict. The container name \"/milady-x\" is already in use by container \"0b5e\". You have to remove (or rename) that container to be able to reuse that name.",
        reason: EngineErrorReason::NameTaken, owner: "The container's name is taken", next: NextStep::ReplaceContainer },
    Refusal { origin: "Podman: containers/storage, errors.go", call: CREATE, status: 500,
        message: "container create: creating container storage: the container name \"milady-x\" is already in use by 0b5e. You have to remove that container to be able to reuse that name: that name is already in use",
        reason: EngineErrorReason::NameTaken, owner: "The container's name is taken", next: NextStep::ReplaceContainer },
    // Ports and disks.
    Refusal { origin: "Docker: libnetwork/portallocator", call: START, status: 500,
        message: "driver failed programming external connectivity on endpoint x: Bind for 127.0.0.1:20000 failed: port is already allocated",
        reason: EngineErrorReason::PortTaken, owner: "A port is taken", next: NextStep::OtherPorts },
    Refusal { origin: "Docker 28: libnetwork/drivers/bridge/port_mapping_linux.go", call: START, status: 500,
        message: "failed to set up container networking: failed to bind host port for 127.0.0.1:20000:172.18.0.2:2138/tcp: address already in use",
        reason: EngineErrorReason::PortTaken, owner: "A port is taken", next: NextStep::OtherPorts },
    Refusal { origin: "Podman: libpod/oci_util.go", call: START, status: 500,
        message: "cannot listen on the TCP port: listen tcp4 127.0.0.1:20000: bind: address already in use",
        reason: EngineErrorReason::PortTaken, owner: "A port is taken", next: NextStep::OtherPorts },
    Refusal { origin: "Docker: overlay2", call: CREATE, status: 500,
        message: "mkdir /var/lib/docker/overlay2/x: no space left on device",
        reason: EngineErrorReason::DiskFull, owner: "The host's disk is full", next: NextStep::LaterAttempt },
    Refusal { origin: "Podman: xfs project quota", call: CREATE, status: 500,
        message: "write /var/lib/containers/storage/x: disk quota exceeded",
        reason: EngineErrorReason::DiskFull, owner: "The host's disk is full", next: NextStep::LaterAttempt },
    Refusal { origin: "runc", call: START, status: 400,
        message: "failed to create task for container: OCI runtime create failed: exec /agent: exec format error",
        reason: EngineErrorReason::WrongPlatform, owner: "The image is not made for the processor of our hosts", next: NextStep::LaterAttempt },
    Refusal { origin: "Docker: daemon/container.go", call: INSPECT, status: 404,
        message: "No such container: one",
        reason: EngineErrorReason::NotFound, owner: "It is not there", next: NextStep::LaterAttempt },
    Refusal { origin: "any engine: a text that nobody has seen before", call: START, status: 500,
        message: "the flux capacitor is empty",
        reason: EngineErrorReason::Refused, owner: "Docker refused the request", next: NextStep::NewContainer },
    // Registries.
    Refusal { origin: "Docker Hub", call: PULL, status: 500,
        message: "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading",
        reason: EngineErrorReason::RegistryBusy, owner: "The image's registry allows no more pulls for now", next: NextStep::LaterAttempt },
    Refusal { origin: "Docker: distribution/errors.go", call: PULL, status: 404,
        message: "pull access denied for milady/x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
        reason: EngineErrorReason::ImageMissing, owner: "The image cannot be pulled", next: NextStep::LaterAttempt },
    Refusal { origin: "Docker: distribution/errors.go", call: PULL, status: 404,
        message: "manifest for milady/x:1 not found: manifest unknown: manifest unknown",
        reason: EngineErrorReason::ImageMissing, owner: "The image cannot be pulled", next: NextStep::LaterAttempt },
    Refusal { origin: "distribution: registry/api/errcode", call: PULL, status: 500,
        message: "Head \"https://ghcr.io/v2/x/manifests/1\": unauthorized: authentication required",
        reason: EngineErrorReason::RegistryLogin, owner: "The image's registry requires an account that may pull it", next: NextStep::LaterAttempt },
    Refusal { origin: "Docker: distribution/registry.go", call: PULL, status: 500,
        message: "Head \"https://registry.example/v2/x/manifests/1\": no basic auth credentials",
        reason: EngineErrorReason::RegistryLogin, owner: "The image's registry requires an account that may pull it", next: NextStep::LaterAttempt },
    Refusal { origin: "Go: net", call: PULL, status: 500,
        message: "Get \"https://registry.example/v2/\": dial tcp: lookup registry.example on 127.0.0.53:53: no such host",
        reason: EngineErrorReason::RegistryUnreachable, owner: "The image's registry cannot be reached", next: NextStep::LaterAttempt },
    Refusal { origin: "Go: net/http", call: PULL, status: 500,
        message: "Get \"https://registry-1.docker.io/v2/\": net/http: TLS handshake timeout",
        reason: EngineErrorReason::RegistryUnreachable, owner: "The image's registry cannot be reached", next: NextStep::LaterAttempt },
    Refusal { origin: "Docker: distribution/pull_v2.go", call: PULL, status: 404,
        message: "no matching manifest for linux/arm64/v8 in the manifest list entries",
        reason: EngineErrorReason::WrongPlatform, owner: "The image is not made for the processor of our hosts", next: NextStep::LaterAttempt },
    Refusal { origin: "Podman: containers/image", call: PULL, status: 500,
        message: "choosing an image from manifest list docker://x: no image found in image index for architecture \"arm64\", variant \"v8\", OS \"linux\"",
        reason: EngineErrorReason::WrongPlatform, owner: "The image is not made for the processor of our hosts", next: NextStep::LaterAttempt },
];

fn spec() -> ContainerSpec {
    ContainerSpec {
        name: "milady-x".to_owned(),
        image: "milady/agent:sample".to_owned(),
        environment: Vec::new(),
        ports: Vec::new(),
        data: DataMount::Volume("milady-x".to_owned()),
        agent_id: "x".to_owned(),
        organization_id: "y".to_owned(),
        job_id: "z".to_owned(),
        attempt: 1,
        receives_data: false,
        limits: AGENT_LIMITS,
        disk_bytes: None,
    }
}

pub(super) async fn call(engine: &Engine, call: &str) -> Result<(), EngineError> {
    let grace = Duration::from_secs(1);
    match call {
        CREATE => engine.create(&spec()).await.map(drop),
        START => engine.start("one").await,
        STOP => engine.stop("one", grace).await,
        RESTART => engine.restart("one", grace).await,
        REMOVE => engine.remove("one").await,
        INSPECT => engine.inspect("one").await.map(drop),
        VOLUME => engine.remove_volume("milady-x").await,
        PULL => engine
            .pull("milady/x:1", None, Duration::from_secs(30))
            .await
            .map(drop),
        other => panic!("{other}"),
    }
}

/// A table of what engines refuse, with the sentence for the owner and what is done next.
#[test]
fn every_refusal_has_its_meaning_its_sentence_and_its_next_step() {
    run(async {
        let (sim, client) = start(Script::new("refuses").with_container(Container::new("one")));
        let host = &sim.hosts()[0];
        let engine = engine(&client, host).await;
        for refusal in REFUSALS {
            let answer = Answer::refusal(refusal.call, refusal.status, refusal.message);
            host.update_script(|script| script.answers = vec![answer])
                .await;
            let case = format!("{}: {}", refusal.origin, refusal.message);
            let error = call(&engine, refusal.call).await.expect_err(&case);
            let reason = error.reason();
            assert_eq!(reason, refusal.reason, "{case}");
            assert_eq!(error.to_string(), refusal.owner, "{case}");
            assert_eq!(reason.next_step(), refusal.next, "{case}");
            // An operator reads something else, but nothing of the engine's own text.
            let operator = reason.operator_text();
            assert_ne!(operator, refusal.owner);
            assert!(!operator.contains(refusal.message), "{operator}");
        }
    });
}

/// Origin: Docker reports a failure in the middle of a pull in `errorDetail` (`api/types/jsonstream`); older versions of
/// Podman in `error` alone; a proxy that is restarted ends the stream early.
#[test]
fn a_pull_that_fails_in_the_middle_fails() {
    run(async {
        let (sim, client) = start(Script::new("pulls"));
        let host = &sim.hosts()[0];
        let engine = engine(&client, host).await;
        let detail = |message: &str| serde_json::json!({"errorDetail": {"message": message}, "error": message});
        for (answer, expected) in [
            (
                detail("toomanyrequests: slow down"),
                EngineErrorReason::RegistryBusy,
            ),
            (
                detail("write /var/lib/docker/tmp/GetImageBlob1: no space left on device"),
                EngineErrorReason::DiskFull,
            ),
            (
                serde_json::json!({"error": "manifest unknown"}),
                EngineErrorReason::ImageMissing,
            ),
            (
                serde_json::json!({"status": "Pulling from milady/x", "id": "1"}),
                EngineErrorReason::ImageMissing,
            ),
        ] {
            let case = answer.to_string();
            host.update_script(|script| script.answers = vec![Answer::new(PULL, 200, &answer)])
                .await;
            assert_eq!(reason(call(&engine, PULL).await), Err(expected), "{case}");
        }
    });
}

#[test]
fn f84_a_removal_that_is_under_way_is_waited_for() {
    run(async {
        let refusal = Answer::refusal(
            REMOVE,
            409,
            "removal of container one is already in progress",
        );
        let script = Script::new("removes").with_container(Container::new("one"));
        let (sim, client) = start(script.answer(refusal.times(3)));
        let host = &sim.hosts()[0];
        let engine = engine(&client, host).await;
        engine.remove("one").await.expect("removed");
        assert_eq!(host.counts().requests[REMOVE], 4);
        assert_eq!(host.script().containers.len(), 0);
    });
}
