//! What an organization's agents cost per hour. Owns: the figures of the credit gate. Does not own: the gate
//! (`domain::credit_gate`).

use rust_decimal::Decimal;

use crate::db::session::Connection;
use crate::domain::ids::{AgentId, OrganizationId};
use crate::domain::job::JobClass;

/// What an organization's agents cost while they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// Dollars per hour of every non-exempt agent that runs or is being started, including the asking one.
    pub hourly: Decimal,
    /// Whether an operator exempted the asking agent from billing; `None` if the organization has no such agent.
    pub is_asking_exempt: Option<bool>,
}

/// What an organization is committed to, if the agent that asks to be started were running too. An agent without a
/// valid rate of its own counts with `running_hourly`.
///
/// The agents that a start job is for are collected once and joined: a search per agent takes seconds at 5,000 agents
/// with 500 jobs, under the organization's lock. Jobs of an older web app name their agent in `data` only.
pub async fn commitment(
    conn: &mut Connection,
    organization_id: OrganizationId,
    asking: Option<AgentId>,
    running_hourly: Decimal,
) -> sqlx::Result<Commitment> {
    let row = sql!(query!(
        r#"SELECT coalesce(sum(CASE WHEN a.hourly_rate >= 0 AND a.hourly_rate <> 'NaN' THEN a.hourly_rate ELSE $3 END)
                FILTER (WHERE a.billing_status <> 'exempt' AND (a.id = $2 OR starting.agent IS NOT NULL
                    OR a.status IN ('running', 'provisioning', 'disconnected'))), 0) AS "hourly!",
            bool_or(a.billing_status = 'exempt') FILTER (WHERE a.id = $2) AS is_asking_exempt
        FROM public.milady_sandboxes a LEFT JOIN (
            SELECT DISTINCT coalesce(j.agent_id::text, lower(j.data ->> 'agentId')) AS agent
            FROM public.jobs j
            WHERE j.organization_id = $1 AND j.type = ANY($4) AND j.type"#
            + HAS_KIND_PREFIX
            + " AND j.status IN "
            + ACTIVE_STATUSES
            + ") AS starting ON starting.agent = a.id::text
        WHERE a.organization_id = $1",
        organization_id.uuid(),
        asking.map(AgentId::uuid),
        running_hourly,
        &JobClass::Start.kind_names() as &[&str]
    ))
    .fetch_one(conn)
    .await?;
    Ok(Commitment {
        hourly: row.hourly,
        is_asking_exempt: row.is_asking_exempt,
    })
}
