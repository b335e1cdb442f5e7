//! Writing a snapshot: its parts, then the head that makes it valid.

use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Put, TransactWriteItem};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::client::{unavailable, unreadable};
use super::item::{
    BUFFER, EXPIRES_AT, FORMAT, HEAD, Item, LEASE, PK, SK, SNAPSHOT, TOKEN, buffer_key, number,
    read_number, text, time,
};
use super::stored::SNAPSHOT_FORMAT;
use super::{Cache, CacheError, Lease, SNAPSHOT_EXPIRES_AFTER, parts};
use crate::domain::fleet::FleetSnapshot;

/// `DynamoDB` allows 400 KB per item, which includes attribute names and numbers.
const MAX_CHUNK_BYTES: usize = 350_000;
const MAX_CONCURRENT_PUTS: usize = 32;
/// For the head: another invocation may touch the lease at the same moment, which cancels the transaction.
const MAX_ATTEMPTS: u32 = 3;
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

impl Cache {
    /// Writes the snapshot of a run that began at `began_at`. Returns false, and leaves the previous snapshot
    /// valid, if another owner has taken the lease meanwhile. An error leaves the previous snapshot valid,
    /// too.
    pub async fn snapshot_write(
        &self,
        lease: &Lease,
        snapshot: &FleetSnapshot,
        began_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, CacheError> {
        let parts = parts::split(snapshot)?;
        // Readers may be reading the valid snapshot, so this one goes to the other buffer.
        let head = self.head_item().await?;
        let valid_buffer: Option<u64> = head.and_then(|head| read_number(&head, BUFFER));
        let buffer = u64::from(valid_buffer == Some(0));
        let expires_at = (now + SNAPSHOT_EXPIRES_AFTER).timestamp();
        let mut items: Vec<Item> = Vec::new();
        for (part_index, part_bytes) in parts.into_iter().enumerate() {
            for (chunk_index, chunk_bytes) in part_bytes.chunks(MAX_CHUNK_BYTES).enumerate() {
                let key = format!("{part_index:06}#{chunk_index:06}");
                let bytes = AttributeValue::B(Blob::new(chunk_bytes));
                items.push(Item::from([
                    (PK.to_owned(), text(buffer_key(buffer))),
                    (SK.to_owned(), text(key)),
                    (TOKEN.to_owned(), number(lease.token)),
                    (EXPIRES_AT.to_owned(), number(expires_at)),
                    ("bytes".to_owned(), bytes),
                ]));
            }
        }
        let head = Item::from([
            (PK.to_owned(), text(SNAPSHOT)),
            (SK.to_owned(), text(HEAD)),
            (TOKEN.to_owned(), number(lease.token)),
            (EXPIRES_AT.to_owned(), number(expires_at)),
            (BUFFER.to_owned(), number(buffer)),
            (FORMAT.to_owned(), number(SNAPSHOT_FORMAT)),
            ("items".to_owned(), number(items.len())),
            ("began".to_owned(), time(began_at)),
        ]);
        if !self.chunks_put(items, lease).await? {
            return Ok(false);
        }
        self.head_put(head, lease).await
    }

    /// Returns false if the owner of a newer lease has written there.
    async fn chunks_put(&self, items: Vec<Item>, lease: &Lease) -> Result<bool, CacheError> {
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
            Box::pin(chunk_put(put))
        });
        let mut puts = stream::iter(puts).buffer_unordered(MAX_CONCURRENT_PUTS);
        while let Some(is_written) = puts.try_next().await? {
            if !is_written {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns false if another owner has taken the lease.
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
            return Err(unreadable("the head is not a valid item"));
        };
        let check = TransactWriteItem::builder().condition_check(check).build();
        let put = TransactWriteItem::builder().put(put).build();
        for attempt in 1.. {
            let write = self.client().await.transact_write_items();
            let write = write
                .transact_items(check.clone())
                .transact_items(put.clone());
            match Box::pin(write.send()).await {
                Ok(_) => return Ok(true),
                Err(error) => match cancellation_reason(&error) {
                    Some("ConditionalCheckFailed") => return Ok(false),
                    Some("TransactionConflict") if attempt < MAX_ATTEMPTS => {
                        tokio::time::sleep(RETRY_INTERVAL).await;
                    }
                    _ => return Err(unavailable(&error)),
                },
            }
        }
        Err(CacheError::Unavailable)
    }
}

async fn chunk_put(put: PutItemFluentBuilder) -> Result<bool, CacheError> {
    match put.send().await {
        Ok(_) => Ok(true),
        Err(error) => match error.as_service_error() {
            Some(refused) if refused.is_conditional_check_failed_exception() => Ok(false),
            _ => Err(unavailable(&error)),
        },
    }
}

/// Why a transaction was cancelled: the reason of the first of its items that has one.
fn cancellation_reason<R>(error: &SdkError<TransactWriteItemsError, R>) -> Option<&str> {
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
