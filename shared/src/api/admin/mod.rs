//! For operators: the fleet as it is, its containers, and the private network.

pub mod container;
mod fleet_page;
pub mod headscale;
pub mod infrastructure;
