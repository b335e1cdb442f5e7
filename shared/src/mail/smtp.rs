//! Handing mails over to an SMTP server. Owns: which answer at which step means what.

use std::borrow::Cow;
use std::time::Duration;

use lettre::Address;
use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use url::{Host, Url};

use super::outgoing::SendError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For everything up to the server's word that it wants the message.
const DIALOGUE_TIMEOUT: Duration = Duration::from_secs(10);
/// For the message, and the server's word that it has it.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);
const SMTPS_PORT: u16 = 465;
const SUBMISSION_PORT: u16 = 587;

pub(super) struct Smtp {
    host: String,
    port: u16,
    encryption: Encryption,
    credentials: Option<Credentials>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    /// Only to this machine.
    Plain,
    /// The server must offer it.
    StartTls,
    /// From the first byte on.
    Tls,
}

impl Smtp {
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        const PROBLEM: &str = "is not an smtps:// or smtp:// address with a host";
        let url = Url::parse(url).map_err(|_| PROBLEM)?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or(PROBLEM)?.to_owned();
        let (encryption, port) = match url.scheme() {
            "smtps" => (Encryption::Tls, SMTPS_PORT),
            "smtp" if is_loopback(&host) => (Encryption::Plain, SUBMISSION_PORT),
            "smtp" => (Encryption::StartTls, SUBMISSION_PORT),
            _ => return Err(PROBLEM),
        };
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(Cow::into_owned)
                .map_err(|_| "has a user or a password that is not text")
        };
        let credentials = match url.password() {
            Some(password) => Some(Credentials::new(
                decoded(url.username())?,
                decoded(password)?,
            )),
            None if url.username().is_empty() => None,
            None => return Err("has a user without a password"),
        };
        Ok(Self {
            // An IPv6 address stands in brackets in a URL only.
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(port),
            encryption,
            credentials,
        })
    }

    /// Up to the answer to `DATA` the server has nothing: what fails there can be repeated, except that a refusal of the
    /// recipient is final. After that it may have the message, unless it says that it has not.
    pub(super) async fn send(&self, envelope: &Envelope, message: &[u8]) -> Result<(), SendError> {
        let mut connection = timeout(DIALOGUE_TIMEOUT, self.open(envelope))
            .await
            .map_err(|_| SendError::temporary("the SMTP server did not answer in time"))??;
        match timeout(MESSAGE_TIMEOUT, connection.message(message)).await {
            Err(_) => Err(SendError::unknown(
                "the SMTP server did not answer to the message",
            )),
            Ok(Err(error)) if error.status().is_some() => Err(refusal(&error)),
            Ok(Err(_)) => Err(SendError::unknown(
                "the connection to the SMTP server was lost after the message",
            )),
            Ok(Ok(_)) => {
                // The server has the message, whatever becomes of this.
                let _ = timeout(QUIT_TIMEOUT, connection.quit()).await;
                Ok(())
            }
        }
    }

    /// Connects and names sender and recipient, until the server wants the message.
    async fn open(&self, envelope: &Envelope) -> Result<AsyncSmtpConnection, SendError> {
        let mut connection = self.connect(envelope).await.map_err(|error| {
            let class = class(&error);
            SendError::temporary(format!("connecting to the SMTP server failed ({class})"))
        })?;
        // A sender that is refused is for the operator to repair: every recipient would be refused.
        let sender = Mail::new(envelope.from().cloned(), Vec::new());
        connection.command(sender).await.map_err(|error| {
            let class = class(&error);
            SendError::temporary(format!("the SMTP server refused the sender ({class})"))
        })?;
        for recipient in envelope.to() {
            let recipient = Rcpt::new(recipient.clone(), Vec::new());
            let answer = connection.command(recipient).await;
            answer.map_err(|error| refusal(&error))?;
        }
        let answer = connection.command(Data).await;
        answer.map_err(|error| refusal(&error))?;
        Ok(connection)
    }

    async fn connect(&self, envelope: &Envelope) -> Result<AsyncSmtpConnection, Error> {
        let domain = envelope.from().map_or("localhost", Address::domain);
        let hello = ClientId::Domain(domain.to_owned());
        let server = (self.host.as_str(), self.port);
        let tls = || TlsParameters::new(self.host.clone());
        let wrapper = match self.encryption {
            Encryption::Tls => Some(tls()?),
            Encryption::Plain | Encryption::StartTls => None,
        };
        let connecting = AsyncSmtpConnection::connect_tokio1(
            server,
            Some(CONNECT_TIMEOUT),
            &hello,
            wrapper,
            None,
        );
        let mut connection = connecting.await?;
        if self.encryption == Encryption::StartTls {
            connection.starttls(tls()?, &hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

fn is_loopback(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Domain(name)) => name == "localhost",
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Err(_) => false,
    }
}

/// What the server's answer to a recipient or a message means.
fn refusal(error: &Error) -> SendError {
    let reason = format!("the SMTP server answered {}", class(error));
    if error.is_permanent() {
        SendError::refused(reason)
    } else {
        SendError::temporary(reason)
    }
}

/// What may be shown of an error: the server's code, but not its text, which may name the recipient.
fn class(error: &Error) -> String {
    match error.status() {
        Some(code) => code.to_string(),
        None if error.is_timeout() => "timed out".to_owned(),
        None if error.is_tls() => "TLS error".to_owned(),
        None if error.is_client() => "not offered by the server".to_owned(),
        None => "connection error".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_servers_say_how_to_connect() {
        use Encryption::{Plain, StartTls, Tls};
        for (url, host, port, encryption) in [
            ("smtps://mx.example.com", "mx.example.com", 465, Tls),
            ("smtp://mx.example.com", "mx.example.com", 587, StartTls),
            ("smtp://mx.example.com:25", "mx.example.com", 25, StartTls),
            ("smtp://127.0.0.1:2525", "127.0.0.1", 2525, Plain),
            ("smtp://localhost:2525", "localhost", 2525, Plain),
            ("smtp://[::1]:2525", "::1", 2525, Plain),
        ] {
            let smtp = Smtp::parse(url).unwrap_or_else(|problem| panic!("{url}: {problem}"));
            assert_eq!(
                (smtp.host.as_str(), smtp.port, smtp.encryption),
                (host, port, encryption),
                "{url}"
            );
            assert_eq!(smtp.credentials, None);
        }
        let smtp = Smtp::parse("smtps://user%40a:p%2Fw@mx.example.com").ok();
        let expected = Credentials::new("user@a".to_owned(), "p/w".to_owned());
        assert_eq!(smtp.and_then(|smtp| smtp.credentials), Some(expected));
    }

    #[test]
    fn other_addresses_are_refused() {
        for url in [
            "",
            "mx.example.com",
            "https://mx.example.com",
            "smtp://",
            "smtps://user@mx.example.com",
        ] {
            assert!(Smtp::parse(url).is_err(), "{url}");
        }
    }
}
