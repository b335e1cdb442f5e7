//! `cloud.host_upkeep`: when each host was last prepared and cleaned. Owns: that only one worker at a time works on a host.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::{AgentId, AgentRef, OrganizationId};

/// When a host's upkeep is due.
#[derive(Clone, Copy, Debug)]
pub struct UpkeepDue<'a> {
    /// A host that has another default image is due.
    pub image: &'a str,
    /// A host that was last checked before this time is due.
    pub checked_before: DateTime<Utc>,
}

/// Takes a host that is due: new ones first, then those that could be taken for the longest time. No other worker takes it
/// before `claimed_until`.
pub async fn upkeep_claim(
    conn: &mut Connection,
    due: UpkeepDue<'_>,
    now: DateTime<Utc>,
    claimed_until: DateTime<Utc>,
) -> sqlx::Result<Option<String>> {
    // The condition of the update is checked on the newest row: of two workers that found the same host, one takes it.
    sqlx::query_scalar!(
        "INSERT INTO cloud.host_upkeep AS u (node_id, not_before)
        SELECT n.node_id, $4::timestamptz FROM public.docker_nodes n LEFT JOIN cloud.host_upkeep d USING (node_id)
        WHERE n.enabled AND coalesce(d.not_before <= $1, true)
            AND (d.checked_at IS NULL OR d.checked_at < $3 OR d.image IS DISTINCT FROM $2)
        ORDER BY coalesce(d.not_before, '-infinity'), n.node_id LIMIT 1
        ON CONFLICT (node_id) DO UPDATE SET not_before = excluded.not_before WHERE u.not_before <= $1
        RETURNING node_id",
        now,
        due.image,
        due.checked_before,
        claimed_until
    )
    .fetch_optional(conn)
    .await
}

/// How the upkeep of a host ended.
#[derive(Clone, Copy, Debug)]
pub enum UpkeepEnd<'a> {
    /// The host has this image.
    Done {
        image: &'a str,
        digest: Option<&'a str>,
    },
    /// It is attempted again from this time on.
    Failed { not_before: DateTime<Utc> },
}

/// A host whose upkeep failed stays due.
pub async fn upkeep_finish(
    conn: &mut Connection,
    node_id: &str,
    end: UpkeepEnd<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (image, digest, not_before) = match end {
        UpkeepEnd::Done { image, digest } => (Some(image), digest, now),
        UpkeepEnd::Failed { not_before } => (None, None, not_before),
    };
    sqlx::query!(
        "UPDATE cloud.host_upkeep SET not_before = $3,
            checked_at = CASE WHEN $4::text IS NULL THEN checked_at ELSE $2 END, image = coalesce($4::text, image),
            image_digest = CASE WHEN $4::text IS NULL THEN image_digest ELSE $5 END
        WHERE node_id = $1",
        node_id,
        now,
        not_before,
        image,
        digest
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The images that owners chose for agents whose rows name the host, as they wrote them. An agent that stands still may have
/// its only state there, and no other host can start it.
pub async fn images_chosen_on_host_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"SELECT DISTINCT docker_image AS "image!" FROM public.milady_sandboxes
        WHERE node_id = $1 AND docker_image IS NOT NULL"#,
        node_id
    )
    .fetch_all(conn)
    .await
}

/// Those of these agents that exist no more. An agent that was never charged does not count: it may belong to another
/// deployment that uses the same host.
pub async fn agents_gone(conn: &mut Connection, agents: &[AgentRef]) -> sqlx::Result<Vec<AgentId>> {
    let agent_ids: Vec<AgentId> = agents.iter().map(|agent| agent.agent_id).collect();
    let organizations: Vec<OrganizationId> =
        agents.iter().map(|agent| agent.organization_id).collect();
    sqlx::query_scalar!(
        r#"SELECT v.agent_id AS "agent_id!: AgentId"
        FROM unnest($1::uuid[], $2::uuid[]) AS v (agent_id, organization_id)
        WHERE NOT EXISTS (SELECT FROM public.milady_sandboxes a WHERE a.id = v.agent_id)
            AND EXISTS (SELECT FROM cloud.usage_days d
                WHERE d.organization_id = v.organization_id AND d.agent_id = v.agent_id)"#,
        &agent_ids as &[AgentId],
        &organizations as &[OrganizationId]
    )
    .fetch_all(conn)
    .await
}
