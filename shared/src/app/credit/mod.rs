//! Credit: operators grant it, owners read it.

pub mod grant;
pub mod summary;
