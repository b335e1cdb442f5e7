//! `milady_sandboxes` and the tables that belong to an agent.

pub mod backup_objects;
pub mod backups;
pub mod billing;
pub mod commitments;
pub mod daily_backups;
pub mod database;
pub mod deaths;
pub mod image_restarts;
pub mod lifecycle;
pub mod losses;
pub mod moves;
pub mod neglected;
pub mod operator;
pub mod pairing_tokens;
pub mod placement;
pub mod pricing;
pub mod records;
pub mod resumes;
pub mod secrets;
pub mod tombstones;
