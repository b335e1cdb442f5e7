//! Where secrets are kept. Owns: the places where a secret can be kept, the request that reads one from Secrets Manager,
//! and secrets that are needed again and again. Does not own: what a secret means.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::aws::{AwsAccount, Service, error_name};
use crate::failure::{Cause, Failure, with_reason};

/// For reading one secret, with the second attempt.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2_400);
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How long a [`KeptSecret`] is kept: a rotated one is in use after this time.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Secrets Manager stores 64 KB.
const MAX_RESPONSE_BYTES: usize = 1 << 20;
const SERVICE: Service = Service {
    host: "secretsmanager",
    signing_name: "secretsmanager",
};
const HEADERS: [(&str, &str); 2] = [
    ("content-type", "application/x-amz-json-1.1"),
    ("x-amz-target", "secretsmanager.GetSecretValue"),
];

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
    /// The file or the stored secret does not exist, must not be read, or was not read in time. Or there are no
    /// credentials for Secrets Manager.
    #[error("the secret cannot be read")]
    Unreadable,
    #[error("the secret is not text")]
    NotText,
}

#[derive(Default)]
pub struct Secrets {
    /// Without it, stored secrets cannot be read.
    account: Option<AwsAccount>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

/// An attempt to read a stored secret that failed.
struct FailedAttempt {
    error: SecretError,
    /// Whether another attempt may succeed.
    may_pass: bool,
}

impl FailedAttempt {
    fn of_connection(cause: impl Cause) -> Self {
        Self {
            error: SecretError::new(SecretErrorReason::Unreadable).with_cause(cause),
            may_pass: true,
        }
    }

    fn last(reason: SecretErrorReason) -> Self {
        Self {
            error: reason.into(),
            may_pass: false,
        }
    }
}

impl Secrets {
    /// Connects to nothing before the first stored secret is read.
    #[must_use]
    pub fn new(account: Option<AwsAccount>) -> Self {
        Self { account }
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
            Secret::Stored(arn) => self.read_stored(arn).await,
        }
    }

    async fn read_stored(&self, arn: &str) -> Result<String, SecretError> {
        let Some(account) = &self.account else {
            warn!("there are no credentials for Secrets Manager; a secret was not read");
            return Err(SecretErrorReason::Unreadable.into());
        };
        let mut read = attempt(account, arn).await;
        if read.as_ref().is_err_and(|failed| failed.may_pass) {
            sleep(RETRY_AFTER).await;
            read = attempt(account, arn).await;
        }
        read.map_err(|failed| {
            let cause = failed.error.cause();
            warn!(cause, "Secrets Manager did not return a secret");
            failed.error
        })
    }
}

/// A secret that is read at most every 30 seconds, however often it is needed, and whether or not it can be read.
pub struct KeptSecret {
    place: Secret,
    secrets: Secrets,
    /// The lock is held while the secret is read, so that it is read once for all who wait.
    last: Mutex<Option<LastRead>>,
}

struct LastRead {
    at: Instant,
    text: Result<String, SecretErrorReason>,
}

/// Shows only the kind of place.
impl fmt::Debug for KeptSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

impl KeptSecret {
    /// Reads nothing before the secret is needed.
    #[must_use]
    pub fn new(place: Secret, secrets: Secrets) -> Self {
        Self {
            place,
            secrets,
            last: Mutex::default(),
        }
    }

    pub async fn text(&self) -> Result<String, SecretError> {
        let mut last = self.last.lock().await;
        if let Some(last) = last.as_ref()
            && last.at.elapsed() < READ_AGAIN_AFTER
        {
            return last.text.clone().map_err(SecretError::new);
        }
        let read = Box::pin(self.secrets.read(&self.place)).await;
        let text = match &read {
            Ok(text) => Ok(text.clone()),
            Err(error) => Err(error.reason()),
        };
        *last = Some(LastRead {
            at: Instant::now(),
            text,
        });
        read
    }
}

async fn attempt(account: &AwsAccount, arn: &str) -> Result<String, FailedAttempt> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a signature holds the time at which AWS receives it"
    )]
    let now = SystemTime::now();
    let body = json!({"SecretId": arn}).to_string();
    let request = account.post(SERVICE, "/", &HEADERS, body, now);
    let request = request.and_then(|request| reqwest::Request::try_from(request).ok());
    let request = request.ok_or_else(|| FailedAttempt::last(SecretErrorReason::Unreadable))?;
    // A function reads its secrets rarely, so no connection is kept.
    let client = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ATTEMPT_TIMEOUT)
        .build()
        .map_err(FailedAttempt::of_connection)?;
    let response = client.execute(request).await;
    read_response(response.map_err(|error| FailedAttempt::of_connection(error.without_url()))?)
        .await
}

async fn read_response(mut response: Response) -> Result<String, FailedAttempt> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "SecretString")]
        text: Option<String>,
    }
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(FailedAttempt::of_connection)?
    {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_RESPONSE_BYTES {
            return Err(FailedAttempt::last(SecretErrorReason::Unreadable));
        }
    }
    if !status.is_success() {
        let code = error_code(&body);
        let status_code = status.as_u16();
        warn!(
            status = status_code,
            code, "Secrets Manager refused a request"
        );
        let is_throttled = status_code == 429 || code.as_deref() == Some("ThrottlingException");
        return Err(FailedAttempt {
            error: SecretErrorReason::Unreadable.into(),
            may_pass: status.is_server_error() || is_throttled,
        });
    }
    // The error could hold a part of the secret.
    let answer = serde_json::from_slice::<Answer>(&body);
    let answer = answer.map_err(|_| FailedAttempt::last(SecretErrorReason::Unreadable))?;
    let not_text = || FailedAttempt::last(SecretErrorReason::NotText);
    answer.text.ok_or_else(not_text)
}

/// The name of the error, such as `ResourceNotFoundException`.
fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "__type")]
        kind: String,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    error_name(&answer.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn texts_and_files_are_read_byte_for_byte() {
        let secrets = Secrets::default();
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
        assert_eq!(format!("{:?}", Secrets::default()), "Secrets");
        let kept = KeptSecret::new(Secret::Text("word".to_owned()), Secrets::default());
        assert_eq!(format!("{kept:?}"), "Text");
    }

    #[test]
    fn only_names_of_errors_are_shown() {
        for (body, code) in [
            (
                r#"{"__type": "com.amazonaws#AccessDeniedException"}"#,
                Some("AccessDeniedException"),
            ),
            (
                r#"{"__type": "ThrottlingException", "Message": "word"}"#,
                Some("ThrottlingException"),
            ),
            (r#"{"__type": "the secret is word"}"#, None),
            ("word", None),
        ] {
            assert_eq!(error_code(body.as_bytes()).as_deref(), code, "{body}");
        }
    }
}
