//! For super admins: the fleet, its containers, and the private network.

pub mod container;
mod fleet_page;
pub mod fleet_view;
pub mod headscale;
pub mod infrastructure;
