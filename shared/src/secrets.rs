//! Where secrets are read from. Owns: the ways to keep one, and the Secrets Manager client, made when it
//! is first needed. Does not own: what a secret means, and for how long it is remembered.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tracing::warn;

/// What reading one secret may take, tries included.
const WITHIN: Duration = Duration::from_secs(5);

/// Where a secret is kept.
#[derive(Clone)]
pub enum Secret {
    /// This is it.
    Text(String),
    /// In a file.
    File(PathBuf),
    /// In Secrets Manager, under this ARN.
    Stored(String),
}

/// Only which of them it is.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::File(_) => "File",
            Self::Stored(_) => "Stored",
        })
    }
}

/// There is no secret to be had. What it displays holds neither its value nor its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It is not where it should be, or that place does not give it out in time.
    #[error("the secret cannot be read")]
    Unreadable,
    /// What is there is no text.
    #[error("the secret is not text")]
    NotText,
}

/// Reads secrets.
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
    /// Reads stored ones as the SDK's own settings say: region, role, `AWS_ENDPOINT_URL_SECRETS_MANAGER`.
    /// Nothing is opened before the first of them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads stored ones from a stand-in for Secrets Manager, with a region and credentials that are
    /// made up.
    #[must_use]
    pub fn at(endpoint: &str) -> Self {
        Self {
            endpoint: Some(endpoint.to_owned()),
            client: OnceCell::new(),
        }
    }

    /// Reads a secret anew, as it is: a file's last line break is part of it.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn read(&self, secret: &Secret) -> Result<String, SecretError> {
        let read = async {
            match secret {
                Secret::Text(text) => Ok(text.clone()),
                Secret::File(path) => {
                    let bytes = tokio::fs::read(path).await;
                    let bytes = bytes.map_err(|_| SecretError::Unreadable)?;
                    String::from_utf8(bytes).map_err(|_| SecretError::NotText)
                }
                // Boxed: the SDK's futures are nested deeper than the compiler likes.
                Secret::Stored(arn) => Box::pin(self.stored(arn)).await,
            }
        };
        let late = |_| {
            warn!(kind = ?secret, "a secret was not read in time");
            SecretError::Unreadable
        };
        timeout(WITHIN, read).await.map_err(late)?
    }

    async fn stored(&self, arn: &str) -> Result<String, SecretError> {
        let client = self.client.get_or_init(|| self.client()).await;
        let answer = client.get_secret_value().secret_id(arn).send().await;
        let answer = answer.map_err(|error| {
            let code = error.code().unwrap_or("no answer");
            warn!(code, "Secrets Manager did not give a secret");
            SecretError::Unreadable
        })?;
        answer.secret_string.ok_or(SecretError::NotText)
    }

    async fn client(&self) -> Client {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_timeout(WITHIN)
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
    async fn texts_and_files_are_read_as_they_are() {
        let secrets = Secrets::new();
        let text = Secret::Text("it's\n".to_owned());
        assert_eq!(secrets.read(&text).await, Ok("it's\n".to_owned()));
        let path = std::env::temp_dir().join(format!("milady-secret-{}", std::process::id()));
        let file = Secret::File(path.clone());
        assert_eq!(secrets.read(&file).await, Err(SecretError::Unreadable));
        std::fs::write(&path, "ü€\n").expect("a file");
        assert_eq!(secrets.read(&file).await, Ok("ü€\n".to_owned()));
        std::fs::write(&path, [0xff, 0xfe]).expect("a file");
        assert_eq!(secrets.read(&file).await, Err(SecretError::NotText));
        std::fs::remove_file(&path).expect("gone");
    }

    #[test]
    fn no_secret_is_shown() {
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
