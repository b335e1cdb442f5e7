//! What an owner sees of their credit.

pub mod get;
pub mod history;
