//! The statements that measure agents' databases. Owns: which databases are agents'.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::statements::sqlstate;
use crate::domain::ids::AgentId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseSize {
    pub agent_id: AgentId,
    /// `None` if we may not know: the owner of a database can revoke the right to connect, which measuring takes
    /// unless we are a superuser or a member of `pg_read_all_stats`.
    pub bytes: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct MeasuredDatabases {
    /// By the server's clock.
    pub measured_at: DateTime<Utc>,
    pub sizes: Vec<DatabaseSize>,
}

/// Measures one database after the other: one that is dropped meanwhile, or may not be measured, does not fail the
/// others.
pub(super) async fn measure(conn: &mut PgConnection) -> sqlx::Result<MeasuredDatabases> {
    let measured_at = sqlx::query_scalar("SELECT clock_timestamp()");
    let measured_at = measured_at.fetch_one(&mut *conn).await?;
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT datname::text FROM pg_database WHERE datname ~ '^agent_[0-9a-f]{32}$' ORDER BY datname",
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut sizes = Vec::new();
    for name in names {
        let id = name.strip_prefix("agent_").and_then(|id| id.parse().ok());
        let Some(agent_id) = id else { continue };
        let size = sqlx::query_scalar("SELECT pg_database_size($1::name)");
        let size: sqlx::Result<Option<i64>> = size.bind(&name).fetch_one(&mut *conn).await;
        let bytes = match size {
            Ok(bytes) => bytes.and_then(|bytes| u64::try_from(bytes).ok()),
            Err(error) => match sqlstate(&error).as_deref() {
                // Dropped since it was listed.
                Some("3D000") => continue,
                Some("42501") => None,
                _ => return Err(error),
            },
        };
        sizes.push(DatabaseSize { agent_id, bytes });
    }
    Ok(MeasuredDatabases { measured_at, sizes })
}
