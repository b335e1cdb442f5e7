//! The routes, through the binaries that ship.

mod admin_credits;
mod agents;
mod auth;
mod credits;
mod cron;
mod idempotency;
mod jobs;
mod known_failures;
mod meta;
mod nodes;
mod session;
mod walk;
