//! What comes in and what goes out: one file per route or event. Owns: request and response types,
//! authentication, status codes, JSON. Does not own: SQL, transactions, rules.

pub mod auth;
pub mod billing;
pub mod credit;
pub mod db_migrate;
pub mod json;
pub mod list;
pub mod problem;
