//! The fleet's snapshot in `DynamoDB`: a snapshot is read as it was written, and no writer replaces a newer one.

mod faults;
mod lease;
mod round_trip;

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use dev::dynamodb::DynamoDb;
use serde_json::Value;
use shared::cache::{Cache, Lease};
use shared::domain::fleet::FleetSnapshot;
use shared::domain::ids::InvocationId;
use tests::suite::{create_fleet_table, dynamodb, epoch};
use uuid::Uuid;

static TABLES: AtomicU32 = AtomicU32::new(0);

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

    fn put(&self, item: &Value) {
        self.emulator.put(&self.name, item).expect("put");
    }
}

fn seconds(n: i64) -> DateTime<Utc> {
    epoch() + TimeDelta::seconds(n)
}

/// Takes the lease for a minute.
async fn take(cache: &Cache, now: DateTime<Utc>) -> Lease {
    try_take(cache, now).await.expect("the lease is free")
}

async fn try_take(cache: &Cache, now: DateTime<Utc>) -> Option<Lease> {
    let until = now + TimeDelta::minutes(1);
    let taken = cache
        .lease_take(InvocationId::new(Uuid::new_v4()), now, until)
        .await;
    taken.expect("DynamoDB answers")
}

/// Takes the lease, writes a snapshot, and returns the lease.
async fn refresh(cache: &Cache, snapshot: &FleetSnapshot, now: DateTime<Utc>) {
    let lease = take(cache, now).await;
    let written = cache.snapshot_write(&lease, snapshot, now, now).await;
    assert_eq!(written, Ok(true));
    cache.lease_return(&lease).await.expect("returned");
}

/// What a function that has just started reads.
async fn read(table: &Table, now: DateTime<Utc>) -> Option<FleetSnapshot> {
    let cached = table.cache().snapshot(now).await.expect("DynamoDB answers");
    cached.map(|cached| cached.snapshot.clone())
}
