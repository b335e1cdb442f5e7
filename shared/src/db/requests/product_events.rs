//! `product_event_batches`. Owns: writing events for product analytics with the change that they tell of, and which ones
//! are not published yet.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::db::session::Connection;

/// Writes batches of events, which may be of several organizations.
pub async fn product_batches_append_of_any_organization(
    conn: &mut Connection,
    batches: &[Value],
    written_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.product_event_batches (batch, written_at)
        SELECT b.batch, $2 FROM UNNEST($1::jsonb[]) AS b (batch)",
        batches,
        written_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[derive(Clone, Debug)]
pub struct ProductBatch {
    pub id: i64,
    pub batch: Value,
}

/// Batches that `EventBridge` has not accepted yet, the oldest first, at most two hundred.
pub async fn product_batches_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Vec<ProductBatch>> {
    sqlx::query_as!(
        ProductBatch,
        "SELECT id, batch FROM cloud.product_event_batches ORDER BY id LIMIT 200"
    )
    .fetch_all(conn)
    .await
}

/// Deletes batches that `EventBridge` has accepted.
pub async fn product_batches_delete_of_any_organization(
    conn: &mut Connection,
    ids: &[i64],
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.product_event_batches WHERE id = ANY($1)",
        ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up batches that were written before `before`. Returns how many there were.
pub async fn product_batches_expire_of_any_organization(
    conn: &mut Connection,
    before: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "DELETE FROM cloud.product_event_batches WHERE written_at < $1",
        before
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}
