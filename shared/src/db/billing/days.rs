//! `usage_days` and `ledger_days`: what was used and how balances changed on each day. Owns: what the statement of a
//! day reads and writes. Does not own: what it consists of (`app::billing::statement`).

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;

use crate::db::session::Connection;
use crate::domain::billing::SpanKind;
use crate::domain::ids::{AgentId, OrganizationId, SpanId};

/// The current day of billing's clock.
pub async fn today(conn: &mut Connection) -> sqlx::Result<NaiveDate> {
    sqlx::query_scalar!(r#"SELECT (cloud.billing_clock() AT TIME ZONE 'UTC')::date AS "today!""#)
        .fetch_one(conn)
        .await
}

/// The first day that is not stated for some organization; `None` if there are no accounts.
pub async fn first_unstated_day_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Option<NaiveDate>> {
    sqlx::query_scalar!(
        "SELECT min(coalesce(stated_through + 1, (opened_at AT TIME ZONE 'UTC')::date)) FROM cloud.billing_accounts"
    )
    .fetch_one(conn)
    .await
}

/// An organization whose next day to be stated is the one that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct DueStatement {
    /// The organization may be deleted by now.
    pub organization_id: OrganizationId,
    /// The number of its spans that are not settled.
    pub weight: usize,
}

/// The organizations for which `day` is the next one to be stated, in the order of their ids.
pub async fn statements_due_of_any_organization(
    conn: &mut Connection,
    day: NaiveDate,
) -> sqlx::Result<Vec<DueStatement>> {
    let rows = sqlx::query!(
        r#"SELECT a.organization_id, count(s.id) AS "weight!"
        FROM cloud.billing_accounts a
        LEFT JOIN cloud.usage_spans s ON s.organization_id = a.organization_id AND NOT s.settled
        WHERE coalesce(a.stated_through + 1, (a.opened_at AT TIME ZONE 'UTC')::date) = $1
        GROUP BY a.organization_id ORDER BY a.organization_id"#,
        day
    )
    .fetch_all(conn)
    .await?;
    let due = rows.into_iter().map(|row| DueStatement {
        organization_id: row.organization_id,
        weight: usize::try_from(row.weight).unwrap_or(usize::MAX),
    });
    Ok(due.collect())
}

/// Locks the accounts for which `day` is still the next one to be stated. The caller holds the locks of the
/// organizations, as far as they exist, and of their agents.
pub async fn accounts_lock_unstated(
    conn: &mut Connection,
    organization_ids: &[OrganizationId],
    day: NaiveDate,
) -> sqlx::Result<Vec<OrganizationId>> {
    sqlx::query_scalar!(
        "SELECT organization_id FROM cloud.billing_accounts
        WHERE organization_id = ANY($1)
            AND coalesce(stated_through + 1, (opened_at AT TIME ZONE 'UTC')::date) = $2
        ORDER BY organization_id FOR NO KEY UPDATE",
        organization_ids as &[OrganizationId],
        day
    )
    .fetch_all(conn)
    .await
}

/// What the ledger says of one organization's day.
#[derive(Clone, Debug)]
pub struct DayEntries {
    pub organization_id: OrganizationId,
    /// The number of the day's entries.
    pub count: i64,
    /// The sum of the usage entries: not positive.
    pub charged: Decimal,
    /// The sum of all other entries.
    pub credited: Decimal,
    /// The usage entries.
    pub usage: Vec<i64>,
    /// The time that the usage entries charge.
    pub used_from: Option<DateTime<Utc>>,
    pub used_until: Option<DateTime<Utc>>,
    /// The balance after the day's last entry.
    pub last_balance: Option<Decimal>,
    /// The balance before the first entry after the day.
    pub following_balance: Option<Decimal>,
    /// What other applications' rows changed after the day, before that entry if there is one.
    pub changed_after: Decimal,
    /// The closing balance of the last day that has a row; without one, the account's opening balance.
    pub opening: Decimal,
}

/// Reads the entries of a day, which begins at `from` and ends before `until`.
pub async fn entries_of_day(
    conn: &mut Connection,
    organization_ids: &[OrganizationId],
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Vec<DayEntries>> {
    sqlx::query_as!(
        DayEntries,
        r#"SELECT a.organization_id, e.count AS "count!", e.charged AS "charged!", e.credited AS "credited!",
            e.usage AS "usage!", e.used_from, e.used_until, e.last_balance,
            following.balance_before AS "following_balance?", coalesce(others.amount, 0) AS "changed_after!",
            coalesce(previous.closing, a.opening_balance) AS "opening!"
        FROM cloud.billing_accounts a
        CROSS JOIN LATERAL (
            SELECT count(*) AS count, max(seq) AS last_seq,
                coalesce(sum(amount) FILTER (WHERE type = 'usage'), 0) AS charged,
                coalesce(sum(amount) FILTER (WHERE type <> 'usage'), 0) AS credited,
                coalesce(array_agg(seq) FILTER (WHERE type = 'usage'), '{}') AS usage,
                min(period_start) FILTER (WHERE type = 'usage') AS used_from,
                max(period_end) FILTER (WHERE type = 'usage') AS used_until,
                (array_agg(balance_after ORDER BY seq DESC))[1] AS last_balance
            FROM cloud.ledger_entries
            WHERE organization_id = a.organization_id AND created_at >= $2 AND created_at < $3
                AND created_at >= a.opened_at) AS e
        LEFT JOIN LATERAL (
            SELECT balance_before, created_at FROM cloud.ledger_entries
            WHERE organization_id = a.organization_id AND created_at >= $3 AND seq > coalesce(e.last_seq, 0)
            ORDER BY seq LIMIT 1) AS following ON true
        CROSS JOIN LATERAL (
            SELECT sum(amount) AS amount FROM public.credit_transactions
            WHERE organization_id = a.organization_id AND seq IS NULL AND amount <> 'NaN'
                AND created_at >= $3 AT TIME ZONE 'UTC'
                AND created_at < coalesce(following.created_at AT TIME ZONE 'UTC', 'infinity')) AS others
        LEFT JOIN LATERAL (
            SELECT closing FROM cloud.ledger_days WHERE organization_id = a.organization_id
                AND day < ($2 AT TIME ZONE 'UTC')::date
            ORDER BY day DESC LIMIT 1) AS previous ON true
        WHERE a.organization_id = ANY($1)"#,
        organization_ids as &[OrganizationId],
        from,
        until
    )
    .fetch_all(conn)
    .await
}

/// What one span was charged on the day of the statement, for one day of use.
#[derive(Clone, Debug)]
pub struct SpanUsage {
    pub span_id: SpanId,
    pub organization_id: OrganizationId,
    pub agent_id: AgentId,
    pub agent_name: Option<String>,
    pub kind: SpanKind,
    pub hourly_rate: Decimal,
    /// The day of use.
    pub day: NaiveDate,
    pub seconds: Decimal,
    pub amount: Decimal,
    /// The end of its last charge.
    pub through: DateTime<Utc>,
}

/// The charges of these usage entries, which charge no time outside of `from` to `until`.
pub async fn usage_of_entries_of_any_organization(
    conn: &mut Connection,
    entries: &[i64],
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Vec<SpanUsage>> {
    let rows = sqlx::query!(
        r#"SELECT s.id, s.organization_id, s.agent_id, s.agent_name, s.kind, s.hourly_rate, c.day AS "day!",
            c.seconds AS "seconds!", c.amount AS "amount!", c.through AS "through!"
        FROM (
            SELECT span, (period_start AT TIME ZONE 'UTC')::date AS day, sum(amount) AS amount,
                sum(extract(epoch FROM period_end - period_start)) AS seconds, max(period_end) AS through
            FROM cloud.usage_charges
            WHERE entry = ANY($1) AND period_start >= $2 AND period_start < $3 GROUP BY 1, 2
        ) AS c JOIN cloud.usage_spans s ON s.id = c.span
        ORDER BY c.through"#,
        entries,
        from,
        until
    )
    .fetch_all(conn)
    .await?;
    let usage = rows.into_iter().filter_map(|row| {
        Some(SpanUsage {
            span_id: row.id,
            organization_id: row.organization_id,
            agent_id: row.agent_id,
            agent_name: row.agent_name,
            kind: SpanKind::parse(&row.kind)?,
            hourly_rate: row.hourly_rate,
            day: row.day,
            seconds: row.seconds,
            amount: row.amount,
            through: row.through,
        })
    });
    Ok(usage.collect())
}

/// What is added to a row of `usage_days`, as columns of equal length.
#[derive(Debug, Default)]
pub struct UsageDays {
    pub organization_ids: Vec<OrganizationId>,
    pub days: Vec<NaiveDate>,
    pub agent_ids: Vec<AgentId>,
    pub kinds: Vec<&'static str>,
    pub seconds: Vec<Decimal>,
    pub amounts: Vec<Decimal>,
}

/// Adds usage to days. `usage` must name each row once.
pub async fn usage_days_add(conn: &mut Connection, usage: &UsageDays) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.usage_days AS d (organization_id, day, agent_id, kind, seconds, amount)
        SELECT * FROM UNNEST($1::uuid[], $2::date[], $3::uuid[], $4::text[], $5::numeric[], $6::numeric[])
        ON CONFLICT (organization_id, day, agent_id, kind) DO UPDATE
        SET seconds = d.seconds + excluded.seconds, amount = d.amount + excluded.amount",
        &usage.organization_ids as &[OrganizationId],
        &usage.days,
        &usage.agent_ids as &[AgentId],
        &usage.kinds as &[&str],
        &usage.seconds,
        &usage.amounts
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Rows of `ledger_days`, as columns of equal length.
#[derive(Debug, Default)]
pub struct LedgerDays {
    pub organization_ids: Vec<OrganizationId>,
    pub openings: Vec<Decimal>,
    pub charged: Vec<Decimal>,
    pub credited: Vec<Decimal>,
    pub closings: Vec<Decimal>,
}

/// Writes how balances changed on a day. What the entries do not explain is external.
pub async fn ledger_days_insert(
    conn: &mut Connection,
    day: NaiveDate,
    rows: &LedgerDays,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.ledger_days (organization_id, day, opening, charged, credited, external, closing)
        SELECT id, $1, opening, charged, credited, closing - opening - charged - credited, closing
        FROM UNNEST($2::uuid[], $3::numeric[], $4::numeric[], $5::numeric[], $6::numeric[])
            AS d (id, opening, charged, credited, closing)",
        day,
        &rows.organization_ids as &[OrganizationId],
        &rows.openings,
        &rows.charged,
        &rows.credited,
        &rows.closings
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that the day is stated.
pub async fn accounts_state(
    conn: &mut Connection,
    organization_ids: &[OrganizationId],
    day: NaiveDate,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.billing_accounts SET stated_through = $2 WHERE organization_id = ANY($1)",
        organization_ids as &[OrganizationId],
        day
    )
    .execute(conn)
    .await?;
    Ok(())
}
