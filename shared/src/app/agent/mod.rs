//! What owners ask of their agents: one file per use case.

pub mod bridge;
pub mod create;
pub mod logs;
pub mod pairing;
pub mod snapshot;
pub mod start;
pub(crate) mod state;
pub mod stop;
