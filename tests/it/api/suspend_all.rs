//! `functions/suspend_all.py`, which operators run before a deployment is torn down, through the local gateway.

use std::io::{ErrorKind, Write};
use std::process::Output;
use std::time::Duration;

use dev::gateway::Gateway;
use dev::runtime::{Pool, RuntimeApi};
use dev::template::Template;
use tests::{World, run};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::sleep;

const REASON: &str = "The cloud closes on 1 December";

async fn start_gateway(world: &World) -> Gateway {
    let functions = ["container-list", "agent-operator-suspend"];
    let functions = functions.map(|name| world.function(name).to_runtime_function());
    let api = RuntimeApi::start().await.expect("the runtime API");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let template = Template::load().expect("template.yaml");
    Gateway::start(listener, template, Pool::new(api, functions.to_vec())).expect("a gateway")
}

/// Runs the command. `None` on a machine without Python.
async fn suspend_all(gateway: &Gateway, key: &str, minutes: &str) -> Option<Output> {
    let script = dev::build::workspace().join("functions/suspend_all.py");
    let mut command = Command::new("python3");
    command
        .arg(script)
        .args([REASON, "--pause", "0.1", "--minutes", minutes])
        .env("URL", format!("http://{}", gateway.address()))
        .env("KEY", key)
        .env("no_proxy", "*")
        .kill_on_drop(true);
    match command.output().await {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let _ = writeln!(std::io::stderr(), "SKIPPED: there is no python3");
            None
        }
        Err(error) => panic!("python3: {error}"),
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// Does what workers do: it stops what is to be stopped, and then completes the start of an agent that is being started.
async fn work(world: &World) {
    loop {
        world
            .execute(
                "UPDATE milady_sandboxes SET status = 'stopped' WHERE status <> 'stopped' AND stop_requested_at IS NOT NULL;
                UPDATE jobs SET status = 'completed' WHERE class = 'stop'",
            )
            .await;
        if world.count(STOPPED).await == 101 {
            world
                .execute(
                    "UPDATE jobs SET status = 'completed' WHERE class = 'start';
                    UPDATE milady_sandboxes SET status = 'running' WHERE status = 'provisioning'",
                )
                .await;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

const STOPPED: &str = "SELECT count(*) FROM milady_sandboxes
    WHERE status = 'stopped' AND stop_reason = 'operator' AND stop_note = 'The cloud closes on 1 December'";

#[test]
fn every_agent_is_suspended_also_one_that_is_being_started_and_the_command_can_be_repeated() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let organization = world.organization("50").await;
        let starting = world.agent(organization, "pending").await;
        assert_eq!(world.start(organization, starting).await.status(), 202);
        world
            .execute("UPDATE jobs SET status = 'in_progress', attempts = 1")
            .await;
        let begun = "status = 'provisioning', node_id = 'n1', container_name = 'c'";
        world.set_columns(starting, begun).await;
        // More than a page of them.
        world
            .execute(
                "INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status, node_id, container_name)
                SELECT o.id, u.id, 'one of many', 'running', 'n1', 'milady-' || n
                FROM organizations o JOIN users u ON u.organization_id = o.id, generate_series(1, 101) n
                WHERE o.credit_balance = 50",
            )
            .await;
        let failed = world.agent(organization, "error").await;
        world.set_columns(failed, "node_id = 'n1'").await;

        let gateway = start_gateway(&world).await;
        let output = tokio::select! {
            output = suspend_all(&gateway, &operator, "2") => output,
            () = work(&world) => None,
        };
        let Some(output) = output else { return };
        let printed = text(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert!(printed.contains("100 of 10"), "{printed}");
        let last = printed.lines().last();
        assert_eq!(last, Some("0 agents left; 102 suspensions accepted"));
        assert_eq!(world.count(STOPPED).await, 102);
        let again = suspend_all(&gateway, &operator, "2").await.expect("Python");
        assert!(again.status.success(), "{again:?}");
        assert_eq!(
            text(&again.stdout),
            "0 agents left; 0 suspensions accepted\n"
        );
    });
}

#[test]
fn the_command_ends_in_time_and_says_what_is_left_and_who_may_not_run_it() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let (organization, member) = world.tenant("50").await;
        let running = world.agent(organization, "running").await;
        let starting = world.agent(organization, "pending").await;
        assert_eq!(world.start(organization, starting).await.status(), 202);
        world
            .execute("UPDATE jobs SET status = 'in_progress', attempts = 1")
            .await;
        let begun = "status = 'provisioning', node_id = 'n1', container_name = 'c'";
        world.set_columns(starting, begun).await;
        world.set_columns(running, "node_id = 'n1'").await;

        let gateway = start_gateway(&world).await;
        let Some(output) = suspend_all(&gateway, &operator, "0").await else {
            return;
        };
        assert!(!output.status.success(), "{output:?}");
        let expected = format!(
            "2 agents left; 1 suspensions accepted\n\
            {running} of Test on n1, running: its stop is not done\n\
            {starting} of Test on n1, provisioning: 409: Agent provisioning is in progress\n"
        );
        assert_eq!(text(&output.stdout), expected);
        assert_eq!(
            text(&output.stderr),
            "2 agents are left; repeat the command\n"
        );
        for (key, status) in [("eliza_nobody", "401: "), (member.as_str(), "403: ")] {
            let refused = suspend_all(&gateway, key, "0").await.expect("Python");
            assert!(!refused.status.success(), "{refused:?}");
            assert!(text(&refused.stderr).starts_with(status), "{refused:?}");
        }
        assert_eq!(world.jobs_of(running).await.len(), 1);
    });
}
