//! Takes over a deployment that an older biller has charged. Owns: the whole adoption with its SQL, so that no other
//! module knows of it. One transaction; a second run changes nothing. The operator must have switched the older biller
//! and job worker off.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::db::billing::metering::{
    mismatches_of_any_organization, spans_end_unwanted_of_any_organization,
    spans_open_missing_of_any_organization,
};
use crate::db::identity::super_admins::has_only_unrecognized_super_admins;
use crate::db::requests::outbox::{NewEvents, outbox_append};
use crate::db::{Connection, Database};
use crate::domain::billing::{ListedAgent, MAX_LISTED_AGENTS, Notice};
use crate::domain::hour::Hour;
use crate::domain::ids::{AgentId, OrganizationId};
use crate::domain::pricing::Prices;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adoption {
    /// Whether the deployment was adopted before, or had nothing to adopt. Then only the guard was renewed.
    pub already_adopted: bool,
    /// Agents that are metered from now on. They are charged from the end of the hour that the older biller charged in
    /// advance, but for at most one hour before now.
    pub spans_opened: u64,
    /// Spans that ended before the adoption: the older biller charged for them.
    pub spans_closed: u64,
    /// Agents whose rate was a list price and was cleared.
    pub rates_cleared: u64,
    /// Agents that got a new shutdown date.
    pub shutdown_dates_renewed: usize,
    /// Running agents whose billing status was `suspended` and is now `active`.
    pub reactivated: u64,
    /// Organizations whose opening balance was recorded.
    pub accounts_opened: u64,
}

/// Why the deployment was not adopted. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AdoptionError {
    #[error(
        "nobody would be recognized as a super admin, because no super admin's wallet is verified: \
        run db-migrate with {{\"linkSuperAdmins\": true}}, or set admin_users.user_id"
    )]
    NoSuperAdmin,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Adopts the deployment, or only renews the guard if it was adopted before.
pub async fn adopt(database: &Database, prices: &Prices) -> Result<Adoption, AdoptionError> {
    let mut tx = database.begin().await?;
    install_guard(&mut tx).await?;
    let pending = sqlx::query!(
        "UPDATE cloud.billing_adoption SET adopted_at = cloud.billing_clock()
        WHERE required AND adopted_at IS NULL"
    )
    .execute(&mut *tx)
    .await?;
    if pending.rows_affected() > 0 && has_only_unrecognized_super_admins(&mut tx).await? {
        return Err(AdoptionError::NoSuperAdmin);
    }
    let adoption = if pending.rows_affected() == 0 {
        Adoption {
            already_adopted: true,
            ..Adoption::default()
        }
    } else {
        take_over(&mut tx, prices).await?
    };
    tx.commit().await?;
    Ok(adoption)
}

/// Makes the database refuse the older biller's rows, which rolls its transactions back: a cron job that somebody
/// forgot charges nobody twice.
async fn install_guard(conn: &mut Connection) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "CREATE OR REPLACE FUNCTION cloud.refuse_older_biller() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$ BEGIN
            RAISE EXCEPTION 'agents are billed by the control plane: switch the older biller off';
        END $$;
        REVOKE ALL ON FUNCTION cloud.refuse_older_biller() FROM PUBLIC;
        CREATE OR REPLACE TRIGGER cloud_refuse_older_biller
        BEFORE INSERT ON public.credit_transactions FOR EACH ROW
        WHEN (NEW.seq IS NULL AND NEW.metadata ->> 'billing_type' LIKE 'milady\\_%')
        EXECUTE FUNCTION cloud.refuse_older_biller();
        INSERT INTO cloud.shared_objects_made SELECT name, definition FROM cloud.shared_objects
        WHERE name = 'trigger cloud_refuse_older_biller on credit_transactions'
        ON CONFLICT (name) DO UPDATE SET definition = excluded.definition",
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn take_over(conn: &mut Connection, prices: &Prices) -> sqlx::Result<Adoption> {
    sqlx::query!("LOCK TABLE public.milady_sandboxes IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *conn)
        .await?;
    let now = crate::db::clock::billing_clock(conn).await?;
    let rates_cleared = clear_list_rates(conn, prices).await?;
    let reactivated = sqlx::query!(
        "UPDATE public.milady_sandboxes SET billing_status = 'active', shutdown_warning_sent_at = NULL,
            scheduled_shutdown_at = NULL
        WHERE status = 'running' AND billing_status = 'suspended'"
    )
    .execute(&mut *conn)
    .await?
    .rows_affected();
    let shutdown_dates_renewed = renew_shutdown_dates(conn, now, prices).await?;
    let mismatches = mismatches_of_any_organization(conn).await?;
    let agents: Vec<AgentId> = mismatches
        .iter()
        .map(|mismatch| mismatch.agent_id)
        .collect();
    spans_end_unwanted_of_any_organization(conn, &agents).await?;
    spans_open_missing_of_any_organization(conn, &agents).await?;
    let spans_closed = sqlx::query!(
        "UPDATE cloud.usage_spans SET billed_through = ended_at, settled = true,
            closed_reason = 'older biller'
        WHERE NOT settled AND ended_at IS NOT NULL"
    )
    .execute(&mut *conn)
    .await?
    .rows_affected();
    let spans_opened = set_starts_of_open_spans(conn, now).await?;
    let accounts_opened = open_accounts(conn, now).await?;
    Ok(Adoption {
        already_adopted: false,
        spans_opened,
        spans_closed,
        rates_cleared,
        shutdown_dates_renewed,
        reactivated,
        accounts_opened,
    })
}

/// Clears the rates that are list prices: the older biller overwrote each agent's rate every hour, with the idle price
/// while the agent was idle. An agent without a rate of its own costs the list price.
async fn clear_list_rates(conn: &mut Connection, prices: &Prices) -> sqlx::Result<u64> {
    sqlx::query!("ALTER TABLE public.milady_sandboxes ALTER COLUMN hourly_rate DROP DEFAULT")
        .execute(&mut *conn)
        .await?;
    let result = sqlx::query!(
        "UPDATE public.milady_sandboxes SET hourly_rate = NULL WHERE hourly_rate IN ($1, $2)",
        prices.running_hourly,
        prices.idle_hourly
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// Lets every open span begin at the end of the hour that the older biller charged in advance, but at most an hour ago,
/// and not before the end of the agent's previous span, unless the older biller charged for that one. An agent that it
/// never charged is charged from now on.
async fn set_starts_of_open_spans(conn: &mut Connection, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "UPDATE cloud.usage_spans s SET started_at = greatest(
            CASE WHEN a.last_billed_at IS NULL THEN $1 ELSE least(a.last_billed_at, $1) + interval '1 hour' END,
            $1 - interval '1 hour',
            (SELECT max(p.ended_at) FROM cloud.usage_spans p WHERE p.agent_id = s.agent_id
                AND p.closed_reason IS DISTINCT FROM 'older biller'))
        FROM public.milady_sandboxes a WHERE a.id = s.agent_id AND s.ended_at IS NULL",
        now
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// Gives agents with a pending shutdown a new date and writes their warnings again: the older biller may not have
/// warned anybody.
async fn renew_shutdown_dates(
    conn: &mut Connection,
    now: DateTime<Utc>,
    prices: &Prices,
) -> sqlx::Result<usize> {
    let shutdown_date = Hour::at_or_after(now + TimeDelta::hours(prices.grace_hours)).instant();
    let rows = sqlx::query!(
        "UPDATE public.milady_sandboxes SET shutdown_warning_sent_at = $1, scheduled_shutdown_at = $2
        WHERE billing_status = 'shutdown_pending' RETURNING id, organization_id, agent_name",
        now,
        shutdown_date
    )
    .fetch_all(&mut *conn)
    .await?;
    let renewed = rows.len();
    let mut warned: BTreeMap<OrganizationId, Vec<ListedAgent>> = BTreeMap::new();
    for row in rows {
        let agent = ListedAgent {
            id: row.id,
            name: row.agent_name,
        };
        warned.entry(row.organization_id).or_default().push(agent);
    }
    let mut events = NewEvents::default();
    for (organization_id, mut agents) in warned {
        let agent_count = agents.len();
        agents.truncate(MAX_LISTED_AGENTS);
        let notice = Notice::ShutdownScheduled {
            agents,
            agent_count,
            owed: None,
            owed_at_shutdown: None,
            scheduled_shutdown_at: shutdown_date,
            debt_ceiling: None,
        };
        events
            .keys
            .push(format!("{}:{organization_id}:adopted", notice.event_type()));
        events.types.push(notice.event_type().to_owned());
        events.organization_ids.push(organization_id);
        events
            .payloads
            .push(serde_json::to_value(&notice).unwrap_or_default());
    }
    outbox_append(conn, &events, now).await?;
    Ok(renewed)
}

async fn open_accounts(conn: &mut Connection, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "INSERT INTO cloud.billing_accounts (organization_id, opening_balance, opened_at)
        SELECT o.id, o.credit_balance - coalesce((SELECT sum(e.amount) FROM cloud.ledger_entries e
            WHERE e.organization_id = o.id), 0), $1
        FROM public.organizations o WHERE o.credit_balance >= 0 AND o.credit_balance <> 'NaN'
        ON CONFLICT (organization_id) DO UPDATE
        SET opening_balance = excluded.opening_balance, opened_at = excluded.opened_at",
        now
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}
