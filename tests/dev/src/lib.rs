//! The local stack: a Postgres server, a Lambda Runtime API, the gateway, the event bus, an emulator of
//! `DynamoDB` and the schedule.
//!
//! `cargo dev` runs it for people, the integration tests use its parts. It knows nothing of the
//! library the functions share: it starts the very binaries that ship and talks to them from outside.

#![expect(
    clippy::disallowed_methods,
    reason = "the stack stands for the outside world, which does have a clock and chance"
)]

pub mod api_check;
pub mod build;
pub mod clock;
pub mod command;
pub mod dynamodb;
pub mod events;
pub mod gateway;
pub mod host;
pub mod postgres;
pub mod runtime;
pub mod schedule;
pub mod sim;
pub mod template;
