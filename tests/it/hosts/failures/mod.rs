//! Failures of a host, of what runs on it, or of an agent. For each: the owner reads one sentence without
//! secrets, nothing is left over, and the same job succeeds once the cause is gone.

mod agent;
mod container;
mod disk;
mod host;
mod ports;

use chrono::TimeDelta;
use dev::runtime::Outcome;
use regex::Regex;
use serde_json::{Value, json};
use tests::Lab;
use tests::calls::{JOB_TIMEOUT, agent_path};
use tests::lab::job_of;
use tests::suite::Function;
use uuid::Uuid;

/// Longer than a job waits after its first attempt.
pub(super) const RETRY_AFTER: TimeDelta = TimeDelta::seconds(31);
const WORD_BOUNDARY: &str = r"(?-u:\b)";

/// What must not be shown of the lab's hosts: addresses, users, keys, Docker sockets.
pub(super) struct HostSecrets(Vec<Regex>);

impl HostSecrets {
    pub(super) fn of(lab: &Lab) -> Self {
        let mut secrets = vec![
            r"127\.0\.0\.1".to_owned(),
            "localhost".to_owned(),
            "SHA256:".to_owned(),
            "test-keys".to_owned(),
            r"docker\.sock".to_owned(),
            "milady-(engine|sshd)".to_owned(),
            "BEGIN OPENSSH".to_owned(),
        ];
        for host in &lab.hosts {
            let (port, user) = (host.sshd.port(), host.sshd.user());
            // Only as a port: the same number can also be something else.
            secrets.push(format!(
                r"port[^0-9a-z]{{0,3}}{port}{WORD_BOUNDARY}|[^\x22]:{port}{WORD_BOUNDARY}"
            ));
            secrets.push(format!(
                "{WORD_BOUNDARY}{}{WORD_BOUNDARY}",
                regex::escape(user)
            ));
            let fingerprint = host.sshd.fingerprint();
            let digits = fingerprint.trim_start_matches("SHA256:");
            secrets.push(regex::escape(digits));
        }
        let compile = |secret: &String| Regex::new(secret).expect(secret);
        Self(secrets.iter().map(compile).collect())
    }

    pub(super) fn assert_absent_from(&self, text: &str) {
        for secret in &self.0 {
            assert!(!secret.is_match(text), "{secret} is in: {text}");
        }
    }
}

/// Requests an agent's start and returns the job.
pub(super) async fn request_start(lab: &Lab, agent: Uuid) -> Uuid {
    job_of(
        &lab.world
            .post(&lab.api_key, &agent_path(agent, "/provision"))
            .await,
    )
}

/// A worker with the lab's settings.
pub(super) fn worker(lab: &Lab) -> Function {
    lab.world.function("job-run")
}

/// Runs a job once in a new worker, checks that its log holds no secrets, and returns the outcome.
pub(super) async fn run_job(lab: &Lab, worker: &Function, job: Uuid) -> String {
    let instance = worker.start().await;
    let event = json!({"detail-type": "job.due", "detail": {"jobId": job}});
    let outcome = instance.invoke(event, JOB_TIMEOUT).await;
    instance.kill().await;
    let secrets = HostSecrets::of(lab);
    for line in instance.logs() {
        secrets.assert_absent_from(&line);
    }
    match outcome {
        Outcome::Success(response) => response["outcome"].as_str().expect("an outcome").to_owned(),
        other => panic!("job-run failed: {other:?}"),
    }
}

/// The agent's last job has this error, and neither the rows nor the routes of the job and the agent show
/// secrets.
pub(super) async fn assert_job_error(lab: &Lab, agent: Uuid, sentence: &str) {
    let job = lab.last_job(agent).await;
    assert_eq!(job["error"], json!(sentence), "{job}");
    let secrets = HostSecrets::of(lab);
    secrets.assert_absent_from(&job.to_string());
    secrets.assert_absent_from(&lab.placement(agent).await.to_string());
    let id = job["id"].as_str().expect("an id");
    for path in [format!("/api/v1/jobs/{id}"), agent_path(agent, "")] {
        let response = lab.world.get(&lab.api_key, &path).await;
        assert_eq!(response.status(), 200, "{response:?}");
        secrets.assert_absent_from(response.text());
    }
}

/// The first attempt to start fails with this error and leaves nothing over. Returns the job.
pub(super) async fn assert_start_fails(
    lab: &Lab,
    worker: &Function,
    agent: Uuid,
    sentence: &str,
) -> Uuid {
    let job = request_start(lab, agent).await;
    assert_eq!(run_job(lab, worker, job).await, "again", "{sentence}");
    assert_job_error(lab, agent, sentence).await;
    lab.assert_nothing_runs(agent, sentence).await;
    job
}

/// The second attempt of the job succeeds. Deletes the agent afterwards.
pub(super) async fn assert_retry_succeeds(lab: &Lab, agent: Uuid, job: Uuid) {
    lab.advance_clock(RETRY_AFTER).await;
    assert_job_succeeds(lab, agent, job).await;
    assert_eq!(lab.delete(agent).await, "completed");
    lab.assert_gone(agent, "deleted").await;
}

pub(super) async fn assert_job_succeeds(lab: &Lab, agent: Uuid, job: Uuid) {
    let outcome = run_job(lab, &worker(lab), job).await;
    let job = lab.last_job(agent).await;
    assert_eq!(outcome, "completed", "{job}");
    assert_eq!(job["error"], Value::Null, "{job}");
    assert_eq!(lab.containers(agent).await, [1]);
    assert_eq!(lab.slots().await, [1]);
    assert_eq!(lab.placement(agent).await["status"], json!("running"));
}
