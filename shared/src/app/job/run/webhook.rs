//! The webhook of a job, called when the job has ended. Owns: what is sent, how often it is attempted, and that an
//! organization's receivers occupy few workers. The attempt is recorded before anything is sent, and no transaction is
//! open while the receiver is called.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tracing::{info, warn};

use crate::app::stored_secrets::webhook_secret_location;
use crate::db;
use crate::db::Database;
use crate::db::jobs::webhooks::DueWebhook;
use crate::domain::address::AddressPolicy;
use crate::domain::ids::JobId;
use crate::domain::lane::MAX_WEBHOOK_CALLS;
use crate::domain::timestamp::Timestamp;
use crate::encryption::EncryptionKeys;
use crate::failure::{Failure, with_reason};
use crate::webhook_client::{self, CallErrorReason, Message};

const MAX_ATTEMPTS: i32 = 5;
/// Five attempts take eight minutes. A webhook that is due for so long belongs to an organization that has more of them
/// than can be called.
const GIVE_UP_AFTER: TimeDelta = TimeDelta::days(1);

type DeliveryError = Failure<DeliveryErrorReason>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum DeliveryErrorReason {
    #[error("the secret that signs it cannot be decrypted")]
    Secret,
    #[error(transparent)]
    Call(CallErrorReason),
    /// The worker of the last attempt stopped before it could record how the attempt ended.
    #[error("all attempts are used up")]
    NoAttemptLeft,
}

/// Calls the webhook of a job that has ended, if it has one that is due and there is room for the call. Returns whether it
/// was called.
///
/// # Errors
/// The database fails. The webhook is then called again.
pub async fn webhook_call(
    pool: &Database,
    keys: &EncryptionKeys,
    address_policy: AddressPolicy,
    job_id: JobId,
) -> sqlx::Result<bool> {
    let Some(Claimed { due, at: now }) = claim(pool, job_id).await? else {
        return Ok(false);
    };
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

/// An attempt of this worker.
struct Claimed {
    due: DueWebhook,
    at: DateTime<Utc>,
}

/// `None` if the webhook is not due, or if as many of the organization's webhooks are called as may: the sweep announces it
/// again.
async fn claim(pool: &Database, job_id: JobId) -> sqlx::Result<Option<Claimed>> {
    let mut tx = pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let Some(organization_id) =
        db::jobs::webhooks::webhook_due_of_any_organization(&mut tx, job_id, now).await?
    else {
        return Ok(None);
    };
    db::jobs::webhooks::webhook_calls_lock(&mut tx, organization_id).await?;
    let calls = db::jobs::webhooks::webhook_calls_count(&mut tx, organization_id, now).await?;
    if calls >= MAX_WEBHOOK_CALLS {
        db::jobs::webhooks::webhook_turn_away(&mut tx, organization_id, job_id).await?;
        tx.commit().await?;
        info!(
            job.id = %job_id, organization.id = %organization_id,
            "the webhook of job {job_id} waits: as many of its organization are called as may"
        );
        return Ok(None);
    }
    // If this worker dies before it records the result, the webhook is due again after 30 s, whatever the attempt.
    let again_at = now + retry_after(1);
    let due =
        db::jobs::webhooks::webhook_claim(&mut tx, organization_id, job_id, now, again_at).await?;
    tx.commit().await?;
    Ok(due.map(|due| Claimed { due, at: now }))
}

/// Gives up webhooks that nobody could call for a day. Otherwise what an organization with slow receivers is not told would
/// grow without end, and each sweep would read all of it.
///
/// # Errors
/// The database fails. The next sweep repeats it.
pub async fn webhooks_give_up(pool: &Database) -> sqlx::Result<()> {
    let mut conn = pool.statements();
    let before = db::clock::billing_clock(&mut conn).await? - GIVE_UP_AFTER;
    let count = db::jobs::webhooks::webhooks_give_up_of_any_organization(&mut conn, before).await?;
    if count > 0 {
        warn!(
            webhooks = count,
            "{count} webhooks of jobs were due for a day without a call and are given up"
        );
    }
    Ok(())
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
    let secret = due.secret.as_deref().map(|secret| {
        let secret = keys.decrypt_text(secret, &webhook_secret_location(job_id));
        secret.map_err(with_reason(DeliveryErrorReason::Secret))
    });
    let secret = secret.transpose()?;
    let message = Message {
        url: &due.url,
        secret: secret.as_deref(),
        body: &body(job_id, due, now),
        at: now,
    };
    let called = webhook_client::call(address_policy, message).await;
    called.map_err(|error| error.map_reason(DeliveryErrorReason::Call))?;
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_twice_as_long_as_the_one_before() {
        assert_eq!(
            [1, 2, 3, 4].map(|attempt| retry_after(attempt).num_seconds()),
            [30, 60, 120, 240]
        );
    }
}
