//! What is not kept for ever: partitions of the ledger and of charges, and settled spans. Owns: calling the functions
//! of the database that remove them, which check for themselves whether they may.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;

/// A partition, by its table and the beginning of its month.
#[derive(Clone, Debug)]
pub struct Partition {
    pub parent: String,
    pub month: DateTime<Utc>,
}

/// The partitions that begin more than a year ago, the oldest first, charges before entries.
pub async fn old_partitions(conn: &mut Connection) -> sqlx::Result<Vec<Partition>> {
    sqlx::query_as!(
        Partition,
        r#"SELECT parent AS "parent!", month AS "month!" FROM (
            SELECT p.relname::text AS parent,
                make_timestamptz(substring(c.relname FROM '(\d{4})_\d{2}$')::int,
                    substring(c.relname FROM '\d{4}_(\d{2})$')::int, 1, 0, 0, 0, 'UTC') AS month
            FROM pg_catalog.pg_inherits i
            JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
            WHERE p.oid IN ('cloud.usage_charges'::regclass, 'cloud.ledger_entries'::regclass)
                AND c.relname ~ '_\d{4}_\d{2}$') AS partitions
        WHERE month < cloud.billing_clock() - interval '1 year'
        ORDER BY parent = 'ledger_entries', month"#
    )
    .fetch_all(conn)
    .await
}

/// Drops a partition unless something in it is still needed. Returns whether it is dropped.
///
/// # Errors
/// A lock conflict if a run holds the table for five seconds.
pub async fn partition_drop(conn: &mut Connection, partition: &Partition) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT cloud.drop_partition($1, $2) AS "is_dropped!""#,
        partition.parent,
        partition.month
    )
    .fetch_one(conn)
    .await
}

/// Deletes at most `max` settled spans whose charges are dropped. Returns how many.
pub async fn settled_spans_delete_of_any_organization(
    conn: &mut Connection,
    max: i32,
) -> sqlx::Result<i32> {
    sqlx::query_scalar!(
        r#"SELECT cloud.delete_settled_spans($1) AS "deleted!""#,
        max
    )
    .fetch_one(conn)
    .await
}
