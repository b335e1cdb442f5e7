//! An agent and its container in a snapshot.

use chrono::{DateTime, Utc};

use super::claims::Claims;
use super::health::{ExpectedState, Verdict, age, classify};
use super::observation::{AgentObservation, AgentRow};
use super::redact::redact_addresses;
use super::severity::Severity;
use crate::domain::agent::AgentStatus;
use crate::domain::ids::{AgentId, OrganizationId, UserId};

/// A row of `milady_sandboxes`, and what the refresh run observed of its container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentReport {
    pub id: AgentId,
    pub sandbox_id: Option<String>,
    pub agent_name: Option<String>,
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub node_id: Option<String>,
    pub container_name: Option<String>,
    /// As the database says.
    pub status: AgentStatus,
    pub verdict: Verdict,
    pub observation: AgentObservation,
    /// Docker's word for the container's state; `None` if the container was not observed.
    pub docker_state: Option<String>,
    /// Docker's status text; `None` if the container was not observed.
    pub docker_status: Option<String>,
    pub docker_image: Option<String>,
    pub last_heartbeat_at: Option<DateTime<Utc>>,
    /// Whole minutes; zero for a heartbeat in the future.
    pub heartbeat_age_minutes: Option<i64>,
    /// Without addresses of hosts.
    pub error_message: Option<String>,
    pub error_count: i32,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl AgentReport {
    pub(super) fn of(agent: &AgentRow, claims: &Claims<'_>, now: DateTime<Utc>) -> Self {
        let observation = claims.observation(agent);
        let container = claims.container(agent);
        let expected = ExpectedState {
            status: agent.status,
            has_container_name: agent.container_name.is_some(),
            last_heartbeat_at: agent.last_heartbeat_at,
        };
        Self {
            id: agent.id,
            sandbox_id: agent.sandbox_id.clone(),
            agent_name: agent.agent_name.clone(),
            organization_id: agent.organization_id,
            user_id: agent.user_id,
            node_id: agent.node_id.clone(),
            container_name: agent.container_name.clone(),
            status: agent.status,
            verdict: classify(&expected, observation, now),
            observation,
            docker_state: container.map(|container| container.state.clone()),
            docker_status: container.map(|container| container.status.clone()),
            docker_image: agent.docker_image.clone(),
            last_heartbeat_at: agent.last_heartbeat_at,
            heartbeat_age_minutes: agent.last_heartbeat_at.map(|at| age(at, now).num_minutes()),
            error_message: agent.error_message.as_deref().map(redact_addresses),
            error_count: agent.error_count,
            created_at: agent.created_at,
            updated_at: agent.updated_at,
        }
    }

    /// Whether the container is on its host; `None` if that is not known (F19).
    #[must_use]
    pub fn is_container_present(&self) -> Option<bool> {
        match self.observation {
            AgentObservation::NoHost | AgentObservation::HostNotRead(_) => None,
            AgentObservation::NoContainer => Some(false),
            AgentObservation::Container(_) => Some(true),
        }
    }

    /// Whether the row expects a container, and its host was read and does not have it. An agent that is
    /// being started has none yet.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        let is_expected = self.status.expects_container(self.container_name.is_some());
        is_expected
            && self.status != AgentStatus::Provisioning
            && self.observation == AgentObservation::NoContainer
    }

    #[must_use]
    pub fn needs_attention(&self) -> bool {
        self.verdict.severity < Severity::Info
    }
}
