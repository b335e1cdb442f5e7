//! Images from a registry that requires a login.

use dev::host::{Registry, image};
use serde_json::{Value, json};
use tests::calls::JOB_TIMEOUT;
use tests::lab::can_run;
use tests::{Lab, run};

use super::failures::{RETRY_AFTER, request_start, worker};

const ACCOUNTS: &str = "REGISTRY_ACCOUNTS";

#[test]
fn only_the_account_of_the_images_registry_is_used_for_a_pull() {
    run(async {
        if !can_run(&Registry::availability()) {
            return;
        }
        let Some(mut lab) = Lab::new(1).await else {
            return;
        };
        let registry = Registry::start().await.expect("a registry");
        lab.allow_images(&registry.name());
        let engine = &lab.hosts[0].engine;
        let image = registry
            .push(engine, image::SAMPLE, "team/agent")
            .await
            .expect("pushed");
        let (user, password) = registry.credentials();
        let account = |registry: String, password: &str| {
            json!({registry: {"username": user, "password": password}}).to_string()
        };
        let wrong = "wrong-canary-88ab";
        let broken = "{\"broken-canary";
        let refused = "The image's registry requires an account that may pull it";
        for (accounts, sentence) in [
            (None, refused),
            (Some(account(registry.name(), wrong)), refused),
            (Some(account("ghcr.io".to_owned(), password)), refused),
            (
                Some(broken.to_owned()),
                "The registry's credentials cannot be read",
            ),
        ] {
            let agent = lab.agent(json!({"dockerImage": image})).await;
            let job = request_start(&lab, agent).await;
            let mut function = worker(&lab);
            if let Some(accounts) = &accounts {
                function = function.with(ACCOUNTS, accounts);
            }
            let (outcome, log) = run_logged(&function, job).await;
            assert_eq!(outcome, "again");
            let job_row = lab.last_job(agent).await;
            assert_eq!(job_row["error"], json!(sentence), "{job_row}");
            lab.assert_nothing_runs(agent, sentence).await;
            let mut all = log;
            all.push_str(&job_row.to_string());
            all.push_str(&lab.placement(agent).await.to_string());
            for secret in [user, password, wrong, "canary"] {
                assert!(!all.contains(secret), "{secret} is in {all}");
            }
        }

        // The same job succeeds with the right account.
        let agent = lab.agent(json!({"dockerImage": image})).await;
        let job = request_start(&lab, agent).await;
        assert_eq!(run_logged(&worker(&lab), job).await.0, "again");
        lab.advance_clock(RETRY_AFTER).await;
        let right = worker(&lab).with(ACCOUNTS, &account(registry.name(), password));
        let (outcome, log) = run_logged(&right, job).await;
        assert_eq!(outcome, "completed", "{}", lab.last_job(agent).await);
        for secret in [user, password] {
            assert!(!log.contains(secret), "{secret} is in {log}");
        }
        let all = engine.containers().await.expect("containers");
        let images: Vec<&str> = all.iter().map(|found| found.image.as_str()).collect();
        assert_eq!(images, [image.as_str()]);
        let status = lab.bridge_result(agent, "status.get", json!({})).await;
        assert_eq!(status, json!({"memories": 0}));
        let inspected = engine
            .call("GET", &format!("/containers/{}/json", all[0].id), None)
            .await;
        let inspected: Value = inspected.expect("a container");
        assert!(!inspected.to_string().contains(password));
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;
    });
}

/// Runs a job once in a new worker. Returns the outcome and the log.
async fn run_logged(function: &tests::Function, job: uuid::Uuid) -> (String, String) {
    let instance = function.start().await;
    let event = json!({"detail-type": "job.due", "detail": {"jobId": job}});
    let timeout = JOB_TIMEOUT;
    let outcome = instance.invoke(event, timeout).await;
    instance.kill().await;
    let dev::runtime::Outcome::Success(answer) = outcome else {
        panic!("job-run failed: {outcome:?}");
    };
    let outcome = answer["outcome"].as_str().expect("an outcome");
    (outcome.to_owned(), instance.logs().join("\n"))
}
