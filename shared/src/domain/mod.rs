//! The rules, pure. Owns: money, prices, what is metered time worth, what is charged, who is warned
//! and suspended, who may start compute, what can happen to an agent, where it goes and what its container
//! is given. Does not own: any I/O, the time, randomness.

pub mod address;
pub mod agent;
pub mod billing;
pub mod container;
pub mod credit_gate;
pub mod hour;
pub mod ids;
pub mod job;
pub mod money;
pub mod placement;
pub mod pricing;
pub mod webhook;
