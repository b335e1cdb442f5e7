//! The webhook of a job, called when the job has ended. Owns: what is sent, how it is signed, to which address, and how
//! often it is attempted. The connection is made to exactly the addresses that were checked.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, Mac};
use reqwest::redirect::Policy;
use serde_json::json;
use sha2::Sha256;
use tracing::warn;
use url::{Host, Url};

use crate::app::stored_secrets::webhook_secret_location;
use crate::db;
use crate::db::Database;
use crate::db::jobs::webhooks::DueWebhook;
use crate::domain::address::AddressPolicy;
use crate::domain::ids::JobId;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook;
use crate::encryption::EncryptionKeys;
use crate::failure::{Failure, with_reason};

const MAX_ATTEMPTS: i32 = 5;
/// For one call, from the connection to the end of the response.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

type DeliveryError = Failure<DeliveryErrorReason>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum DeliveryErrorReason {
    #[error("the secret that signs it cannot be decrypted")]
    Secret,
    #[error("the URL {0}")]
    Url(&'static str),
    #[error("the receiver's name could not be resolved")]
    NotResolved,
    #[error("the receiver's name leads to an address that is not allowed")]
    AddressRefused,
    #[error("no HTTP client could be made")]
    NoClient,
    #[error("the receiver did not answer in time")]
    TimedOut,
    #[error("the receiver could not be reached")]
    Unreachable,
    #[error("the receiver answered with HTTP {0}")]
    Status(u16),
    /// The worker of the last attempt stopped before it could record how the attempt ended.
    #[error("all attempts are used up")]
    NoAttemptLeft,
}

/// Calls the webhook of a job that has ended, if it has one that is due. Returns whether a call was due.
///
/// # Errors
/// The database fails. The webhook is then called again.
pub async fn webhook_call(
    pool: &Database,
    keys: &EncryptionKeys,
    address_policy: AddressPolicy,
    job_id: JobId,
) -> sqlx::Result<bool> {
    let mut conn = pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    // If this worker dies before it records the result, the webhook is due again after 30 s, whatever the attempt.
    let due_again_at = now + retry_after(1);
    let due =
        db::jobs::webhooks::webhook_claim_of_any_organization(&mut conn, job_id, now, due_again_at)
            .await?;
    drop(conn);
    let Some(due) = due else { return Ok(false) };
    let delivered = if due.attempt <= MAX_ATTEMPTS {
        call(keys, address_policy, job_id, &due, now).await
    } else {
        Err(DeliveryErrorReason::NoAttemptLeft.into())
    };
    let has_attempt_left = due.attempt < MAX_ATTEMPTS;
    let retry_at = (delivered.is_err() && has_attempt_left).then(|| now + retry_after(due.attempt));
    let status = match (&delivered, retry_at) {
        (Ok(()), _) => "delivered",
        (Err(_), Some(_)) => "pending",
        (Err(_), None) => "failed",
    };
    if let Err(error) = delivered {
        let cause = error.cause();
        warn!(
            job.id = %job_id, attempt = due.attempt, %error, cause,
            "the webhook of job {job_id} was not delivered: {error}"
        );
    }
    let mut conn = pool.statements();
    db::jobs::webhooks::webhook_record_result_of_any_organization(
        &mut conn,
        job_id,
        due.attempt,
        status,
        retry_at,
    )
    .await?;
    Ok(true)
}

/// Half a minute after the first attempt, then twice as long each time.
fn retry_after(attempt: i32) -> TimeDelta {
    TimeDelta::seconds(30) * 2_i32.pow(u32::try_from(attempt - 1).unwrap_or_default().min(6))
}

async fn call(
    keys: &EncryptionKeys,
    address_policy: AddressPolicy,
    job_id: JobId,
    due: &DueWebhook,
    now: DateTime<Utc>,
) -> Result<(), DeliveryError> {
    let url = webhook::parse(&due.url, address_policy).map_err(DeliveryErrorReason::Url)?;
    let client = client(&url, address_policy).await?;
    let body = body(job_id, due, now);
    let mut request = client.post(url).header("content-type", "application/json");
    if let Some(secret) = &due.secret {
        let secret = keys.decrypt_text(secret, &webhook_secret_location(job_id));
        let secret = secret.map_err(with_reason(DeliveryErrorReason::Secret))?;
        let signature = signature(&secret, now.timestamp(), &body);
        request = request.header("x-milady-signature", signature);
    }
    let response = request.body(body).send().await.map_err(|error| {
        let reason = if error.is_timeout() {
            DeliveryErrorReason::TimedOut
        } else {
            DeliveryErrorReason::Unreachable
        };
        DeliveryError::new(reason).with_cause(error.without_url())
    })?;
    let status = response.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(DeliveryErrorReason::Status(status.as_u16()).into())
    }
}

fn body(job_id: JobId, due: &DueWebhook, now: DateTime<Utc>) -> String {
    let completed_at = due.completed_at.unwrap_or(now);
    json!({
        "event": "job.completed", "jobId": job_id, "type": due.kind, "status": due.status,
        "result": due.result,
        "completedAt": Timestamp(completed_at),
    })
    .to_string()
}

/// A client that connects only to the checked addresses of the URL's host. It follows no redirect and uses no proxy,
/// because both would lead to other addresses.
async fn client(
    url: &Url,
    address_policy: AddressPolicy,
) -> Result<reqwest::Client, DeliveryError> {
    let addresses = resolve(url, address_policy).await?;
    let mut client = reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(CALL_TIMEOUT)
        .user_agent("milady-control-plane");
    if let Some(Host::Domain(name)) = url.host() {
        client = client.resolve_to_addrs(name, &addresses);
    }
    client
        .build()
        .map_err(with_reason(DeliveryErrorReason::NoClient))
}

/// The addresses that the URL's name leads to. All of them must be allowed: a name that also leads to a private network
/// is not a public one.
async fn resolve(
    url: &Url,
    address_policy: AddressPolicy,
) -> Result<Vec<SocketAddr>, DeliveryError> {
    let port = url
        .port_or_known_default()
        .ok_or(DeliveryErrorReason::Url("must have a port"))?;
    let host = url
        .host_str()
        .ok_or(DeliveryErrorReason::Url("must name a host"))?;
    let host = host.trim_matches(['[', ']']);
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(with_reason(DeliveryErrorReason::NotResolved))?
        .collect();
    let is_allowed = |address: &SocketAddr| address_policy.allows(address.ip());
    if addresses.is_empty() || !addresses.iter().all(is_allowed) {
        return Err(DeliveryErrorReason::AddressRefused.into());
    }
    Ok(addresses)
}

/// `t=<unix>,v1=<hex hmac-sha256(secret, "<unix>.<body>")>`.
fn signature(secret: &str, unix: i64, body: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let digest = mac.map(|mut mac| {
        mac.update(format!("{unix}.{body}").as_bytes());
        hex::encode(mac.finalize().into_bytes())
    });
    // HMAC accepts keys of any length, so this error never occurs.
    format!("t={unix},v1={}", digest.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_hmac_sha256_of_time_and_body() {
        // printf '%s' '1772323200.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature("secret", 1_772_323_200, "{}"),
            "t=1772323200,v1=a48e46053abfa81476218beec39a2bea3c5f30dcdece6da7f94c5eeb28fede6c"
        );
    }

    #[test]
    fn each_wait_is_twice_as_long_as_the_one_before() {
        assert_eq!(
            [1, 2, 3, 4].map(|attempt| retry_after(attempt).num_seconds()),
            [30, 60, 120, 240]
        );
    }
}
