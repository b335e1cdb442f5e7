//! The fleet's snapshot in `DynamoDB`: a snapshot is read as it was written, and no writer replaces a newer one.

mod faults;
mod round_trip;
mod shards;
mod writers;

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use dev::dynamodb::DynamoDb;
use serde_json::Value;
use shared::api::admin::fleet_render::render_overview;
use shared::cache::{Cache, CacheError, FinishedSnapshot};
use shared::domain::fleet::{FleetSnapshot, Shard};
use tests::fleet;
use tests::suite::{create_fleet_table, dynamodb, epoch};

static TABLES: AtomicU32 = AtomicU32::new(0);
static TOKENS: AtomicI64 = AtomicI64::new(1);

/// A table that one test uses alone, in the shared emulator.
struct Table {
    emulator: &'static DynamoDb,
    name: String,
}

impl Table {
    async fn new() -> Self {
        let emulator = dynamodb().await;
        let name = format!("cache-{}", TABLES.fetch_add(1, Ordering::Relaxed));
        create_fleet_table(emulator, &name);
        Self { emulator, name }
    }

    /// The cache of a function that has just started: it holds no copy.
    fn cache(&self) -> Cache {
        Cache::at(&self.emulator.address(), self.name.clone())
    }

    /// The sort keys and items of a partition key, in the order of the sort keys.
    fn items(&self, partition_key: &str) -> Vec<(String, Value)> {
        let items = self.emulator.items(&self.name).expect("items");
        let mut items: Vec<(String, Value)> = items
            .into_iter()
            .filter(|item| item["pk"]["S"] == partition_key)
            .map(|item| (item["sk"]["S"].as_str().expect("a key").to_owned(), item))
            .collect();
        items.sort_by(|(one, _), (other, _)| one.cmp(other));
        items
    }

    fn head(&self) -> Value {
        let (_, head) = self.items("snapshot").pop().expect("a head");
        head
    }

    /// What the head says of the first run.
    fn entry(&self) -> Value {
        let content = self.head()["content"]["S"].clone();
        let content: Value = serde_json::from_str(content.as_str().expect("JSON")).expect("JSON");
        content["runs"][0].clone()
    }

    /// The buffer that holds it.
    fn buffer(&self) -> u64 {
        self.entry()["buffer"].as_u64().expect("a number")
    }

    fn put(&self, item: &Value) {
        self.emulator.put(&self.name, item).expect("put");
    }
}

fn seconds(n: i64) -> DateTime<Utc> {
    epoch() + TimeDelta::seconds(n)
}

/// The token of a new lease.
fn new_token() -> i64 {
    TOKENS.fetch_add(1, Ordering::Relaxed)
}

/// Writes what a run over the whole fleet found. Returns whether it did.
async fn write(
    cache: &Cache,
    token: i64,
    snapshot: &FleetSnapshot,
    began_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, CacheError> {
    let new = fleet::new_run(Shard::default(), token, snapshot, began_at);
    let overview = cache.run_write(&new, render_overview, now).await?;
    Ok(overview.is_some())
}

/// Writes a snapshot with a new token.
async fn refresh(cache: &Cache, snapshot: &FleetSnapshot, now: DateTime<Utc>) {
    let written = write(cache, new_token(), snapshot, now, now).await;
    assert_eq!(written, Ok(true));
}

/// What a function that has just started reads.
async fn read(table: &Table, now: DateTime<Utc>) -> Option<FinishedSnapshot> {
    let cached = table.cache().snapshot(now).await.expect("DynamoDB answers");
    cached.map(|cached| cached.snapshot.clone())
}
