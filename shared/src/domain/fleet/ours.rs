//! Our containers on a host. Owns: which are ours, which nobody claims, and how far their number is from
//! what the database expects.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::pass::{AgentRow, Claims, Found};
use crate::domain::agent::AgentStatus;

/// A container of ours that no row on its host claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ghost {
    /// Its name.
    pub name: String,
    /// Docker's id: what it takes to remove it.
    pub container_id: String,
    /// Docker's word for its state.
    pub state: String,
    /// Docker's own words.
    pub status: String,
    /// When it was made, by the host's clock.
    pub created_at: Moment,
    /// The host its agent lives on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<String>,
}

/// Whether a row expects a container on its host.
pub(super) fn expects(agent: &AgentRow) -> bool {
    let recorded = agent.container_name.is_some();
    agent.status.expects_container(recorded)
}

/// The containers of a host that are ours: those that say so, and those that a row claims. The second
/// tells whether one does.
pub(super) struct Ours<'a>(pub(super) Vec<(&'a Found, bool)>);

impl<'a> Ours<'a> {
    pub(super) fn of(found: &'a [Found], rows: &[&AgentRow], claims: &Claims<'_>) -> Self {
        let claimed: HashSet<&str> = rows
            .iter()
            .filter_map(|agent| claims.container(agent))
            .map(|found| found.id.as_str())
            .collect();
        let mut ours: Vec<_> = found
            .iter()
            .map(|found| (found, claimed.contains(found.id.as_str())))
            .filter(|(found, claimed)| *claimed || found.is_ours())
            .collect();
        ours.sort_by(|(one, _), (other, _)| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
        Self(ours)
    }

    /// Our containers that are not over (F20), minus rows that expect one.
    pub(super) fn drift(&self, rows: &[&AgentRow], claims: &Claims<'_>) -> i64 {
        let lives = |found: &Found| !found.state().is_over();
        let there = self.0.iter().filter(|(found, _)| lives(found)).count();
        let expecting = rows.iter().filter(|agent| match agent.status {
            // Its container comes and goes while it is being started; what a word that is not known
            // expects, is not known.
            AgentStatus::Provisioning | AgentStatus::Unknown => {
                claims.container(agent).is_some_and(lives)
            }
            _ => expects(agent),
        });
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        count(there) - count(expecting.count())
    }

    /// Those that no row on this host claims.
    pub(super) fn ghosts(&self, node_id: &str, claims: &Claims<'_>) -> Vec<Ghost> {
        let unclaimed = self.0.iter().filter(|(_, claimed)| !claimed);
        let ghost = |(found, _): &(&Found, bool)| Ghost {
            name: found.name.clone(),
            container_id: found.id.clone(),
            state: found.state.clone(),
            status: found.status.clone(),
            created_at: Moment(found.created_at),
            elsewhere: found
                .agent()
                .and_then(|agent| claims.home(agent))
                .filter(|home| *home != node_id)
                .map(str::to_owned),
        };
        unclaimed.map(ghost).collect()
    }
}
