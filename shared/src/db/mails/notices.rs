//! What an organization was told. Only reads.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::OrganizationId;

/// An event of which the owner is told, and what became of its mail.
#[derive(Clone, Debug)]
pub struct NoticeRecord {
    pub id: i64,
    pub kind: String,
    pub occurred_at: DateTime<Utc>,
    pub is_handed_over: bool,
    pub is_undeliverable: bool,
}

/// One page of the events of these kinds, newest first, before an event.
pub async fn notices_page(
    conn: &mut Connection,
    organization_id: OrganizationId,
    kinds: &[String],
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<NoticeRecord>> {
    sqlx::query_as!(
        NoticeRecord,
        r#"SELECT id, type AS kind, occurred_at, handed_over_at IS NOT NULL AS "is_handed_over!",
            undeliverable_at IS NOT NULL AS "is_undeliverable!"
        FROM cloud.outbox_events
        WHERE organization_id = $1 AND type = ANY($2) AND ($3::bigint IS NULL OR id < $3)
        ORDER BY id DESC LIMIT $4"#,
        organization_id.uuid(),
        kinds,
        before,
        limit
    )
    .fetch_all(conn)
    .await
}
