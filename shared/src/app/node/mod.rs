//! What operators do with hosts.

pub mod check;
pub mod register;
pub mod remove;
pub mod sync;
pub mod update;
