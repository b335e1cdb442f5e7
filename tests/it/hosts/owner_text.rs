//! Owners' texts arrive unchanged and are never part of a command.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::{Lab, run};
use uuid::Uuid;

use super::failures::{request_start, run_job, worker};

/// Characters with a meaning for shells, templates and terminals.
const ODD: &str = "it's \"odd\" \\ \\n $(touch /tmp/x) `id` ${HOME} $HOME; rm -rf / && a | b > c < d # \
    % %s {{x}} *?[a] ~ ! ü € 𝄞 \u{202e} --help";

fn odd_name() -> String {
    let name: String = ODD.chars().cycle().take(99).collect();
    format!("{name}𝄞")
}

fn environment() -> Value {
    json!({
        "ODD": ODD,
        "LINES": "one\ntwo\r\nthree\r\ttab\u{b}\u{1b}[31m\u{7f}",
        "QUOTES": "'\"'\"'\"\\\"\\'",
        "EQUALS": "=a=b=",
        "BLANK": "  ",
        "EMPTY": "",
        "LONG": "ü€𝄞$(x)'\"\n".repeat(60_000 / 16),
        "MY_LD_PRELOAD": "x",
    })
}

#[test]
fn f36_owners_texts_arrive_byte_for_byte_and_are_never_commands() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let name = odd_name();
        assert_eq!(name.chars().count(), 100);
        let config = json!({
            "name": ODD, "bio": ["a\nb", "\u{1}\u{7f}", {"": ODD}], ODD: {ODD: [[ODD], null, 1.5, true]},
            "__proto__": {"x": "</script>"}, "long": "𝄞\"\\".repeat(7_000),
        });
        let variables = environment();
        let agent = lab
            .running_agent(json!({
                "agentName": name, "agentConfig": config, "environmentVars": variables,
            }))
            .await;
        let value = async |of: &str| {
            lab.bridge_result(agent, "env.get", json!({"name": of}))
                .await["value"]
                .clone()
        };
        for (variable, expected) in variables.as_object().expect("an object") {
            assert_eq!(&value(variable).await, expected, "{variable}");
        }
        assert_eq!(
            lab.bridge_result(agent, "name.get", json!({})).await,
            json!({"name": name})
        );
        let result = value("MILADY_AGENT_CONFIG").await;
        let result: Value = serde_json::from_str(result.as_str().expect("a text")).expect("JSON");
        assert_eq!(result, config);

        // Through the bridge, in both directions.
        for text in [ODD, "\0", "one\r\n\r\ntwo", &"𝄞\"".repeat(50_000)] {
            let result = lab
                .bridge_result(agent, "message.send", json!({"text": text, "roomId": text}))
                .await;
            assert_eq!(
                result,
                json!({"text": format!("You said: {text}"), "roomId": text})
            );
        }
        lab.bridge_result(agent, "file.write", json!({"path": ODD, "text": ODD}))
            .await;

        // The only commands that ran on the host are the two constants.
        let commands = lab.hosts[0].sshd.commands().expect("commands");
        let distinct: BTreeSet<&String> = commands.iter().collect();
        assert!(distinct.len() <= 2, "{distinct:?}");
        assert!(
            commands.iter().all(|text| is_constant(text)),
            "{distinct:?}"
        );
        let agent_id = agent.to_string();
        assert!(
            commands.iter().all(|text| !text.contains(&agent_id)),
            "{distinct:?}"
        );
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;
    });
}

/// Whether a command that ran on a host is one that reads its figures or the weights of disk accesses.
pub(super) fn is_constant(command: &str) -> bool {
    command.starts_with("for f in loadavg") || command.starts_with("grep -rs . /sys/fs/cgroup ")
}

#[test]
fn f36_texts_that_cannot_be_passed_on_are_refused_at_once() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let (world, key) = (&lab.world, &lab.api_key);
        for (fields, field) in [
            (json!({"agentName": "a\0b"}), "agentName"),
            (json!({"agentName": "a\nb"}), "agentName"),
            (json!({"agentName": "a".repeat(101)}), "agentName"),
            (json!({"environmentVars": {"A": "a\0b"}}), "environmentVars"),
            (json!({"environmentVars": {"A\0": "b"}}), "environmentVars"),
            (json!({"environmentVars": {"A=B": "c"}}), "environmentVars"),
            (json!({"environmentVars": {"A\nB": "c"}}), "environmentVars"),
            (json!({"agentConfig": {"a": ["\0"]}}), "agentConfig"),
            (json!({"agentConfig": {"a\0": 1}}), "agentConfig"),
            (
                json!({"dockerImage": "milady/agent:1 --privileged"}),
                "dockerImage",
            ),
            (json!({"dockerImage": "milady/agent;id"}), "dockerImage"),
            (json!({"dockerImage": "milady/$(id)"}), "dockerImage"),
            (json!({"dockerImage": "milady/agent\n"}), "dockerImage"),
            (json!({"dockerImage": "milady/agent\0"}), "dockerImage"),
            (json!({"dockerImage": "milady/ägent"}), "dockerImage"),
            (json!({"dockerImage": "--help"}), "dockerImage"),
            (
                json!({"dockerImage": "milady/a?fromSrc=-&tag=b"}),
                "dockerImage",
            ),
        ] {
            let mut body = json!({"agentName": "agent"});
            for (name, value) in fields.as_object().expect("an object") {
                body[name] = value.clone();
            }
            let response = world.post_json(key, "/api/v1/milady/agents", &body).await;
            assert_eq!(response.status(), 400, "{fields}: {response:?}");
            assert_eq!(
                response.json()["details"][0]["field"],
                json!(field),
                "{response:?}"
            );
        }
        let agents = world.count("SELECT count(*) FROM milady_sandboxes").await;
        assert_eq!(agents, 0);
        assert_eq!(lab.hosts[0].sshd.connections().expect("a log"), 0);
    });
}

#[test]
fn f36_a_container_has_limits_and_only_the_rights_it_needs() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let agent = lab.agent(json!({})).await;
        let job = request_start(&lab, agent).await;
        assert_eq!(run_job(&lab, &worker(&lab), job).await, "completed");
        let engine = &lab.hosts[0].engine;
        let name = format!("milady-{agent}");
        let inspected = engine
            .call("GET", &format!("/containers/{name}/json"), None)
            .await;
        let inspected = inspected.expect("a container");
        let ports = lab.placement(agent).await["ports"].clone();
        let port = |at: usize| {
            let port = ports[at].as_u64().expect("a port").to_string();
            json!([{"HostIp": "127.0.0.1", "HostPort": port}])
        };
        let host = &inspected["HostConfig"];
        for (what, expected) in [
            ("Memory", json!(2_147_483_648_u64)),
            ("StorageOpt", Value::Null),
            ("NanoCpus", json!(2_000_000_000)),
            ("PidsLimit", json!(512)),
            ("CapDrop", json!(["ALL"])),
            ("SecurityOpt", json!(["no-new-privileges"])),
            ("Privileged", json!(false)),
            ("NetworkMode", json!("milady-agents")),
            ("PidMode", json!("")),
            ("UsernsMode", json!("")),
            ("Binds", Value::Null),
            ("Devices", Value::Null),
            ("VolumesFrom", Value::Null),
            (
                "RestartPolicy",
                json!({"Name": "unless-stopped", "MaximumRetryCount": 0}),
            ),
            (
                "LogConfig",
                json!({"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}),
            ),
            (
                "PortBindings",
                json!({"31337/tcp": port(0), "2138/tcp": port(1)}),
            ),
            (
                "Mounts",
                json!([{"Type": "volume", "Source": name, "Target": "/app/data"}]),
            ),
        ] {
            assert_eq!(host[what], expected, "{what}");
        }
        let labels = json!({
            "milady.agent": agent, "milady.organization": lab.organization, "milady.attempt": "1",
            "milady.job": lab.last_job(agent).await["id"],
        });
        assert_eq!(inspected["Config"]["Labels"], labels);
        let volume = engine.call("GET", &format!("/volumes/{name}"), None).await;
        assert_eq!(volume.expect("a volume")["Labels"], labels);
        // The process has exactly the configured capabilities: CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID,
        // SETUID, NET_BIND_SERVICE.
        let (capabilities, no_new) = rights(&inspected);
        assert_eq!(capabilities, "00000000000004eb");
        assert_eq!(no_new, "1");

        let network = engine.call("GET", "/networks/milady-agents", None).await;
        let network = network.expect("a network");
        let isolation = &network["Options"]["com.docker.network.bridge.enable_icc"];
        assert_eq!(
            (&network["Driver"], isolation),
            (&json!("bridge"), &json!("false"))
        );

        // Without `publishAddress` the web port is published on all addresses, the bridge port never is.
        lab.world
            .execute("UPDATE docker_nodes SET metadata = metadata - 'publishAddress'")
            .await;
        let other = lab.running_agent(json!({})).await;
        let path = format!("/containers/milady-{other}/json");
        let inspected = engine.call("GET", &path, None).await.expect("a container");
        let address = |port: &str| {
            let bindings = &inspected["HostConfig"]["PortBindings"][port];
            let all = bindings.as_array().expect("bindings");
            let all = all
                .iter()
                .map(|binding| binding["HostIp"].as_str().expect("text").to_owned());
            all.collect::<Vec<_>>()
        };
        assert_eq!(address("31337/tcp"), ["127.0.0.1"]);
        assert_eq!(address("2138/tcp"), ["0.0.0.0"]);
        assert_eq!(status_of(&lab, other).await, "running");
    });
}

/// The capabilities of a container's process and its `NoNewPrivs` flag, as the kernel reports them.
fn rights(inspected: &Value) -> (String, String) {
    let id = inspected["Id"].as_str().expect("an id");
    let status = std::fs::read_dir("/proc").expect("processes").flatten();
    let mut status = status.filter_map(|process| {
        let groups = std::fs::read_to_string(process.path().join("cgroup")).ok()?;
        let is_ours = groups.contains(id);
        is_ours.then(|| std::fs::read_to_string(process.path().join("status")).ok())?
    });
    let status = status.next().expect("a process");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect(name).trim().to_owned()
    };
    (field("CapBnd:"), field("NoNewPrivs:"))
}

async fn status_of(lab: &Lab, agent: Uuid) -> String {
    let shown = lab
        .world
        .get(&lab.api_key, &agent_path(agent, ""))
        .await
        .json();
    shown["data"]["status"]
        .as_str()
        .expect("a status")
        .to_owned()
}
