//! The snapshot cache of a world: a table in the `DynamoDB` emulator.

use chrono::{DateTime, TimeDelta, Utc};
use dev::dynamodb::DynamoDb;
use shared::cache::Cache;
use shared::domain::fleet::FleetSnapshot;
use shared::domain::ids::InvocationId;
use uuid::Uuid;

use crate::suite;
use crate::world::World;

/// Settings of the functions: the endpoint and the table's name.
const ENDPOINT_SETTING: &str = "AWS_ENDPOINT_URL_DYNAMODB";
const TABLE_SETTING: &str = "FLEET_TABLE";

impl World {
    /// Creates a table and makes this world's functions cache the fleet snapshot in it.
    pub fn use_cache_table(&mut self, emulator: &DynamoDb, name: &str) {
        suite::create_fleet_table(emulator, name);
        let settings = [
            (ENDPOINT_SETTING, emulator.address()),
            (TABLE_SETTING, name.to_owned()),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value));
        self.settings.extend(settings);
    }

    /// A client of this world's cache table.
    #[must_use]
    pub fn cache(&self) -> Cache {
        Cache::at(
            &self.settings[ENDPOINT_SETTING],
            self.settings[TABLE_SETTING].clone(),
        )
    }

    /// Whether a refresh run holds the lease.
    pub async fn is_fleet_lease_taken(&self) -> bool {
        let items = suite::dynamodb().await.items(&self.settings[TABLE_SETTING]);
        let items = items.expect("the table");
        items
            .iter()
            .any(|item| item["pk"]["S"] == "lease" && item["owner"]["S"].is_string())
    }

    /// Caches a snapshot like a refresh run that ends at this time.
    pub async fn cache_snapshot(&self, snapshot: &FleetSnapshot, at: DateTime<Utc>) {
        let cache = self.cache();
        let until = at + TimeDelta::minutes(1);
        let lease = cache
            .lease_take(InvocationId::new(Uuid::new_v4()), at, until)
            .await;
        let lease = lease.expect("DynamoDB answers").expect("the lease");
        // A large snapshot may take longer than a request may on a machine that is busy with other tests.
        let mut written = cache.snapshot_write(&lease, snapshot, at, at).await;
        for _ in 0..5 {
            if written == Ok(true) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            written = cache.snapshot_write(&lease, snapshot, at, at).await;
        }
        assert_eq!(written, Ok(true));
        cache.lease_return(&lease).await.expect("returned");
    }
}
