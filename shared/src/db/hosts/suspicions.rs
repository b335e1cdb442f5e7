//! `cloud.host_suspicions` and `cloud.container_suspicions`: what refresh runs remember of their observations. Owns:
//! reading and replacing it. Does not own: what is suspected (`domain::fleet`).

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::fleet::{ContainerSuspicion, Shard, Suspicions};
use crate::domain::ids::{AgentId, AgentRef, OrganizationId};

/// Those of a shard.
pub async fn suspicions_of_any_organization(
    conn: &mut Connection,
    shard: &Shard,
) -> sqlx::Result<Suspicions> {
    let (first, end) = (shard.first.as_deref(), shard.end.as_deref());
    let hosts = sql!(query!(
        "SELECT node_id, observed_at FROM cloud.host_suspicions WHERE " + IN_SHARD,
        first,
        end
    ))
    .fetch_all(&mut *conn)
    .await?;
    let containers = sql!(query!(
        "SELECT agent_id, organization_id, node_id, container_name, observed_at
        FROM cloud.container_suspicions WHERE "
            + IN_SHARD,
        first,
        end
    ))
    .fetch_all(conn)
    .await?;
    let containers = containers.into_iter().map(|row| {
        let suspicion = ContainerSuspicion {
            agent: AgentRef {
                organization_id: row.organization_id,
                agent_id: row.agent_id,
            },
            node_id: row.node_id,
            container_name: row.container_name,
            observed_at: row.observed_at,
        };
        (row.agent_id, suspicion)
    });
    let hosts = hosts.into_iter().map(|row| (row.node_id, row.observed_at));
    Ok(Suspicions {
        hosts: hosts.collect(),
        containers: containers.collect(),
    })
}

/// Replaces what earlier runs suspected. Writes only rows that change: usually none.
pub async fn suspicions_replace_of_any_organization(
    conn: &mut Connection,
    earlier: &Suspicions,
    next: &Suspicions,
) -> sqlx::Result<()> {
    replace_hosts(conn, &earlier.hosts, &next.hosts).await?;
    replace_containers_of_any_organization(conn, &earlier.containers, &next.containers).await
}

async fn replace_hosts(
    conn: &mut Connection,
    earlier: &HashMap<String, DateTime<Utc>>,
    next: &HashMap<String, DateTime<Utc>>,
) -> sqlx::Result<()> {
    let gone = earlier
        .keys()
        .filter(|node_id| !next.contains_key(*node_id));
    let gone: Vec<String> = gone.cloned().collect();
    if !gone.is_empty() {
        sqlx::query!(
            "DELETE FROM cloud.host_suspicions WHERE node_id = ANY($1)",
            &gone
        )
        .execute(&mut *conn)
        .await?;
    }
    let changed = next
        .iter()
        .filter(|(node_id, observed_at)| earlier.get(*node_id) != Some(*observed_at));
    let (node_ids, times): (Vec<String>, Vec<DateTime<Utc>>) = changed
        .map(|(node_id, observed_at)| (node_id.clone(), *observed_at))
        .unzip();
    if !node_ids.is_empty() {
        sqlx::query!(
            "INSERT INTO cloud.host_suspicions (node_id, observed_at)
            SELECT node_id, observed_at FROM unnest($1::text[], $2::timestamptz[]) AS s (node_id, observed_at)
            ON CONFLICT (node_id) DO UPDATE SET observed_at = excluded.observed_at",
            &node_ids,
            &times
        )
        .execute(conn)
        .await?;
    }
    Ok(())
}

async fn replace_containers_of_any_organization(
    conn: &mut Connection,
    earlier: &HashMap<AgentId, ContainerSuspicion>,
    next: &HashMap<AgentId, ContainerSuspicion>,
) -> sqlx::Result<()> {
    let gone = earlier
        .keys()
        .filter(|agent_id| !next.contains_key(*agent_id));
    let gone: Vec<AgentId> = gone.copied().collect();
    if !gone.is_empty() {
        sqlx::query!(
            "DELETE FROM cloud.container_suspicions WHERE agent_id = ANY($1)",
            &gone as &[AgentId]
        )
        .execute(&mut *conn)
        .await?;
    }
    let changed = next
        .values()
        .filter(|suspicion| earlier.get(&suspicion.agent.agent_id) != Some(*suspicion));
    let changed: Vec<&ContainerSuspicion> = changed.collect();
    if changed.is_empty() {
        return Ok(());
    }
    let all = || changed.iter();
    let agents: Vec<AgentId> = all().map(|one| one.agent.agent_id).collect();
    let organizations: Vec<OrganizationId> = all().map(|one| one.agent.organization_id).collect();
    let node_ids: Vec<String> = all().map(|one| one.node_id.clone()).collect();
    let names: Vec<String> = all().map(|one| one.container_name.clone()).collect();
    let times: Vec<DateTime<Utc>> = all().map(|one| one.observed_at).collect();
    sqlx::query!(
        "INSERT INTO cloud.container_suspicions
            (agent_id, organization_id, node_id, container_name, observed_at)
        SELECT agent_id, organization_id, node_id, container_name, observed_at
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[])
            AS s (agent_id, organization_id, node_id, container_name, observed_at)
        ON CONFLICT (agent_id) DO UPDATE SET organization_id = excluded.organization_id,
            node_id = excluded.node_id, container_name = excluded.container_name,
            observed_at = excluded.observed_at",
        &agents as &[AgentId],
        &organizations as &[OrganizationId],
        &node_ids,
        &names,
        &times
    )
    .execute(conn)
    .await?;
    Ok(())
}
