//! What was charged, used and added, for owners to read. Owns: the reading statements. Does not own: appending
//! (`ledger`).

pub mod agent;
pub mod charges;
pub mod entries;
pub mod others;
pub mod series;
pub mod usage;
