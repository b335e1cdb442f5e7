//! For operators: the fleet as it is, and the private network.

mod fleet_page;
pub mod headscale;
pub mod infrastructure;
