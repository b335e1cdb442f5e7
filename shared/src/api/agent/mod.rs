//! Agents, as their owners see and handle them: one file per route.

pub mod backups;
pub mod bridge;
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod logs;
pub mod pair;
pub mod pairing_token;
pub mod provision;
mod reach;
pub mod restore;
pub mod resume;
pub mod snapshot;
mod start;
pub mod stream;
pub mod suspend;
pub mod update;
mod view;

pub use reach::Deps as ReachDeps;
pub use start::Deps as StartDeps;
pub use suspend::Deps as StopDeps;
