//! What operators do with organizations, their users and their API keys. Each change and its entry in the audit log are
//! one transaction; no entry names a mail address or a key.

pub mod create;
pub mod key_create;
pub mod key_revoke;
mod new_user;
pub mod user_create;
