//! The custom resource that stands for the schema. CloudFormation invokes this function before any other one gets its new
//! code, and goes on only after an answer of success.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;
use tracing::{error, info};

use super::deploy::{DeployError, deploy};
use crate::api::deps::DeploymentDeps;
use crate::cloud_formation::{AnswerError, RequestType, ResourceRequest};
use crate::invocation::Invocation;

/// What sending the answer takes at most, with its retries.
const ANSWER_RESERVE: Duration = Duration::from_secs(20);

/// Migrates and answers the request, also if the settings are wrong or the database does not answer.
pub(super) async fn handle(
    deps: Result<&DeploymentDeps, DeployError>,
    request: &ResourceRequest,
    invocation: &Invocation,
) -> Result<(), AnswerError> {
    let outcome = if is_without_effect(request) {
        info!(?request, "CloudFormation's request changes nothing");
        Ok(())
    } else {
        let time_left = invocation.time_left(ANSWER_RESERVE);
        deploy_within(time_left, deps).await
    };
    if let Err(reason) = &outcome {
        error!(%reason, "the deployment ends here; CloudFormation rolls it back");
    }
    let outcome = outcome.as_ref().copied().map_err(String::as_str);
    request.answer(outcome).await
}

async fn deploy_within(
    time_left: Duration,
    deps: Result<&DeploymentDeps, DeployError>,
) -> Result<(), String> {
    let deps = deps.map_err(|error| error.to_string())?;
    let deployed = timeout(time_left, Box::pin(deploy(deps, Value::Null))).await;
    let deployed = deployed.map_err(|_| "the migrations did not end in time; deploy again")?;
    deployed.map(|_| ()).map_err(|error| error.to_string())
}

/// Migrations only go forward. A deletion leaves the schema, for it holds everybody's data. A rollback, which comes from a
/// version with fewer migrations, leaves it to the older version, which works on the newer schema.
fn is_without_effect(request: &ResourceRequest) -> bool {
    let now = migrations(&request.resource_properties);
    let before = migrations(&request.old_resource_properties);
    let is_rollback = now.zip(before).is_some_and(|(now, before)| now < before);
    match request.request_type {
        RequestType::Create => false,
        RequestType::Update => is_rollback,
        RequestType::Delete => true,
    }
}

/// How many migrations a version knows.
fn migrations(properties: &Value) -> Option<u64> {
    let count = &properties["Migrations"];
    let text = count.as_str().and_then(|text| text.parse().ok());
    text.or_else(|| count.as_u64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_deletion_and_a_rollback_change_nothing() {
        for (kind, before, now, expected) in [
            ("Create", json!(null), json!("2"), false),
            ("Update", json!("1"), json!("2"), false),
            ("Update", json!("2"), json!("2"), false),
            ("Update", json!("10"), json!("9"), true),
            ("Update", json!(10), json!(9), true),
            ("Update", json!(null), json!("9"), false),
            ("Delete", json!(null), json!("2"), true),
        ] {
            let event = json!({
                "RequestType": kind, "ResponseURL": "https://s3.example/a", "StackId": "s",
                "RequestId": "r", "LogicalResourceId": "Schema",
                "ResourceProperties": {"Migrations": now},
                "OldResourceProperties": {"Migrations": before},
            });
            let request = ResourceRequest::parse(&event).expect("of CloudFormation");
            let request = request.expect("a request");
            assert_eq!(is_without_effect(&request), expected, "{event}");
        }
    }
}
