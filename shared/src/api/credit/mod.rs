//! Credit: balance and ledger for owners, grants for super admins.

pub mod get;
pub mod grant;
pub mod history;
