//! Organizations, and whom a credential stands for.

pub mod organizations;
pub mod principals;
