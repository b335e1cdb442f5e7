//! Runs the fleet inspection as the schedule does, and reads what it cached.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dev::runtime::Outcome;
use serde_json::{Value, json};
use shared::api::admin::fleet_page::FleetQuery;
use shared::api::encoding::Encoding;
use uuid::Uuid;

use crate::world::World;

impl World {
    /// Inspects all hosts and returns the function's answer.
    pub async fn refresh(&self) -> Value {
        match self.try_refresh(json!({})).await {
            Outcome::Success(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Inspects with this event and returns the outcome.
    pub async fn try_refresh(&self, event: Value) -> Outcome {
        let instance = self.instance("fleet-refresh").await;
        instance.invoke(event, Duration::from_mins(1)).await
    }

    /// The cached snapshot of the fleet.
    pub async fn cached_fleet(&self) -> Value {
        let now: DateTime<Utc> = sqlx::query_scalar("SELECT billing_clock()")
            .fetch_one(&self.pool)
            .await
            .expect("the time");
        let cached = self.cache().snapshot(now).await.expect("a cache");
        let cached = cached.expect("a snapshot");
        let body = FleetQuery::default().answer(&cached.snapshot, false, Encoding::Plain);
        let answer: Value = serde_json::from_slice(&body.expect("a body")).expect("JSON");
        assert_eq!(answer["data"]["truncated"], Value::Null);
        answer["data"].clone()
    }

    /// One agent of the cached snapshot.
    pub async fn cached_agent(&self, agent: Uuid) -> Value {
        let fleet = self.cached_fleet().await;
        let agents = fleet["containers"].as_array().expect("containers");
        let view = agents.iter().find(|view| view["id"] == json!(agent));
        view.expect("the agent").clone()
    }

    /// One host of the cached snapshot.
    pub async fn cached_host(&self, node_id: &str) -> Value {
        let fleet = self.cached_fleet().await;
        let hosts = fleet["nodes"].as_array().expect("nodes");
        let view = hosts.iter().find(|view| view["nodeId"] == json!(node_id));
        view.expect("the host").clone()
    }
}
