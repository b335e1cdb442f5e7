//! A stand-in for Secrets Manager: returns secrets over HTTP in its JSON 1.1 protocol, or fails as
//! a test says.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wiremock::matchers::{any, body_partial_json, header, header_regex};
use wiremock::{Mock, MockBuilder, MockServer, ResponseTemplate};

/// The answer for a secret.
#[derive(Clone, Debug)]
pub enum StoredSecret {
    Text(String),
    /// Bytes in base64.
    Binary(String),
    /// An internal error on every request.
    InternalError,
}

/// A running stand-in, which stops when dropped.
#[derive(Debug)]
pub struct SecretsManager(MockServer);

impl SecretsManager {
    /// Starts a stand-in with these secrets by ARN.
    pub async fn start(secrets: BTreeMap<String, StoredSecret>) -> Self {
        let server = MockServer::start().await;
        for (arn, secret) in secrets {
            let response = match secret {
                StoredSecret::Text(text) => found(&arn, "SecretString", &text),
                StoredSecret::Binary(bytes) => found(&arn, "SecretBinary", &bytes),
                StoredSecret::InternalError => refusal(500, "InternalServiceError"),
            };
            signed_get_secret_value()
                .and(body_partial_json(json!({"SecretId": arn})))
                .respond_with(response)
                .with_priority(1)
                .mount(&server)
                .await;
        }
        signed_get_secret_value()
            .respond_with(refusal(400, "ResourceNotFoundException"))
            .with_priority(2)
            .mount(&server)
            .await;
        Mock::given(any())
            .respond_with(refusal(400, "InvalidRequestException"))
            .with_priority(3)
            .mount(&server)
            .await;
        Self(server)
    }

    #[must_use]
    pub fn url(&self) -> String {
        self.0.uri()
    }

    /// The number of requests.
    pub async fn calls(&self) -> usize {
        let requests = self.0.received_requests().await;
        requests.expect("requests are recorded").len()
    }
}

fn signed_get_secret_value() -> MockBuilder {
    Mock::given(header("x-amz-target", "secretsmanager.GetSecretValue"))
        .and(header_regex("authorization", "/secretsmanager/"))
}

fn found(arn: &str, kind: &str, value: &str) -> ResponseTemplate {
    let body =
        json!({"ARN": arn, "Name": "secret", "VersionId": "v1", "CreatedDate": 1.5, kind: value});
    response(200, &body)
}

fn refusal(status: u16, kind: &str) -> ResponseTemplate {
    response(status, &json!({"__type": kind, "Message": "no"}))
}

fn response(status: u16, body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body.to_string(), "application/x-amz-json-1.1")
}
