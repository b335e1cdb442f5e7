//! Refresh runs over all hosts, and reading the snapshot of the last one.

pub mod inspect;
pub mod refresh;
pub mod run_clock;
pub mod snapshot;
mod transitions;
