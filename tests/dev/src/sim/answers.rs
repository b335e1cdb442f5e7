//! Answers of a simulated engine that a test writes itself: those of other versions, of Podman, and refusals.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

/// An answer in place of the usual one.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Method and path, as in [`Counts::requests`](super::Counts): `POST /containers/{id}/start`.
    endpoint: String,
    status: u16,
    body: String,
    /// How often it is still given; `None` for always.
    left: Option<u32>,
    delay: Duration,
}

/// An answer that is given now.
pub(super) struct TakenAnswer {
    pub(super) status: StatusCode,
    pub(super) body: String,
    pub(super) delay: Duration,
}

impl Answer {
    /// An answer with exactly this body.
    #[must_use]
    pub fn new(endpoint: &str, status: u16, body: &Value) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            status,
            body: body.to_string(),
            left: None,
            delay: Duration::ZERO,
        }
    }

    /// A refusal, in the form that Docker and Podman give it.
    #[must_use]
    pub fn refusal(endpoint: &str, status: u16, message: &str) -> Self {
        Self::new(endpoint, status, &json!({"message": message}))
    }

    /// Is given this often, and then the usual answer again.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self {
            left: Some(times),
            ..self
        }
    }

    /// Is given after this time.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

/// The answer to a request of this endpoint, if a test has written one.
pub(super) fn take(answers: &mut [Answer], endpoint: &str) -> Option<TakenAnswer> {
    let answer = answers
        .iter_mut()
        .find(|answer| answer.endpoint == endpoint && answer.left != Some(0))?;
    if let Some(left) = &mut answer.left {
        *left -= 1;
    }
    Some(TakenAnswer {
        status: StatusCode::from_u16(answer.status).ok()?,
        body: answer.body.clone(),
        delay: answer.delay,
    })
}

/// The oldest and the newest version of the API that an engine speaks: `1.<minor>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersions {
    oldest: u32,
    newest: u32,
}

impl ApiVersions {
    pub const DOCKER_19: Self = Self::new(12, 40);
    pub const DOCKER_20: Self = Self::new(12, 41);
    pub const DOCKER_24: Self = Self::new(12, 43);
    pub const DOCKER_28: Self = Self::new(24, 51);
    pub const DOCKER_29: Self = Self::new(44, 52);
    pub const PODMAN_5: Self = Self::new(24, 41);

    const fn new(oldest: u32, newest: u32) -> Self {
        Self { oldest, newest }
    }

    pub(super) fn oldest_text(self) -> String {
        format!("1.{}", self.oldest)
    }

    pub(super) fn newest_text(self) -> String {
        format!("1.{}", self.newest)
    }

    /// The text with which Docker refuses a version (`api/server/middleware/version.go`).
    pub(super) fn refusal(self, version: Option<u32>) -> Option<String> {
        let version = version?;
        if version < self.oldest {
            let oldest = self.oldest_text();
            return Some(format!(
                "client version 1.{version} is too old. Minimum supported API version is {oldest}, please upgrade \
                your client to a newer version"
            ));
        }
        let newest = self.newest_text();
        (version > self.newest).then(|| {
            format!(
                "client version 1.{version} is too new. Maximum supported API version is {newest}"
            )
        })
    }
}
