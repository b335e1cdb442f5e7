//! Reads mails: headers, and the text and the HTML of their parts. Only as far as the mails of the functions need it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A mail in the form in which people read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Names in lower case, with their values unfolded and decoded.
    pub headers: Vec<(String, String)>,
    pub text: String,
    pub html: String,
}

impl Parsed {
    #[must_use]
    pub fn read(raw: &str) -> Self {
        let (headers, body) = split(raw);
        let mut parsed = Self {
            headers,
            ..Self::default()
        };
        let boundary = parsed.header("content-type").and_then(boundary);
        if let Some(boundary) = boundary {
            for part in parts(body, &boundary) {
                let (headers, body) = split(part);
                parsed.add(&headers, body);
            }
        } else {
            let headers = parsed.headers.clone();
            parsed.add(&headers, body);
        }
        parsed
    }

    /// The first header of this name, in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }

    #[must_use]
    pub fn subject(&self) -> &str {
        self.header("subject").unwrap_or_default()
    }

    fn add(&mut self, headers: &[(String, String)], body: &str) {
        let body = decoded(body, value(headers, "content-transfer-encoding"));
        if value(headers, "content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            self.html = body;
        } else {
            self.text = body;
        }
    }
}

fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut headers = headers.iter();
    let (_, value) = headers.find(|(known, _)| known == name)?;
    Some(value)
}

/// The headers, unfolded and decoded, and what follows them.
fn split(raw: &str) -> (Vec<(String, String)>, &str) {
    let (head, body) = raw.split_once("\r\n\r\n").unwrap_or((raw, ""));
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in head.split("\r\n") {
        match (line.strip_prefix([' ', '\t']), headers.last_mut()) {
            (Some(rest), Some((_, value))) => {
                value.push(' ');
                value.push_str(rest);
            }
            _ => {
                if let Some((name, value)) = line.split_once(':') {
                    headers.push((name.to_lowercase(), value.trim().to_owned()));
                }
            }
        }
    }
    for (_, value) in &mut headers {
        *value = words_decoded(value);
    }
    (headers, body)
}

fn boundary(content_type: &str) -> Option<String> {
    let (_, rest) = content_type.split_once("boundary=")?;
    let text = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split(';').next()?,
    };
    Some(text.trim().to_owned())
}

fn parts<'a>(body: &'a str, boundary: &str) -> Vec<&'a str> {
    let mark = format!("--{boundary}");
    let parts = body.split(mark.as_str()).skip(1);
    parts
        .filter(|part| !part.starts_with("--"))
        .map(|part| part.strip_prefix("\r\n").unwrap_or(part))
        .map(|part| part.strip_suffix("\r\n").unwrap_or(part))
        .collect()
}

fn decoded(body: &str, encoding: Option<&str>) -> String {
    let bytes = match encoding.map(str::to_lowercase).as_deref() {
        Some("base64") => {
            let text: String = body.split_whitespace().collect();
            STANDARD.decode(text).unwrap_or_default()
        }
        Some("quoted-printable") => quoted_printable(body.as_bytes()),
        _ => body.as_bytes().to_vec(),
    };
    String::from_utf8_lossy(&bytes).into_owned()
}

fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'=' {
            bytes.push(*first);
            continue;
        }
        if let Some(next_line) = after.strip_prefix(b"\r\n") {
            rest = next_line;
        } else if let Some((digits, after)) = after.split_at_checked(2) {
            let digits = std::str::from_utf8(digits).unwrap_or_default();
            bytes.extend(u8::from_str_radix(digits, 16).ok());
            rest = after;
        }
    }
    bytes
}

/// Decodes `=?utf-8?b?..?=`. White space between two such words belongs to neither.
fn words_decoded(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("=?") {
        let Some((word, after)) = word_decoded(after) else {
            break;
        };
        if text.is_empty() || !before.trim().is_empty() {
            text.push_str(before);
        }
        text.push_str(&word);
        rest = after;
    }
    text.push_str(rest);
    text
}

/// The text of a word, without the mark that it begins with, and what follows it.
fn word_decoded(text: &str) -> Option<(String, &str)> {
    let mut fields = text.splitn(4, '?');
    let (_, encoding, word) = (fields.next()?, fields.next()?, fields.next()?);
    let rest = fields.next()?.strip_prefix('=')?;
    let bytes = match encoding.to_ascii_lowercase().as_str() {
        "b" => STANDARD.decode(word).ok()?,
        "q" => quoted_printable(word.replace('_', " ").as_bytes()),
        _ => return None,
    };
    Some((String::from_utf8_lossy(&bytes).into_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_read_with_both_of_its_parts() {
        let raw = "Subject: =?utf-8?b?R3LDvA==?=\r\n =?utf-8?b?w59l?=\r\nTo: a@b.co\r\n\
            Content-Type: multipart/alternative;\r\n boundary=\"xyz\"\r\n\r\n\
            --xyz\r\nContent-Type: text/plain; charset=utf-8\r\n\
            Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=\r\n=C3=9Fe\r\n\
            --xyz\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nPHA+\r\n\
            --xyz--\r\n";
        let parsed = Parsed::read(raw);
        assert_eq!(parsed.subject(), "Grüße");
        assert_eq!(parsed.header("to"), Some("a@b.co"));
        assert_eq!(
            (parsed.text.as_str(), parsed.html.as_str()),
            ("Grüße", "<p>")
        );
    }

    #[test]
    fn a_mail_without_parts_is_its_text() {
        let parsed = Parsed::read("Subject: a =? b\r\n\r\nhello\r\n");
        assert_eq!(
            (parsed.subject(), parsed.text.as_str()),
            ("a =? b", "hello\r\n")
        );
    }
}
