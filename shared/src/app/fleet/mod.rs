//! Refresh runs over all hosts, reading the snapshot of the last one, and the upkeep of hosts.

pub(crate) mod deaths;
pub mod dispatch;
mod held;
pub mod inspect;
mod plan;
pub mod refresh;
pub mod renewal;
mod repair;
pub mod run_clock;
pub mod snapshot;
mod transitions;
pub mod upkeep;
