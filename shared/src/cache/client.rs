//! The client of `DynamoDB`. Owns: its timeouts, and logging its errors.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use tracing::warn;

use super::{Cache, CacheError};
use crate::failure::Cause;

impl Cache {
    pub(super) async fn client(&self) -> &Client {
        self.client
            .get_or_init(|| client(self.endpoint.as_deref()))
            .await
    }
}

/// A call ends after five seconds at most: two attempts of two seconds and what lies between them.
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

/// Logs the kind of the error. Its text, which can hold anything, goes nowhere.
pub(super) fn unavailable<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> CacheError {
    let error = match error {
        SdkError::TimeoutError(_) => "timed out",
        SdkError::DispatchFailure(_) => "not reachable",
        SdkError::ServiceError(refused) => refused.err().code().unwrap_or("refused"),
        _ => "failed",
    };
    warn!(error, "DynamoDB call failed; the cache is unavailable");
    CacheError::Unavailable
}

/// Logs what is wrong with a stored item.
pub(super) fn unreadable(error: &'static str) -> CacheError {
    warn!(
        error,
        "cached item cannot be read; the next refresh run replaces it"
    );
    CacheError::Unreadable
}

/// The same for an error of a library.
pub(super) fn unreadable_by<C: Cause>(error: &'static str) -> impl FnOnce(C) -> CacheError {
    move |cause| {
        let cause = cause.class();
        warn!(
            error,
            cause, "cached item cannot be read; the next refresh run replaces it"
        );
        CacheError::Unreadable
    }
}
