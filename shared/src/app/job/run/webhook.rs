//! Telling a webhook that its job has ended. Owns: what is sent, how it is signed, to which address,
//! and how often it is tried. The connection goes to the very address that was checked.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hmac::{Hmac, Mac};
use reqwest::redirect::Policy;
use serde_json::json;
use sha2::Sha256;
use sqlx::PgPool;
use tracing::warn;
use url::{Host, Url};
use uuid::Uuid;

use crate::db;
use crate::db::jobs::work::DueWebhook;
use crate::domain::address::is_public;
use crate::domain::webhook::{self, Reach};

/// Tries a webhook gets.
pub const TRIES: i32 = 5;
/// What the answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Calls a finished job's webhook, if it has one that is due. Answers whether it did.
///
/// # Errors
/// Database errors; the webhook is then called again.
pub async fn webhook_call(pool: &PgPool, reach: Reach, job_id: Uuid) -> sqlx::Result<bool> {
    let mut conn = pool.acquire().await?;
    let now = db::clock::billing_clock(&mut conn).await?;
    // Should we die on the way, it is due again after the usual wait.
    let again = |attempt| now + wait(attempt);
    let due = db::jobs::work::webhook_claim(&mut conn, job_id, now, again(1)).await?;
    drop(conn);
    let Some(due) = due else { return Ok(false) };
    let result = if due.attempt <= TRIES {
        call(reach, job_id, &due, now).await
    } else {
        // Its last caller died before it could say so.
        Err("all tries were used")
    };
    if let Err(reason) = result {
        warn!(job.id = %job_id, webhook.attempt = due.attempt, reason, "a webhook was not delivered");
    }
    let (status, again_at) = match result {
        Ok(()) => ("delivered", None),
        Err(_) if due.attempt < TRIES => ("pending", Some(again(due.attempt))),
        Err(_) => ("failed", None),
    };
    let mut conn = pool.acquire().await?;
    db::jobs::work::webhook_settle(&mut conn, job_id, due.attempt, status, again_at).await?;
    Ok(true)
}

/// After the first try half a minute, then twice as long each time.
fn wait(attempt: i32) -> TimeDelta {
    TimeDelta::seconds(30) * 2_i32.pow(u32::try_from(attempt - 1).unwrap_or_default().min(6))
}

async fn call(
    reach: Reach,
    job_id: Uuid,
    due: &DueWebhook,
    now: DateTime<Utc>,
) -> Result<(), &'static str> {
    let url = webhook::parse(&due.url, reach)?;
    let addresses = resolve(&url, reach).await?;
    let mut client = reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(ANSWER_WITHIN)
        .user_agent("milady-control-plane");
    if let Some(Host::Domain(name)) = url.host() {
        client = client.resolve_to_addrs(name, &addresses);
    }
    let client = client.build().map_err(|_| "no client")?;
    let completed = due.completed_at.unwrap_or(now);
    let body = json!({
        "event": "job.completed", "jobId": job_id, "type": due.kind, "status": due.status,
        "result": due.result, "completedAt": completed.to_rfc3339_opts(SecondsFormat::Millis, true),
    })
    .to_string();
    let mut request = client.post(url).header("content-type", "application/json");
    if let Some(secret) = &due.secret {
        request = request.header(
            "x-milady-signature",
            signature(secret, now.timestamp(), &body),
        );
    }
    let answer = request.body(body).send().await.map_err(|error| {
        if error.is_timeout() {
            "timed out"
        } else {
            "not reachable"
        }
    })?;
    if answer.status().is_success() {
        Ok(())
    } else {
        Err("refused")
    }
}

/// The addresses of the URL's host, each of which must be allowed: a name that also leads to a private
/// network is no public one.
async fn resolve(url: &Url, reach: Reach) -> Result<Vec<SocketAddr>, &'static str> {
    let port = url.port_or_known_default().ok_or("no port")?;
    let host = url.host_str().ok_or("no host")?.trim_matches(['[', ']']);
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(|_| "not resolved")?.collect();
    let allowed = |address: &SocketAddr| reach == Reach::Anywhere || is_public(address.ip());
    if addresses.is_empty() || !addresses.iter().all(allowed) {
        return Err("not a public address");
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
    // A key of any length is taken; the type does not know.
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
    fn the_waits_double() {
        assert_eq!(
            [1, 2, 3, 4].map(|n| wait(n).num_seconds()),
            [30, 60, 120, 240]
        );
    }
}
