//! Custom resources of CloudFormation. Owns: the form of its requests and of an answer, and sending the answer. Does not
//! own: what a resource is, and what a request for it changes.

use std::fmt;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::warn;
use url::Url;

use crate::failure::{Failure, with_reason};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ATTEMPTS: u32 = 3;
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// An answer may have 4,096 bytes, and the reason is its longest part.
const MAX_REASON_CHARS: usize = 500;

/// What CloudFormation asks for. A rollback is an update, to the properties of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum RequestType {
    Create,
    Update,
    Delete,
}

/// A request for a custom resource, which waits until it is answered.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResourceRequest {
    pub request_type: RequestType,
    /// Its values are texts, whatever the template says.
    #[serde(default)]
    pub resource_properties: Value,
    /// Those of before; null unless the request is an update.
    #[serde(default)]
    pub old_resource_properties: Value,
    /// Whoever knows it may answer.
    #[serde(rename = "ResponseURL")]
    response_url: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
    /// `None` if the resource is to be created.
    physical_resource_id: Option<String>,
}

/// Shows neither the address nor the properties.
impl fmt::Debug for ResourceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ResourceRequest({:?} {})",
            self.request_type, self.logical_resource_id
        )
    }
}

pub type AnswerError = Failure<AnswerErrorReason>;

/// Why CloudFormation did not get an answer. It waits until its own timeout, unless the invocation is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerErrorReason {
    #[error("the ResponseURL is not an https address")]
    BadAddress,
    #[error("CloudFormation could not be reached")]
    Unreachable,
    #[error("CloudFormation refused the answer")]
    Refused,
}

impl ResourceRequest {
    /// The request in an event. `None` for an event that is not of CloudFormation.
    #[must_use]
    pub fn parse(event: &Value) -> Option<Result<Self, serde_json::Error>> {
        event.get("RequestType")?;
        Some(Self::deserialize(event))
    }

    /// Answers the request: that it succeeded, or the reason why it failed.
    pub async fn answer(&self, outcome: Result<(), &str>) -> Result<(), AnswerError> {
        let url = self.url()?;
        let body = self.body(outcome).to_string();
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ATTEMPT_TIMEOUT)
            .build()
            .map_err(with_reason(AnswerErrorReason::Unreachable))?;
        let mut attempt = 1;
        loop {
            match put(&client, url.clone(), body.clone()).await {
                Err(error) if attempt < MAX_ATTEMPTS => {
                    let cause = error.cause();
                    warn!(attempt, cause, "CloudFormation did not take an answer");
                }
                result => return result,
            }
            attempt += 1;
            sleep(RETRY_AFTER).await;
        }
    }

    /// The answer goes to S3, or to this machine in tests.
    fn url(&self) -> Result<Url, AnswerError> {
        let url: Url = self
            .response_url
            .parse()
            .map_err(with_reason(AnswerErrorReason::BadAddress))?;
        let is_local = url.scheme() == "http" && url.host_str() == Some("127.0.0.1");
        if url.scheme() == "https" || is_local {
            Ok(url)
        } else {
            Err(AnswerErrorReason::BadAddress.into())
        }
    }

    fn body(&self, outcome: Result<(), &str>) -> Value {
        // Another identifier would have CloudFormation delete the resource of the first one.
        let identifier = self.physical_resource_id.as_deref();
        let identifier = identifier.unwrap_or(&self.logical_resource_id);
        let mut body = json!({
            "Status": "SUCCESS",
            "PhysicalResourceId": identifier,
            "StackId": self.stack_id,
            "RequestId": self.request_id,
            "LogicalResourceId": self.logical_resource_id,
        });
        if let Err(reason) = outcome {
            body["Status"] = json!("FAILED");
            let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
            body["Reason"] = json!(reason);
        }
        body
    }
}

/// Without a content type: the address is signed for a request that has none.
async fn put(client: &Client, url: Url, body: String) -> Result<(), AnswerError> {
    let response = client.put(url).body(body).send().await;
    let response = response
        .map_err(|error| with_reason(AnswerErrorReason::Unreachable)(error.without_url()))?;
    if response.status() == StatusCode::OK {
        return Ok(());
    }
    let status = response.status().as_u16();
    warn!(status, "CloudFormation refused an answer");
    Err(AnswerErrorReason::Refused.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut Value)) -> ResourceRequest {
        let mut event = json!({
            "RequestType": "Create",
            "ResponseURL": "https://s3.example/answer?signature=hunter2",
            "StackId": "stack",
            "RequestId": "request",
            "LogicalResourceId": "Schema",
            "ResourceType": "Custom::Schema",
            "ResourceProperties": {"Migrations": "2"},
        });
        change(&mut event);
        let request = ResourceRequest::parse(&event).expect("an event of CloudFormation");
        request.expect("a request")
    }

    #[test]
    fn other_events_are_no_requests_and_incomplete_requests_are_errors() {
        for event in [json!({}), json!(null), json!({"adopt": true})] {
            assert!(ResourceRequest::parse(&event).is_none(), "{event}");
        }
        for event in [
            json!({"RequestType": "Create"}),
            json!({"RequestType": "Break"}),
        ] {
            let request = ResourceRequest::parse(&event);
            assert!(request.is_some_and(|request| request.is_err()), "{event}");
        }
    }

    #[test]
    fn an_answer_repeats_the_identifiers_and_bounds_the_reason() {
        let created = request(|_| ()).body(Ok(()));
        assert_eq!(
            created,
            json!({"Status": "SUCCESS", "PhysicalResourceId": "Schema", "StackId": "stack",
                "RequestId": "request", "LogicalResourceId": "Schema"})
        );
        let failed = request(|event| event["PhysicalResourceId"] = json!("first"));
        let failed = failed.body(Err(&"é".repeat(10_000)));
        assert_eq!(failed["Status"], "FAILED");
        assert_eq!(failed["PhysicalResourceId"], "first");
        assert!(failed.to_string().len() < 4_096);
    }

    #[test]
    fn only_safe_addresses_are_answered_and_none_is_shown() {
        for (address, is_safe) in [
            ("https://s3.example/a", true),
            ("http://127.0.0.1:7/a", true),
            ("http://s3.example/a", false),
            ("file:///etc/passwd", false),
            ("", false),
        ] {
            let request = request(|event| event["ResponseURL"] = json!(address));
            assert_eq!(request.url().is_ok(), is_safe, "{address}");
        }
        let shown = format!("{:?}", request(|_| ()));
        assert_eq!(shown, "ResourceRequest(Create Schema)");
    }
}
