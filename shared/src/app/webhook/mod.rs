//! The webhooks of organizations. Owns: registering them, what they are sent, one attempt and what follows from it, and the
//! test. Does not own: which events there are (`domain::mail` names them), nor the call itself (`webhook_client`).
//!
//! What is promised: an event that its receiver takes within three days arrives at least once, with an identifier by which
//! the receiver recognizes a repetition. Webhooks neither delay mails nor replace them: dunning counts only mails.

mod attempt;
pub mod deliver;
mod message;
pub mod register;
mod send;
pub mod test;

use crate::db::Database;
use crate::domain::address::AddressPolicy;
use crate::encryption::EncryptionKeys;

/// What calling webhooks needs.
#[derive(Clone, Copy, Debug)]
pub struct WebhookDeps<'a> {
    pub pool: &'a Database,
    pub keys: &'a EncryptionKeys,
    /// Which addresses a webhook may lead to.
    pub address_policy: AddressPolicy,
}
