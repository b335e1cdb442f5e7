//! Billing's own tables: accounts, spans, the ledger and the record of billing runs.

pub mod accounts;
pub mod audit;
pub mod days;
pub mod debts;
pub mod findings;
pub mod history;
pub mod ledger;
pub mod metering;
pub mod partitions;
pub mod retention;
pub mod runs;
pub mod spans;
pub mod stated;
