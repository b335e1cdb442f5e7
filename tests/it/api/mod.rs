//! The routes, through the binaries that ship.

mod admin_credits;
mod agents;
mod auth;
mod containers;
mod credits;
mod cron;
mod idempotency;
mod jobs;
mod known_failures;
mod meta;
mod session;
mod walk;
