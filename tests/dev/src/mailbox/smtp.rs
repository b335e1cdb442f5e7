//! The server's part of SMTP, as far as one that takes every mail needs it.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Mails are small; nothing longer is read into memory.
const MAX_MAIL_BYTES: usize = 1 << 20;
const MAX_RECIPIENTS: usize = 100;

/// Serves one connection. `keep` gets the recipients and the text of each mail.
pub(super) async fn serve(
    connection: TcpStream,
    keep: impl Fn(Vec<String>, String),
) -> io::Result<()> {
    let (reader, mut writer) = connection.into_split();
    let mut reader = BufReader::new(reader);
    let mut recipients = Vec::new();
    writer.write_all(b"220 mailbox\r\n").await?;
    while let Some(line) = read_line(&mut reader).await? {
        let command = line.to_ascii_uppercase();
        let answer = if command.starts_with("EHLO") || command.starts_with("HELO") {
            "250 mailbox\r\n"
        } else if command.starts_with("MAIL FROM:") || command.starts_with("RSET") {
            recipients.clear();
            "250 ok\r\n"
        } else if command.starts_with("RCPT TO:") && recipients.len() < MAX_RECIPIENTS {
            recipients.push(address(&line));
            "250 ok\r\n"
        } else if command == "DATA" && !recipients.is_empty() {
            writer.write_all(b"354 go on\r\n").await?;
            let Some(raw) = read_message(&mut reader).await? else {
                return Ok(());
            };
            keep(std::mem::take(&mut recipients), raw);
            "250 kept\r\n"
        } else if command == "NOOP" {
            "250 ok\r\n"
        } else if command == "QUIT" {
            writer.write_all(b"221 bye\r\n").await?;
            return Ok(());
        } else {
            "500 not understood\r\n"
        };
        writer.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// A line without its end; `None` at the end of the connection, or for a line that is too long.
async fn read_line(reader: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_MAIL_BYTES).unwrap_or(u64::MAX);
    let mut limited = AsyncReadExt::take(&mut *reader, limit);
    limited.read_until(b'\n', &mut bytes).await?;
    if bytes.pop() != Some(b'\n') {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Everything up to the lone dot. `None` if the connection ends before it, or if the mail is too long.
async fn read_message(reader: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Option<String>> {
    let mut message = String::new();
    while let Some(line) = read_line(reader).await? {
        if line == "." {
            return Ok(Some(message));
        }
        if message.len() + line.len() > MAX_MAIL_BYTES {
            return Ok(None);
        }
        // The client has doubled a dot at the beginning of a line.
        message.push_str(line.strip_prefix('.').unwrap_or(&line));
        message.push_str("\r\n");
    }
    Ok(None)
}

/// What stands between the angle brackets.
fn address(line: &str) -> String {
    let text = line.split_once('<').map_or(line, |(_, rest)| rest);
    let text = text.split_once('>').map_or(text, |(address, _)| address);
    text.to_owned()
}
