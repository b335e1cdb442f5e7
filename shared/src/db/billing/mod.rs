//! Billing's own tables: accounts, spans, the ledger and the record of billing runs.

pub mod accounts;
pub mod history;
pub mod ledger;
pub mod runs;
pub mod spans;
