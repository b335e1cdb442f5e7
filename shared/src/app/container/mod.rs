//! What operators do with containers on hosts.

pub mod action;
pub mod audit;
mod entry;
pub mod logs;
