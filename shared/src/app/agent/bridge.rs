//! Talking to a running agent. Owns: what its owner is told when that does not work. Does not own: what
//! is said (JSON-RPC 2.0, passed on as it is).

use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::Incoming;
use serde_json::Value;
use sqlx::PgPool;
use tokio::time::timeout;
use uuid::Uuid;

use crate::app::error::RequestError;
use crate::app::host_access::{OpenError, connect, running};
use crate::hosts::{AgentHttp, Fleet, HostError};

/// What an agent may take to answer.
const WITHIN: Duration = Duration::from_secs(25);
/// The longest answer: a function cannot say more than 6 MB.
const LONGEST: usize = 5 * 1024 * 1024;

/// Why an agent was not heard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    /// It does not run.
    #[error("Sandbox is not running")]
    NotRunning,
    /// It, or its host, cannot be reached.
    #[error("Sandbox bridge is unreachable")]
    Unreachable,
    /// It answered with another status than 200.
    #[error("Bridge returned HTTP {0}")]
    Status(u16),
    /// What it answered is no JSON object, or too long.
    #[error("Bridge returned an invalid answer")]
    Garbage,
    /// It took too long.
    #[error("Agent did not answer in time")]
    TimedOut,
}

impl From<HostError> for Unheard {
    fn from(error: HostError) -> Self {
        match error {
            HostError::TimedOut => Self::TimedOut,
            HostError::TooLong => Self::Garbage,
            _ => Self::Unreachable,
        }
    }
}

/// Passes a message on and answers what the agent says.
///
/// # Errors
/// The organization has no such agent, or the database failed; the inner error when the agent was not
/// heard.
pub async fn agent_ask(
    pool: &PgPool,
    fleet: &Fleet,
    agent: (Uuid, Uuid),
    message: Bytes,
) -> Result<Result<Value, Unheard>, RequestError> {
    let ask = async {
        let http = match reach(pool, fleet, agent).await? {
            Ok(http) => http,
            Err(unheard) => return Ok(Err(unheard)),
        };
        let answer = http.post("/bridge", message, LONGEST, WITHIN).await;
        Ok(answer
            .map_err(Unheard::from)
            .and_then(|answer| match answer.status {
                200 => serde_json::from_slice(&answer.body)
                    .ok()
                    .filter(Value::is_object)
                    .ok_or(Unheard::Garbage),
                status => Err(Unheard::Status(status)),
            }))
    };
    timeout(WITHIN, ask)
        .await
        .unwrap_or(Ok(Err(Unheard::TimedOut)))
}

/// Passes a message on and answers the head of what the agent says; the rest is still to come.
///
/// # Errors
/// As [`agent_ask`].
pub async fn agent_listen(
    pool: &PgPool,
    fleet: &Fleet,
    agent: (Uuid, Uuid),
    message: Bytes,
) -> Result<Result<Response<Incoming>, Unheard>, RequestError> {
    let listen = async {
        let http = match reach(pool, fleet, agent).await? {
            Ok(http) => http,
            Err(unheard) => return Ok(Err(unheard)),
        };
        let head = http.send("POST", "/bridge/stream", Some(message)).await;
        Ok(head
            .map_err(Unheard::from)
            .and_then(|head| match head.status().as_u16() {
                200 => Ok(head),
                status => Err(Unheard::Status(status)),
            }))
    };
    timeout(WITHIN, listen)
        .await
        .unwrap_or(Ok(Err(Unheard::TimedOut)))
}

async fn reach(
    pool: &PgPool,
    fleet: &Fleet,
    agent: (Uuid, Uuid),
) -> Result<Result<AgentHttp, Unheard>, RequestError> {
    let there = running(pool, agent).await?;
    let there = there.and_then(|(placement, node)| Some((placement.bridge()?, node)));
    let Some((port, node)) = there else {
        return Ok(Err(Unheard::NotRunning));
    };
    match connect(pool, fleet, &node).await {
        Ok(connection) => Ok(Ok(AgentHttp::new(connection, port))),
        Err(OpenError::Database(error)) => Err(error.into()),
        Err(OpenError::Engine(_)) => Ok(Err(Unheard::Unreachable)),
    }
}
