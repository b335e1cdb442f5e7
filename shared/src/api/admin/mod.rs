//! For super admins: the fleet, its containers, and the private network.

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
];
