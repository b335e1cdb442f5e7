//! Agents, as their owners see and handle them: one file per route.

pub mod backups;
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod pair;
pub mod pairing_token;
pub mod provision;
pub mod restore;
pub mod resume;
mod start;
pub mod suspend;
pub mod update;
mod view;

pub use start::Deps as StartDeps;
pub use suspend::Deps as StopDeps;
