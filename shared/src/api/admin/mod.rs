//! What super admins see and do.

pub mod container;
//! For operators: the fleet as it is, and the private network.

mod fleet_page;
pub mod headscale;
pub mod infrastructure;
