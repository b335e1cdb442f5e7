//! The API's routes, called through the functions' binaries.

mod admin_credits;
mod agents;
mod auth;
mod containers;
mod credits;
mod cron;
mod headscale;
mod idempotency;
mod infrastructure;
mod jobs;
mod known_failures;
mod meta;
mod nodes;
mod session;
mod walk;
