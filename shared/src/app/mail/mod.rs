//! Mails to owners. Owns: who is addressed next, one attempt and what follows from it, what the provider reports later,
//! and that nothing is forgotten. Does not own: when an owner is warned (billing), handing over (`mail`).
//!
//! What is promised: as long as the mail provider and the database work again within a mail's time, each recipient of the
//! chain gets the mail of an event at least once if a lost mail would be worse than a second one, and at most once
//! otherwise ([`MailTemplate::unknown_outcome`](crate::domain::mail::MailTemplate::unknown_outcome)), until one of them
//! has it. Nobody can promise exactly once: a provider that dies right after it took a mail looks like one that did not.

mod attempt;
mod chain;
pub(super) mod compose;
pub(super) mod content;
pub mod feedback;
pub mod notify;
mod render;
pub mod retry;
pub mod sweep;

use crate::db::Database;
use crate::mail::Mailer;

/// What sending mails needs.
#[derive(Clone, Copy, Debug)]
pub struct MailDeps<'a> {
    pub pool: &'a Database,
    pub mailer: &'a Mailer,
    /// The address of the dashboard, without a slash at its end: the only place that links lead to.
    pub app_url: &'a str,
}
