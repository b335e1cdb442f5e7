//! What comes in and what goes out: one file per route or event. Owns: request and response types,
//! authentication, status codes, JSON. Does not own: SQL, transactions, rules.

pub mod admin;
pub mod agent;
pub mod agent_database_check;
pub mod auth;
pub mod billing;
pub mod body;
pub mod config;
pub mod credit;
pub mod csv;
pub mod dashboard;
pub mod db_migrate;
pub mod deps;
pub mod document;
pub mod encoding;
pub mod filter;
pub mod fleet_refresh;
pub mod idempotency;
pub mod job;
pub mod list;
pub mod log_part;
pub mod node;
pub mod not_found;
pub mod openapi;
pub mod parameters;
pub mod path;
pub mod problem;
pub mod response;
pub mod route;
pub mod routes;
pub mod schema;
pub mod session;
pub mod table;
