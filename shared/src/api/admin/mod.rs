//! For super admins: the fleet, its containers and their default image, the private network, billing as a whole,
//! mails, and what operators did.

pub mod audit;
pub mod billing;
pub mod container;
pub mod fleet_page;
pub mod fleet_render;
mod fleet_runtime;
pub mod fleet_view;
pub mod headscale;
pub mod image_roll_out;
pub mod infrastructure;
pub mod mails;

use super::route::Route;

pub const ROUTES: &[Route] = &[
    container::list::ROUTE,
    container::logs::ROUTE,
    container::audit::ROUTE,
    container::action::ROUTE,
    infrastructure::ROUTE,
    headscale::ROUTE,
    image_roll_out::PROGRESS_ROUTE,
    image_roll_out::START_ROUTE,
    image_roll_out::CHANGE_ROUTE,
    image_roll_out::CANCEL_ROUTE,
    billing::runs::ROUTE,
    billing::findings::ROUTE,
    audit::ROUTE,
    mails::list::ROUTE,
    mails::retry::ROUTE,
];
