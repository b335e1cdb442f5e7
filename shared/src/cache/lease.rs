//! Who renews the snapshot, and who asks for that: at most one each.

use aws_sdk_dynamodb::types::ReturnValue;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::client::{away, broken};
use super::item::{LEASE, PK, REQUEST, SK, TOKEN, moment, number, read_number, text};
use super::{Cache, CacheError};

/// One asks for another snapshot; the others need not for so long.
const ASKED_EVERY: TimeDelta = TimeDelta::seconds(10);

/// The right to renew the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose it is.
    pub owner: Uuid,
    /// Larger than that of any lease before: what an owner writes whose lease is over is known by it.
    pub token: u64,
}

impl Cache {
    /// Takes the lease until this time. None: somebody else holds it.
    ///
    /// # Errors
    /// [`CacheError`].
    pub async fn lease_take(
        &self,
        owner: Uuid,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<Lease>, CacheError> {
        let update = self.client().await.update_item();
        let update = update
            .table_name(&self.table)
            .key(PK, text(LEASE))
            .key(SK, text(LEASE))
            // Where the item was lost, the tokens go on above all that there were: nobody takes a
            // thousand leases a second. The owner's own question may come twice, for the SDK repeats
            // what was not answered.
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
            .expression_attribute_values(":owner", text(owner))
            .expression_attribute_values(":until", moment(until))
            .expression_attribute_values(":now", moment(now))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":number", text("N"))
            .return_values(ReturnValue::UpdatedNew);
        match Box::pin(update.send()).await {
            Ok(answer) => {
                let item = answer.attributes.unwrap_or_default();
                let token = read_number(&item, TOKEN);
                let token = token.ok_or_else(|| broken("the lease has no token"))?;
                Ok(Some(Lease { owner, token }))
            }
            Err(error) => match error.as_service_error() {
                // Its owner is writing the head at this moment, or somebody takes it.
                Some(refused)
                    if refused.is_conditional_check_failed_exception()
                        || refused.is_transaction_conflict_exception() =>
                {
                    Ok(None)
                }
                _ => Err(away(&error)),
            },
        }
    }

    /// Returns the lease before it ends by itself. That somebody else holds it by now is no error.
    ///
    /// # Errors
    /// [`CacheError::Away`].
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
                _ => Err(away(&error)),
            },
        }
    }

    /// Whether the caller is the one who is to ask for another snapshot: nobody did in the last 10 s.
    ///
    /// # Errors
    /// [`CacheError::Away`].
    pub async fn refresh_ask(&self, now: DateTime<Utc>) -> Result<bool, CacheError> {
        let put = self.client().await.put_item();
        let put = put
            .table_name(&self.table)
            .item(PK, text(REQUEST))
            .item(SK, text(REQUEST))
            .item("requested_at", moment(now))
            .condition_expression(
                "attribute_not_exists(requested_at) OR NOT attribute_type(requested_at, :number) \
                OR requested_at <= :before",
            )
            .expression_attribute_values(":before", moment(now - ASKED_EVERY))
            .expression_attribute_values(":number", text("N"));
        match Box::pin(put.send()).await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(refused) if refused.is_conditional_check_failed_exception() => Ok(false),
                _ => Err(away(&error)),
            },
        }
    }
}
