//! What can be wrong with a host, with what runs on it or with an agent: the owner reads one sentence
//! that gives nothing away, nothing is left over, and the same job works once the cause is gone.

mod agent;
mod container;
mod disk;
mod host;
mod ports;

use std::time::Duration;

use chrono::TimeDelta;
use dev::runtime::Outcome;
use regex::Regex;
use serde_json::{Value, json};
use tests::Lab;
use tests::calls::agent_path;
use tests::lab::job_of;
use tests::suite::Function;
use uuid::Uuid;

/// Longer than a job waits after its first try.
pub(super) const BACK_OFF: TimeDelta = TimeDelta::seconds(31);
/// Where a word ends or begins, as a pattern.
const END: &str = r"(?-u:\b)";

/// What of its hosts nobody is told: where they are, who logs in, with which key, where Docker listens.
pub(super) struct Canary(Vec<Regex>);

impl Canary {
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
            // A word that is a number may well be something else.
            secrets.push(format!(
                r"port[^0-9a-z]{{0,3}}{port}{END}|[^\x22]:{port}{END}"
            ));
            secrets.push(format!("{END}{}{END}", regex::escape(user)));
            let fingerprint = host.sshd.fingerprint();
            let digits = fingerprint.trim_start_matches("SHA256:");
            secrets.push(regex::escape(digits));
        }
        let read = |secret: &String| Regex::new(secret).expect(secret);
        Self(secrets.iter().map(read).collect())
    }

    /// None of it is in this text.
    pub(super) fn is_silent_in(&self, text: &str) {
        for secret in &self.0 {
            assert!(!secret.is_match(text), "{secret} is in: {text}");
        }
    }
}

/// Asks for an agent's start; the job.
pub(super) async fn asked(lab: &Lab, agent: Uuid) -> Uuid {
    job_of(
        &lab.world
            .post(&lab.key, &agent_path(agent, "/provision"))
            .await,
    )
}

/// The worker as the lab sets it up.
pub(super) fn worker(lab: &Lab) -> Function {
    lab.world.function("job-run")
}

/// Runs a job once in a worker of its own, whose log gives nothing away; how it ended.
pub(super) async fn run_in(lab: &Lab, worker: &Function, job: Uuid) -> String {
    let instance = worker.start().await;
    let event = json!({"detail-type": "job.due", "detail": {"jobId": job}});
    let outcome = instance.invoke(event, Duration::from_mins(1)).await;
    instance.kill().await;
    let canary = Canary::of(lab);
    for line in instance.logs() {
        canary.is_silent_in(&line);
    }
    match outcome {
        Outcome::Success(answer) => answer["outcome"].as_str().expect("an outcome").to_owned(),
        other => panic!("job-run failed: {other:?}"),
    }
}

/// The agent's last job says this, and neither it nor the agent's row nor what its owner is shown of
/// either gives more away.
pub(super) async fn says(lab: &Lab, agent: Uuid, said: &str) {
    let job = lab.last_job(agent).await;
    assert_eq!(job["error"], json!(said), "{job}");
    let canary = Canary::of(lab);
    canary.is_silent_in(&job.to_string());
    canary.is_silent_in(&lab.place(agent).await.to_string());
    let id = job["id"].as_str().expect("an id");
    for path in [format!("/api/v1/jobs/{id}"), agent_path(agent, "")] {
        let shown = lab.world.get(&lab.key, &path).await;
        assert_eq!(shown.status(), 200, "{shown:?}");
        canary.is_silent_in(shown.text());
    }
}

/// A first try fails with this sentence and leaves nothing.
pub(super) async fn fails(lab: &Lab, worker: &Function, agent: Uuid, said: &str) -> Uuid {
    let job = asked(lab, agent).await;
    assert_eq!(run_in(lab, worker, job).await, "again", "{said}");
    says(lab, agent, said).await;
    lab.assert_nothing_runs(agent, said).await;
    job
}

/// Once its time has come the same job works. Nothing is left of the agent after that.
pub(super) async fn works(lab: &Lab, agent: Uuid, job: Uuid) {
    lab.later(BACK_OFF).await;
    works_now(lab, agent, job).await;
    assert_eq!(lab.delete(agent).await, "completed");
    lab.assert_gone(agent, "deleted").await;
}

/// The job works.
pub(super) async fn works_now(lab: &Lab, agent: Uuid, job: Uuid) {
    let outcome = run_in(lab, &worker(lab), job).await;
    let job = lab.last_job(agent).await;
    assert_eq!(outcome, "completed", "{job}");
    assert_eq!(job["error"], Value::Null, "{job}");
    assert_eq!(lab.containers(agent).await, [1]);
    assert_eq!(lab.slots().await, [1]);
    assert_eq!(lab.place(agent).await["status"], json!("running"));
}
