//! A host that is down or refuses us, its Docker Engine, and host keys.

use dev::host::{Options, Sshd};
use serde_json::json;
use sqlx::Connection as _;
use tests::{Lab, run};

use super::{
    assert_job_error, assert_job_succeeds, assert_retry_succeeds, assert_start_fails,
    request_start, run_job, worker,
};

const MISMATCH: &str = "The host's key is not the one we know";

async fn set_pin(lab: &Lab, set_pin: Option<&str>) {
    sqlx::query("UPDATE docker_nodes SET host_key_fingerprint = $1")
        .bind(set_pin)
        .execute(&lab.world.pool)
        .await
        .expect("a pin");
}

async fn read_pin(lab: &Lab) -> Option<String> {
    sqlx::query_scalar("SELECT host_key_fingerprint FROM docker_nodes")
        .fetch_one(&lab.world.pool)
        .await
        .expect("a pin")
}

#[test]
fn a_start_on_a_host_that_is_down_succeeds_later() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let (sshd, engine) = (&lab.hosts[0].sshd, &lab.hosts[0].engine);

        let agent = lab.agent(json!({})).await;
        sshd.stop().expect("stopped");
        let job =
            assert_start_fails(&lab, &worker(&lab), agent, "The host cannot be reached").await;
        sshd.restart().await.expect("an SSH server");
        assert_retry_succeeds(&lab, agent, job).await;

        let agent = lab.agent(json!({})).await;
        engine.stop().expect("stopped");
        let job = request_start(&lab, agent).await;
        assert_eq!(run_job(&lab, &worker(&lab), job).await, "again");
        assert_job_error(&lab, agent, "Docker does not answer on the host").await;
        engine.restart().await.expect("an engine");
        lab.assert_nothing_runs(agent, "Docker was down").await;
        assert_retry_succeeds(&lab, agent, job).await;

        // A worker loses a connection that it has kept.
        let agent = lab.agent(json!({})).await;
        sshd.stop().expect("stopped");
        assert_eq!(lab.try_start(agent).await.1, "again");
        assert_job_error(&lab, agent, "The host cannot be reached").await;
        sshd.restart().await.expect("an SSH server");
        lab.advance_clock(super::RETRY_AFTER).await;
        let job = lab.last_job(agent).await["id"].clone();
        let job = serde_json::from_value(job).expect("an id");
        assert_eq!(lab.run(job).await, "completed");
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;

        let secrets = super::HostSecrets::of(&lab);
        for function in ["job-run", "agent-provision", "agent-delete", "agent-get"] {
            for line in lab.world.logs(function).await {
                secrets.assert_absent_from(&line);
            }
        }
    });
}

#[test]
fn a_start_with_a_wrong_or_missing_key_succeeds_with_the_right_one() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let sshd = &lab.hosts[0].sshd;
        let unauthorized_key = sshd.unauthorized_key_path();
        let unauthorized_key = unauthorized_key.to_str().expect("a path");
        let missing = format!("{unauthorized_key}-missing");
        for (worker, sentence) in [
            (
                worker(&lab).with("MILADY_SSH_KEY_PATH", unauthorized_key),
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
            let job = assert_start_fails(&lab, &worker, agent, sentence).await;
            assert_retry_succeeds(&lab, agent, job).await;
        }
    });
}

#[test]
fn a_host_that_does_not_forward_is_reported() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let options = Options {
            forwarding: false,
            ..Options::default()
        };
        let without_forwarding = Sshd::start(&options).await.expect("an SSH server");
        let (port, set_pin) = (lab.hosts[0].sshd.port(), lab.hosts[0].sshd.fingerprint());
        let point_to = async |port: u16, set_pin: String| {
            sqlx::query("UPDATE docker_nodes SET ssh_port = $1, host_key_fingerprint = $2")
                .bind(i32::from(port))
                .bind(set_pin)
                .execute(&lab.world.pool)
                .await
                .expect("a node");
        };
        point_to(without_forwarding.port(), without_forwarding.fingerprint()).await;
        let key = without_forwarding.private_key_path();
        let worker = worker(&lab).with("MILADY_SSH_KEY_PATH", key.to_str().expect("a path"));
        let agent = lab.agent(json!({})).await;
        let sentence = "The host refuses to forward connections";
        let job = assert_start_fails(&lab, &worker, agent, sentence).await;
        point_to(port, set_pin).await;
        assert_retry_succeeds(&lab, agent, job).await;
    });
}

#[test]
fn nothing_is_sent_to_a_host_with_another_key_than_the_pinned_one() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let sshd = &lab.hosts[0].sshd;
        let first_pin = sshd.fingerprint();

        // A host without a pin is pinned at the first connection.
        set_pin(&lab, None).await;
        let agent = lab.agent(json!({})).await;
        let job = request_start(&lab, agent).await;
        assert_job_succeeds(&lab, agent, job).await;
        assert_eq!(read_pin(&lab).await.as_deref(), Some(first_pin.as_str()));
        assert_eq!(lab.delete(agent).await, "completed");

        // Another key is refused and does not change the pin.
        sshd.change_host_key().await.expect("another key");
        let before = (
            sshd.connections().expect("a log"),
            sshd.commands().expect("a file"),
        );
        let agent = lab.agent(json!({})).await;
        let job = assert_start_fails(&lab, &worker(&lab), agent, MISMATCH).await;
        assert_eq!(read_pin(&lab).await, Some(first_pin));

        // A malformed pin matches no key.
        for (wait, malformed) in [(31, "SHA256:"), (121, "")] {
            set_pin(&lab, Some(malformed)).await;
            lab.advance_clock(chrono::TimeDelta::seconds(wait)).await;
            if wait == 31 {
                assert_eq!(run_job(&lab, &worker(&lab), job).await, "again");
            } else {
                assert_eq!(run_job(&lab, &worker(&lab), job).await, "failed");
                let placement = lab.placement(agent).await;
                assert_eq!(placement["error"], json!(MISMATCH), "{placement}");
            }
            assert_job_error(&lab, agent, MISMATCH).await;
            assert_eq!(read_pin(&lab).await.as_deref(), Some(malformed));
        }
        let after = (
            sshd.connections().expect("a log"),
            sshd.commands().expect("a file"),
        );
        assert_eq!(before, after);
        lab.assert_nothing_runs(agent, "not let in").await;

        // An operator pins the new key.
        set_pin(&lab, Some(&sshd.fingerprint())).await;
        let job = request_start(&lab, agent).await;
        assert_job_succeeds(&lab, agent, job).await;
        assert_eq!(lab.delete(agent).await, "completed");

        // Another session pins another key between the first connection and its pin.
        set_pin(&lab, None).await;
        let agent = lab.agent(json!({})).await;
        let job = request_start(&lab, agent).await;
        let mut other = sqlx::PgConnection::connect(&lab.world.url)
            .await
            .expect("a session");
        let other_pin = format!("SHA256:{}", "A".repeat(43));
        let mut tx = other.begin().await.expect("begin");
        sqlx::query("UPDATE docker_nodes SET host_key_fingerprint = $1")
            .bind(&other_pin)
            .execute(&mut *tx)
            .await
            .expect("a pin");
        let commit = async {
            lab.world.wait_until_a_session_is_blocked().await;
            tx.commit().await.expect("commit");
        };
        let worker = worker(&lab);
        let (outcome, ()) = tokio::join!(run_job(&lab, &worker, job), commit);
        assert_eq!(outcome, "again");
        assert_job_error(&lab, agent, MISMATCH).await;
        lab.assert_nothing_runs(agent, "pinned to another").await;
        assert_eq!(read_pin(&lab).await, Some(other_pin));
        set_pin(&lab, Some(sshd.fingerprint().trim_start_matches("SHA256:"))).await;
        assert_retry_succeeds(&lab, agent, job).await;
    });
}
