//! Containers of all organizations, for super admins: one file per route.

pub mod action;
pub mod audit;
pub mod list;
pub mod logs;
