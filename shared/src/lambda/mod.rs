//! What a function's `main` is made of. Owns: the environment, the clients, the runtime loop, the
//! one log line per invocation. Does not own: rules, routes.
//!
//! Nothing here does network I/O before the first event.

mod boot;
pub mod config;
mod events;
mod http;
mod invocation;
pub mod metrics;
mod stream;

pub use boot::{Connections, boot, pool, random_bytes};
pub use config::ConfigError;
pub use events::serve_events;
pub use http::serve_http;
pub use invocation::{Invocation, database_queries};
pub use lambda_runtime::Error;
pub use stream::{Streaming, serve_stream};
