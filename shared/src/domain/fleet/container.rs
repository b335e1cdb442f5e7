//! An agent and its container, as operators see them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::moment::Moment;
use super::pass::{AgentRow, Claims};
use super::shown::without_addresses;
use crate::domain::agent::AgentStatus;
use crate::domain::health::{Expected, Health, Severity, age, classify};
use crate::domain::observation::Observation;

/// A row of `milady_sandboxes`, and what was seen of its container in this pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct ContainerView {
    /// The agent.
    pub id: Uuid,
    pub sandbox_id: Option<String>,
    pub agent_name: Option<String>,
    pub organization_id: Uuid,
    pub user_id: Uuid,
    pub node_id: Option<String>,
    pub container_name: Option<String>,
    /// Where the database says it is in its life.
    #[serde(deserialize_with = "status")]
    pub db_status: AgentStatus,
    /// How its container fares.
    pub live_health: Health,
    /// How much that matters.
    pub live_health_severity: Severity,
    /// Why, in plain words.
    pub live_health_reason: String,
    /// Docker's word; none if there is no container or the host was not read.
    pub runtime_state: Option<String>,
    /// Docker's own words.
    pub runtime_status: Option<String>,
    /// Whether the container is on its host; none = the host was not read (F19).
    pub runtime_present: Option<bool>,
    pub docker_image: Option<String>,
    pub last_heartbeat_at: Option<Moment>,
    /// Whole minutes; one from the future is new.
    pub heartbeat_age_minutes: Option<i64>,
    /// Without what leads to a host.
    pub error_message: Option<String>,
    pub error_count: i32,
    pub created_at: Moment,
    pub updated_at: Moment,
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AgentStatus, D::Error> {
    String::deserialize(deserializer).map(|word| AgentStatus::parse(&word))
}

impl ContainerView {
    pub(super) fn of(agent: &AgentRow, claims: &Claims<'_>, now: DateTime<Utc>) -> Self {
        let observation = claims.observation(agent);
        let found = claims.container(agent);
        let expected = Expected {
            status: agent.status,
            recorded: agent.container_name.is_some(),
            last_heartbeat_at: agent.last_heartbeat_at,
        };
        let verdict = classify(&expected, observation, now);
        Self {
            id: agent.id,
            sandbox_id: agent.sandbox_id.clone(),
            agent_name: agent.agent_name.clone(),
            organization_id: agent.organization_id,
            user_id: agent.user_id,
            node_id: agent.node_id.clone(),
            container_name: agent.container_name.clone(),
            db_status: agent.status,
            live_health: verdict.health,
            live_health_severity: verdict.severity,
            live_health_reason: verdict.reason,
            runtime_state: found.map(|found| found.state.clone()),
            runtime_status: found.map(|found| found.status.clone()),
            runtime_present: match observation {
                Observation::Read(seen) => Some(seen.is_some()),
                Observation::NoHost | Observation::NotRead(_) => None,
            },
            docker_image: agent.docker_image.clone(),
            last_heartbeat_at: agent.last_heartbeat_at.map(Moment),
            heartbeat_age_minutes: agent.last_heartbeat_at.map(|at| age(at, now).num_minutes()),
            error_message: agent.error_message.as_deref().map(without_addresses),
            error_count: agent.error_count,
            created_at: Moment(agent.created_at),
            updated_at: Moment(agent.updated_at),
        }
    }

    /// Whether the row expects a container on a host that was read and does not have it. One that is being
    /// started has none yet.
    #[must_use]
    pub fn is_orphan(&self) -> bool {
        let recorded = self.container_name.is_some();
        let expects = self.db_status.expects_container(recorded);
        expects
            && self.db_status != AgentStatus::Provisioning
            && self.runtime_present == Some(false)
    }

    /// Whether somebody should look.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        self.live_health_severity < Severity::Info
    }
}
