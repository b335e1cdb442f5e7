//! Refresh runs over all hosts, and reading the snapshot of the last one.

pub(crate) mod deaths;
pub mod inspect;
pub mod refresh;
mod repair;
pub mod run_clock;
pub mod snapshot;
mod transitions;
