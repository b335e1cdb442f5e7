//! Organizations, and the users that credentials stand for.

pub mod organizations;
pub mod principals;
pub mod super_admins;
