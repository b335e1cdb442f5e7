//! What is read of agents with several statements. They share a transaction, because one for each statement would wait for
//! the server twice more.

use crate::db::Database;
use crate::db::agents::daily_backups::backup_error;
use crate::db::agents::deaths::{DeathRecord, death_find};
use crate::db::agents::records::{
    AgentRecord, AgentSelection, agent_find, agents_count, agents_page,
};
use crate::db::page::PagePosition;
use crate::domain::ids::{AgentRef, OrganizationId};

#[derive(Debug)]
pub struct AgentDetails {
    pub record: AgentRecord,
    /// Why its last daily backup failed. `None` if it did not.
    pub backup_error: Option<String>,
    pub last_death: Option<DeathRecord>,
}

/// `None` if the organization has no such agent.
pub async fn agent_details(pool: &Database, agent: AgentRef) -> sqlx::Result<Option<AgentDetails>> {
    let mut tx = pool.begin().await?;
    let record = agent_find(&mut tx, agent).await?;
    let backup_error = backup_error(&mut tx, agent).await?;
    let last_death = death_find(&mut tx, agent).await?;
    tx.commit().await?;
    Ok(record.map(|record| AgentDetails {
        record,
        backup_error,
        last_death,
    }))
}

/// One page of an organization's agents, and how many there are on all pages.
pub async fn agents_listed(
    pool: &Database,
    organization_id: OrganizationId,
    selection: AgentSelection,
    after: Option<PagePosition>,
    limit: i64,
) -> sqlx::Result<(Vec<AgentRecord>, i64)> {
    let mut tx = pool.begin().await?;
    let total = agents_count(&mut tx, organization_id, selection.status).await?;
    let agents = agents_page(&mut tx, organization_id, selection, after, limit).await?;
    tx.commit().await?;
    Ok((agents, total))
}
