//! `fleet_discrepancies`. Owns: which discrepancies two runs in a row have observed.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::fleet::{DISCREPANCY_MAX_AGE, Discrepancy, Shard};
use crate::domain::ids::{AgentId, OrganizationId};

/// Records what a run observed in a shard, and forgets what it did not observe there. Returns the discrepancies that the
/// run before observed, too, of the same host and container.
pub async fn discrepancies_record_of_any_organization<'a>(
    conn: &mut Connection,
    shard: &Shard,
    discrepancies: &'a [Discrepancy],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<&'a Discrepancy>> {
    let kinds: Vec<String> = discrepancies
        .iter()
        .map(|discrepancy| discrepancy.kind.as_str().to_owned())
        .collect();
    let agent_ids: Vec<AgentId> = discrepancies
        .iter()
        .map(|found| found.agent.agent_id)
        .collect();
    let organization_ids: Vec<OrganizationId> = discrepancies
        .iter()
        .map(|discrepancy| discrepancy.agent.organization_id)
        .collect();
    let node_ids: Vec<Option<String>> = discrepancies
        .iter()
        .map(|discrepancy| discrepancy.node_id.clone())
        .collect();
    let container_ids: Vec<Option<String>> = discrepancies
        .iter()
        .map(|discrepancy| discrepancy.container_id.clone())
        .collect();
    sqlx::query!(
        r#"DELETE FROM cloud.fleet_discrepancies s WHERE NOT EXISTS (
            SELECT FROM UNNEST($1::text[], $2::uuid[]) AS f (kind, agent_id)
            WHERE f.kind = s.kind AND f.agent_id = s.agent_id)
        AND CASE WHEN s.node_id IS NULL THEN $3::text IS NULL
            ELSE ($3::text IS NULL OR s.node_id COLLATE "C" >= $3)
                AND ($4::text IS NULL OR s.node_id COLLATE "C" < $4) END"#,
        &kinds,
        &agent_ids as &[AgentId],
        shard.first.as_deref(),
        shard.end.as_deref()
    )
    .execute(&mut *conn)
    .await?;
    let recorded = sqlx::query!(
        r#"INSERT INTO cloud.fleet_discrepancies AS s (kind, agent_id, organization_id, node_id, container_id,
            first_observed_at, observed_at)
        SELECT f.kind, f.agent_id, f.organization_id, f.node_id, f.container_id, $6, $6
        FROM UNNEST($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[])
            AS f (kind, agent_id, organization_id, node_id, container_id)
        ON CONFLICT (kind, agent_id) DO UPDATE SET organization_id = excluded.organization_id,
            node_id = excluded.node_id, container_id = excluded.container_id,
            observed_at = excluded.observed_at,
            first_observed_at = CASE WHEN s.node_id IS NOT DISTINCT FROM excluded.node_id
                AND s.container_id IS NOT DISTINCT FROM excluded.container_id AND s.observed_at >= $7
                THEN s.first_observed_at ELSE excluded.first_observed_at END
        RETURNING s.kind, s.agent_id AS "agent_id: AgentId", s.first_observed_at < $6 AS "is_confirmed!""#,
        &kinds,
        &agent_ids as &[AgentId],
        &organization_ids as &[OrganizationId],
        &node_ids as &[Option<String>],
        &container_ids as &[Option<String>],
        now,
        now - DISCREPANCY_MAX_AGE
    )
    .fetch_all(conn)
    .await?;
    let is_confirmed = |discrepancy: &&Discrepancy| {
        recorded.iter().any(|row| {
            row.is_confirmed
                && row.agent_id == discrepancy.agent.agent_id
                && row.kind == discrepancy.kind.as_str()
        })
    };
    Ok(discrepancies.iter().filter(is_confirmed).collect())
}
