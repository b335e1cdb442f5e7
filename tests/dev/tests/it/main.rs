//! The local stack, tested from outside: with a real function binary, ordinary command line programs and plain HTTP.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads the clock and may panic"
)]

mod edge;
mod events;
mod host;
mod http;
mod mailbox;
mod sim;
mod stack;
mod streams;
