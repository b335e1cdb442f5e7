//! Requests that hold a connection for long. Owns: that an organization has no more of them than it may, whatever becomes
//! of the functions that serve them. Each is a row, which ends with the request or expires. Does not own: what they wait
//! for.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::timeout;
use tracing::warn;

use crate::app::error::RequestError;
use crate::db;
use crate::db::Database;
use crate::domain::ids::{OrganizationId, StreamId};
use crate::domain::limits::LimitName;

/// How long deleting the row may take: the function's time is nearly over then.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The row of an open stream. Dropping it, as happens when the client is gone, deletes the row in the background.
#[derive(Debug)]
pub struct OpenStream(Option<StreamRow>);

#[derive(Debug)]
struct StreamRow {
    pool: Database,
    organization_id: OrganizationId,
    id: StreamId,
}

impl OpenStream {
    /// Inserts the row of a request that takes at most so long.
    pub(crate) async fn insert(
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
        limits.check_running(limit, &expiries, now)?;
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

    /// Awaits what holds the request's connection, and counts as an open stream meanwhile.
    pub(crate) async fn during<T>(
        pool: &Database,
        organization_id: OrganizationId,
        max_duration: Duration,
        call: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, RequestError> {
        let open = Self::insert(pool, organization_id, max_duration).await?;
        let result = call.await;
        open.close().await;
        result
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
