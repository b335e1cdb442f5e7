//! What became of mails to owners, for super admins.

pub mod list;
pub mod retry;
mod view;
