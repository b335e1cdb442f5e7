//! What a function's `main` is made of. Owns: reading the environment, constructing the clients, the runtime
//! loops, and one log line per invocation. Does not own: rules, routes.
//!
//! Before the first event nothing here does network I/O, but for reading settings that Secrets Manager keeps.

pub mod config;
mod database;
mod environment;
mod events;
mod http;
mod logging;
mod meter;
mod origin;
mod runtime;
mod stored;
mod tls;
pub mod variables;

pub use crate::db::Workload;
pub use database::{database, owner_database};
pub use environment::ConfigError;
pub use events::serve_events;
pub use http::{serve_http, serve_stream};
pub use lambda_runtime::Error;
pub use logging::init_logging;
pub use stored::init;
