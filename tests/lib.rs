//! The harness of the integration tests and benchmarks: a Postgres server with a migrated template
//! database, the function binaries behind a Lambda Runtime API, and a clock that tests can move.
//!
//! Everything is started at most once per test process, on first use, and ends with the process.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::disallowed_methods,
    reason = "test code: a failure here fails the test"
)]

#[path = "harness/audit.rs"]
pub mod audit;
#[path = "harness/cache.rs"]
pub mod cache;
#[path = "harness/calls.rs"]
pub mod calls;
#[path = "harness/failure.rs"]
pub mod failure;
#[path = "harness/fleet.rs"]
pub mod fleet;
#[path = "harness/headscale.rs"]
pub mod headscale;
#[path = "harness/lab.rs"]
pub mod lab;
#[path = "harness/neon.rs"]
pub mod neon;
#[path = "harness/privy.rs"]
pub mod privy;
#[path = "harness/refresh.rs"]
pub mod refresh;
#[path = "harness/response_text.rs"]
pub mod response_text;
#[path = "harness/rows.rs"]
pub mod rows;
#[path = "harness/secrets_manager.rs"]
pub mod secrets_manager;
#[path = "harness/simulated_world.rs"]
pub mod simulated_world;
#[path = "harness/suite.rs"]
pub mod suite;
#[path = "harness/world.rs"]
pub mod world;

pub use failure::reason;
pub use lab::Lab;
pub use response_text::check;
pub use suite::{Function, run};
pub use world::World;
