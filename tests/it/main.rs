//! The integration tests, one binary. They mirror the library: `billing` is about money, `jobs` about
//! what is done outside the request, `fleet` about the way to hosts,
//! `cache` about where the fleet's snapshot is kept, `databases` about agents' own,
//! `secrets` about where ours are kept, `api` mirrors the routes, `functions` starts the binaries that
//! ship.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that fails says where"
)]
#![expect(
    clippy::too_many_lines,
    reason = "answers are compared whole, and some have many lines"
)]

mod api;
mod billing;
mod cache;
mod databases;
mod fleet;
mod functions;
mod hosts;
mod jobs;
mod migrations;
mod refresh;
mod secrets;
mod sim;
mod tidy;
