//! Postgres, a folder per group of tables. Owns: the SQL. Does not own: transactions (`app` begins and commits them)
//! and rules (`domain` decides).
//!
//! Functions are named noun first (`agent_find`, `ledger_append`). A function on a tenant's rows takes the
//! organization's id, or its name ends in `_of_any_organization`.

// `sql!` is used by the modules below, so it comes before them.
#[macro_use]
mod sql;

pub mod agents;
pub mod billing;
pub mod clock;
pub mod connections;
mod error;
pub mod hosts;
pub mod identity;
mod idle;
mod ids;
pub mod jobs;
mod login;
pub mod mails;
pub mod page;
pub mod requests;
pub mod schema_check;
mod session;
pub mod settings;
pub mod webhooks;

pub use error::{
    DatabaseFailure, class_unless_unavailable, classify, error_class, is_duplicate_object,
    is_forbidden, is_refused_state, is_unique_violation,
};
pub use login::RenewedLogin;
pub use session::{Connection, Database, Transaction, Workload};
