//! What a refresh run does: the hosts of its shard, and what it asks there. Owns: reading it from the rows, before the
//! inspection. Does not own: inspecting (`inspect`), the order of a run (`refresh`).

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use tracing::error;

use super::inspect::{InspectionResult, Probe, Questions};
use crate::db;
use crate::db::Database;
use crate::db::hosts::inspection::{ExpectedAgent, FleetHost};
use crate::domain::figures;
use crate::domain::fleet::{HostChange, HostStatus, OtherHosts, OwnFault, Shard, Suspicions};
use crate::domain::ids::AgentId;

pub(super) struct RunPlan {
    pub(super) hosts: Vec<FleetHost>,
    probes: HashMap<String, Vec<Probe>>,
    /// The agents whose figures are due, by host.
    figures: HashMap<String, Vec<AgentId>>,
    pub(super) agents: Vec<ExpectedAgent>,
    /// What earlier runs suspected.
    pub(super) suspicions: Suspicions,
    /// See [`OtherHosts::failed_before`].
    failed_before: Option<DateTime<Utc>>,
}

impl RunPlan {
    /// A plan without figures.
    pub(super) async fn read(
        pool: &Database,
        shard: &Shard,
        now: DateTime<Utc>,
    ) -> sqlx::Result<Self> {
        let mut conn = pool.statements();
        let since = OtherHosts::read_since(now);
        let others = db::hosts::inspection::other_hosts_read(&mut conn, shard, since).await?;
        let hosts = db::hosts::inspection::hosts_of_shard(&mut conn, shard).await?;
        let agents =
            db::hosts::inspection::agents_expected_of_any_organization(&mut conn, shard).await?;
        let mut plan = Self {
            suspicions: db::hosts::suspicions::suspicions_of_any_organization(&mut conn, shard)
                .await?,
            hosts,
            probes: HashMap::new(),
            figures: HashMap::new(),
            agents,
            failed_before: others.failed_before(now),
        };
        for agent in &plan.agents {
            if let Some(port) = agent.web_port {
                let agent_id = agent.agent_id;
                let probes = plan.probes.entry(agent.node_id.clone()).or_default();
                probes.push(Probe { agent_id, port });
            }
        }
        Ok(plan)
    }

    /// Adds the figures that are due. `last_run` is when the run over the shard before began.
    pub(super) fn add_figures(&mut self, last_run: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        for agent in &self.agents {
            if figures::is_due(&agent.node_id, last_run, now) {
                let of_host = self.figures.entry(agent.node_id.clone()).or_default();
                of_host.push(agent.agent_id);
            }
        }
    }

    pub(super) fn questions(&self, node_id: &str) -> Questions<'_> {
        Questions {
            probes: self.probes.get(node_id).map_or(&[][..], Vec::as_slice),
            figures: self.figures.get(node_id).map_or(&[][..], Vec::as_slice),
        }
    }

    /// Whether most of the hosts of the shard that earlier runs could read became unreadable in this run.
    pub(super) fn own_fault(
        &self,
        results: &HashMap<String, InspectionResult>,
    ) -> Option<OwnFault> {
        let changes = self.hosts.iter().filter_map(|host| {
            let node_id = &host.coordinates.node_id;
            let is_suspected = self.suspicions.hosts.contains_key(node_id);
            let has_failed = self.failed_before.is_some_and(|before| {
                let last_read = host.row.last_health_check;
                last_read.is_some_and(|last_read| last_read < before)
            });
            Some(HostChange {
                was_unread: is_suspected || has_failed || host.status == HostStatus::Offline,
                inspection: &results.get(node_id)?.inspection,
            })
        });
        let fault = OwnFault::find(changes)?;
        error!(
            hosts = fault.hosts,
            unread_hosts = fault.unread_hosts,
            "most of the fleet became unreadable in one run; no agent becomes disconnected"
        );
        Some(fault)
    }
}
