//! Sending a message to a running agent. Owns: why that fails, in the words that the agent's owner is shown. Does not
//! own: the messages, which are JSON-RPC 2.0 and pass through unchanged, and how many calls may be open
//! (`app::open_stream`).

use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::Incoming;
use serde_json::value::RawValue;
use tokio::time::timeout;
use tracing::warn;

use crate::app::error::RequestError;
use crate::app::host_access::{OpenError, connect, find_running_agent};
use crate::app::open_stream::OpenStream;
use crate::db::Database;
use crate::domain::fleet::HostReadError;
use crate::domain::ids::AgentRef;
use crate::domain::payload::{MAX_PAYLOAD_BYTES, escaped_length};
use crate::hosts::{AgentHttp, HostClient, HostError};

/// How long an agent may take to answer, with the connection to its host. The function's own timeout is 29 s.
const BRIDGE_TIMEOUT: Duration = Duration::from_secs(25);

/// Why the agent did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BridgeError {
    #[error("Sandbox is not running")]
    NotRunning,
    /// The agent or its host cannot be reached.
    #[error("Sandbox bridge is unreachable")]
    Unreachable,
    /// The agent answered with another status than 200.
    #[error("Bridge returned HTTP {0}")]
    Status(u16),
    /// The answer is not a JSON object.
    #[error("Bridge returned an invalid answer")]
    InvalidAnswer,
    /// The answer does not fit into what a function can return.
    #[error("Bridge returned an answer that is too long")]
    AnswerTooLong,
    #[error("Agent did not answer in time")]
    TimedOut,
}

impl BridgeError {
    /// Logs the error, because the variants do not keep it.
    fn from_host_error(agent: AgentRef, error: &HostError) -> Self {
        let cause = error.cause();
        warn!(agent.id = %agent.agent_id, %error, cause, "calling the agent's bridge failed");
        match error.reason() {
            HostReadError::TimedOut => Self::TimedOut,
            HostReadError::ResponseTooLarge => Self::AnswerTooLong,
            _ => Self::Unreachable,
        }
    }
}

/// Sends a message and returns the agent's answer as it is written. The inner error is one that JSON-RPC reports. Meanwhile
/// the call counts as an open stream.
pub async fn agent_call(
    pool: &Database,
    hosts: &HostClient,
    agent: AgentRef,
    message: Bytes,
) -> Result<Result<Box<RawValue>, BridgeError>, RequestError> {
    let call = async {
        let http = match open_bridge(pool, hosts, agent).await? {
            Ok(http) => http,
            Err(error) => return Ok(Err(error)),
        };
        let answer = http
            .post("/bridge", message, MAX_PAYLOAD_BYTES, BRIDGE_TIMEOUT)
            .await;
        Ok(match answer {
            Err(error) => Err(BridgeError::from_host_error(agent, &error)),
            Ok(answer) if answer.status != 200 => Err(BridgeError::Status(answer.status)),
            Ok(answer) => parse_object(&answer.body),
        })
    };
    let call = Box::pin(async {
        timeout(BRIDGE_TIMEOUT, call)
            .await
            .unwrap_or(Ok(Err(BridgeError::TimedOut)))
    });
    OpenStream::during(pool, agent.organization_id, BRIDGE_TIMEOUT, call).await
}

/// Sends a message and returns the head of the agent's answer, whose body is still to be read.
pub(super) async fn open_answer(
    pool: &Database,
    hosts: &HostClient,
    agent: AgentRef,
    message: Bytes,
) -> Result<Result<Response<Incoming>, BridgeError>, RequestError> {
    let call = async {
        let http = match open_bridge(pool, hosts, agent).await? {
            Ok(http) => http,
            Err(error) => return Ok(Err(error)),
        };
        let head = http.send("POST", "/bridge/stream", Some(message)).await;
        Ok(match head {
            Err(error) => Err(BridgeError::from_host_error(agent, &error)),
            Ok(head) if head.status() != 200 => Err(BridgeError::Status(head.status().as_u16())),
            Ok(head) => Ok(head),
        })
    };
    timeout(BRIDGE_TIMEOUT, call)
        .await
        .unwrap_or(Ok(Err(BridgeError::TimedOut)))
}

/// Reads a JSON object without reading the texts in it: a lone surrogate (`\ud83d`), which some languages write for half
/// an emoji, is passed on (F91). Bytes that are not UTF-8 are replaced, and a byte order mark is left out.
fn parse_object(body: &[u8]) -> Result<Box<RawValue>, BridgeError> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}');
    let object = serde_json::from_str::<Box<RawValue>>(text).ok();
    let object = object.filter(|json| json.get().starts_with('{'));
    let object = object.ok_or(BridgeError::InvalidAnswer)?;
    if escaped_length(object.get()) > MAX_PAYLOAD_BYTES {
        return Err(BridgeError::AnswerTooLong);
    }
    Ok(object)
}

async fn open_bridge(
    pool: &Database,
    hosts: &HostClient,
    agent: AgentRef,
) -> Result<Result<AgentHttp, BridgeError>, RequestError> {
    let running = find_running_agent(pool, agent).await?;
    let bridge = running.and_then(|agent| Some((agent.record.bridge()?, agent.node)));
    let Some((port, node)) = bridge else {
        return Ok(Err(BridgeError::NotRunning));
    };
    match connect(pool, hosts, &node).await {
        Ok(connection) => Ok(Ok(AgentHttp::new(connection, port))),
        Err(OpenError::Database(error)) => Err(error.into()),
        // `connect` has logged the cause.
        Err(OpenError::Engine(_)) => Ok(Err(BridgeError::Unreachable)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &[u8]) -> Result<String, BridgeError> {
        parse_object(body).map(|json| json.get().to_owned())
    }

    /// Origin: JavaScript's `JSON.stringify` escapes lone surrogates, Python writes whole numbers of any size, PHP passes on
    /// Latin-1, and .NET begins a file with a byte order mark.
    #[test]
    fn f91_what_other_languages_write_as_json_is_passed_on() {
        for (body, expected) in [
            (&br#"{"text":"\ud83d"}"#[..], r#"{"text":"\ud83d"}"#),
            (
                &br#"{"\udc00\ud83d":"\ud83d\ude00"}"#[..],
                r#"{"\udc00\ud83d":"\ud83d\ude00"}"#,
            ),
            (
                &br#" {"n":12345678901234567890123}"#[..],
                r#"{"n":12345678901234567890123}"#,
            ),
            (
                &b"{\"latin-1\":\"\xfc\"}\n"[..],
                "{\"latin-1\":\"\u{fffd}\"}",
            ),
            (&b"\xef\xbb\xbf{}"[..], "{}"),
        ] {
            assert_eq!(parse(body).as_deref(), Ok(expected));
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
        assert_eq!(parse(deep.as_bytes()).as_ref(), Ok(&deep));
        for body in [
            &b"[]"[..],
            b"null",
            b"{",
            b"",
            b"<html>",
            b"{} {}",
            br#"{"a":NaN}"#,
        ] {
            assert_eq!(parse(body), Err(BridgeError::InvalidAnswer));
        }
    }

    #[test]
    fn f92_an_answer_is_as_long_as_it_becomes_in_what_lambda_returns() {
        let answer = |text: &str, count: usize| format!("{{\"a\":[{}0]}}", text.repeat(count));
        // 4.5 MB each: numbers stay as long as they are, quotation marks are doubled.
        assert!(parse(answer("1,", 2_250_000).as_bytes()).is_ok());
        let quoted = answer("\"\",", 1_500_000);
        assert_eq!(parse(quoted.as_bytes()), Err(BridgeError::AnswerTooLong));
    }
}
