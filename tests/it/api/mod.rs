//! The API's routes, called through the functions' binaries.

mod admin_agent_billing;
mod admin_audit;
mod admin_credits;
mod admin_organizations;
mod admin_refunds;
mod admin_write_offs;
mod agents;
mod auth;
mod billing_runs;
mod callers;
mod config;
mod containers;
mod credits;
mod cron;
mod findings;
mod headscale;
mod idempotency;
mod infrastructure;
mod jobs;
mod known_failures;
mod meta;
mod nodes;
mod session;
mod super_admins;
mod walk;
