//! Where secrets are kept. Owns: the places where a secret can be kept, and the Secrets Manager client, which is built
//! at first use. Does not own: what a secret means, and how long it is kept in memory.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_secretsmanager::Client;
use tokio::sync::OnceCell;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tracing::warn;

use crate::failure::{Failure, with_reason};

/// For reading one secret, including the SDK's retries.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a secret is kept.
#[derive(Clone)]
pub enum Secret {
    /// The secret itself.
    Text(String),
    File(PathBuf),
    /// In Secrets Manager, under this ARN.
    Stored(String),
}

/// Shows only the kind of place.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::File(_) => "File",
            Self::Stored(_) => "Stored",
        })
    }
}

pub type SecretError = Failure<SecretErrorReason>;

/// Why a secret could not be read. The texts hold neither its value nor its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretErrorReason {
    /// The file or the stored secret does not exist, must not be read, or was not read in time.
    #[error("the secret cannot be read")]
    Unreadable,
    #[error("the secret is not text")]
    NotText,
}

#[derive(Default)]
pub struct Secrets {
    endpoint: Option<String>,
    client: OnceCell<Client>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// The SDK's own settings apply: region, role, `AWS_ENDPOINT_URL_SECRETS_MANAGER`. Connects to nothing
    /// before the first stored secret is read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads stored secrets from a stand-in for Secrets Manager, with a made-up region and credentials.
    #[must_use]
    pub fn at(endpoint: &str) -> Self {
        Self {
            endpoint: Some(endpoint.to_owned()),
            client: OnceCell::new(),
        }
    }

    /// Reads the secret, without a cache. The last line break of a file is part of it.
    pub async fn read(&self, secret: &Secret) -> Result<String, SecretError> {
        timeout(READ_TIMEOUT, self.read_from(secret))
            .await
            .map_err(|_: Elapsed| {
                warn!(kind = ?secret, "a secret was not read in time");
                SecretErrorReason::Unreadable
            })?
    }

    async fn read_from(&self, secret: &Secret) -> Result<String, SecretError> {
        match secret {
            Secret::Text(text) => Ok(text.clone()),
            Secret::File(path) => {
                let bytes = tokio::fs::read(path).await;
                let bytes = bytes.map_err(with_reason(SecretErrorReason::Unreadable))?;
                String::from_utf8(bytes).map_err(with_reason(SecretErrorReason::NotText))
            }
            // Boxed: the SDK's futures are nested deeper than the compiler's recursion limit.
            Secret::Stored(arn) => Box::pin(self.read_stored(arn)).await,
        }
    }

    async fn read_stored(&self, arn: &str) -> Result<String, SecretError> {
        let client = self.client.get_or_init(|| self.client()).await;
        let response = client.get_secret_value().secret_id(arn).send().await;
        let response = response.map_err(|error| {
            let error = SecretError::new(SecretErrorReason::Unreadable).with_cause(error);
            warn!(
                cause = error.cause(),
                "Secrets Manager did not return a secret"
            );
            error
        })?;
        let text = response.secret_string;
        text.ok_or_else(|| SecretErrorReason::NotText.into())
    }

    async fn client(&self) -> Client {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_timeout(READ_TIMEOUT)
            .build();
        let mut config = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts);
        if let Some(endpoint) = &self.endpoint {
            config = config
                .endpoint_url(endpoint)
                .region(Region::from_static("us-east-1"))
                .test_credentials();
        }
        Client::new(&config.load().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn texts_and_files_are_read_byte_for_byte() {
        let secrets = Secrets::new();
        let read = async |secret: &Secret| {
            let text = secrets.read(secret).await;
            text.map_err(|error| error.reason())
        };
        let text = Secret::Text("it's\n".to_owned());
        assert_eq!(read(&text).await, Ok("it's\n".to_owned()));
        let path = std::env::temp_dir().join(format!("milady-secret-{}", std::process::id()));
        let file = Secret::File(path.clone());
        assert_eq!(read(&file).await, Err(SecretErrorReason::Unreadable));
        std::fs::write(&path, "ü€\n").expect("a file");
        assert_eq!(read(&file).await, Ok("ü€\n".to_owned()));
        std::fs::write(&path, [0xff, 0xfe]).expect("a file");
        assert_eq!(read(&file).await, Err(SecretErrorReason::NotText));
        std::fs::remove_file(&path).expect("the file is removed");
    }

    #[test]
    fn debug_shows_no_secret() {
        for secret in [
            Secret::Text("word".to_owned()),
            Secret::File("/etc/word".into()),
            Secret::Stored("arn:word".to_owned()),
        ] {
            assert!(!format!("{secret:?}").contains("word"));
        }
        assert_eq!(format!("{:?}", Secrets::at("http://word")), "Secrets");
    }
}
