//! Agents, as their owners see and control them: one file per route.

pub mod backup_download;
pub mod backups;
pub mod billing;
pub mod bridge;
pub mod create;
pub mod delete;
pub mod figures;
pub mod get;
mod job;
pub mod jobs;
pub mod list;
pub mod logs;
pub mod moves;
pub mod operator_suspend;
pub mod pair;
pub mod pairing_token;
pub mod provision;
pub mod restore;
pub mod resume;
mod rpc;
pub mod snapshot;
mod start;
mod stop;
pub mod stream;
pub mod suspend;
pub mod update;
mod view;

use super::route::Route;

pub const ROUTES: &[Route] = &[
    list::ROUTE,
    create::ROUTE,
    get::ROUTE,
    update::ROUTE,
    delete::ROUTE,
    provision::ROUTE,
    resume::ROUTE,
    suspend::ROUTE,
    snapshot::ROUTE,
    jobs::ROUTE,
    backups::ROUTE,
    backup_download::ROUTE,
    restore::ROUTE,
    bridge::ROUTE,
    stream::ROUTE,
    logs::ROUTE,
    logs::TEXT_ROUTE,
    figures::ROUTE,
    pairing_token::ROUTE,
    pair::ROUTE,
    billing::ROUTE,
    moves::ROUTE,
    operator_suspend::ROUTE,
];
