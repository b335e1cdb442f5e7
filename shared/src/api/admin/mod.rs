//! For super admins: the fleet, its containers, the private network, and billing as a whole.

pub mod billing;
pub mod container;
mod fleet_page;
pub mod fleet_view;
pub mod headscale;
pub mod infrastructure;

use super::route::Route;

pub const ROUTES: &[Route] = &[
    container::list::ROUTE,
    container::logs::ROUTE,
    container::audit::ROUTE,
    container::action::ROUTE,
    infrastructure::ROUTE,
    headscale::ROUTE,
    billing::findings::ROUTE,
];
