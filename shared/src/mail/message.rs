//! The mail as it is sent: one MIME message with a text and an HTML part.

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};

use super::outgoing::{Mail, SendError};

pub(super) fn build(from: &Mailbox, mail: &Mail) -> Result<Message, SendError> {
    let to: Address = mail
        .to
        .parse()
        .map_err(|_| SendError::refused("the recipient's address is not valid"))?;
    // The same in every attempt: a mail program that gets the mail twice can tell.
    let message_id = format!("<{}@{}>", mail.id, from.email.domain());
    // Keeps programs that answer by themselves from answering.
    let is_automatic = HeaderValue::new(
        HeaderName::new_from_ascii_str("Auto-Submitted"),
        "auto-generated".to_owned(),
    );
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(mail.subject.as_str())
        .message_id(Some(message_id))
        .raw_header(is_automatic)
        .multipart(MultiPart::alternative_plain_html(
            mail.text.clone(),
            mail.html.clone(),
        ))
        .map_err(|_| SendError::refused("the mail has no valid form"))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::DeliveryId;

    fn mail(to: &str, subject: &str) -> Mail {
        Mail {
            id: DeliveryId::new(Uuid::nil()),
            to: to.to_owned(),
            subject: subject.to_owned(),
            text: "Grüße\n.\nBcc: x@y.zz\n".to_owned(),
            html: "<p>Gr&uuml;&szlig;e</p>".to_owned(),
        }
    }

    fn formatted(subject: &str) -> String {
        let from = "Milady Cloud <mails@example.com>"
            .parse()
            .expect("a sender");
        let message = build(&from, &mail("a@b.co", subject)).expect("a mail");
        String::from_utf8(message.formatted()).expect("ASCII")
    }

    #[test]
    fn a_mail_has_two_parts_and_names_its_delivery() {
        let text = formatted("Low credit: 5 €");
        assert!(text.is_ascii(), "{text}");
        let (headers, body) = text.split_once("\r\n\r\n").expect("headers");
        for header in [
            "To: a@b.co",
            "Message-ID: <00000000-0000-0000-0000-000000000000@example.com>",
            "Auto-Submitted: auto-generated",
        ] {
            assert!(headers.lines().any(|line| line == header), "{headers}");
        }
        let from = headers.lines().find(|line| line.starts_with("From: "));
        assert!(from.is_some_and(|line| line.ends_with("<mails@example.com>")));
        assert!(body.contains("text/plain") && body.contains("text/html"));
    }

    #[test]
    fn no_subject_adds_a_header() {
        let text = formatted("a\r\nBcc: x@y.zz");
        let (headers, _) = text.split_once("\r\n\r\n").expect("headers");
        assert!(
            !headers.lines().any(|line| line.starts_with("Bcc")),
            "{headers}"
        );
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        let from = "mails@example.com".parse().expect("a sender");
        let result = build(&from, &mail("a@b.co>\r\nDATA", "x"));
        assert!(matches!(result, Err(SendError::Refused { .. })));
    }
}
