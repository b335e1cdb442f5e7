//! Sends one request to an engine's socket. Uses HTTP/1.0, so that the answer ends with the
//! connection.
//!
//! Neither the client that ships nor the docker program: a test's assertions must not depend on the
//! code under test, and some systems package Docker's client separately.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The body of a request.
pub(super) enum Body<'a> {
    Empty,
    /// No body, but the value of the header `X-Registry-Auth`.
    RegistryAuth(&'a str),
    Json(&'a Value),
    Tar(&'a [u8]),
}

/// Sends a request and returns the answer's body. The error of a refused request is the engine's
/// message.
pub(super) async fn send(
    socket: &Path,
    method: &str,
    path: &str,
    body: Body<'_>,
) -> Result<Vec<u8>> {
    let auth_header = match body {
        Body::RegistryAuth(credentials) => format!("X-Registry-Auth: {credentials}\r\n"),
        _ => String::new(),
    };
    let (content_type, body) = match body {
        Body::Empty | Body::RegistryAuth(_) => ("text/plain", Vec::new()),
        Body::Json(value) => ("application/json", value.to_string().into_bytes()),
        Body::Tar(bytes) => ("application/x-tar", bytes.to_vec()),
    };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{auth_header}\r\n"
    );
    let mut stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("no engine at {}", socket.display()))?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let (status, body) = parse(&answer).context("the engine's answer is not HTTP")?;
    if !(200..400).contains(&status) {
        bail!("{method} {path}: {status} {}", message(body));
    }
    Ok(body.to_vec())
}

fn parse(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, &answer[end + 4..]))
}

fn message(body: &[u8]) -> String {
    let json = serde_json::from_slice::<Value>(body).ok();
    let message = json.as_ref().and_then(|value| value["message"].as_str());
    message.map_or_else(
        || String::from_utf8_lossy(body).trim().to_owned(),
        str::to_owned,
    )
}

/// Percent-encodes `text` for a query.
pub(super) fn percent_encoded(text: &str) -> String {
    text.bytes()
        .fold(String::new(), |mut percent_encoded, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                percent_encoded.push(char::from(byte));
            } else {
                percent_encoded.push('%');
                percent_encoded.push_str(&hex::encode_upper([byte]));
            }
            percent_encoded
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_split_into_status_and_body() {
        let answer = b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n{\"message\":\"no\"}";
        let (status, body) = parse(answer).unwrap();
        assert_eq!((status, message(body).as_str()), (404, "no"));
        assert_eq!(message(b"plain\n"), "plain");
        assert_eq!(parse(b"HTTP/1.0 200 OK\r\n"), None);
    }

    #[test]
    fn query_text_is_percent_encoded() {
        assert_eq!(
            percent_encoded("CMD [\"/é\"]"),
            "CMD%20%5B%22%2F%C3%A9%22%5D"
        );
    }
}
