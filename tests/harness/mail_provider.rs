//! Stand-ins for the two kinds of mail providers: an SMTP server and SES. They take every mail, or fail as a test says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dev::calls::{self, Call};
use dev::mailbox::Parsed;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const UNVERIFIED: &str = "Email address is not verified. \
    The following identities failed the check in region US-EAST-1: cloud@milady.example";

/// How the next attempt fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SMTP: the greeting has this code.
    Greeting(u16),
    /// SMTP: the recipient is answered with this code.
    Recipient(u16),
    /// SMTP: the message is answered with this code, and not taken.
    Message(u16),
    /// SMTP: the connection is closed when the client wants to send the message.
    DropBeforeMessage,
    /// SMTP: the connection is closed right after the message was taken and answered.
    DropAfterAnswer,
    /// SES: the answer has this status and error name, and the mail is not taken.
    Refuse(u16, &'static str),
    /// SES: the sender is not verified. The error has the same name as that of a mail that is refused.
    UnverifiedSender,
    /// The mail is taken, and the connection is closed without an answer.
    TakeAndDrop,
    /// The mail is taken, and nothing is answered.
    TakeAndHang,
}

/// A mail that a provider took.
#[derive(Clone, Debug)]
pub struct TakenMail {
    pub recipient: String,
    pub raw: String,
    /// The request of SES; null for SMTP.
    pub request: Value,
}

impl TakenMail {
    #[must_use]
    pub fn parsed(&self) -> Parsed {
        Parsed::read(&self.raw)
    }
}

/// A running provider, which stops when dropped.
#[derive(Debug)]
pub struct MailProvider {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    faults: VecDeque<Fault>,
    attempts: usize,
    taken: Vec<TakenMail>,
}

impl Drop for MailProvider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl MailProvider {
    pub async fn start_smtp() -> Self {
        Self::start(true).await
    }

    pub async fn start_ses() -> Self {
        Self::start(false).await
    }

    async fn start(is_smtp: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let fault = {
                        let mut state = lock(&shared);
                        state.attempts += 1;
                        state.faults.pop_front()
                    };
                    // A client that breaks off, or is killed, is what some tests are about.
                    let _ = if is_smtp {
                        serve_smtp(connection, fault, &shared).await
                    } else {
                        serve_ses(connection, fault, &shared).await
                    };
                });
            }
        });
        Self {
            address,
            state,
            server,
        }
    }

    /// The setting that leads to it, and its value.
    #[must_use]
    pub fn smtp_url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes the next attempt fail; faults queue up.
    pub fn fail_next(&self, fault: Fault) {
        lock(&self.state).faults.push_back(fault);
    }

    /// The mails that it took, oldest first.
    #[must_use]
    pub fn taken(&self) -> Vec<TakenMail> {
        lock(&self.state).taken.clone()
    }

    /// Whom the mails that it took are to, oldest first.
    #[must_use]
    pub fn recipients(&self) -> Vec<String> {
        let taken = self.taken().into_iter();
        taken.map(|mail| mail.recipient).collect()
    }

    /// The number of connections.
    #[must_use]
    pub fn attempts(&self) -> usize {
        lock(&self.state).attempts
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn hang() {
    std::future::pending::<()>().await;
}

async fn serve_smtp(
    connection: TcpStream,
    fault: Option<Fault>,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let (reader, mut writer) = connection.into_split();
    let mut lines = BufReader::new(reader).lines();
    if let Some(Fault::Greeting(code)) = fault {
        let answer = format!("{code} not now\r\n");
        return writer.write_all(answer.as_bytes()).await;
    }
    writer.write_all(b"220 test\r\n").await?;
    let mut recipient = String::new();
    while let Some(line) = lines.next_line().await? {
        let mut answer = "250 ok\r\n".to_owned();
        if let Some(rest) = line.strip_prefix("RCPT TO:<") {
            recipient = rest.split('>').next().unwrap_or_default().to_owned();
            if let Some(Fault::Recipient(code)) = fault {
                answer = format!("{code} <{recipient}> is not here\r\n");
            }
        } else if line == "DATA" {
            if fault == Some(Fault::DropBeforeMessage) {
                return Ok(());
            }
            writer.write_all(b"354 go on\r\n").await?;
            let mut raw = String::new();
            loop {
                let Some(line) = lines.next_line().await? else {
                    return Ok(());
                };
                if line == "." {
                    break;
                }
                raw.push_str(line.strip_prefix('.').unwrap_or(&line));
                raw.push_str("\r\n");
            }
            if let Some(Fault::Message(code)) = fault {
                answer = format!("{code} message to {recipient} refused\r\n");
            } else {
                lock(state).taken.push(TakenMail {
                    recipient: recipient.clone(),
                    raw,
                    request: Value::Null,
                });
            }
            match fault {
                Some(Fault::TakeAndDrop) => return Ok(()),
                Some(Fault::TakeAndHang) => hang().await,
                Some(Fault::DropAfterAnswer) => return writer.write_all(answer.as_bytes()).await,
                _ => {}
            }
        } else if line == "QUIT" {
            return writer.write_all(b"221 bye\r\n").await;
        }
        writer.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

async fn serve_ses(
    connection: TcpStream,
    fault: Option<Fault>,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let (reader, mut writer) = connection.into_split();
    let mut reader = BufReader::new(reader);
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    // SES checks both for a whole message.
    for action in ["ses:SendEmail", "ses:SendRawEmail"] {
        let call = Call {
            action,
            resource: request["ConfigurationSetName"].as_str().unwrap_or_default(),
            leading_keys: Vec::new(),
        };
        calls::record(&head, &call);
    }
    let is_valid = head.starts_with("POST /v2/email/outbound-emails ")
        && head.contains("/us-east-1/ses/aws4_request");
    let fault = if is_valid {
        fault
    } else {
        Some(Fault::Refuse(403, "InvalidSignatureException"))
    };
    let error = match fault {
        Some(Fault::Refuse(status, name)) => Some((status, name, "no")),
        Some(Fault::UnverifiedSender) => Some((400, "MessageRejected", UNVERIFIED)),
        _ => None,
    };
    if let Some((status, name, message)) = error {
        return respond(&mut writer, status, name, &json!({"message": message})).await;
    }
    let raw = request["Content"]["Raw"]["Data"]
        .as_str()
        .unwrap_or_default();
    let raw = STANDARD.decode(raw).unwrap_or_default();
    let recipient = request["Destination"]["ToAddresses"][0].clone();
    let number = {
        let mut state = lock(state);
        state.taken.push(TakenMail {
            recipient: recipient.as_str().unwrap_or_default().to_owned(),
            raw: String::from_utf8_lossy(&raw).into_owned(),
            request,
        });
        state.taken.len()
    };
    match fault {
        Some(Fault::TakeAndDrop) => Ok(()),
        Some(Fault::TakeAndHang) => {
            hang().await;
            Ok(())
        }
        _ => {
            let answer = json!({"MessageId": format!("ses-{number}")});
            respond(&mut writer, 200, "", &answer).await
        }
    }
}

async fn respond(
    writer: &mut (impl AsyncWriteExt + Unpin),
    status: u16,
    name: &str,
    body: &Value,
) -> std::io::Result<()> {
    let body = body.to_string();
    let kind = if name.is_empty() {
        String::new()
    } else {
        format!("x-amzn-errortype: {name}:http://internal.amazon.com/\r\n")
    };
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\n{kind}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    writer.write_all(text.as_bytes()).await
}
