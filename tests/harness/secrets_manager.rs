//! A stand-in for Secrets Manager: returns secrets over HTTP in its JSON 1.1 protocol, or fails as
//! a test says.

use std::collections::BTreeMap;

use dev::calls::{self, Call};
use serde_json::{Value, json};
use shared::aws::AwsAccount;
use shared::secrets::Secrets;
use wiremock::matchers::{any, body_partial_json, header, header_regex};
use wiremock::{Match, Mock, MockBuilder, MockServer, Request, ResponseTemplate};

/// The answer for a secret.
#[derive(Clone, Debug)]
pub enum StoredSecret {
    Text(String),
    /// Bytes in base64.
    Binary(String),
    /// An internal error on every request.
    InternalError,
    /// An internal error on the first request, then this text.
    TextAfterError(String),
    /// The first text on the first request, then the second one.
    Changed(String, String),
}

/// A running stand-in, which stops when dropped.
#[derive(Debug)]
pub struct SecretsManager(MockServer);

impl SecretsManager {
    /// Starts a stand-in with these secrets by ARN.
    pub async fn start(secrets: BTreeMap<String, StoredSecret>) -> Self {
        let server = MockServer::start().await;
        Mock::given(Recording)
            .respond_with(refusal(500, "InternalServiceError"))
            .with_priority(1)
            .mount(&server)
            .await;
        for (arn, secret) in secrets {
            let text = |text: &str| found(&arn, "SecretString", text);
            let error = refusal(500, "InternalServiceError");
            let (first, response) = match secret {
                StoredSecret::Text(only) => (None, text(&only)),
                StoredSecret::Binary(bytes) => (None, found(&arn, "SecretBinary", &bytes)),
                StoredSecret::InternalError => (None, error),
                StoredSecret::TextAfterError(later) => (Some(error), text(&later)),
                StoredSecret::Changed(first, later) => (Some(text(&first)), text(&later)),
            };
            let mock = |response: ResponseTemplate| {
                signed_get_secret_value()
                    .and(body_partial_json(json!({"SecretId": arn})))
                    .respond_with(response)
            };
            if let Some(first) = first {
                let first = mock(first).up_to_n_times(1).with_priority(1);
                first.mount(&server).await;
            }
            mock(response).with_priority(2).mount(&server).await;
        }
        signed_get_secret_value()
            .respond_with(refusal(400, "ResourceNotFoundException"))
            .with_priority(3)
            .mount(&server)
            .await;
        Mock::given(any())
            .respond_with(refusal(400, "InvalidRequestException"))
            .with_priority(4)
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
        self.requests().await.len()
    }

    pub async fn requests(&self) -> Vec<Request> {
        let requests = self.0.received_requests().await;
        requests.expect("requests are recorded")
    }
}

/// Records each request, and matches none.
struct Recording;

impl Match for Recording {
    fn matches(&self, request: &Request) -> bool {
        let header = |name: &str| request.headers.get(name)?.to_str().ok();
        let action = header("x-amz-target").unwrap_or_default();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let call = Call {
            action: &action.replace("secretsmanager.", "secretsmanager:"),
            resource: body["SecretId"].as_str().unwrap_or_default(),
            leading_keys: Vec::new(),
        };
        calls::record(header("authorization").unwrap_or_default(), &call);
        false
    }
}

/// A client of the service at this address, with the credentials of AWS's examples.
#[must_use]
pub fn secrets_at(url: &str) -> Secrets {
    Secrets::new(Some(AwsAccount {
        region: "us-east-1".to_owned(),
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: SECRET_ACCESS_KEY.to_owned(),
        session_token: Some("a-session-token".to_owned()),
        endpoint: Some(url.to_owned()),
    }))
}

/// The key that [`secrets_at`] signs with.
pub const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

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
