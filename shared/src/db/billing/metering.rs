//! What the metering triggers missed, and new list prices. Owns: opening and ending spans outside of the triggers. A
//! caller holds the locks of the organizations and of the agents.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::{AgentId, AgentRef, OrganizationId};

/// An agent whose open span is not the one that its state calls for.
#[derive(Clone, Copy, Debug)]
pub struct SpanMismatch {
    pub agent_id: AgentId,
    /// The organization that the agent belongs to; `None` if the agent is deleted.
    pub organization_id: Option<OrganizationId>,
    /// The organization that its open span is charged to; `None` if there is no such span. It is another one if the
    /// agent was moved.
    pub charged_to: Option<OrganizationId>,
}

/// The agents whose open spans are not those that their states call for, by organization.
pub async fn mismatches_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Vec<SpanMismatch>> {
    sql!(query_as!(
        SpanMismatch,
        r#"SELECT coalesce(a.id, s.agent_id) AS "agent_id!: AgentId",
            a.organization_id AS "organization_id?: OrganizationId",
            s.organization_id AS "charged_to?: OrganizationId"
        FROM (
            SELECT id, organization_id, hourly_rate, "#
            + METERED_KIND
            + " AS kind
            FROM public.milady_sandboxes
        ) AS a
        FULL JOIN (SELECT * FROM cloud.usage_spans WHERE ended_at IS NULL) AS s ON s.agent_id = a.id
        WHERE "
            + OPEN_SPAN_DIFFERS
            + " ORDER BY 2, 3, 1"
    ))
    .fetch_all(conn)
    .await
}

/// Ends the open spans of these agents that their states do not call for. The span of an agent that is still metered in
/// the same way, but at another rate or for another organization, ends now, so that no time is lost. Any other ends at
/// its mark, because in doubt the owner does not pay. Returns how many were ended.
pub async fn spans_end_unwanted_of_any_organization(
    conn: &mut Connection,
    agent_ids: &[AgentId],
) -> sqlx::Result<u64> {
    let result = sql!(query!(
        "WITH open AS (
            SELECT s.id, s.kind, a.kind AS wanted, cloud.open_span_mark(s) AS mark,
                coalesce(a.organization_id = s.organization_id AND a.kind = s.kind AND (s.kind = 'idle'
                    OR s.list_priced AND a.own_rate IS NULL
                    OR NOT s.list_priced AND s.hourly_rate = a.own_rate), false) AS is_wanted
            FROM cloud.usage_spans s LEFT JOIN (
                SELECT id, organization_id, cloud.own_rate('running', hourly_rate) AS own_rate,
                    "
            + METERED_KIND
            + " AS kind
                FROM public.milady_sandboxes
            ) AS a ON a.id = s.agent_id
            WHERE s.ended_at IS NULL AND s.agent_id = ANY($1)
        )
        UPDATE cloud.usage_spans s SET closed_reason = 'repaired',
            ended_at = CASE WHEN o.wanted = o.kind THEN greatest(o.mark, cloud.billing_clock()) ELSE o.mark END
        FROM open o WHERE s.id = o.id AND s.ended_at IS NULL AND NOT o.is_wanted",
        agent_ids as &[AgentId]
    ))
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// Opens the spans that these agents' states call for and that do not exist. They start now, not in the past. Returns how
/// many were opened.
pub async fn spans_open_missing_of_any_organization(
    conn: &mut Connection,
    agent_ids: &[AgentId],
) -> sqlx::Result<u64> {
    let result = sql!(query!(
        "INSERT INTO cloud.usage_spans (agent_id, agent_created_at, organization_id, agent_name, kind, hourly_rate,
            list_priced, started_at)
        SELECT a.id, a.created_at, a.organization_id, a.agent_name, a.kind,
            coalesce(a.own_rate, cloud.list_price(a.kind, a.now)), a.own_rate IS NULL,
            greatest(a.now, (SELECT s.ended_at FROM cloud.usage_spans s WHERE s.agent_id = a.id
                ORDER BY s.started_at DESC, s.id DESC LIMIT 1))
        FROM (
            SELECT a.*, k.kind, cloud.own_rate(k.kind, a.hourly_rate) AS own_rate, cloud.billing_clock() AS now
            FROM public.milady_sandboxes a, "
            + METERED_KIND
            + " AS k (kind)
            WHERE a.id = ANY($1) AND k.kind IS NOT NULL AND NOT EXISTS (
                SELECT FROM cloud.usage_spans s WHERE s.agent_id = a.id AND s.ended_at IS NULL)
        ) AS a
        ON CONFLICT (agent_id) WHERE ended_at IS NULL DO NOTHING",
        agent_ids as &[AgentId]
    ))
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// Ends the open span of an agent of which nobody knows where it is, at its last heartbeat. What is charged beyond is left as
/// it is.
pub async fn span_end_at_last_heartbeat(
    conn: &mut Connection,
    agent: AgentRef,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.usage_spans s SET closed_reason = 'repaired',
            ended_at = greatest(cloud.open_span_mark(s), CASE WHEN a.last_heartbeat_at IS NOT NULL
                THEN least(a.last_heartbeat_at, cloud.billing_clock()) END)
        FROM public.milady_sandboxes a
        WHERE a.organization_id = $1 AND a.id = $2 AND s.agent_id = a.id AND s.ended_at IS NULL",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets the metering of an agent that does not run any more end when the agent answered last, or at `seen_at` if that was
/// later. What is charged beyond is left as it is. The caller has just ended the span by changing the agent's status, in
/// the same transaction. The account is locked before its mark is read: a run that charges the agent holds it.
pub async fn metering_end_at_last_sign_of_life(
    conn: &mut Connection,
    agent: AgentRef,
    seen_at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT FROM cloud.billing_accounts WHERE organization_id = $1 FOR SHARE",
        agent.organization_id.uuid()
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE cloud.usage_spans s SET ended_at = greatest($3, a.last_heartbeat_at, cloud.open_span_mark(s))
        FROM public.milady_sandboxes a
        WHERE a.organization_id = $1 AND a.id = $2 AND s.organization_id = a.organization_id AND s.agent_id = a.id
            AND s.kind = 'running' AND NOT s.settled
            AND s.ended_at > greatest($3, a.last_heartbeat_at, cloud.open_span_mark(s))",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        seen_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The times after `after` and up to `through` at which list prices change.
pub async fn price_changes(
    conn: &mut Connection,
    after: DateTime<Utc>,
    through: DateTime<Utc>,
) -> sqlx::Result<Vec<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT valid_from FROM cloud.prices WHERE valid_from > $1 AND valid_from <= $2 ORDER BY valid_from",
        after,
        through
    )
    .fetch_all(conn)
    .await
}

/// Cuts list-priced spans of these organizations where the list price changes at `valid_from`. What is charged beyond
/// is left as it is.
pub async fn spans_cut_at_price_change(
    conn: &mut Connection,
    organization_ids: &[OrganizationId],
    valid_from: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH crossing AS MATERIALIZED (
            SELECT s.*, cloud.list_price(s.kind, $2) AS price
            FROM cloud.usage_spans s LEFT JOIN cloud.billing_accounts a USING (organization_id)
            WHERE s.organization_id = ANY($1) AND NOT s.settled AND s.list_priced AND s.started_at < $2
                AND (s.ended_at IS NULL OR s.ended_at > $2)
                AND s.hourly_rate <> cloud.list_price(s.kind, $2)
                AND greatest(s.started_at, s.billed_through, CASE WHEN s.caught_up
                    THEN least(a.charged_through, s.ended_at) END) <= $2
            ORDER BY s.id FOR UPDATE OF s
        ), ended AS (
            UPDATE cloud.usage_spans s SET ended_at = $2 FROM crossing c WHERE s.id = c.id RETURNING s.id
        )
        INSERT INTO cloud.usage_spans (agent_id, agent_created_at, organization_id, agent_name, kind, hourly_rate,
            list_priced, started_at, ended_at)
        SELECT agent_id, agent_created_at, organization_id, agent_name, kind, price, true, $2, c.ended_at
        FROM crossing c JOIN ended USING (id)",
        organization_ids as &[OrganizationId],
        valid_from
    )
    .execute(conn)
    .await?;
    Ok(())
}
