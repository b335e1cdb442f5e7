//! The use cases, one file each. Owns: transactions and the order of steps. Does not own: HTTP, the
//! environment, rules, nor SQL, but for what happens once in a deployment's life: migrations, adoption
//! and the first organization.

pub mod adopt;
pub mod agent_bridge;
pub mod agent_create;
pub mod agent_logs;
pub mod agent_snapshot;
pub mod agent_start;
mod agent_state;
pub mod agent_stop;
pub mod billing_tick;
pub mod bootstrap;
pub mod container_act;
pub mod container_audit;
pub mod container_logs;
pub mod credit_grant;
pub mod credit_summary;
pub mod error;
pub mod fleet_refresh;
pub mod fleet_snapshot;
pub mod gate;
pub mod hosts;
pub mod idempotency;
pub mod inspect;
pub mod job_await;
pub mod job_run;
pub mod job_sweep;
pub mod migrate;
pub mod node_check;
pub mod node_register;
pub mod node_remove;
pub mod node_sync;
pub mod node_update;
pub mod pairing;
pub mod publish;
