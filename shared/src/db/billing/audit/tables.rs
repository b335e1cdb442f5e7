//! Invariants of the tables themselves: rows are where they belong, and nobody can change them.

use super::{AuditBounds, Violation};
use crate::db::session::Connection;
use crate::domain::ids::OrganizationId;

/// Every row has a partition of its month, and triggers refuse changes of every table of the ledger.
pub async fn tables_violations(conn: &mut Connection) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        r#"WITH relations AS (
            SELECT c.oid, c.relname FROM pg_catalog.pg_class c
            WHERE c.oid IN ('cloud.ledger_entries'::regclass, 'cloud.usage_charges'::regclass) OR c.oid IN (
                SELECT inhrelid FROM pg_catalog.pg_inherits
                WHERE inhparent IN ('cloud.ledger_entries'::regclass, 'cloud.usage_charges'::regclass))
        )
        SELECT 'misplaced_rows' AS "kind!", 'table ' || parent AS "subject!",
            NULL::uuid AS "organization_id?: OrganizationId", NULL::timestamptz AS "at?",
            jsonb_build_object('rows', m.count, 'oldest', m.oldest) AS "detail!"
        FROM UNNEST(ARRAY['ledger_entries', 'usage_charges']) AS parent, cloud.misplaced_rows(parent) AS m
        WHERE m.count > 0
        UNION ALL
        -- The types are those of BEFORE UPDATE OR DELETE .. FOR EACH ROW and of BEFORE TRUNCATE.
        SELECT 'unprotected_table', 'table ' || r.relname || ', trigger ' || p.name, NULL, NULL, '{}'
        FROM relations r CROSS JOIN (VALUES ('refuse_change', 27), ('refuse_truncate', 34)) AS p (name, type)
        WHERE NOT EXISTS (
            SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = r.oid AND t.tgname = p.name AND t.tgtype = p.type
                AND t.tgenabled IN ('O', 'A') AND t.tgqual IS NULL AND t.tgattr = ''
                AND t.tgfoid = 'cloud.refuse_change()'::regprocedure)
        LIMIT 1000"#
    )
    .fetch_all(conn)
    .await
}

/// What can be audited, and since when.
pub async fn audit_bounds_of_any_organization(conn: &mut Connection) -> sqlx::Result<AuditBounds> {
    sqlx::query_as!(
        AuditBounds,
        r#"SELECT cloud.billing_clock() AS "now!",
            least(cloud.oldest_month('usage_charges'), (SELECT oldest FROM cloud.misplaced_rows('usage_charges')))
                AS charges_kept_since,
            least(cloud.oldest_month('ledger_entries'), (SELECT oldest FROM cloud.misplaced_rows('ledger_entries')))
                AS entries_kept_since,
            (SELECT min((detail ->> 'at')::timestamptz) FROM cloud.billing_findings
                WHERE resolved_at IS NULL AND kind <> 'external_change') AS oldest_finding"#
    )
    .fetch_one(conn)
    .await
}
