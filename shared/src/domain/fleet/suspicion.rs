//! What runs suspect. Owns: what must be remembered of an observation until a later run confirms it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::domain::ids::{AgentId, AgentRef};

/// What earlier runs observed that a loss follows from, if it is observed again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspicions {
    /// Hosts that could not be read, and when the last run began that could not.
    pub hosts: HashMap<String, DateTime<Utc>>,
    pub containers: HashMap<AgentId, ContainerSuspicion>,
}

/// The container of an agent that should run was gone, or had ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSuspicion {
    pub agent: AgentRef,
    /// Where the container should have been.
    pub node_id: String,
    pub container_name: String,
    /// When the run began that observed it last.
    pub observed_at: DateTime<Utc>,
}
