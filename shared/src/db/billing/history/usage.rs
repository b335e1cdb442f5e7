//! What was used and paid, by the time of use. Days that a statement has counted come from `usage_days`, what was charged
//! since from the charges themselves: a statement reads both in one snapshot.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::db::session::Connection;
use crate::domain::history::Period;
use crate::domain::ids::{AgentId, OrganizationId};
use crate::domain::words::words;

words! {
    pub enum UsageGroup {
        Agent = "agent",
        Day = "day",
        Hour = "hour",
    }
}

/// What was used in a group.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// The start of the day or hour; `None` if agents are grouped.
    pub at: Option<DateTime<Utc>>,
    /// `None` if the group holds all agents.
    pub agent_id: Option<AgentId>,
    pub agent_name: Option<String>,
    pub running_seconds: Decimal,
    pub idle_seconds: Decimal,
    pub amount: Decimal,
}

#[derive(Clone, Copy, Debug)]
pub struct UsageFilter {
    pub organization_id: OrganizationId,
    /// Of whole days, or of whole hours if hours are grouped.
    pub period: Period,
    pub agent_id: Option<AgentId>,
}

/// An organization's use of whole days, by agent from `from` on, or by day if `group` is not [`UsageGroup::Agent`].
pub async fn usage_of_days(
    conn: &mut Connection,
    filter: UsageFilter,
    group: UsageGroup,
    from: Option<AgentId>,
    limit: i64,
) -> sqlx::Result<Vec<Usage>> {
    let by_agent = group == UsageGroup::Agent;
    sqlx::query_as!(
        Usage,
        r#"WITH used AS (
            SELECT day, agent_id, kind, seconds, amount FROM cloud.usage_days
            WHERE organization_id = $1 AND day >= $2 AND day < $3 AND ($4::uuid IS NULL OR agent_id = $4)
            UNION ALL
            SELECT (c.period_start AT TIME ZONE 'UTC')::date, s.agent_id, s.kind,
                extract(epoch FROM c.period_end - c.period_start), c.amount
            FROM cloud.ledger_entries e
            CROSS JOIN LATERAL (
                SELECT * FROM cloud.usage_charges c
                WHERE c.entry = e.seq AND c.period_start >= e.period_start AND c.period_start < e.period_end
                    AND c.period_start >= $5 AND c.period_start < $6 OFFSET 0) AS c
            CROSS JOIN LATERAL (SELECT * FROM cloud.usage_spans s WHERE s.id = c.span OFFSET 0) AS s
            WHERE e.organization_id = $1 AND e.type = 'usage' AND e.period_end > $5 AND e.period_start < $6
                AND e.created_at >= $5 AND e.created_at >= coalesce((
                    SELECT (stated_through + 1)::timestamp AT TIME ZONE 'UTC'
                    FROM cloud.billing_accounts WHERE organization_id = $1), '-infinity')
                AND ($4::uuid IS NULL OR s.agent_id = $4)
        ), grouped AS (
            SELECT CASE WHEN NOT $7 THEN day END AS day, CASE WHEN $7 OR $4 IS NOT NULL THEN agent_id END AS agent_id,
                coalesce(sum(seconds) FILTER (WHERE kind = 'running'), 0) AS running_seconds,
                coalesce(sum(seconds) FILTER (WHERE kind = 'idle'), 0) AS idle_seconds, sum(amount) AS amount
            FROM used WHERE $8::uuid IS NULL OR agent_id >= $8
            GROUP BY 1, 2 ORDER BY 1, 2 LIMIT $9
        )
        SELECT day::timestamp AT TIME ZONE 'UTC' AS at, g.agent_id AS "agent_id: AgentId", named.agent_name,
            running_seconds AS "running_seconds!", idle_seconds AS "idle_seconds!", amount AS "amount!"
        FROM grouped g
        LEFT JOIN LATERAL (
            SELECT agent_name FROM cloud.usage_spans s
            WHERE s.agent_id = g.agent_id AND s.organization_id = $1 ORDER BY started_at DESC LIMIT 1
        ) AS named ON true
        ORDER BY 1, 2"#,
        filter.organization_id.uuid(),
        filter.period.from.date_naive(),
        filter.period.to.date_naive(),
        filter.agent_id.map(AgentId::uuid),
        filter.period.from,
        filter.period.to,
        by_agent,
        from.map(AgentId::uuid),
        limit
    )
    .fetch_all(conn)
    .await
}

/// An organization's use of whole hours, all agents together.
pub async fn usage_of_hours(
    conn: &mut Connection,
    organization_id: OrganizationId,
    period: Period,
    limit: i64,
) -> sqlx::Result<Vec<Usage>> {
    let rows = sqlx::query!(
        r#"SELECT date_trunc('hour', c.period_start, 'UTC') AS "at!",
            coalesce(sum(extract(epoch FROM c.period_end - c.period_start)) FILTER (WHERE s.kind = 'running'), 0)
                AS "running_seconds!",
            coalesce(sum(extract(epoch FROM c.period_end - c.period_start)) FILTER (WHERE s.kind = 'idle'), 0)
                AS "idle_seconds!",
            sum(c.amount) AS "amount!"
        FROM cloud.ledger_entries e
        CROSS JOIN LATERAL (
            SELECT * FROM cloud.usage_charges c
            WHERE c.entry = e.seq AND c.period_start >= e.period_start AND c.period_start < e.period_end
                AND c.period_start >= $2 AND c.period_start < $3 OFFSET 0) AS c
        CROSS JOIN LATERAL (SELECT * FROM cloud.usage_spans s WHERE s.id = c.span OFFSET 0) AS s
        WHERE e.organization_id = $1 AND e.type = 'usage' AND e.created_at >= $2 AND e.period_end > $2
            AND e.period_start < $3
        GROUP BY 1 ORDER BY 1 LIMIT $4"#,
        organization_id.uuid(),
        period.from,
        period.to,
        limit
    )
    .fetch_all(conn)
    .await?;
    let usages = rows.into_iter().map(|row| Usage {
        at: Some(row.at),
        running_seconds: row.running_seconds,
        idle_seconds: row.idle_seconds,
        amount: row.amount,
        ..Usage::default()
    });
    Ok(usages.collect())
}
