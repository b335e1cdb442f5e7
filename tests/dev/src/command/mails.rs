//! Prints the mails that the functions send.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::mailbox::{Mailbox, Parsed};

/// Prints each mail once.
#[derive(Debug, Default)]
pub(super) struct PrintedMails {
    /// The number of the last one that was printed.
    last: AtomicUsize,
}

impl PrintedMails {
    /// Prints the mails that have arrived since the last call: their recipients and subjects.
    pub(super) fn print_new(&self, mailbox: &Mailbox) {
        for mail in mailbox.mails_after(self.last.load(Ordering::Relaxed)) {
            self.last.store(mail.number, Ordering::Relaxed);
            let to = mail.recipients.join(", ");
            println!("  mail to {to}: {}", Parsed::read(&mail.raw).subject());
        }
    }
}
