//! The control plane's one library. Every Lambda function is a thin `main` over it.
//!
//! ```text
//! functions -> lambda, api | app -> {db, hosts, cache, events, secrets, agent_databases, vpn} -> domain
//! ```
//! Nothing points back up. Reads may go `api -> db`; every write goes through `app`.
//!
//! - [`domain`]: the rules, pure: no I/O, no clock, no randomness.
//! - [`db`]: Postgres, one module per table: no rules, no transactions.
//! - [`hosts`]: hosts: one SSH connection each, the Docker Engine API and the agents' HTTP through it.
//! - [`cache`]: `DynamoDB`: the fleet's last snapshot, and who renews it.
//! - [`events`]: `EventBridge`: what happened, told to whoever listens.
//! - [`secrets`]: where secrets are kept: settings, files, Secrets Manager.
//! - [`agent_databases`]: an agent's own database: a Postgres server's administration, or Neon's API.
//! - [`vpn`]: Headscale: who is in the private network.
//! - [`app`]: the use cases: they begin and commit transactions.
//! - [`api`]: what comes in and goes out: types, authentication, status codes.
//! - [`lambda`]: the environment, the clients, the runtime loop.
//!
//! # Invariants
//! 1. Money is a decimal, never a float. A balance never goes below zero, and each change we make to
//!    it equals the sum of our ledger rows of that transaction.
//! 2. No second of an agent's life is charged twice; none that was metered is silently dropped: it
//!    is charged, owed, or written off in a row that says so.
//! 3. Compute cannot start without a [`domain::credit_gate::Clearance`], which only the gate makes.
//! 4. Intent is committed before any outside effect, and every outside effect can be repeated.
//! 5. No transaction stays open across SSH or HTTP.
//! 6. Every query on tenant data takes the organization's id.
//! 7. Raw driver errors, SQL, secrets and mail addresses never reach a response or a log.

pub mod api;
pub mod app;
pub mod cache;
pub mod agent_databases;
pub mod db;
pub mod domain;
pub mod events;
pub mod hosts;
pub mod lambda;
pub mod secrets;
pub mod vpn;
