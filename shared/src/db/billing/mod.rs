//! Billing's own tables: accounts, spans, the ledger and the record of runs.

pub mod accounts;
pub mod ledger;
pub mod runs;
pub mod spans;
