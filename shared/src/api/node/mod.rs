//! Hosts, for super admins: one file per route. The only responses that hold the addresses of hosts, except the
//! audit's.

pub mod check;
pub mod drain;
mod fields;
pub mod figures;
pub mod get;
pub mod list;
pub mod lost;
mod path;
pub mod probe;
pub mod register;
pub mod remove;
pub mod sync;
pub mod update;
mod view;

use super::route::Route;

pub const ROUTES: &[Route] = &[
    list::ROUTE,
    probe::ROUTE,
    register::ROUTE,
    get::ROUTE,
    update::ROUTE,
    remove::ROUTE,
    check::ROUTE,
    figures::ROUTE,
    drain::PLAN_ROUTE,
    drain::ROUTE,
    drain::CANCEL_ROUTE,
    lost::ROUTE,
    lost::RETURN_ROUTE,
    sync::ROUTE,
];
