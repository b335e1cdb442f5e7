//! An agent whose environment is encrypted runs like any other.

use serde_json::{Value, json};
use tests::{Lab, run};
use uuid::Uuid;

/// The value of a variable in the agent's container.
async fn variable(lab: &Lab, agent: Uuid, name: &str) -> Option<String> {
    let path = format!("/containers/milady-{agent}/json");
    let inspected = lab.hosts[0].engine.call("GET", &path, None).await;
    let inspected = inspected.expect("a container");
    let lines = inspected["Config"]["Env"].as_array().expect("variables");
    let prefix = format!("{name}=");
    let mut values = lines
        .iter()
        .filter_map(|line| line.as_str()?.strip_prefix(&prefix));
    values.next().map(str::to_owned)
}

#[test]
fn an_agent_gets_its_encrypted_variables_and_keeps_its_own_secrets() {
    run(async {
        let Some(mut lab) = Lab::new(1).await else {
            return;
        };
        let setting = "OLDER_APPLICATION".to_owned();
        lab.world.settings.insert(setting, "gone".to_owned());
        let agent = lab
            .running_agent(json!({"environmentVars": {"API_KEY": "canary"}}))
            .await;
        assert_eq!(
            variable(&lab, agent, "API_KEY").await.as_deref(),
            Some("canary")
        );
        let secret = variable(&lab, agent, "JWT_SECRET").await;
        assert_eq!(secret.as_ref().map(String::len), Some(64));
        let (_, outcome) = lab.request_and_run(agent, "/suspend").await;
        assert_eq!(outcome, "completed");
        lab.start(agent).await;
        assert_eq!(variable(&lab, agent, "JWT_SECRET").await, secret);
        let column: Value = sqlx::query_scalar("SELECT environment_vars FROM milady_sandboxes")
            .fetch_one(&lab.world.pool)
            .await
            .expect("an environment");
        assert_eq!(
            column,
            json!({"API_KEY": "", "JWT_SECRET": "", "MILADY_API_TOKEN": ""})
        );
        assert_eq!(lab.delete(agent).await, "completed");
        let left = "SELECT (SELECT count(*) FROM cloud.agent_environments)
            + (SELECT count(*) FROM cloud.agent_databases)";
        assert_eq!(lab.world.count(left).await, 0);
    });
}
