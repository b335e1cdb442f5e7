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

pub mod audit;
pub mod cache;
pub mod calls;
pub mod derived;
pub mod failure;
pub mod fleet;
pub mod gzip;
pub mod lab;
pub mod legacy;
pub mod lost_answer;
pub mod mail_provider;
pub mod neon;
pub mod object_store;
pub mod privy;
pub mod problem;
pub mod refresh;
pub mod response_text;
pub mod rows;
pub mod sample_event;
pub mod secrets_manager;
pub mod simulated_world;
pub mod statistics;
pub mod suite;
pub mod truncated_response;
pub mod virtual_fleet;
pub mod wait;
pub mod world;

pub use failure::reason;
pub use lab::Lab;
pub use problem::{check_field_errors, check_limit, check_problem};
pub use response_text::check;
pub use sample_event::sample_event;
pub use suite::{Function, run};
pub use wait::wait_until;
pub use world::World;
