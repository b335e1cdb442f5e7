//! `milady_sandboxes` and the tables that belong to an agent.

pub mod backups;
pub mod billing;
pub mod operator;
pub mod owner;
pub mod pairing_tokens;
pub mod placement;
