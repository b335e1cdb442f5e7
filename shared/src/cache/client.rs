//! The client. Owns: its time-outs, and what its errors mean.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use tracing::warn;

use super::{Cache, CacheError};

impl Cache {
    pub(super) async fn client(&self) -> &Client {
        self.client
            .get_or_init(|| client(self.endpoint.as_deref()))
            .await
    }
}

async fn client(endpoint: Option<&str>) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(5))
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(2)
        .with_initial_backoff(Duration::from_millis(100));
    let mut config = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .retry_config(retries);
    if let Some(endpoint) = endpoint {
        config = config
            .endpoint_url(endpoint)
            .region(Region::from_static("us-east-1"))
            .test_credentials();
    }
    Client::new(&config.load().await)
}

/// No answer, or a refusal: said once, without anybody else's text.
pub(super) fn away<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> CacheError {
    let kind = match error {
        SdkError::TimeoutError(_) => "timed out",
        SdkError::DispatchFailure(_) => "not reachable",
        SdkError::ServiceError(refused) => refused.err().code().unwrap_or("refused"),
        _ => "failed",
    };
    warn!(kind, "DynamoDB did not answer");
    CacheError::Away
}

/// Something is stored that nobody of us writes.
pub(super) fn broken(what: &'static str) -> CacheError {
    warn!(what, "what is cached cannot be read");
    CacheError::Broken
}
