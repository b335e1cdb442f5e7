//! The integration tests, one binary. They mirror the library: `api` mirrors the routes, `billing` tests the
//! metering and charging, `cache` the snapshot cache, `databases` agents' own databases, `derived` the
//! files that are derived from the code, `hosts` and `refresh`
//! the inspection of hosts, `host_client` the connections to hosts, `jobs` the work outside requests, `mail` the
//! mails to owners, `secrets`
//! reading our secrets, `sim` the simulated hosts. `functions` starts the binaries that ship.

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

mod adoption_walk;
mod api;
mod billing;
mod cache;
mod connections;
mod databases;
mod derived;
mod functions;
mod host_client;
mod hosts;
mod jobs;
mod mail;
mod migrations;
mod pooler;
mod refresh;
mod roles;
mod secrets;
mod sim;
mod tidy;
mod tls;
