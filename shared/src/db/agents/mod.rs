//! `milady_sandboxes` and the tables that belong to an agent.

pub mod backups;
pub mod billing;
pub mod commitments;
pub mod database;
pub mod lifecycle;
pub mod neglected;
pub mod operator;
pub mod pairing_tokens;
pub mod placement;
pub mod pricing;
pub mod records;
pub mod secrets;
pub mod tombstones;
