//! Credit: what an owner sees of it, and how an operator gives it.

pub mod get;
pub mod grant;
pub mod history;
