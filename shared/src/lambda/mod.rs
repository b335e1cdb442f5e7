//! What a function's `main` is made of. Owns: reading the environment, constructing the clients, the runtime
//! loops, and one log line per invocation. Does not own: rules, routes.
//!
//! Nothing here does network I/O before the first event.

pub mod config;
mod events;
mod http;
mod logging;
mod meter;
mod pool;
mod runtime;
pub mod variables;

pub use config::ConfigError;
pub use events::serve_events;
pub use http::{serve_http, serve_stream};
pub use lambda_runtime::Error;
pub use logging::init_logging;
pub use pool::{Connections, pool};
