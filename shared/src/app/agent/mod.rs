//! What owners do with their agents: one file per use case. Shared by several: `job_request`, `stop_request` and
//! `state`.

pub mod billing;
pub mod bridge;
pub mod create;
pub mod delete;
mod job_request;
mod limits;
pub mod logs;
pub mod pairing;
pub mod restore;
pub mod snapshot;
pub mod start;
pub mod stop_request;
pub mod stream;
pub mod suspend;
