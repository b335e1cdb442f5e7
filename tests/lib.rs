//! What the integration tests and benchmarks stand on: a real Postgres with a migrated template
//! database, the function binaries behind a Lambda Runtime API, and a clock that can be moved.
//!
//! Everything is started once per test process, when it is first needed, and ends with it.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::disallowed_methods,
    reason = "this is test code: what fails here fails the test"
)]

#[path = "harness/audit.rs"]
pub mod audit;
#[path = "harness/cache.rs"]
pub mod cache;
#[path = "harness/calls.rs"]
pub mod calls;
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
#[path = "harness/refreshes.rs"]
pub mod refreshes;
#[path = "harness/rows.rs"]
pub mod rows;
#[path = "harness/secrets_manager.rs"]
pub mod secrets_manager;
#[path = "harness/simulated.rs"]
pub mod simulated;
#[path = "harness/snapshot.rs"]
pub mod snapshot;
#[path = "harness/suite.rs"]
pub mod suite;
#[path = "harness/world.rs"]
pub mod world;

pub use lab::Lab;
pub use snapshot::check;
pub use suite::{Function, run};
pub use world::World;
