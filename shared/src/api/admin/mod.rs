//! For super admins: the fleet, its containers, the private network, billing as a whole, organizations, mails, and what
//! operators did.

pub mod audit;
pub mod billing;
pub mod container;
mod fleet_page;
mod fleet_runtime;
pub mod fleet_view;
pub mod headscale;
pub mod infrastructure;
pub mod mails;
pub mod organizations;

use super::route::Route;

pub const ROUTES: &[Route] = &[
    container::list::ROUTE,
    container::logs::ROUTE,
    container::audit::ROUTE,
    container::action::ROUTE,
    infrastructure::ROUTE,
    headscale::ROUTE,
    billing::runs::ROUTE,
    billing::findings::ROUTE,
    audit::ROUTE,
    organizations::ROUTE,
    mails::list::ROUTE,
    mails::retry::ROUTE,
];
