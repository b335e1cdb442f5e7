//! The one way mails leave by. Owns: the sender, and the choice between SES and an SMTP server.

use std::fmt;

use lettre::message::Mailbox;

use super::message;
use super::outgoing::{Mail, SendError};
use super::ses::Ses;
use super::smtp::Smtp;
use crate::aws::AwsAccount;

/// Whom mails come from.
#[derive(Clone, Debug)]
pub struct Sender(Mailbox);

impl Sender {
    /// Parses an address, or a name with an address in angle brackets.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mailbox: Mailbox = text.parse().map_err(|_| "is not a mail address")?;
        if mailbox.email.to_string().is_ascii() {
            Ok(Self(mailbox))
        } else {
            Err("is not an address of ASCII letters")
        }
    }
}

/// Hands mails over.
pub struct Mailer {
    from: Mailbox,
    transport: Transport,
}

enum Transport {
    Ses(Ses),
    Smtp(Smtp),
}

/// Shows neither addresses nor credentials.
impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.transport {
            Transport::Ses(_) => "Mailer(Ses)",
            Transport::Smtp(_) => "Mailer(Smtp)",
        })
    }
}

impl Mailer {
    /// Sends through SES, which reports what became of mails only with a configuration set. Connects to nothing.
    #[must_use]
    pub fn ses(from: Sender, account: AwsAccount, configuration_set: Option<String>) -> Self {
        Self {
            from: from.0,
            transport: Transport::Ses(Ses {
                account,
                configuration_set,
            }),
        }
    }

    /// Sends through an SMTP server: `smtps://user:password@host:465`, or `smtp://user:password@host:587`, which then has
    /// to encrypt (STARTTLS). Only a server on this machine may be without encryption. Connects to nothing.
    ///
    /// # Errors
    /// `url` is not of that form.
    pub fn smtp(from: Sender, url: &str) -> Result<Self, &'static str> {
        Ok(Self {
            from: from.0,
            transport: Transport::Smtp(Smtp::parse(url)?),
        })
    }

    /// Makes one attempt. Returns the provider's own identifier of the mail, if it has named one.
    ///
    /// Crash before the provider has the mail: nothing was sent, and the caller's row says that an attempt was under way.
    /// Crash after: the mail is sent, and the row says the same. Sent twice: two mails with one `Message-ID`, which many
    /// mail programs show as one. Provider down: [`SendError::Temporary`].
    pub async fn send(&self, mail: &Mail) -> Result<Option<String>, SendError> {
        let message = message::build(&self.from, mail)?;
        match &self.transport {
            Transport::Ses(ses) => ses.send(mail, &message.formatted()).await,
            Transport::Smtp(smtp) => {
                smtp.send(message.envelope(), &message.formatted()).await?;
                Ok(None)
            }
        }
    }
}
