//! The use cases, a folder per resource. Owns: transactions and the order of steps. Does not own: HTTP, the
//! environment, rules, nor SQL (except in [`deployment`]).

pub mod agent;
pub(crate) mod agent_state;
pub mod billing;
pub mod container;
pub mod credit;
pub mod deployment;
pub mod error;
pub mod fleet;
pub mod host_access;
pub(crate) mod host_image;
pub mod idempotency;
pub mod job;
pub mod limit;
pub mod mail;
pub mod node;
pub mod open_stream;
pub mod organization;
pub mod publish;
pub mod settings;
pub(crate) mod state_store;
pub(crate) mod stored_secrets;
pub mod webhook;
