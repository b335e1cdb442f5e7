//! What other applications may have changed in the tables that we share with them. Owns: comparing our triggers,
//! columns, constraints and indexes there with what the migrations made (`cloud.shared_objects_made`).

use crate::db::session::Connection;

/// What is missing, changed or in the way, such as `trigger cloud_meter_update on milady_sandboxes`.
pub async fn changed_objects(conn: &mut Connection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"SELECT DISTINCT name AS "name!"
        FROM cloud.shared_objects_made made FULL JOIN cloud.shared_objects found USING (name, definition)
        WHERE made.name IS NULL OR found.name IS NULL ORDER BY 1"#
    )
    .fetch_all(conn)
    .await
}
