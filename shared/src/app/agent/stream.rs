//! Streaming an agent's answer. Owns: that the stream counts as open from before the agent is asked until its end. Does
//! not own: how the agent is reached (`bridge`), and how many streams may be open (`app::open_stream`).

use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::Incoming;

use super::bridge::{BridgeError, open_answer};
use crate::app::error::RequestError;
use crate::app::open_stream::OpenStream;
use crate::db::Database;
use crate::domain::ids::AgentRef;
use crate::hosts::HostClient;

/// An answer that is being streamed.
#[derive(Debug)]
pub struct AgentStream {
    /// Its body is still to be read.
    pub head: Response<Incoming>,
    pub open: OpenStream,
}

/// Sends a message and returns the agent's answer, which ends within `max_duration`.
pub async fn agent_stream(
    pool: &Database,
    hosts: &HostClient,
    agent: AgentRef,
    message: Bytes,
    max_duration: Duration,
) -> Result<Result<AgentStream, BridgeError>, RequestError> {
    let open = OpenStream::insert(pool, agent.organization_id, max_duration).await?;
    let refused = match open_answer(pool, hosts, agent, message).await {
        Ok(Ok(head)) => return Ok(Ok(AgentStream { head, open })),
        Ok(Err(error)) => Ok(Err(error)),
        Err(error) => Err(error),
    };
    open.close().await;
    refused
}
