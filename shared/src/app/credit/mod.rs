//! Credit: what operators grant and owners read.

pub mod grant;
pub mod summary;
