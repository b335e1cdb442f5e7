//! What operators do with hosts: one file per use case.

pub mod check;
pub mod drain;
mod locked;
pub mod lost;
pub mod probe;
pub mod register;
pub mod remove;
pub mod sync;
pub mod update;
