//! The integration tests, one binary. They mirror the library: `billing` is about money, `api`
//! mirrors the routes, `functions` starts the binaries that ship.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that fails says where"
)]

mod api;
mod billing;
mod functions;
mod migrations;
mod tidy;
