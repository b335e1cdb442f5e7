//! The rules, as pure functions. Owns: money, prices, what metered time is worth, what is charged, who is
//! warned and suspended, who may start compute, what can happen to an agent, on which host it is placed, how
//! its container is configured and how healthy it is. Does not own: any I/O, the time, randomness.

pub mod access;
pub mod address;
pub mod agent;
pub mod billing;
pub mod container;
pub mod credit_gate;
pub mod daily_backup;
pub mod encrypted;
pub mod figures;
pub mod fleet;
pub mod history;
pub mod hour;
pub mod ids;
pub mod image;
pub mod job;
pub mod lane;
pub mod limits;
pub mod mail;
pub mod money;
pub mod notice;
pub mod payload;
pub mod placement;
pub mod pricing;
pub mod product_event;
pub(crate) mod redacted;
pub mod roll_out;
pub mod slug;
pub mod timestamp;
pub mod volume_copy;
pub mod webhook;
pub mod withdrawal;
pub(crate) mod words;
