//! `docker_nodes`. Owns: what hosts there are.

use sqlx::PgConnection;

/// Whether any enabled host is registered.
///
/// # Errors
/// Database errors.
pub async fn any_node(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM docker_nodes WHERE enabled) AS "any!""#)
        .fetch_one(conn)
        .await
}
