//! Inspecting all hosts, and reading what the last inspection saw.

pub mod inspect;
pub mod refresh;
pub mod snapshot;
