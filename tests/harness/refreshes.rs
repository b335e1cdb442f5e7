//! Looking at the fleet, as the schedule does.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dev::runtime::Outcome;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::World;

impl World {
    /// One pass over all hosts; what the function answered.
    ///
    /// # Panics
    /// When it fails.
    pub async fn refresh(&self) -> Value {
        match self.try_refresh(json!({})).await {
            Outcome::Success(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// The same with an event, however it ends.
    pub async fn try_refresh(&self, event: Value) -> Outcome {
        let instance = self.instance("fleet-refresh").await;
        instance.invoke(event, Duration::from_mins(1)).await
    }

    /// What is cached of the fleet.
    ///
    /// # Panics
    /// When nothing is.
    pub async fn fleet(&self) -> Value {
        let now: DateTime<Utc> = sqlx::query_scalar("SELECT billing_clock()")
            .fetch_one(&self.pool)
            .await
            .expect("the time");
        let cached = self.cache().snapshot(now).await.expect("a cache");
        let cached = cached.expect("a snapshot");
        serde_json::to_value(&cached.snapshot).expect("JSON")
    }

    /// What is cached of one agent.
    ///
    /// # Panics
    /// When nothing is.
    pub async fn seen(&self, agent: Uuid) -> Value {
        let fleet = self.fleet().await;
        let all = fleet["containers"].as_array().expect("containers");
        let found = all.iter().find(|view| view["id"] == json!(agent));
        found.expect("the agent").clone()
    }

    /// What is cached of one host.
    ///
    /// # Panics
    /// When nothing is.
    pub async fn seen_node(&self, node_id: &str) -> Value {
        let fleet = self.fleet().await;
        let all = fleet["nodes"].as_array().expect("nodes");
        let found = all.iter().find(|view| view["nodeId"] == json!(node_id));
        found.expect("the host").clone()
    }
}
