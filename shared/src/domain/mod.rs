//! The rules, pure. Owns: money, prices, what is metered time worth, what is charged, who is warned
//! and suspended, who may start compute, what can happen to an agent, where it goes, what its container
//! is given and how it fares. Does not own: any I/O, the time, randomness.

pub mod address;
pub mod agent;
pub mod billing;
pub mod container;
pub mod credit_gate;
pub mod fleet;
pub mod hour;
pub mod ids;
pub mod job;
pub mod money;
pub mod placement;
pub mod pricing;
pub mod timestamp;
pub mod webhook;
