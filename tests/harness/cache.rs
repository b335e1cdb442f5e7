//! The snapshot cache of a world: a table in the `DynamoDB` emulator.

use chrono::{DateTime, TimeDelta, Utc};
use dev::dynamodb::DynamoDb;
use shared::api::admin::fleet_render::render_overview;
use shared::cache::Cache;
use shared::db::hosts::leases::{lease_return, lease_take};
use shared::domain::fleet::{FleetSnapshot, Shard};
use shared::domain::ids::InvocationId;
use uuid::Uuid;

use crate::world::World;
use crate::{fleet, suite};

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
        self.count("SELECT count(*) FROM cloud.fleet_leases WHERE owner IS NOT NULL")
            .await
            > 0
    }

    /// Caches a snapshot like a refresh run that ends at this time.
    pub async fn cache_snapshot(&self, snapshot: &FleetSnapshot, at: DateTime<Utc>) {
        let cache = self.cache();
        let mut conn = self.database.statements();
        let (owner, until) = (
            InvocationId::new(Uuid::new_v4()),
            at + TimeDelta::minutes(1),
        );
        let lease = lease_take(&mut conn, 0, owner, at, until).await;
        let lease = lease.expect("Postgres answers").expect("the lease");
        let new = fleet::new_run(Shard::default(), lease.token, snapshot, at);
        let write = || cache.run_write(&new, render_overview, at);
        // A large snapshot may take longer than a request may on a machine that is busy with other tests.
        let mut written = write().await;
        for _ in 0..5 {
            if written.is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            written = write().await;
        }
        assert!(matches!(written, Ok(Some(_))), "{written:?}");
        lease_return(&mut conn, lease).await.expect("returned");
    }
}
