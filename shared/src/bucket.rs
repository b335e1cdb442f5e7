//! The bucket with the states of backups, in S3 or a service that speaks its protocol. Owns: the requests, and how long they
//! may take. Does not own: what an object is called and holds.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use tracing::warn;

use crate::aws::AwsAccount;
use crate::failure::{Failure, with_reason};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For one request with its body: 50 MB within a minute.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// How long an address from [`Bucket::presign`] can be used.
pub const ADDRESS_LIFETIME: Duration = Duration::from_mins(5);

/// The objects are texts in JSON. A browser that downloads one decompresses it.
const HEADERS: [(&str, &str); 2] = [
    ("content-encoding", "gzip"),
    ("content-type", "application/json"),
];

pub type BucketError = Failure<BucketErrorReason>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketErrorReason {
    #[error("the bucket cannot be reached")]
    Unreachable,
    #[error("the bucket answered with HTTP {0}")]
    Status(u16),
    #[error("the object is too large")]
    TooLarge,
    #[error("the request could not be made")]
    Invalid,
}

#[derive(Clone)]
pub struct Bucket {
    name: String,
    account: AwsAccount,
}

/// Shows neither the name nor the account.
impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bucket")
    }
}

impl Bucket {
    #[must_use]
    pub fn new(name: String, account: AwsAccount) -> Self {
        Self { name, account }
    }

    /// Stores an object, compressed with gzip. Replaces one of the same name.
    pub async fn put(&self, key: &str, compressed: Bytes) -> Result<(), BucketError> {
        self.send("PUT", key, &HEADERS, compressed).await?;
        Ok(())
    }

    /// Reads an object of at most `max_bytes`, as it was stored.
    pub async fn get(&self, key: &str, max_bytes: usize) -> Result<Bytes, BucketError> {
        let mut response = self.send("GET", key, &[], Bytes::new()).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > max_bytes {
                return Err(BucketErrorReason::TooLarge.into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// Deletes an object. One that is gone is no error.
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        match self.send("DELETE", key, &[], Bytes::new()).await {
            Err(error) if error.reason() == BucketErrorReason::Status(404) => Ok(()),
            deleted => deleted.map(|_| ()),
        }
    }

    /// An address at which a browser downloads an object under this name, which is a plain word, for
    /// [`ADDRESS_LIFETIME`]. `None` if a setting does not fit into an address.
    #[must_use]
    pub fn presign(&self, key: &str, file_name: &str) -> Option<String> {
        let disposition = format!("attachment%3B%20filename%3D%22{file_name}%22");
        let object = self.account.object_url(&self.name, key);
        let url = format!("{object}?response-content-disposition={disposition}");
        self.account.presigned_url(&url, ADDRESS_LIFETIME, now())
    }

    async fn send(
        &self,
        method: &'static str,
        key: &str,
        headers: &[(&'static str, &'static str)],
        body: Bytes,
    ) -> Result<Response, BucketError> {
        let url = self.account.object_url(&self.name, key);
        let request = self
            .account
            .object_request(method, &url, headers, body, now());
        let request = request.and_then(|request| reqwest::Request::try_from(request).ok());
        let request = request.ok_or(BucketErrorReason::Invalid)?;
        // A function stores states rarely, so no connection is kept.
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(with_reason(BucketErrorReason::Invalid))?;
        let response = client.execute(request).await.map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            warn!(
                method,
                status = status.as_u16(),
                "the bucket of the backups refused a request"
            );
            return Err(BucketErrorReason::Status(status.as_u16()).into());
        }
        Ok(response)
    }
}

fn unreachable(error: reqwest::Error) -> BucketError {
    BucketError::new(BucketErrorReason::Unreachable).with_cause(error.without_url())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a signature holds the time at which S3 receives it"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
