//! What operators do with containers on hosts.

pub mod action;
pub mod audit;
pub mod logs;
