//! Calling webhooks: those of jobs and those of organizations. Owns: which addresses are connected to, the signature, and
//! what counts as an answer. The connection is made to exactly the addresses that were checked. Does not own: what is
//! sent, and when a call is repeated.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use reqwest::redirect::Policy;
use sha2::Sha256;
use tokio::time::timeout;
use url::{Host, Url};

use crate::domain::address::AddressPolicy;
use crate::domain::redacted::debug_without_secrets;
use crate::domain::webhook;
use crate::failure::{Failure, with_reason};

/// For one call, from the resolution of the name to the head of the response.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

pub type CallError = Failure<CallErrorReason>;

/// Why a call failed. The texts may be shown: they hold nothing that the receiver sent but its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallErrorReason {
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
}

/// What is posted to a webhook.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    pub url: &'a str,
    /// The key that the message is signed with; `None` for a receiver that checks no signature.
    pub secret: Option<&'a str>,
    /// JSON.
    pub body: &'a str,
    /// The time in the signature.
    pub at: DateTime<Utc>,
}

debug_without_secrets!(Message<'_>: at);

/// Posts a message. Returns the status of the answer, which is one of success. The body of the answer is not read.
pub async fn call(policy: AddressPolicy, message: Message<'_>) -> Result<u16, CallError> {
    let called = timeout(CALL_TIMEOUT, post(policy, message)).await;
    called.unwrap_or_else(|_| Err(CallErrorReason::TimedOut.into()))
}

async fn post(policy: AddressPolicy, message: Message<'_>) -> Result<u16, CallError> {
    let url = webhook::parse(message.url, policy).map_err(CallErrorReason::Url)?;
    let client = client(&url, policy).await?;
    let mut request = client.post(url).header("content-type", "application/json");
    if let Some(secret) = message.secret {
        let signature = signature(secret, message.at.timestamp(), message.body);
        request = request.header("x-milady-signature", signature);
    }
    let sent = request.body(message.body.to_owned()).send().await;
    let response = sent.map_err(|error| {
        let reason = if error.is_timeout() {
            CallErrorReason::TimedOut
        } else {
            CallErrorReason::Unreachable
        };
        CallError::new(reason).with_cause(error.without_url())
    })?;
    let status = response.status();
    if status.is_success() {
        Ok(status.as_u16())
    } else {
        Err(CallErrorReason::Status(status.as_u16()).into())
    }
}

/// A client that connects only to the checked addresses of the URL's host. It follows no redirect and uses no proxy,
/// because both would lead to other addresses.
async fn client(url: &Url, policy: AddressPolicy) -> Result<reqwest::Client, CallError> {
    let addresses = resolve(url, policy).await?;
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
        .map_err(with_reason(CallErrorReason::NoClient))
}

/// The addresses that the URL's name leads to. All of them must be allowed: a name that also leads to a private network
/// is not a public one.
async fn resolve(url: &Url, policy: AddressPolicy) -> Result<Vec<SocketAddr>, CallError> {
    let port = url
        .port_or_known_default()
        .ok_or(CallErrorReason::Url("must have a port"))?;
    let host = url
        .host_str()
        .ok_or(CallErrorReason::Url("must name a host"))?;
    let host = host.trim_matches(['[', ']']);
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(with_reason(CallErrorReason::NotResolved))?
        .collect();
    let is_allowed = |address: &SocketAddr| policy.allows(address.ip());
    if addresses.is_empty() || !addresses.iter().all(is_allowed) {
        return Err(CallErrorReason::AddressRefused.into());
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
}
