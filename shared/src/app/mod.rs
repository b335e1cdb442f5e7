//! The use cases, one file each. Owns: transactions and the order of steps. Does not own: HTTP, the
//! environment, rules, nor SQL, but for what happens once in a deployment's life: migrations, adoption
//! and the first organization.

pub mod adopt;
pub mod billing_tick;
pub mod bootstrap;
pub mod credit_summary;
pub mod migrate;
pub mod start_job;
