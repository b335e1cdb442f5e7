//! Images that cannot be pulled, containers that do not start, names and slots that are taken, and missing
//! databases.

use std::net::Ipv4Addr;

use dev::host::image;
use serde_json::json;
use tests::{Lab, run};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::{
    assert_job_error, assert_job_succeeds, assert_retry_succeeds, assert_start_fails,
    request_start, run_job, worker,
};

async fn update_agent(lab: &Lab, agent: Uuid, statement: &'static str) {
    sqlx::query(statement)
        .bind(agent)
        .execute(&lab.world.pool)
        .await
        .expect(statement);
}

#[test]
fn a_missing_image_is_retried_and_a_forbidden_one_is_not() {
    run(async {
        let Some(mut lab) = Lab::new(1).await else {
            return;
        };
        let name = "127.0.0.1:9/x:1";
        lab.allow_images("127.0.0.1:9");
        let agent = lab.agent(json!({"dockerImage": name})).await;
        let job = request_start(&lab, agent).await;
        assert_eq!(run_job(&lab, &worker(&lab), job).await, "again");
        let job_row = lab.last_job(agent).await;
        assert_eq!(
            job_row["error"],
            json!("The image's registry cannot be reached"),
            "{job_row}"
        );
        lab.assert_nothing_runs(agent, "no image").await;
        let engine = &lab.hosts[0].engine;
        let tag = format!("/images/{}/tag?repo=127.0.0.1:9/x&tag=1", image::SAMPLE);
        engine.call("POST", &tag, None).await.expect("an image");
        assert_retry_succeeds(&lab, agent, job).await;

        let agent = lab.agent(json!({})).await;
        let evict = "UPDATE milady_sandboxes SET docker_image = 'evil/x:1' WHERE id = $1";
        update_agent(&lab, agent, evict).await;
        let job = request_start(&lab, agent).await;
        assert_eq!(run_job(&lab, &worker(&lab), job).await, "failed");
        let sentence = "The agent's image is not allowed";
        assert_job_error(&lab, agent, sentence).await;
        lab.assert_nothing_runs(agent, sentence).await;
        let placement = lab.placement(agent).await;
        assert_eq!(
            (&placement["status"], &placement["error"]),
            (&json!("error"), &json!(sentence))
        );
        let reset = "UPDATE milady_sandboxes SET docker_image = NULL WHERE id = $1";
        update_agent(&lab, agent, reset).await;
        lab.advance_clock(super::RETRY_AFTER).await;
        let job = request_start(&lab, agent).await;
        assert_job_succeeds(&lab, agent, job).await;
    });
}

#[test]
fn a_container_that_does_not_become_healthy_is_removed() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        // Docker does not always tell that a container ended while it was being started: it may refuse the start.
        let ended = "The agent's container ended while it was being started: its program failed with exit code 3";
        let refused = "The agent's container could not be started, or ended at once";
        let cases = [
            ("exit", ended),
            ("unhealthy", "The agent did not become healthy in time"),
            ("silent", "The agent does not answer on its health endpoint"),
        ];
        let mut jobs = Vec::new();
        for (fault, sentence) in cases {
            let environment = json!({"environmentVars": {"SAMPLE_FAULT": fault}});
            let agent = lab.agent(environment).await;
            jobs.push((agent, request_start(&lab, agent).await, sentence));
        }
        // The three jobs wait for their agents at the same time.
        let worker = worker(&lab);
        let outcomes = jobs.iter().map(|(_, job, _)| run_job(&lab, &worker, *job));
        let outcomes = futures_util::future::join_all(outcomes).await;
        assert_eq!(outcomes, ["again"; 3]);
        for (agent, _, sentence) in &jobs {
            let error = lab.last_job(*agent).await["error"].clone();
            let is_refused = *sentence == ended && error == json!(refused);
            let sentence = if is_refused { &refused } else { sentence };
            assert_job_error(&lab, *agent, sentence).await;
            lab.assert_nothing_runs(*agent, sentence).await;
            assert_eq!(lab.volumes(*agent).await, [0], "{sentence}");
        }
        let (agent, job, _) = jobs[0];
        let well = "UPDATE milady_sandboxes SET environment_vars = '{}' WHERE id = $1";
        update_agent(&lab, agent, well).await;
        assert_retry_succeeds(&lab, agent, job).await;
    });
}

/// Two jobs that create the agents' network at the same moment leave two of one name, and Docker refuses the
/// name from then on. The network in which agents cannot reach each other is the one that is kept.
#[test]
fn an_agent_starts_on_a_host_with_two_networks_of_the_same_name() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let isolation = json!({"com.docker.network.bridge.enable_icc": "false"});
        // Two of each, so that neither the order of creation nor that of the ids decides.
        let mut isolated_ids = Vec::new();
        for options in [&json!({}), &isolation, &isolation, &json!({})] {
            let body = json!({"Name": "milady-agents", "Driver": "bridge", "Options": options});
            let created = engine.call("POST", "/networks/create", Some(&body)).await;
            let id = created.expect("a network")["Id"].clone();
            if *options == isolation {
                isolated_ids.push(id);
            }
        }
        isolated_ids.sort_by_key(|id| id.as_str().map(str::to_owned));
        let ambiguous = engine.call("GET", "/networks/milady-agents", None).await;
        assert!(ambiguous.is_err(), "{ambiguous:?}");
        lab.running_agent(json!({})).await;
        let network = engine.call("GET", "/networks/milady-agents", None).await;
        let network = network.expect("one network");
        assert_eq!(network["Id"], isolated_ids[0]);
        assert_eq!(network["Options"], isolation);
    });
}

#[test]
fn a_container_of_an_earlier_attempt_is_replaced_and_a_foreign_one_is_kept() {
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
        let older_id = engine
            .run(&name(agent), &body(labels))
            .await
            .expect("a container");
        let job = request_start(&lab, agent).await;
        assert_job_succeeds(&lab, agent, job).await;
        let all = engine.containers().await.expect("containers");
        assert_eq!(all.len(), 1, "{all:?}");
        assert_ne!(all[0].id, older_id);
        assert_eq!(all[0].labels["milady.attempt"], "1");
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;

        let sentence = "Another container has the agent's name";
        for labels in [json!({}), json!({"milady.agent": Uuid::nil()})] {
            let agent = lab.agent(json!({})).await;
            let foreign_id = engine
                .run(&name(agent), &body(labels))
                .await
                .expect("a container");
            let job = request_start(&lab, agent).await;
            assert_eq!(run_job(&lab, &worker(&lab), job).await, "again");
            assert_job_error(&lab, agent, sentence).await;
            let all = engine.containers().await.expect("containers");
            let containers_by_id: Vec<_> = all
                .iter()
                .map(|one| (&one.id, one.state.as_str()))
                .collect();
            assert_eq!(containers_by_id, [(&foreign_id, "running")]);
            assert_eq!(lab.slots().await, [0]);
            assert_eq!(lab.placement(agent).await["ports"], json!([null, null]));
            engine.remove(&foreign_id).await.expect("removed");
            assert_retry_succeeds(&lab, agent, job).await;
        }
    });
}

#[test]
fn a_start_without_a_free_slot_or_a_host_succeeds_later() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let world = &lab.world;
        for (cause, sentence) in [
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
            let job = assert_start_fails(&lab, &worker(&lab), agent, sentence).await;
            world
                .execute("UPDATE docker_nodes SET capacity = 8, enabled = true")
                .await;
            assert_retry_succeeds(&lab, agent, job).await;
        }
    });
}

#[test]
fn a_start_without_a_database_service_succeeds_later() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let admin = "AGENT_DATABASE_ADMIN_URL";
        let agent = lab.agent(json!({})).await;
        let without_service = worker(&lab).without(admin);
        let sentence = "No database service is configured";
        let job = assert_start_fails(&lab, &without_service, agent, sentence).await;
        assert_eq!(database_error(&lab, agent).await.as_deref(), Some(sentence));
        assert_retry_succeeds(&lab, agent, job).await;

        // A server that is down and comes back at the same address.
        let server = tests::suite::server().await.url("postgres");
        let server: sqlx::postgres::PgConnectOptions = server.parse().expect("an address");
        let port = dev::ports::free_port().expect("a port");
        let url = format!(
            "postgres://{}@127.0.0.1:{port}/postgres",
            server.get_username()
        );
        let with_forwarder = worker(&lab).with(admin, &url);
        let agent = lab.agent(json!({})).await;
        let sentence = "The database service cannot be reached";
        let job = assert_start_fails(&lab, &with_forwarder, agent, sentence).await;
        assert!(!lab.has_database(agent).await);
        assert_eq!(database_error(&lab, agent).await.as_deref(), Some(sentence));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .expect("the port");
        let forwarder = tokio::spawn(forward(listener, server.get_port()));
        lab.advance_clock(super::RETRY_AFTER).await;
        assert_eq!(run_job(&lab, &with_forwarder, job).await, "completed");
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

/// Forwards every connection to a port.
async fn forward(listener: TcpListener, port: u16) {
    while let Ok((mut one, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(mut other) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                let _ = tokio::io::copy_bidirectional(&mut one, &mut other).await;
            }
        });
    }
}
