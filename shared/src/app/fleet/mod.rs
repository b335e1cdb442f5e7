//! Refresh runs over all hosts, reading the snapshot of the last one, and the upkeep of hosts.

pub(crate) mod deaths;
mod held;
pub mod inspect;
mod plan;
pub mod refresh;
mod repair;
pub mod run_clock;
pub mod snapshot;
mod transitions;
pub mod upkeep;
