//! Sends one HTTP request on a new connection, without an HTTP library.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Answer {
    pub status: u16,
    /// The header lines in lower case.
    pub headers: Vec<String>,
    /// The body as text.
    pub text: String,
    /// The JSON body; null if it is none.
    pub body: Value,
}

/// Sends a request: `line` is `METHOD /path`, `headers` are header lines.
pub async fn send(address: SocketAddr, line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close");
    let length = format!("content-length: {}\r\n\r\n", body.len());
    let head = [&[request.as_str()], headers, &[length.as_str()]].concat();
    let head = head.join("\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server refuses a body that is too long before it has read all of it.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    Answer {
        status: status.parse().unwrap(),
        headers: lines.map(str::to_lowercase).collect(),
        body: serde_json::from_str(body).unwrap_or_default(),
        text: body.to_owned(),
    }
}
