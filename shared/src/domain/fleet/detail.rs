//! One container as operators see it close up: no environment, no directory of the host, no foreign label.

use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::pass::Found;
use crate::domain::observation::DockerHealth;

/// A container close up. Its JSON is the one of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// Docker's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Docker's word for its state.
    pub state: String,
    /// Docker's own words.
    pub status: String,
    /// What its own check says; none if it has none.
    pub health: Option<DockerHealth>,
    /// When it was made, by the host's clock.
    pub created_at: Moment,
    /// How often Docker had to start it again.
    pub restart_count: i64,
    /// What it may use of its host.
    pub limits: Limits,
}

/// What a container may use of its host; none = as much as there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Bytes.
    pub memory_bytes: Option<i64>,
    /// Billionths of a processor.
    pub nano_cpus: Option<i64>,
    /// Processes and threads.
    pub pids: Option<i64>,
}

impl Limits {
    /// Docker's numbers, of which those that are not positive stand for no limit.
    #[must_use]
    pub fn of(memory: i64, nano_cpus: i64, pids: i64) -> Self {
        let limit = |number: i64| (number > 0).then_some(number);
        Self {
            memory_bytes: limit(memory),
            nano_cpus: limit(nano_cpus),
            pids: limit(pids),
        }
    }
}

impl Detail {
    /// What the list told of it, and what asking for it alone did.
    #[must_use]
    pub fn of(found: Found, restart_count: i64, limits: Limits) -> Self {
        Self {
            health: found.health(),
            id: found.id,
            name: found.name,
            image: found.image,
            state: found.state,
            status: found.status,
            created_at: Moment(found.created_at),
            restart_count,
            limits,
        }
    }
}
