//! The local stack: a Postgres server, a Lambda Runtime API, the gateway, the event bus, a
//! `DynamoDB` emulator and the schedules.
//!
//! `cargo dev` runs the whole stack; the integration tests use its parts. This crate does not
//! depend on the library of the functions: it starts the functions' binaries and talks to them from
//! outside.

#![expect(
    clippy::disallowed_methods,
    reason = "the stack plays the outside world, which has a clock and randomness"
)]

pub mod api_check;
pub mod build;
pub mod calls;
pub mod clock;
pub mod command;
pub mod dynamodb;
pub mod events;
pub mod gateway;
pub mod host;
pub mod mailbox;
pub mod ports;
pub mod postgres;
pub mod runtime;
pub mod schedule;
pub mod sim;
pub mod template;
pub mod web;
