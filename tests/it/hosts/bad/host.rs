//! A host that cannot be worked on, its engine, and the key that opens it.

use dev::host::{Options, Sshd};
use serde_json::json;
use sqlx::Connection as _;
use tests::{Lab, run};

use super::{asked, fails, run_in, says, worker, works, works_now};

const MISMATCH: &str = "The host's key is not the one we know";

async fn pin(lab: &Lab, pin: Option<&str>) {
    sqlx::query("UPDATE docker_nodes SET host_key_fingerprint = $1")
        .bind(pin)
        .execute(&lab.world.pool)
        .await
        .expect("a pin");
}

async fn pinned(lab: &Lab) -> Option<String> {
    sqlx::query_scalar("SELECT host_key_fingerprint FROM docker_nodes")
        .fetch_one(&lab.world.pool)
        .await
        .expect("a pin")
}

#[test]
fn a_host_or_engine_that_is_down_is_said_and_the_next_try_works() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let (sshd, engine) = (&lab.hosts[0].sshd, &lab.hosts[0].engine);

        let agent = lab.agent(json!({})).await;
        sshd.stop().expect("stopped");
        let job = fails(&lab, &worker(&lab), agent, "The host cannot be reached").await;
        sshd.start_again().await.expect("an SSH server");
        works(&lab, agent, job).await;

        let agent = lab.agent(json!({})).await;
        engine.stop().expect("stopped");
        let job = asked(&lab, agent).await;
        assert_eq!(run_in(&lab, &worker(&lab), job).await, "again");
        says(&lab, agent, "Docker does not answer on the host").await;
        engine.start_again().await.expect("an engine");
        lab.assert_nothing_runs(agent, "Docker was down").await;
        works(&lab, agent, job).await;

        // A worker that has a connection already, and loses it.
        let agent = lab.agent(json!({})).await;
        sshd.stop().expect("stopped");
        assert_eq!(lab.try_start(agent).await.1, "again");
        says(&lab, agent, "The host cannot be reached").await;
        sshd.start_again().await.expect("an SSH server");
        lab.later(super::BACK_OFF).await;
        let job = lab.last_job(agent).await["id"].clone();
        let job = serde_json::from_value(job).expect("an id");
        assert_eq!(lab.run(job).await, "completed");
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;

        let canary = super::Canary::of(&lab);
        for function in ["job-run", "agent-provision", "agent-delete", "agent-get"] {
            for line in lab.world.logs(function).await {
                canary.is_silent_in(&line);
            }
        }
    });
}

#[test]
fn a_key_that_opens_nothing_is_said_and_the_next_try_with_the_right_one_works() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let sshd = &lab.hosts[0].sshd;
        let stranger = sshd.stranger_key_path();
        let stranger = stranger.to_str().expect("a path");
        let missing = format!("{stranger}-missing");
        for (worker, said) in [
            (
                worker(&lab).with("MILADY_SSH_KEY_PATH", stranger),
                "The host refused our key",
            ),
            (
                worker(&lab).with("MILADY_SSH_KEY_PATH", &missing),
                "No SSH key is set up",
            ),
            (
                worker(&lab).without("MILADY_SSH_KEY_PATH"),
                "No SSH key is set up",
            ),
        ] {
            let agent = lab.agent(json!({})).await;
            let job = fails(&lab, &worker, agent, said).await;
            works(&lab, agent, job).await;
        }
    });
}

#[test]
fn a_host_that_refuses_to_forward_is_said() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let options = Options {
            forwarding: false,
            ..Options::default()
        };
        let refusing = Sshd::start(&options).await.expect("an SSH server");
        let (port, pin) = (lab.hosts[0].sshd.port(), lab.hosts[0].sshd.fingerprint());
        let lead = async |port: u16, pin: String| {
            sqlx::query("UPDATE docker_nodes SET ssh_port = $1, host_key_fingerprint = $2")
                .bind(i32::from(port))
                .bind(pin)
                .execute(&lab.world.pool)
                .await
                .expect("a node");
        };
        lead(refusing.port(), refusing.fingerprint()).await;
        let key = refusing.private_key_path();
        let worker = worker(&lab).with("MILADY_SSH_KEY_PATH", key.to_str().expect("a path"));
        let agent = lab.agent(json!({})).await;
        let said = "The host refuses to forward connections";
        let job = fails(&lab, &worker, agent, said).await;
        lead(port, pin).await;
        works(&lab, agent, job).await;
    });
}

#[test]
fn nothing_is_sent_to_a_host_whose_key_is_not_the_pinned_one() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let sshd = &lab.hosts[0].sshd;
        let old = sshd.fingerprint();

        // Without a pin it is pinned to what it shows first.
        pin(&lab, None).await;
        let agent = lab.agent(json!({})).await;
        let job = asked(&lab, agent).await;
        works_now(&lab, agent, job).await;
        assert_eq!(pinned(&lab).await.as_deref(), Some(old.as_str()));
        assert_eq!(lab.delete(agent).await, "completed");

        // It stays so: another key is not let near, and changes nothing.
        sshd.change_host_key().await.expect("another key");
        let before = (
            sshd.connections().expect("a log"),
            sshd.commands().expect("a file"),
        );
        let agent = lab.agent(json!({})).await;
        let job = fails(&lab, &worker(&lab), agent, MISMATCH).await;
        assert_eq!(pinned(&lab).await, Some(old));

        // What is no fingerprint lets nobody in.
        for (wait, malformed) in [(31, "SHA256:"), (121, "")] {
            pin(&lab, Some(malformed)).await;
            lab.later(chrono::TimeDelta::seconds(wait)).await;
            if wait == 31 {
                assert_eq!(run_in(&lab, &worker(&lab), job).await, "again");
            } else {
                assert_eq!(run_in(&lab, &worker(&lab), job).await, "failed");
                let place = lab.place(agent).await;
                assert_eq!(place["error"], json!(MISMATCH), "{place}");
            }
            says(&lab, agent, MISMATCH).await;
            assert_eq!(pinned(&lab).await.as_deref(), Some(malformed));
        }
        let after = (
            sshd.connections().expect("a log"),
            sshd.commands().expect("a file"),
        );
        assert_eq!(before, after);
        lab.assert_nothing_runs(agent, "not let in").await;

        // An operator pins the new one.
        pin(&lab, Some(&sshd.fingerprint())).await;
        let job = asked(&lab, agent).await;
        works_now(&lab, agent, job).await;
        assert_eq!(lab.delete(agent).await, "completed");

        // Somebody pins another one between the first connection and its pin.
        pin(&lab, None).await;
        let agent = lab.agent(json!({})).await;
        let job = asked(&lab, agent).await;
        let mut other = sqlx::PgConnection::connect(&lab.world.url)
            .await
            .expect("a session");
        let theirs = format!("SHA256:{}", "A".repeat(43));
        let mut tx = other.begin().await.expect("begin");
        sqlx::query("UPDATE docker_nodes SET host_key_fingerprint = $1")
            .bind(&theirs)
            .execute(&mut *tx)
            .await
            .expect("a pin");
        let commit = async {
            lab.world.until_somebody_waits().await;
            tx.commit().await.expect("commit");
        };
        let worker = worker(&lab);
        let (outcome, ()) = tokio::join!(run_in(&lab, &worker, job), commit);
        assert_eq!(outcome, "again");
        says(&lab, agent, MISMATCH).await;
        lab.assert_nothing_runs(agent, "pinned to another").await;
        assert_eq!(pinned(&lab).await, Some(theirs));
        pin(&lab, Some(sshd.fingerprint().trim_start_matches("SHA256:"))).await;
        works(&lab, agent, job).await;
    });
}
