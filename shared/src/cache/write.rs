//! Writing a snapshot: its parts, then the head that makes them hold.

use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Put, TransactWriteItem};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::client::{away, broken};
use super::item::{
    EXPIRES_AT, HEAD, Item, LEASE, PK, SK, SNAPSHOT, TOKEN, moment, number, place, read_number,
    text,
};
use super::{Cache, CacheError, KEPT, Lease, parts};
use crate::domain::fleet::Snapshot;

/// An item may have 400 KB, names and numbers included.
const CHUNK: usize = 350_000;
/// Items that are written at once.
const AT_ONCE: usize = 32;
/// Others may be at the lease at the same moment.
const TRIES: u32 = 3;

impl Cache {
    /// Writes a snapshot of a pass that began at this time. False: the lease is over and somebody else
    /// has it, or had it; then what is cached stays as it is.
    ///
    /// # Errors
    /// [`CacheError`]. What was cached before still holds.
    pub async fn snapshot_write(
        &self,
        lease: &Lease,
        snapshot: &Snapshot,
        began: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, CacheError> {
        let parts = parts::split(snapshot)?;
        // Readers may be at the place that holds: this one goes to the other.
        let holding = self.head_item().await?;
        let holding: Option<u64> = holding.and_then(|head| read_number(&head, "place"));
        let at = u64::from(holding == Some(0));
        let expires_at = (now + KEPT).timestamp();
        let mut items: Vec<Item> = Vec::new();
        for (part, bytes) in parts.into_iter().enumerate() {
            for (chunk, bytes) in bytes.chunks(CHUNK).enumerate() {
                items.push(Item::from([
                    (PK.to_owned(), text(place(at))),
                    (SK.to_owned(), text(format!("{part:06}#{chunk:06}"))),
                    (TOKEN.to_owned(), number(lease.token)),
                    (EXPIRES_AT.to_owned(), number(expires_at)),
                    ("bytes".to_owned(), AttributeValue::B(Blob::new(bytes))),
                ]));
            }
        }
        let head = Item::from([
            (PK.to_owned(), text(SNAPSHOT)),
            (SK.to_owned(), text(HEAD)),
            (TOKEN.to_owned(), number(lease.token)),
            (EXPIRES_AT.to_owned(), number(expires_at)),
            ("place".to_owned(), number(at)),
            ("items".to_owned(), number(items.len())),
            ("began".to_owned(), moment(began)),
        ]);
        if !self.parts_put(items, lease).await? {
            return Ok(false);
        }
        self.head_put(head, lease).await
    }

    /// False: a newer lease has written there.
    async fn parts_put(&self, items: Vec<Item>, lease: &Lease) -> Result<bool, CacheError> {
        let client = self.client().await;
        let puts = items.into_iter().map(|item| {
            let put = client.put_item().table_name(&self.table);
            let put = put
                .set_item(Some(item))
                .condition_expression(
                    "attribute_not_exists(#token) OR NOT attribute_type(#token, :number) \
                    OR #token <= :token",
                )
                .expression_attribute_names("#token", TOKEN)
                .expression_attribute_values(":token", number(lease.token))
                .expression_attribute_values(":number", text("N"));
            Box::pin(part_put(put))
        });
        let mut puts = stream::iter(puts).buffer_unordered(AT_ONCE);
        while let Some(taken) = puts.try_next().await? {
            if !taken {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// False: the lease is somebody else's by now.
    async fn head_put(&self, head: Item, lease: &Lease) -> Result<bool, CacheError> {
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .key(PK, text(LEASE))
            .key(SK, text(LEASE))
            .condition_expression("#token = :token")
            .expression_attribute_names("#token", TOKEN)
            .expression_attribute_values(":token", number(lease.token))
            .build();
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(head))
            .build();
        let (Ok(check), Ok(put)) = (check, put) else {
            return Err(broken("the head is no item"));
        };
        let check = TransactWriteItem::builder().condition_check(check).build();
        let put = TransactWriteItem::builder().put(put).build();
        for tried in 1.. {
            let write = self.client().await.transact_write_items();
            let write = write
                .transact_items(check.clone())
                .transact_items(put.clone());
            match Box::pin(write.send()).await {
                Ok(_) => return Ok(true),
                Err(error) => match cancelled(&error) {
                    Some("ConditionalCheckFailed") => return Ok(false),
                    Some("TransactionConflict") if tried < TRIES => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    _ => return Err(away(&error)),
                },
            }
        }
        Err(CacheError::Away)
    }
}

async fn part_put(put: PutItemFluentBuilder) -> Result<bool, CacheError> {
    match put.send().await {
        Ok(_) => Ok(true),
        Err(error) => match error.as_service_error() {
            Some(refused) if refused.is_conditional_check_failed_exception() => Ok(false),
            _ => Err(away(&error)),
        },
    }
}

/// Why a transaction was cancelled: the first of its items that has a reason.
fn cancelled<R>(error: &SdkError<TransactWriteItemsError, R>) -> Option<&str> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
        error.as_service_error()
    else {
        return None;
    };
    let reasons = cancelled.cancellation_reasons().iter();
    reasons
        .filter_map(|reason| reason.code())
        .find(|code| *code != "None")
}
