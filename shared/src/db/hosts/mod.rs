//! `docker_nodes`, and what is recorded about hosts.

pub mod coordinates;
pub mod discrepancies;
pub mod failed_starts;
pub mod inspection;
pub mod leases;
pub mod registry;
pub mod roll_outs;
pub mod slots;
pub mod suspicions;
pub mod unread;
pub mod upkeep;
pub mod withdrawals;
