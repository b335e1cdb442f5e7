//! `docker_nodes`.

pub mod coordinates;
pub mod inspection;
pub mod registry;
pub mod slots;
