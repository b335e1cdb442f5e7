//! Handing mails over to a mail provider: SES, or an SMTP server. Owns: the form of a mail, and what an answer of the
//! provider means. Does not own: who gets which mail, and when an attempt is repeated: nothing here repeats anything.

mod mailer;
mod message;
mod outgoing;
mod ses;
mod smtp;

pub use mailer::{Mailer, Sender};
pub use outgoing::{Mail, SendError};
pub use ses::TAG as SES_TAG;
