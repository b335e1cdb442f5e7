//! Streaming an agent's answer. Owns: that an organization has no more open streams than it may, whatever becomes of the
//! functions that serve them. Each open stream is a row, which ends with the stream or expires. Does not own: how the
//! agent is reached (`bridge`).

use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use hyper::Response;
use hyper::body::Incoming;
use tokio::time::timeout;
use tracing::warn;

use super::bridge::{BridgeError, open_answer};
use crate::app::error::RequestError;
use crate::db;
use crate::db::Database;
use crate::domain::ids::{AgentRef, OrganizationId, StreamId};
use crate::domain::limits::LimitName;
use crate::hosts::HostClient;

/// How long deleting the row may take: the function's time is nearly over then.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// An answer that is being streamed.
#[derive(Debug)]
pub struct AgentStream {
    /// Its body is still to be read.
    pub head: Response<Incoming>,
    pub open: OpenStream,
}

/// The row of an open stream. Dropping it, as happens when the client is gone, deletes the row in the background.
#[derive(Debug)]
pub struct OpenStream(Option<StreamRow>);

#[derive(Debug)]
struct StreamRow {
    pool: Database,
    organization_id: OrganizationId,
    id: StreamId,
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

impl OpenStream {
    async fn insert(
        pool: &Database,
        organization_id: OrganizationId,
        max_duration: Duration,
    ) -> Result<Self, RequestError> {
        let mut tx = pool.begin().await?;
        let limit = LimitName::OpenStreams;
        db::identity::limits::limit_lock(&mut tx, organization_id, limit).await?;
        let limits = db::identity::limits::limits_find(&mut tx, organization_id).await?;
        let now = db::clock::billing_clock(&mut tx).await?;
        let expiries =
            db::requests::open_streams::stream_expiries(&mut tx, organization_id, now).await?;
        limits.check_streams(&expiries, now)?;
        let expires_at = now + TimeDelta::from_std(max_duration).unwrap_or_default();
        let id =
            db::requests::open_streams::stream_insert(&mut tx, organization_id, expires_at, now)
                .await?;
        tx.commit().await?;
        Ok(Self(Some(StreamRow {
            pool: pool.clone(),
            organization_id,
            id,
        })))
    }

    /// Deletes the row. If that fails, it counts until it expires.
    pub async fn close(mut self) {
        if let Some(row) = self.0.take() {
            row.delete().await;
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        if let (Some(row), Ok(runtime)) = (self.0.take(), runtime) {
            runtime.spawn(row.delete());
        }
    }
}

impl StreamRow {
    async fn delete(self) {
        let mut conn = self.pool.statements();
        let deleted =
            db::requests::open_streams::stream_delete(&mut conn, self.organization_id, self.id);
        let error = match timeout(CLOSE_TIMEOUT, deleted).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => db::error_class(&error),
            Err(_) => "it took too long".into(),
        };
        warn!(
            error,
            "the row of a stream that has ended was not deleted; it counts until it expires"
        );
    }
}
