//! Images that are not to be had, containers that do not come up, names and slots that are taken,
//! databases that are not there.

use std::net::Ipv4Addr;

use dev::host::image;
use serde_json::json;
use tests::{Lab, run};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::{asked, fails, run_in, says, worker, works, works_now};

async fn set(lab: &Lab, agent: Uuid, statement: &'static str) {
    sqlx::query(statement)
        .bind(agent)
        .execute(&lab.world.pool)
        .await
        .expect(statement);
}

#[test]
fn an_image_that_is_not_to_be_had_is_said_and_one_that_is_refused_is_not_tried_again() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let name = "127.0.0.1:9/x:1";
        let agent = lab.agent(json!({"dockerImage": name})).await;
        let job = asked(&lab, agent).await;
        assert_eq!(run_in(&lab, &worker(&lab), job).await, "again");
        let shown = lab.last_job(agent).await;
        assert_eq!(
            shown["error"],
            json!("The image cannot be pulled"),
            "{shown}"
        );
        lab.assert_nothing_runs(agent, "no image").await;
        let engine = &lab.hosts[0].engine;
        let tag = format!("/images/{}/tag?repo=127.0.0.1:9/x&tag=1", image::SAMPLE);
        engine.call("POST", &tag, None).await.expect("an image");
        works(&lab, agent, job).await;

        let agent = lab.agent(json!({})).await;
        let odd = "UPDATE milady_sandboxes SET docker_image = 'evil/x:1' WHERE id = $1";
        set(&lab, agent, odd).await;
        let job = asked(&lab, agent).await;
        assert_eq!(run_in(&lab, &worker(&lab), job).await, "failed");
        let said = "The agent's image is not allowed";
        says(&lab, agent, said).await;
        lab.assert_nothing_runs(agent, said).await;
        let place = lab.place(agent).await;
        assert_eq!(
            (&place["status"], &place["error"]),
            (&json!("error"), &json!(said))
        );
        let good = "UPDATE milady_sandboxes SET docker_image = NULL WHERE id = $1";
        set(&lab, agent, good).await;
        lab.later(super::BACK_OFF).await;
        let job = asked(&lab, agent).await;
        works_now(&lab, agent, job).await;
    });
}

#[test]
fn a_container_that_does_not_come_up_is_removed_and_said() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let cases = [
            (
                "exit",
                "The agent's container could not be started, or ended at once",
            ),
            ("unhealthy", "The agent did not become healthy in time"),
            ("silent", "The agent does not answer on its health endpoint"),
        ];
        let mut jobs = Vec::new();
        for (fault, said) in cases {
            let environment = json!({"environmentVars": {"SAMPLE_FAULT": fault}});
            let agent = lab.agent(environment).await;
            jobs.push((agent, asked(&lab, agent).await, said));
        }
        // They wait for their agents at the same time.
        let worker = worker(&lab);
        let ran = jobs.iter().map(|(_, job, _)| run_in(&lab, &worker, *job));
        let ran = futures_util::future::join_all(ran).await;
        assert_eq!(ran, ["again"; 3]);
        for (agent, _, said) in &jobs {
            says(&lab, *agent, said).await;
            lab.assert_nothing_runs(*agent, said).await;
            assert_eq!(lab.volumes(*agent).await, [0], "{said}");
        }
        let (agent, job, _) = jobs[0];
        let well = "UPDATE milady_sandboxes SET environment_vars = '{}' WHERE id = $1";
        set(&lab, agent, well).await;
        works(&lab, agent, job).await;
    });
}

#[test]
fn a_container_of_an_older_try_is_replaced_and_a_strangers_is_left_alone() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let body = |labels| json!({"Image": image::SAMPLE, "Labels": labels, "HostConfig": {"NetworkMode": "none"}});
        let name = |agent: Uuid| format!("milady-{agent}");

        let agent = lab.agent(json!({})).await;
        let labels = json!({
            "milady.agent": agent, "milady.organization": lab.organization, "milady.attempt": "0",
        });
        let older = engine
            .run(&name(agent), &body(labels))
            .await
            .expect("a container");
        let job = asked(&lab, agent).await;
        works_now(&lab, agent, job).await;
        let all = engine.containers().await.expect("containers");
        assert_eq!(all.len(), 1, "{all:?}");
        assert_ne!(all[0].id, older);
        assert_eq!(all[0].labels["milady.attempt"], "1");
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;

        let said = "A container that is not ours has the agent's name";
        for labels in [json!({}), json!({"milady.agent": Uuid::nil()})] {
            let agent = lab.agent(json!({})).await;
            let theirs = engine
                .run(&name(agent), &body(labels))
                .await
                .expect("a container");
            let job = asked(&lab, agent).await;
            assert_eq!(run_in(&lab, &worker(&lab), job).await, "again");
            says(&lab, agent, said).await;
            let all = engine.containers().await.expect("containers");
            let found: Vec<_> = all
                .iter()
                .map(|one| (&one.id, one.state.as_str()))
                .collect();
            assert_eq!(found, [(&theirs, "running")]);
            assert_eq!(lab.slots().await, [0]);
            assert_eq!(lab.place(agent).await["ports"], json!([null, null]));
            engine.remove(&theirs).await.expect("removed");
            works(&lab, agent, job).await;
        }
    });
}

#[test]
fn without_a_slot_or_a_host_a_start_says_so_and_works_later() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let world = &lab.world;
        for (cause, said) in [
            (
                "UPDATE docker_nodes SET capacity = 0",
                "No host has a free slot",
            ),
            (
                "UPDATE docker_nodes SET enabled = false",
                "No host is registered",
            ),
        ] {
            let agent = lab.agent(json!({})).await;
            world.execute(cause).await;
            let job = fails(&lab, &worker(&lab), agent, said).await;
            world
                .execute("UPDATE docker_nodes SET capacity = 8, enabled = true")
                .await;
            works(&lab, agent, job).await;
        }
    });
}

#[test]
fn without_a_database_a_start_says_so_and_works_later() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let admin = "AGENT_DATABASE_ADMIN_URL";
        let agent = lab.agent(json!({})).await;
        let without = worker(&lab).without(admin);
        let said = "No database service is configured";
        let job = fails(&lab, &without, agent, said).await;
        assert_eq!(database_error(&lab, agent).await.as_deref(), Some(said));
        works(&lab, agent, job).await;

        // A server that is down and comes back at its address.
        let server = tests::suite::server().await.url("postgres");
        let server: sqlx::postgres::PgConnectOptions = server.parse().expect("an address");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let url = format!(
            "postgres://{}@127.0.0.1:{port}/postgres",
            server.get_username()
        );
        let through = worker(&lab).with(admin, &url);
        let agent = lab.agent(json!({})).await;
        let said = "The database service cannot be reached";
        let job = fails(&lab, &through, agent, said).await;
        assert!(!lab.has_database(agent).await);
        assert_eq!(database_error(&lab, agent).await.as_deref(), Some(said));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .expect("the port");
        let forwarder = tokio::spawn(forward(listener, server.get_port()));
        lab.later(super::BACK_OFF).await;
        assert_eq!(run_in(&lab, &through, job).await, "completed");
        assert!(lab.has_database(agent).await);
        assert_eq!(database_error(&lab, agent).await, None);
        forwarder.abort();
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;
    });
}

async fn database_error(lab: &Lab, agent: Uuid) -> Option<String> {
    sqlx::query_scalar("SELECT database_error FROM milady_sandboxes WHERE id = $1")
        .bind(agent)
        .fetch_one(&lab.world.pool)
        .await
        .expect("an agent")
}

/// Passes every connection on to a port.
async fn forward(listener: TcpListener, port: u16) {
    while let Ok((mut one, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(mut other) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                let _ = tokio::io::copy_bidirectional(&mut one, &mut other).await;
            }
        });
    }
}
