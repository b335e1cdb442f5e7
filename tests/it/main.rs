//! The integration tests, one binary. They mirror the library: `billing` is about money, `api`
//! mirrors the routes, `functions` starts the binaries that ship.

mod api;
mod billing;
mod functions;
mod migrations;
mod tidy;
