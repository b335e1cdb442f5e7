//! The fleet's snapshot in `DynamoDB`: what was written comes back, and nobody overwrites a newer one.

mod faults;
mod lease;
mod round_trip;

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use dev::dynamodb::DynamoDb;
use serde_json::Value;
use shared::cache::{Cache, Lease};
use shared::domain::fleet::Snapshot;
use tests::suite::{dynamodb, epoch, fleet_table};
use uuid::Uuid;

static TABLES: AtomicU32 = AtomicU32::new(0);

/// A table of its own in the shared emulator.
struct Table {
    emulator: &'static DynamoDb,
    name: String,
}

impl Table {
    async fn new() -> Self {
        let emulator = dynamodb().await;
        let name = format!("cache-{}", TABLES.fetch_add(1, Ordering::Relaxed));
        fleet_table(emulator, &name);
        Self { emulator, name }
    }

    /// The cache of a function that has just started.
    fn cache(&self) -> Cache {
        Cache::at(&self.emulator.address(), self.name.clone())
    }

    /// Items of this partition key: sort keys and items.
    fn items(&self, pk: &str) -> Vec<(String, Value)> {
        let items = self.emulator.items(&self.name).expect("items");
        let mut found: Vec<(String, Value)> = items
            .into_iter()
            .filter(|item| item["pk"]["S"] == pk)
            .map(|item| (item["sk"]["S"].as_str().expect("a key").to_owned(), item))
            .collect();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        found
    }

    fn head(&self) -> Value {
        let (_, head) = self.items("snapshot").pop().expect("a head");
        head
    }

    fn put(&self, item: &Value) {
        self.emulator.put(&self.name, item).expect("put");
    }
}

fn seconds(n: i64) -> DateTime<Utc> {
    epoch() + TimeDelta::seconds(n)
}

/// A lease for a minute.
async fn take(cache: &Cache, now: DateTime<Utc>) -> Lease {
    try_take(cache, now).await.expect("the lease is free")
}

async fn try_take(cache: &Cache, now: DateTime<Utc>) -> Option<Lease> {
    let until = now + TimeDelta::minutes(1);
    let taken = cache.lease_take(Uuid::new_v4(), now, until).await;
    taken.expect("DynamoDB answers")
}

/// One pass: takes the lease, writes and returns it.
async fn refresh(cache: &Cache, snapshot: &Snapshot, now: DateTime<Utc>) {
    let lease = take(cache, now).await;
    let written = cache.snapshot_write(&lease, snapshot, now, now).await;
    assert_eq!(written, Ok(true));
    cache.lease_return(&lease).await.expect("returned");
}

/// What somebody reads who has just started.
async fn read(table: &Table, now: DateTime<Utc>) -> Option<Snapshot> {
    let cached = table.cache().snapshot(now).await.expect("DynamoDB answers");
    cached.map(|cached| cached.snapshot.clone())
}

fn text(snapshot: &Snapshot) -> String {
    serde_json::to_string(snapshot).expect("JSON")
}
