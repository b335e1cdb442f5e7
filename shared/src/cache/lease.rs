//! The lease of the refresh run, and the limit on requests for one. At most one owner and one requester at
//! a time.

use crate::domain::ids::InvocationId;
use aws_sdk_dynamodb::types::ReturnValue;
use chrono::{DateTime, TimeDelta, Utc};

use super::client::{unavailable, unreadable};
use super::item::{LEASE, PK, REQUEST, SK, TOKEN, number, read_number, text, time};
use super::{Cache, CacheError};

/// After one reader has requested a run, no other reader needs to for this long.
const REQUEST_INTERVAL: TimeDelta = TimeDelta::seconds(10);

/// The right to renew the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub owner: InvocationId,
    /// The fencing token, larger than that of any lease before. An owner whose lease is over has an old one.
    pub token: u64,
}

impl Cache {
    /// Takes the lease. `None` if another owner holds it.
    pub async fn lease_take(
        &self,
        owner: InvocationId,
        now: DateTime<Utc>,
        end: DateTime<Utc>,
    ) -> Result<Option<Lease>, CacheError> {
        let update = self.client().await.update_item();
        let update = update
            .table_name(&self.table)
            .key(PK, text(LEASE))
            .key(SK, text(LEASE))
            // If the item is lost, the tokens continue from the time in milliseconds. That is greater than
            // every earlier token, because nobody takes a thousand leases a second. The owner may take its
            // own lease again, because the SDK repeats a call that got no answer.
            .update_expression(
                "SET #owner = :owner, #until = :until, #token = if_not_exists(#token, :now) + :one",
            )
            .condition_expression(
                "attribute_not_exists(#until) OR NOT attribute_type(#until, :number) \
                OR #until <= :now OR #owner = :owner",
            )
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_names("#until", "until")
            .expression_attribute_names("#token", TOKEN)
            .expression_attribute_values(":owner", text(owner.to_string()))
            .expression_attribute_values(":until", time(end))
            .expression_attribute_values(":now", time(now))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":number", text("N"))
            .return_values(ReturnValue::UpdatedNew);
        match Box::pin(update.send()).await {
            Ok(output) => {
                let item = output.attributes.unwrap_or_default();
                let token = read_number(&item, TOKEN);
                let token = token.ok_or_else(|| unreadable("the lease has no token"))?;
                Ok(Some(Lease { owner, token }))
            }
            Err(error) => match error.as_service_error() {
                // A conflict: the owner is writing the head at this moment, or another one is taking the
                // lease.
                Some(refused)
                    if refused.is_conditional_check_failed_exception()
                        || refused.is_transaction_conflict_exception() =>
                {
                    Ok(None)
                }
                _ => Err(unavailable(&error)),
            },
        }
    }

    /// Gives the lease back before it ends. Does nothing if another owner holds it by now.
    pub async fn lease_return(&self, lease: &Lease) -> Result<(), CacheError> {
        let update = self.client().await.update_item();
        let update = update
            .table_name(&self.table)
            .key(PK, text(LEASE))
            .key(SK, text(LEASE))
            .update_expression("REMOVE #owner, #until")
            .condition_expression("#token = :token")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_names("#until", "until")
            .expression_attribute_names("#token", TOKEN)
            .expression_attribute_values(":token", number(lease.token));
        match Box::pin(update.send()).await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(refused) if refused.is_conditional_check_failed_exception() => Ok(()),
                _ => Err(unavailable(&error)),
            },
        }
    }

    /// Records that the caller requests a run. Returns false, and records nothing, if another reader has done so
    /// in the last 10 s.
    pub async fn claim_refresh_request(&self, now: DateTime<Utc>) -> Result<bool, CacheError> {
        let put = self.client().await.put_item();
        let put = put
            .table_name(&self.table)
            .item(PK, text(REQUEST))
            .item(SK, text(REQUEST))
            .item("requested_at", time(now))
            .condition_expression(
                "attribute_not_exists(requested_at) OR NOT attribute_type(requested_at, :number) \
                OR requested_at <= :before",
            )
            .expression_attribute_values(":before", time(now - REQUEST_INTERVAL))
            .expression_attribute_values(":number", text("N"));
        match Box::pin(put.send()).await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(refused) if refused.is_conditional_check_failed_exception() => Ok(false),
                _ => Err(unavailable(&error)),
            },
        }
    }
}
