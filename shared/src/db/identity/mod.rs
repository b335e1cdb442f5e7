//! Organizations, what operators allow them, what their owners want, their users, and the users that credentials stand
//! for.

pub mod api_keys;
pub mod limits;
pub mod organizations;
pub mod principals;
pub mod settings;
pub mod super_admins;
pub mod users;
