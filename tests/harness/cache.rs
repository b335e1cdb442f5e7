//! A world's table in the emulator of `DynamoDB`.

use chrono::{DateTime, TimeDelta, Utc};
use dev::dynamodb::DynamoDb;
use shared::cache::Cache;
use shared::domain::fleet::Snapshot;
use uuid::Uuid;

use crate::suite;
use crate::world::World;

/// Settings of functions: where the table is, and its name.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_DYNAMODB";
const TABLE: &str = "FLEET_TABLE";

impl World {
    /// Has this world's functions keep the fleet's snapshot in a new table of this name.
    pub fn cache_in(&mut self, at: &DynamoDb, name: &str) {
        suite::fleet_table(at, name);
        let settings = [(ENDPOINT, at.address()), (TABLE, name.to_owned())];
        let settings = settings.map(|(key, value)| (key.to_owned(), value));
        self.settings.extend(settings);
    }

    /// The table, as the functions of this world see it.
    #[must_use]
    pub fn cache(&self) -> Cache {
        Cache::at(&self.settings[ENDPOINT], self.settings[TABLE].clone())
    }

    /// Caches a snapshot, as a pass over the hosts does that ends at this time.
    pub async fn inspected(&self, snapshot: &Snapshot, at: DateTime<Utc>) {
        let cache = self.cache();
        let until = at + TimeDelta::minutes(1);
        let lease = cache.lease_take(Uuid::new_v4(), at, until).await;
        let lease = lease.expect("DynamoDB answers").expect("the lease");
        let written = cache.snapshot_write(&lease, snapshot, at, at).await;
        assert_eq!(written, Ok(true));
        cache.lease_return(&lease).await.expect("returned");
    }
}
