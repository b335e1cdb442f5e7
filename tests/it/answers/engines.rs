//! What each engine that hosts have answers to every call, as a whole.

use dev::sim::{Answer, ApiVersions, Container, Health, Script};
use serde_json::{Value, json};
use shared::domain::fleet::ContainerState;
use shared::hosts::EngineErrorReason;
use tests::run;
use tests::simulated_world::SimulatedWorld;

use super::refusals::{CREATE, PULL, REMOVE, RESTART, START, STOP, call};
use super::{engine, start};

const ID: &str = "3f4e0b5e3f4e0b5e3f4e0b5e3f4e0b5e3f4e0b5e3f4e0b5e3f4e0b5e3f4e0b5e";
const IMAGE_ID: &str = "sha256:72297848456d5d37d1262630108ab308d3e9ec7ed1c3286a32fe09856619a782";
const MEMORY: i64 = 16_655_851_520;

/// An engine, with its answers in the form of its own version.
struct Replay {
    /// Where the answers come from.
    origin: &'static str,
    name: &'static str,
    version: &'static str,
    api: ApiVersions,
    version_answer: Value,
    info: Value,
    root: &'static str,
    list: Value,
    details: Value,
    /// Call, status, text and meaning of each refusal.
    refusals: [(&'static str, u16, &'static str, EngineErrorReason); 6],
}

impl Replay {
    fn script(&self) -> Script {
        Script::new(self.name)
            .engine(self.version, self.api)
            .with_container(Container::new("one"))
            .answer(Answer::new("GET /version", 200, &self.version_answer))
            .answer(Answer::new("GET /info", 200, &self.info))
            .answer(Answer::new("GET /containers/json", 200, &self.list))
            .answer(Answer::new("GET /containers/{id}/json", 200, &self.details))
    }

    /// The body of a refusal: Podman says more than Docker.
    fn refusal(&self, status: u16, message: &str) -> Value {
        if self.name.starts_with("podman") {
            let cause = message.rsplit(": ").next();
            json!({"cause": cause, "message": message, "response": status})
        } else {
            json!({"message": message})
        }
    }
}

/// The members of an object, and further ones.
fn with(mut object: Value, members: Value) -> Value {
    if let (Value::Object(object), Value::Object(members)) = (&mut object, members) {
        object.extend(members);
    }
    object
}

fn labels() -> Value {
    json!({"milady.agent": "x", "milady.attempt": "2", "milady.organization": "y"})
}

fn docker_version(version: &str, newest: &str, oldest: &str) -> Value {
    json!({
        "Platform": {"Name": "Docker Engine - Community"},
        "Components": [
            {"Name": "Engine", "Version": version, "Details": {
                "ApiVersion": newest, "Arch": "amd64", "BuildTime": "2025-11-05T14:00:00.000000000+00:00",
                "Experimental": "false", "GitCommit": "5d6db84", "GoVersion": "go1.24.9",
                "KernelVersion": "6.8.0-31-generic", "MinAPIVersion": oldest, "Os": "linux",
            }},
            {"Name": "containerd", "Version": "1.7.29", "Details": {"GitCommit": "442cb34"}},
            {"Name": "runc", "Version": "1.3.3", "Details": {"GitCommit": "v1.3.3-0-gd842d771"}},
            {"Name": "docker-init", "Version": "0.19.0", "Details": {"GitCommit": "de40ad0"}},
        ],
        "Version": version, "ApiVersion": newest, "MinAPIVersion": oldest, "GitCommit": "5d6db84",
        "GoVersion": "go1.24.9", "Os": "linux", "Arch": "amd64", "KernelVersion": "6.8.0-31-generic",
        "BuildTime": "2025-11-05T14:00:00.000000000+00:00",
    })
}

/// The members that every version of Docker has, without those about what it can limit.
fn docker_info(version: &str) -> Value {
    json!({
        "Containers": 1, "ContainersRunning": 1, "ContainersPaused": 0, "ContainersStopped": 0, "Images": 2,
        "Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]],
        "Plugins": {"Volume": ["local"], "Network": ["bridge", "host"], "Authorization": null, "Log": ["json-file"]},
        "SystemTime": "2026-03-01T00:00:00.123456789Z", "CgroupDriver": "systemd", "CgroupVersion": "2", "OSType": "linux",
        "Architecture": "x86_64", "NCPU": 4, "MemTotal": MEMORY, "GenericResources": null,
        "DockerRootDir": "/var/lib/docker", "Labels": [], "ServerVersion": version, "Warnings": null,
    })
}

fn list_entry() -> Value {
    json!({
        "Id": ID, "Names": ["/milady-x"], "Image": IMAGE_ID, "ImageID": IMAGE_ID, "Command": "/agent",
        "Created": 1_772_323_200, "Ports": [{"IP": "127.0.0.1", "PrivatePort": 2138, "PublicPort": 20_000, "Type": "tcp"}],
        "Labels": labels(), "State": "running", "Status": "Up 3 minutes",
        "HostConfig": {"NetworkMode": "milady-agents"},
        "NetworkSettings": {"Networks": {"milady-agents": {"IPAMConfig": null, "Gateway": "172.18.0.1"}}},
        "Mounts": [{"Type": "volume", "Name": "milady-x", "Source": "", "Destination": "/app/data", "Driver": "local",
            "Mode": "z", "RW": true, "Propagation": ""}],
    })
}

fn details() -> Value {
    json!({
        "Id": ID, "Created": "2026-03-01T00:00:00.123456789Z", "Path": "/agent", "Args": [],
        "State": {
            "Status": "running", "Running": true, "Paused": false, "Restarting": false, "OOMKilled": false, "Dead": false,
            "Pid": 4242, "ExitCode": 0, "Error": "", "StartedAt": "2026-03-01T00:00:01.123456789Z",
            "FinishedAt": "0001-01-01T00:00:00Z",
        },
        "Image": IMAGE_ID, "Name": "/milady-x", "RestartCount": 0, "Driver": "overlay2", "Platform": "linux",
        "MountLabel": "", "ProcessLabel": "", "AppArmorProfile": "docker-default", "ExecIDs": null,
        "HostConfig": {
            "NetworkMode": "milady-agents", "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
            "Memory": 2_147_483_648_i64, "MemorySwap": 2_147_483_648_i64, "NanoCpus": 2_000_000_000_i64, "PidsLimit": 512,
            "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "BlkioWeight": 12,
        },
        "Mounts": [], "Config": {"Hostname": "3f4e0b5e3f4e", "Image": "milady/agent:1", "Labels": labels()},
        "NetworkSettings": {"Networks": {}},
    })
}

const NO_SUCH_IMAGE: &str = "No such image: milady/agent:sample";
const NOT_STOPPED: &str =
    "cannot stop container: one: tried to kill container, but did not receive an exit event";
const BUSY_REGISTRY: &str =
    "toomanyrequests: You have reached your unauthenticated pull rate limit.";
const IN_PROGRESS: &str = "removal of container one is already in progress";

fn replays() -> Vec<Replay> {
    use EngineErrorReason::{
        BeingRemoved, ImageGone, ImageMissing, NameTaken, PortTaken, Refused, RegistryBusy,
        StateConflict,
    };
    vec![
        Replay {
            origin: "moby, branch 20.10: api/swagger.yaml (1.41), daemon/delete.go, daemon/stop.go",
            name: "docker-20",
            version: "20.10.24",
            api: ApiVersions::DOCKER_20,
            version_answer: docker_version("20.10.24", "1.41", "1.12"),
            info: with(
                docker_info("20.10.24"),
                json!({"ID": "7TRN:IPZB:QYBB:VPBQ:UMPP:KARE:6ZNR:XE6T:7EWV:PKF4:ZOJD:TPYS", "KernelMemory": true,
                    "KernelMemoryTCP": true, "BridgeNfIptables": true, "BridgeNfIp6tables": true, "ClusterStore": ""}),
            ),
            root: "/var/lib/docker",
            list: json!([list_entry()]),
            details: with(
                details(),
                json!({"GraphDriver": {"Data": {"MergedDir": "/m"}, "Name": "overlay2"}}),
            ),
            refusals: [
                (PULL, 500, BUSY_REGISTRY, RegistryBusy),
                (CREATE, 404, NO_SUCH_IMAGE, ImageGone),
                (
                    START,
                    500,
                    "driver failed programming external connectivity on endpoint milady-x: Bind for 127.0.0.1:20000 failed: port is already allocated",
                    PortTaken,
                ),
                (STOP, 500, NOT_STOPPED, Refused),
                (
                    RESTART,
                    500,
                    "Cannot restart container one: driver \"overlay2\" failed",
                    Refused,
                ),
                (
                    REMOVE,
                    409,
                    "You cannot remove a running container one. Stop the container before attempting removal or force remove",
                    StateConflict,
                ),
            ],
        },
        Replay {
            origin: "moby, branch 24.0: api/swagger.yaml (1.43), daemon/delete.go, daemon/stop.go",
            name: "docker-24",
            version: "24.0.9",
            api: ApiVersions::DOCKER_24,
            version_answer: docker_version("24.0.9", "1.43", "1.12"),
            info: with(
                docker_info("24.0.9"),
                json!({"ID": "1c2d3e4f-0000-4000-8000-000000000000", "BridgeNfIptables": true, "CDISpecDirs": null}),
            ),
            root: "/var/lib/docker",
            list: json!([list_entry()]),
            details: with(
                details(),
                json!({"GraphDriver": {"Data": null, "Name": "overlay2"}}),
            ),
            refusals: [
                (
                    PULL,
                    404,
                    "manifest for milady/x:1 not found: manifest unknown: manifest unknown",
                    ImageMissing,
                ),
                (
                    CREATE,
                    409,
                    "Conflict. The container name \"/milady-x\" is already in use by container \"0b5e\". You have to remove (or rename) that container to be able to reuse that name.",
                    NameTaken,
                ),
                (
                    START,
                    409,
                    "cannot start a paused container, try unpause instead",
                    StateConflict,
                ),
                (STOP, 500, NOT_STOPPED, Refused),
                (
                    RESTART,
                    409,
                    "container is marked for removal and cannot be started",
                    BeingRemoved,
                ),
                (
                    REMOVE,
                    409,
                    "You cannot remove a paused container one. Unpause and then stop the container before attempting removal or force remove",
                    StateConflict,
                ),
            ],
        },
        Replay {
            origin: "moby, v28.5.2: api/swagger.yaml (1.51), daemon/delete.go, daemon/stop.go",
            name: "docker-28",
            version: "28.5.2",
            api: ApiVersions::DOCKER_28,
            version_answer: docker_version("28.5.2", "1.51", "1.24"),
            info: with(
                docker_info("28.5.2"),
                json!({"ID": "1c2d3e4f-0000-4000-8000-000000000000", "FirewallBackend": {"Driver": "iptables"},
                    "DiscoveredDevices": [], "Containerd": {"Address": "/run/containerd/containerd.sock"}}),
            ),
            root: "/var/lib/docker",
            list: json!([with(list_entry(), json!({"ImageManifestDescriptor": null}))]),
            details: with(details(), json!({"ImageManifestDescriptor": null})),
            refusals: [
                (PULL, 500, BUSY_REGISTRY, RegistryBusy),
                (CREATE, 404, NO_SUCH_IMAGE, ImageGone),
                (
                    START,
                    500,
                    "failed to set up container networking: driver failed programming external connectivity on endpoint milady-x: failed to bind host port for 127.0.0.1:20000:172.18.0.2:2138/tcp: address already in use",
                    PortTaken,
                ),
                (STOP, 500, NOT_STOPPED, Refused),
                (RESTART, 409, IN_PROGRESS, BeingRemoved),
                (
                    REMOVE,
                    409,
                    "cannot remove container \"one\": container is running: stop the container before removing or force remove",
                    StateConflict,
                ),
            ],
        },
        Replay {
            origin: "moby, docker-v29.1.0: api/docs/v1.52.yaml, daemon/delete.go, daemon/stop.go",
            name: "docker-29",
            version: "29.1.0",
            api: ApiVersions::DOCKER_29,
            version_answer: docker_version("29.1.0", "1.52", "1.44"),
            // The store of images is containerd's.
            info: with(
                docker_info("29.1.0"),
                json!({"ID": "1c2d3e4f-0000-4000-8000-000000000000", "Driver": "overlayfs",
                    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]], "NRI": null}),
            ),
            root: "/var/lib/docker",
            list: json!([with(
                list_entry(),
                json!({"Health": {"Status": "none", "FailingStreak": 0}, "ImageManifestDescriptor": {"size": 480}}),
            )]),
            details: with(
                details(),
                json!({"Storage": {"RootFS": {"Snapshot": {"Name": "overlayfs"}}}, "Driver": "overlayfs"}),
            ),
            refusals: [
                (
                    PULL,
                    404,
                    "failed to resolve reference \"docker.io/milady/x:1\": docker.io/milady/x:1: not found",
                    ImageMissing,
                ),
                (
                    CREATE,
                    404,
                    "No such image: milady/agent:sample: not found",
                    ImageGone,
                ),
                (
                    START,
                    409,
                    "container is marked for removal and cannot be started",
                    BeingRemoved,
                ),
                (STOP, 500, NOT_STOPPED, Refused),
                (
                    RESTART,
                    409,
                    "cannot start a paused container, try unpause instead",
                    StateConflict,
                ),
                (
                    REMOVE,
                    409,
                    "cannot remove container \"one\": container is paused and must be unpaused first",
                    StateConflict,
                ),
            ],
        },
        Replay {
            origin: "podman, branch v5.4: pkg/api/handlers/compat, libpod/container_internal.go",
            name: "podman-5",
            version: "5.4.2",
            api: ApiVersions::PODMAN_5,
            version_answer: json!({
                "Platform": {"Name": "linux/amd64/debian-13"},
                "Components": [
                    {"Name": "Podman Engine", "Version": "5.4.2", "Details": {"APIVersion": "5.4.2", "Arch": "amd64",
                        "BuildTime": "2025-05-02T12:00:00Z", "Experimental": "false", "GitCommit": "", "GoVersion": "go1.24",
                        "KernelVersion": "6.12.0", "MinAPIVersion": "4.0.0", "Os": "linux"}},
                    {"Name": "Conmon", "Version": "conmon version 2.1.12", "Details": {"Package": "conmon_2.1.12"}},
                    {"Name": "OCI Runtime (crun)", "Version": "crun version 1.21", "Details": {"Package": "crun_1.21"}},
                ],
                "Version": "5.4.2", "ApiVersion": "1.41", "MinAPIVersion": "1.24", "GitCommit": "", "GoVersion": "go1.24",
                "Os": "linux", "Arch": "amd64", "KernelVersion": "6.12.0", "BuildTime": "2025-05-02T12:00:00Z",
            }),
            info: with(
                docker_info("5.4.2"),
                json!({"ID": "0b5e4f3e-0000-4000-8000-000000000000", "DockerRootDir": "/var/lib/containers/storage",
                    "Driver": "overlay", "SystemTime": "2026-03-01T01:00:00.123456789+01:00", "Labels": null,
                    "Plugins": {"Volume": ["local"], "Network": ["bridge", "macvlan"], "Authorization": null, "Log": ["k8s-file"]},
                    "Warnings": [], "BuildahVersion": "1.39.3", "Rootless": false, "SwapFree": 0, "SwapTotal": 0,
                    "Uptime": "1h 2m 3.00s", "DefaultRuntime": "crun"}),
            ),
            root: "/var/lib/containers/storage",
            list: json!([with(
                list_entry(),
                json!({"Image": "docker.io/milady/agent:1", "NetworkSettings": {"Networks": null}, "SizeRootFs": 0,
                    "Name": "", "HostConfig": {"NetworkMode": "host"}, "NetworkingConfig": null, "Platform": null}),
            )]),
            details: with(
                details(),
                json!({"AppArmorProfile": "", "ExecIDs": [], "Driver": "overlay", "SizeRootFs": 0,
                    "GraphDriver": {"Name": "overlay", "Data": {"LowerDir": "/l"}}}),
            ),
            refusals: [
                (
                    PULL,
                    500,
                    "initializing source docker://milady/x:1: reading manifest 1 in docker.io/milady/x: toomanyrequests: You have reached your pull rate limit",
                    RegistryBusy,
                ),
                (
                    CREATE,
                    404,
                    "no such image: milady/agent:sample: image not known",
                    ImageGone,
                ),
                (
                    START,
                    500,
                    "container one must be in Created or Stopped state to be started: container state improper",
                    StateConflict,
                ),
                (STOP, 500, "given PID did not die within timeout", Refused),
                (
                    RESTART,
                    500,
                    "cannot start container one as it is being removed: container state improper",
                    BeingRemoved,
                ),
                (
                    REMOVE,
                    500,
                    "cannot remove container one as it is running - running or paused containers cannot be removed without force: container state improper",
                    StateConflict,
                ),
            ],
        },
    ]
}

#[test]
fn f86_what_each_engine_says_of_itself_and_of_a_container_is_read_and_what_it_refuses_understood() {
    run(async {
        for replay in replays() {
            let name = format!("{} ({})", replay.name, replay.origin);
            let (sim, client) = start(replay.script());
            let host = &sim.hosts()[0];
            let engine = engine(&client, host).await;
            let version = engine.read_version().await.expect(&name);
            assert_eq!(version.as_deref(), Some(replay.version), "{name}");
            let info = engine.read_info().await.expect(&name);
            assert_eq!(info.version.as_deref(), Some(replay.version), "{name}");
            assert_eq!(info.size.cpus, Some(4), "{name}");
            assert_eq!(info.size.memory_bytes, Some(MEMORY), "{name}");
            assert_eq!(info.root_directory.as_deref(), Some(replay.root), "{name}");
            let clock = engine.read_clock().await.expect(&name);
            assert_eq!(clock.timestamp(), 1_772_323_200, "{name}");

            let containers = engine.list_containers().await.expect(&name);
            let [container] = containers.as_slice() else {
                panic!("{name}: {containers:?}");
            };
            assert_eq!(container.name, "milady-x", "{name}");
            assert_eq!(container.state(), ContainerState::Running, "{name}");
            assert_eq!(container.health(), None, "{name}");
            assert_eq!(container.label.as_deref(), Some("x"), "{name}");
            assert_eq!(container.attempt, Some(2), "{name}");
            let runtime = engine.inspect(ID).await.expect(&name);
            assert!(runtime.is_running, "{name}");
            assert_eq!(runtime.limits.memory_bytes, Some(2 << 30), "{name}");
            assert_eq!(runtime.limits.nano_cpus, Some(2_000_000_000), "{name}");
            assert_eq!(runtime.limits.pids, Some(512), "{name}");
            assert_eq!(runtime.finished_at, None, "{name}");
            let image = engine.image_id(ID).await.expect(&name);
            assert_eq!(image, IMAGE_ID, "{name}");

            for (endpoint, status, message, expected) in replay.refusals {
                let body = replay.refusal(status, message);
                let answer = Answer::new(endpoint, status, &body);
                // A removal that is under way is waited for.
                let answer = answer.times(1);
                host.update_script(|script| script.answers = vec![answer])
                    .await;
                let error = call(&engine, endpoint).await.expect_err(message);
                assert_eq!(error.reason(), expected, "{name}: {message}");
            }
        }
    });
}

#[test]
fn f86_a_fleet_of_all_engines_is_read_without_a_host_going_dark() {
    run(async {
        let replays = replays();
        let scripts = replays.iter().map(Replay::script).collect();
        let fleet = SimulatedWorld::new(scripts, 0, Health::Healthy).await;
        fleet.world.refresh().await;
        for replay in &replays {
            let host = fleet.world.cached_host(replay.name).await;
            let runtime = &host["runtime"];
            assert_eq!(runtime["dockerReadable"], json!(true), "{host}");
            assert_eq!(runtime["dockerVersion"], json!(replay.version), "{host}");
            assert_eq!(runtime["actualContainerCount"], json!(1), "{host}");
            assert_eq!(runtime["error"], Value::Null, "{host}");
        }
    });
}
