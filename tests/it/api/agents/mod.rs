//! `/api/v1/milady/agents`

mod create;
mod delete;
mod get;
mod list;
mod pairing;
mod restore;
mod start;
mod suspend;
