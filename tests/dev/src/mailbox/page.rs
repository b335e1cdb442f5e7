//! The page of the mailbox: `/dev/mails`, `/dev/mails/<number>`, and of each mail `/html`, `/text` and `/raw`.

use std::fmt::Write;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};

use super::{Mail, Mailbox, Parsed};

const PATH: &str = "/dev/mails";
/// The list and the frame around a mail: no scripts, and frames of this page only.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; frame-ancestors 'none'";
/// A mail itself: nothing is loaded, and nothing runs, even if it is opened outside of its frame.
const MAIL_POLICY: &str =
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// The answer to a GET of this path. `None` for a path that is not the mailbox's.
pub(crate) fn answer(mailbox: &Mailbox, path: &str) -> Option<Response<Body>> {
    let rest = path.strip_prefix(PATH)?;
    if rest.is_empty() || rest == "/" {
        return Some(respond(HTML, PAGE_POLICY, list(&mailbox.mails())));
    }
    let rest = rest.strip_prefix('/')?;
    let (number, part) = rest.split_once('/').unwrap_or((rest, ""));
    let mail = number.parse().ok().and_then(|number| mailbox.mail(number));
    let Some(mail) = mail else {
        return Some(not_found());
    };
    Some(match part {
        "" => respond(HTML, PAGE_POLICY, frame(&mail)),
        "html" => respond(HTML, MAIL_POLICY, Parsed::read(&mail.raw).html),
        "text" => respond(TEXT, MAIL_POLICY, Parsed::read(&mail.raw).text),
        "raw" => respond(TEXT, MAIL_POLICY, mail.raw),
        _ => not_found(),
    })
}

fn list(mails: &[Mail]) -> String {
    let mut rows = String::new();
    for mail in mails {
        let parsed = Parsed::read(&mail.raw);
        let (number, time) = (mail.number, mail.received_at.format("%H:%M:%S"));
        let (to, subject) = (
            escaped(&mail.recipients.join(", ")),
            escaped(parsed.subject()),
        );
        // Writing to a String cannot fail.
        let _ = write!(
            rows,
            "<tr><td>{time}</td><td>{to}</td><td><a href=\"{PATH}/{number}\">{subject}</a></td></tr>"
        );
    }
    if mails.is_empty() {
        rows.push_str("<tr><td>No mail was sent yet.</td></tr>");
    }
    page("Mails", &format!("<table>{rows}</table>"))
}

fn frame(mail: &Mail) -> String {
    let parsed = Parsed::read(&mail.raw);
    let number = mail.number;
    let subject = escaped(parsed.subject());
    let to = escaped(&mail.recipients.join(", "));
    let body = format!(
        "<p>To {to}. <a href=\"{PATH}\">All mails</a>, <a href=\"{PATH}/{number}/text\">text</a>, \
        <a href=\"{PATH}/{number}/raw\">raw</a></p>\
        <iframe sandbox src=\"{PATH}/{number}/html\" title=\"The mail\"></iframe>"
    );
    page(&subject, &body)
}

/// `title` and `body` are HTML.
fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
        <style>body {{ font-family: sans-serif; margin: 2em }} td {{ padding: 0.2em 1em 0.2em 0 }} \
        iframe {{ width: 100%; height: 75vh; border: 1px solid #999 }}</style></head>\
        <body><h1>{title}</h1>{body}</body></html>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn respond(kind: &'static str, policy: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    for (name, value) in [
        ("content-type", kind),
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

fn not_found() -> Response<Body> {
    let mut response = respond(TEXT, PAGE_POLICY, "There is no such mail.\n".to_owned());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
