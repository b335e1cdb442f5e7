//! Containers of any organization, as operators see and handle them: one file per route.

pub mod action;
pub mod audit;
pub mod list;
pub mod logs;

pub use crate::api::agent::ReachDeps;
