//! Credit: operators grant it, take it back and write debt off, owners read it.

pub mod grant;
pub mod history;
mod locked;
pub mod organizations;
pub mod refund;
pub mod summary;
pub mod usage;
pub mod write_off;
