//! One request to an engine's socket. HTTP/1.0, so that the answer simply ends with the connection.
//!
//! Not the client that ships, nor the docker program: what a test asserts with is independent of what it
//! tests, and docker's own client is a package apart on some systems.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// What is sent with a request.
pub(super) enum Body<'a> {
    Nothing,
    /// Nothing, by somebody whom a registry knows: the header that says who.
    Account(&'a str),
    Json(&'a Value),
    Tar(&'a [u8]),
}

/// Sends a request and returns the body of the answer, or what the engine says is wrong with it.
pub(super) async fn send(
    socket: &Path,
    method: &str,
    path: &str,
    body: Body<'_>,
) -> Result<Vec<u8>> {
    let account = match body {
        Body::Account(account) => format!("X-Registry-Auth: {account}\r\n"),
        _ => String::new(),
    };
    let (kind, body) = match body {
        Body::Nothing | Body::Account(_) => ("text/plain", Vec::new()),
        Body::Json(value) => ("application/json", value.to_string().into_bytes()),
        Body::Tar(bytes) => ("application/x-tar", bytes.to_vec()),
    };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{account}\r\n"
    );
    let mut stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("no engine at {}", socket.display()))?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let (status, body) = read(&answer).context("the engine does not speak HTTP")?;
    if !(200..400).contains(&status) {
        bail!("{method} {path}: {status} {}", message(body));
    }
    Ok(body.to_vec())
}

fn read(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, &answer[end + 4..]))
}

fn message(body: &[u8]) -> String {
    let said = serde_json::from_slice::<Value>(body).ok();
    let said = said.as_ref().and_then(|value| value["message"].as_str());
    said.map_or_else(
        || String::from_utf8_lossy(body).trim().to_owned(),
        str::to_owned,
    )
}

/// `text` as it may stand in a query.
pub(super) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&hex::encode_upper([byte]));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        let answer = b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n{\"message\":\"no\"}";
        let (status, body) = read(answer).unwrap();
        assert_eq!((status, message(body).as_str()), (404, "no"));
        assert_eq!(message(b"plain\n"), "plain");
        assert_eq!(read(b"HTTP/1.0 200 OK\r\n"), None);
    }

    #[test]
    fn a_query_keeps_its_text() {
        assert_eq!(encoded("CMD [\"/é\"]"), "CMD%20%5B%22%2F%C3%A9%22%5D");
    }
}
