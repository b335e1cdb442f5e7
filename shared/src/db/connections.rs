//! The connections of the role that the functions log in as. Owns: how much of their limit is used.

use crate::db::session::Connection;

/// How many of the connections that the role may have are open, in percent. `None` if it may have any number.
pub async fn connections_percent(conn: &mut Connection) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar(
        "SELECT (100 * count(activity.pid) / role.rolconnlimit)::int
        FROM pg_catalog.pg_roles AS role
        LEFT JOIN pg_catalog.pg_stat_activity AS activity ON activity.usesysid = role.oid
        WHERE role.rolname = CURRENT_USER AND role.rolconnlimit > 0
        GROUP BY role.rolconnlimit",
    )
    .fetch_optional(conn)
    .await
}
