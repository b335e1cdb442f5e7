//! Sending a message to a running agent. Owns: why that fails, in the words that the agent's owner is shown. Does not
//! own: the messages, which are JSON-RPC 2.0 and pass through unchanged, and how many streams may be open (`stream`).

use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::timeout;
use tracing::warn;

use crate::app::error::RequestError;
use crate::app::host_access::{OpenError, connect, find_running_agent};
use crate::db::Database;
use crate::domain::fleet::HostReadError;
use crate::domain::ids::AgentRef;
use crate::hosts::{AgentHttp, HostClient, HostError};

/// How long an agent may take to answer, with the connection to its host. The function's own timeout is 29 s.
const BRIDGE_TIMEOUT: Duration = Duration::from_secs(25);
/// A function's response is limited to 6 MB.
const MAX_ANSWER_BYTES: usize = 5 * 1024 * 1024;

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
    /// The answer is not a JSON object, or it is too long.
    #[error("Bridge returned an invalid answer")]
    InvalidAnswer,
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
            HostReadError::ResponseTooLarge => Self::InvalidAnswer,
            _ => Self::Unreachable,
        }
    }
}

/// Sends a message and returns the agent's answer. The inner error is one that JSON-RPC reports.
pub async fn agent_call(
    pool: &Database,
    hosts: &HostClient,
    agent: AgentRef,
    message: Bytes,
) -> Result<Result<Value, BridgeError>, RequestError> {
    let call = async {
        let http = match open_bridge(pool, hosts, agent).await? {
            Ok(http) => http,
            Err(error) => return Ok(Err(error)),
        };
        let answer = http
            .post("/bridge", message, MAX_ANSWER_BYTES, BRIDGE_TIMEOUT)
            .await;
        Ok(match answer {
            Err(error) => Err(BridgeError::from_host_error(agent, &error)),
            Ok(answer) if answer.status != 200 => Err(BridgeError::Status(answer.status)),
            Ok(answer) => parse_object(&answer.body).ok_or(BridgeError::InvalidAnswer),
        })
    };
    timeout(BRIDGE_TIMEOUT, call)
        .await
        .unwrap_or(Ok(Err(BridgeError::TimedOut)))
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

fn parse_object(body: &[u8]) -> Option<Value> {
    let value = serde_json::from_slice(body).ok();
    value.filter(Value::is_object)
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
