//! `docker_nodes`.

pub mod inspection;
pub mod operator;
pub mod slots;
