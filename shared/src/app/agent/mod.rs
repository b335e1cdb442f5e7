//! What owners and operators do with agents: one file per use case. Shared by several: `job_request`, `stop_request` and
//! `state`.

pub mod automatic_resume;
pub mod backup_download;
pub mod billing;
pub mod bridge;
pub mod create;
pub mod daily_backup;
pub mod delete;
mod image_restarts;
mod job_request;
mod limits;
pub mod logs;
pub mod moves;
pub mod operator_suspend;
pub mod pairing;
pub mod read;
pub mod restore;
pub mod roll_out;
pub mod snapshot;
pub mod start;
pub mod stop_request;
pub mod stream;
pub mod suspend;
