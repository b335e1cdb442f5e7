//! Writing what a run over a shard found: its sections and digest, then an overview of the fleet, then the head that
//! makes it all valid.

use std::io;
use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Put, TransactWriteItem};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::client::{unavailable, unreadable, unreadable_by};
use super::item::{
    DIGEST, EXPIRES_AT, FENCE, FORMAT, HEAD, Item, OVERVIEW, PK, SECTIONS, SK, SNAPSHOT, TOKEN,
    VERSION, buffer_key, number, text,
};
use super::read::PreviousHead;
use super::stored::{HeadContent, OverviewEntry, RunEntry, SNAPSHOT_FORMAT};
use super::{Cache, CacheError, FinishedOverview, SNAPSHOT_EXPIRES_AFTER, Section, parts};
use crate::domain::fleet::{FleetOverview, ShardDigest, ShardRun, ShardRuns};

/// `DynamoDB` allows 400 KB per item, which includes attribute names and numbers.
const MAX_CHUNK_BYTES: usize = 350_000;
const MAX_CONCURRENT_PUTS: usize = 32;
/// For a fence: another run may write the head at the same moment, which cancels the request.
const MAX_ATTEMPTS: u32 = 5;
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// As often, other runs may have written the head while this one put the overview together. Of runs that write it at the
/// same time, one succeeds: this is enough for as many shards.
const MAX_MERGES: usize = 50;

/// Makes what readers get of an overview.
pub type RenderOverview = fn(&FleetOverview) -> io::Result<FinishedOverview>;

/// What a run over a shard has to write.
#[derive(Clone, Debug)]
pub struct NewRun {
    pub began_at: DateTime<Utc>,
    pub digest: ShardDigest,
    pub sections: Vec<Section>,
}

/// An overview of a run and of the newest runs over other shards.
struct NewOverview {
    /// The other runs that it is of.
    needed: Vec<RunEntry>,
    overview: FleetOverview,
}

/// How an attempt to write the head ended.
enum HeadWrite {
    Done,
    /// The owner of a newer lease of the shard has begun to write.
    Overtaken,
    /// Another run has written the head meanwhile.
    Changed,
}

impl Cache {
    /// Writes what a run found, and an overview of it and the newest runs over other shards, which it returns. Returns
    /// `None`, and leaves the previous snapshot valid, if the owner of a newer lease of the shard has begun to write. An
    /// error leaves the previous snapshot valid, too.
    pub async fn run_write(
        &self,
        new: &NewRun,
        render: RenderOverview,
        now: DateTime<Utc>,
    ) -> Result<Option<FleetOverview>, CacheError> {
        let run = &new.digest.run;
        if !self.fence_raise(run).await? {
            return Ok(None);
        }
        let mut previous = self.previous_head(now).await?;
        let place = Place {
            shard: run.shard.number,
            buffer: free_buffer(&previous, run.shard.number),
            expires_at: (now + SNAPSHOT_EXPIRES_AFTER).timestamp(),
        };
        let sections = parts::pack_sections(&new.sections)?;
        let mut items = place.items(SECTIONS, run.token, &sections);
        let digest = parts::pack_digest(&new.digest)?;
        let digest_items = place.items(DIGEST, run.token, &[digest]);
        let entry = RunEntry {
            run: run.clone(),
            began_at: new.began_at,
            buffer: place.buffer,
            items: items.len(),
            digest_items: digest_items.len(),
        };
        items.extend(digest_items);
        if !self.chunks_put(items, run.token).await? {
            return Ok(None);
        }
        for _ in 0..MAX_MERGES {
            let overview = self.overview_of(new, &previous).await?;
            let write = self.overview_write(&overview, &entry, &place, previous.version, render);
            let written = write.await?;
            match written {
                HeadWrite::Done => return Ok(Some(overview.overview)),
                HeadWrite::Overtaken => return Ok(None),
                HeadWrite::Changed => previous = self.previous_head(now).await?,
            }
        }
        Err(CacheError::Unavailable)
    }

    /// Puts the overview together.
    async fn overview_of(
        &self,
        new: &NewRun,
        previous: &PreviousHead,
    ) -> Result<NewOverview, CacheError> {
        let run = &new.digest.run;
        let mut others: Vec<(&RunEntry, ShardDigest)> = Vec::new();
        for other in previous.runs.iter().filter(|other| other.run != *run) {
            if let Some(digest) = self.digest(other).await? {
                others.push((other, digest));
            }
        }
        let others_digests = others.iter().map(|(_, digest)| digest);
        let digests: Vec<&ShardDigest> = others_digests.chain([&new.digest]).collect();
        let overview = FleetOverview::of(&digests, &previous.fleet_incidents);
        let overview = overview.ok_or_else(|| unreadable("an overview of no run"))?;
        let all = ShardRuns::of(digests.iter().map(|digest| &digest.run));
        let needed = others.iter().filter(|(_, digest)| digest.is_needed(&all));
        let needed = needed.map(|(other, _)| (*other).clone());
        Ok(NewOverview {
            needed: needed.collect(),
            overview,
        })
    }

    /// Writes the overview, and the head in place of the previous one, which has this version.
    async fn overview_write(
        &self,
        new: &NewOverview,
        entry: &RunEntry,
        place: &Place,
        previous: Option<i64>,
        render: RenderOverview,
    ) -> Result<HeadWrite, CacheError> {
        let run = &entry.run;
        let finished = render(&new.overview);
        let finished = finished.map_err(unreadable_by("an overview has no JSON form"))?;
        // At least the time, so that a new table does not begin with the versions of the last one.
        let version = previous.map_or(0, |version| version + 1);
        let version = version.max(run.refreshed_at.timestamp_millis());
        let part = parts::pack_overview(&finished)?;
        let items = place.items(OVERVIEW, version, &[part]);
        let content = HeadContent {
            runs: new.needed.iter().chain([entry]).cloned().collect(),
            overview: OverviewEntry {
                shard: place.shard,
                buffer: place.buffer,
                items: items.len(),
            },
            fleet_incidents: new.overview.fleet_incident_starts(),
        };
        let content =
            serde_json::to_string(&content).map_err(unreadable_by("the head has no JSON form"))?;
        if !self.chunks_put(items, version).await? {
            return Ok(HeadWrite::Changed);
        }
        let head = Item::from([
            (PK.to_owned(), text(SNAPSHOT)),
            (SK.to_owned(), text(HEAD)),
            (VERSION.to_owned(), number(version)),
            (EXPIRES_AT.to_owned(), number(place.expires_at)),
            (FORMAT.to_owned(), number(SNAPSHOT_FORMAT)),
            ("content".to_owned(), text(content)),
        ]);
        self.head_put(head, run, previous).await
    }

    /// Keeps the owners of earlier leases from writing the head. Returns false if the owner of a newer lease has done so.
    async fn fence_raise(&self, run: &ShardRun) -> Result<bool, CacheError> {
        for attempt in 1.. {
            let put = self.client().await.put_item();
            let put = put
                .table_name(&self.table)
                .item(PK, text(FENCE))
                .item(SK, text(run.shard.number.to_string()))
                .item(TOKEN, number(run.token));
            match Box::pin(if_not_newer(put, run.token).send()).await {
                Ok(_) => return Ok(true),
                Err(error) => match error.as_service_error() {
                    Some(refused) if refused.is_conditional_check_failed_exception() => {
                        return Ok(false);
                    }
                    Some(refused)
                        if refused.is_transaction_conflict_exception()
                            && attempt < MAX_ATTEMPTS =>
                    {
                        tokio::time::sleep(RETRY_INTERVAL).await;
                    }
                    _ => return Err(unavailable(&error)),
                },
            }
        }
        Err(CacheError::Unavailable)
    }

    /// Returns false if somebody with a newer token has written there.
    async fn chunks_put(&self, items: Vec<Item>, token: i64) -> Result<bool, CacheError> {
        let client = self.client().await;
        let puts = items.into_iter().map(|item| {
            let put = client.put_item().table_name(&self.table);
            Box::pin(chunk_put(if_not_newer(put.set_item(Some(item)), token)))
        });
        let mut puts = stream::iter(puts).buffer_unordered(MAX_CONCURRENT_PUTS);
        while let Some(is_written) = puts.try_next().await? {
            if !is_written {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// `previous` is the version of the head that the new one replaces.
    async fn head_put(
        &self,
        head: Item,
        run: &ShardRun,
        previous: Option<i64>,
    ) -> Result<HeadWrite, CacheError> {
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .key(PK, text(FENCE))
            .key(SK, text(run.shard.number.to_string()))
            .condition_expression("#token = :token")
            .expression_attribute_names("#token", TOKEN)
            .expression_attribute_values(":token", number(run.token))
            .build();
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(head))
            .expression_attribute_names("#version", VERSION);
        let put = match previous {
            Some(version) => put
                .condition_expression("#version = :version")
                .expression_attribute_values(":version", number(version)),
            None => put
                .condition_expression(
                    "attribute_not_exists(#version) OR NOT attribute_type(#version, :number)",
                )
                .expression_attribute_values(":number", text("N")),
        };
        let (Ok(check), Ok(put)) = (check, put.build()) else {
            return Err(unreadable("the head is not a valid item"));
        };
        let check = TransactWriteItem::builder().condition_check(check).build();
        let put = TransactWriteItem::builder().put(put).build();
        let write = self.client().await.transact_write_items();
        let write = write.transact_items(check).transact_items(put);
        let Err(error) = Box::pin(write.send()).await else {
            return Ok(HeadWrite::Done);
        };
        let is_conflict = match cancellation_codes(&error)[..] {
            [Some("ConditionalCheckFailed"), ..] => return Ok(HeadWrite::Overtaken),
            [_, Some("ConditionalCheckFailed")] => return Ok(HeadWrite::Changed),
            [Some("TransactionConflict"), ..] | [_, Some("TransactionConflict")] => true,
            _ => false,
        };
        if !is_conflict {
            return Err(unavailable(&error));
        }
        // Another run writes the head at this moment.
        tokio::time::sleep(RETRY_INTERVAL).await;
        Ok(HeadWrite::Changed)
    }
}

/// Where a run writes.
struct Place {
    shard: i32,
    buffer: u64,
    expires_at: i64,
}

impl Place {
    /// The items that hold these parts.
    fn items(&self, kind: &str, token: i64, parts: &[Vec<u8>]) -> Vec<Item> {
        let items = chunks(parts).map(|(key, bytes)| {
            Item::from([
                (
                    PK.to_owned(),
                    text(buffer_key(kind, self.shard, self.buffer)),
                ),
                (SK.to_owned(), text(key)),
                (TOKEN.to_owned(), number(token)),
                (EXPIRES_AT.to_owned(), number(self.expires_at)),
                ("bytes".to_owned(), AttributeValue::B(Blob::new(bytes))),
            ])
        });
        items.collect()
    }
}

/// The first buffer of a shard that the head does not name. Readers may be reading the others.
fn free_buffer(head: &PreviousHead, shard: i32) -> u64 {
    let runs = head.runs.iter();
    let of_shard = runs.filter(|entry| entry.run.shard.number == shard);
    let used: Vec<u64> = of_shard.map(|entry| entry.buffer).collect();
    let mut buffers = 0..;
    buffers
        .find(|buffer| !used.contains(buffer))
        .unwrap_or_default()
}

/// The parts in chunks that fit into items, with the items' sort keys.
fn chunks(parts: &[Vec<u8>]) -> impl Iterator<Item = (String, &[u8])> {
    parts.iter().enumerate().flat_map(|(part_index, bytes)| {
        let chunks = bytes.chunks(MAX_CHUNK_BYTES).enumerate();
        chunks.map(move |(chunk_index, bytes)| (format!("{part_index:06}#{chunk_index:06}"), bytes))
    })
}

/// On the condition that the item has no newer token.
fn if_not_newer(put: PutItemFluentBuilder, token: i64) -> PutItemFluentBuilder {
    put.condition_expression(
        "attribute_not_exists(#token) OR NOT attribute_type(#token, :number) OR #token <= :token",
    )
    .expression_attribute_names("#token", TOKEN)
    .expression_attribute_values(":token", number(token))
    .expression_attribute_values(":number", text("N"))
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

/// Why a transaction was cancelled, for each of its items. Empty if it was not.
fn cancellation_codes<R>(error: &SdkError<TransactWriteItemsError, R>) -> Vec<Option<&str>> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
        error.as_service_error()
    else {
        return Vec::new();
    };
    let reasons = cancelled.cancellation_reasons().iter();
    reasons.map(|reason| reason.code()).collect()
}
