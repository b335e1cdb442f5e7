//! An image that comes from a registry which wants to know who asks.

use dev::host::{Registry, image};
use serde_json::{Value, json};
use tests::lab::can;
use tests::{Lab, run};

use super::bad::{BACK_OFF, asked, worker};

const ACCOUNTS: &str = "REGISTRY_ACCOUNTS";

#[test]
fn an_image_is_pulled_with_the_account_of_its_registry_and_with_no_other() {
    run(async {
        if !can(&Registry::availability()) {
            return;
        }
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let registry = Registry::start().await.expect("a registry");
        let engine = &lab.hosts[0].engine;
        let image = registry
            .take(engine, image::SAMPLE, "team/agent")
            .await
            .expect("pushed");
        let (user, password) = registry.account();
        let account = |registry: String, password: &str| {
            json!({registry: {"username": user, "password": password}}).to_string()
        };
        let wrong = "wrong-canary-88ab";
        let unread = "{\"broken-canary";
        let cannot = "The image cannot be pulled";
        for (accounts, said) in [
            (None, cannot),
            (Some(account(registry.name(), wrong)), cannot),
            (Some(account("ghcr.io".to_owned(), password)), cannot),
            (
                Some(unread.to_owned()),
                "The registry's credentials cannot be read",
            ),
        ] {
            let agent = lab.agent(json!({"dockerImage": image})).await;
            let job = asked(&lab, agent).await;
            let mut function = worker(&lab);
            if let Some(accounts) = &accounts {
                function = function.with(ACCOUNTS, accounts);
            }
            let (outcome, log) = run_logged(&function, job).await;
            assert_eq!(outcome, "again");
            let shown = lab.last_job(agent).await;
            assert_eq!(shown["error"], json!(said), "{shown}");
            lab.assert_nothing_runs(agent, said).await;
            let mut all = log;
            all.push_str(&shown.to_string());
            all.push_str(&lab.place(agent).await.to_string());
            for secret in [user, password, wrong, "canary"] {
                assert!(!all.contains(secret), "{secret} is in {all}");
            }
        }

        // The same job, with the right one.
        let agent = lab.agent(json!({"dockerImage": image})).await;
        let job = asked(&lab, agent).await;
        assert_eq!(run_logged(&worker(&lab), job).await.0, "again");
        lab.later(BACK_OFF).await;
        let right = worker(&lab).with(ACCOUNTS, &account(registry.name(), password));
        let (outcome, log) = run_logged(&right, job).await;
        assert_eq!(outcome, "completed", "{}", lab.last_job(agent).await);
        for secret in [user, password] {
            assert!(!log.contains(secret), "{secret} is in {log}");
        }
        let all = engine.containers().await.expect("containers");
        let images: Vec<&str> = all.iter().map(|found| found.image.as_str()).collect();
        assert_eq!(images, [image.as_str()]);
        let status = lab.ask(agent, "status.get", json!({})).await;
        assert_eq!(status, json!({"memories": 0}));
        let seen = engine
            .call("GET", &format!("/containers/{}/json", all[0].id), None)
            .await;
        let seen: Value = seen.expect("a container");
        assert!(!seen.to_string().contains(password));
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;
    });
}

/// Runs a job once in a worker of its own; how it ended, and what it logged.
async fn run_logged(function: &tests::Function, job: uuid::Uuid) -> (String, String) {
    let instance = function.start().await;
    let event = json!({"detail-type": "job.due", "detail": {"jobId": job}});
    let within = std::time::Duration::from_mins(1);
    let outcome = instance.invoke(event, within).await;
    instance.kill().await;
    let dev::runtime::Outcome::Success(answer) = outcome else {
        panic!("job-run failed: {outcome:?}");
    };
    let outcome = answer["outcome"].as_str().expect("an outcome");
    (outcome.to_owned(), instance.logs().join("\n"))
}
