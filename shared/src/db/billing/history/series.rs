//! How a balance changed. Days that a statement has counted come from `ledger_days`, later ones from the entries.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::db::session::Connection;
use crate::domain::history::{BalanceChange, BalanceHistory, Opening, Period};
use crate::domain::ids::OrganizationId;
use crate::domain::money::Money;

/// A row of either statement below.
struct HistoryRow {
    now: DateTime<Utc>,
    current_balance: Option<Decimal>,
    opened_at: Option<DateTime<Utc>>,
    opening_balance: Option<Decimal>,
    at: Option<DateTime<Utc>>,
    charged: Option<Decimal>,
    balance: Option<Decimal>,
}

/// The changes of each day of a period of whole days, and the last one before. A day closes as its statement says, or
/// will say: with the balance before the next entry, or else the present one, less what other applications' rows changed
/// between.
pub async fn balance_by_day(
    conn: &mut Connection,
    organization_id: OrganizationId,
    period: Period,
) -> sqlx::Result<Option<BalanceHistory>> {
    let rows = sql!(query_as!(
        HistoryRow,
        r#"WITH organization AS (
            SELECT cloud.billing_clock() AS now, "# + VALID_BALANCE + r#" AS current_balance
            FROM public.organizations WHERE id = $1
        ), account AS (
            SELECT opened_at, opening_balance,
                coalesce(stated_through + 1, (opened_at AT TIME ZONE 'UTC')::date) AS unstated_from
            FROM cloud.billing_accounts WHERE organization_id = $1
        ), unstated AS (
            SELECT day::date, day AT TIME ZONE 'UTC' AS start, (day + interval '1 day') AT TIME ZONE 'UTC' AS till
            FROM organization, account, generate_series(greatest(unstated_from, $2::date - 1)::timestamp,
                least($3::date - 1, (now AT TIME ZONE 'UTC')::date)::timestamp, '1 day') AS day
        ), change AS (
            (SELECT day, 0 AS charged, closing FROM cloud.ledger_days
            WHERE organization_id = $1 AND day < $2 ORDER BY day DESC LIMIT 1)
            UNION ALL
            SELECT day, -charged, closing FROM cloud.ledger_days
            WHERE organization_id = $1 AND day >= $2 AND day < $3
            UNION ALL
            SELECT day, coalesce(entries.charged, 0), coalesce(
                coalesce(later.balance_before, current_balance) - coalesce(others.amount, 0), entries.balance_after)
            FROM organization CROSS JOIN unstated
            CROSS JOIN LATERAL (
                SELECT -sum(amount) FILTER (WHERE type = 'usage') AS charged,
                    (array_agg(balance_after ORDER BY seq DESC))[1] AS balance_after
                FROM cloud.ledger_entries
                WHERE organization_id = $1 AND created_at >= start AND created_at < till
            ) AS entries
            LEFT JOIN LATERAL (
                SELECT balance_before, created_at FROM cloud.ledger_entries
                WHERE organization_id = $1 AND created_at >= till ORDER BY seq LIMIT 1
            ) AS later ON true
            CROSS JOIN LATERAL (
                SELECT sum(amount) AS amount FROM public.credit_transactions
                WHERE organization_id = $1 AND seq IS NULL AND amount <> 'NaN' AND created_at >= till AT TIME ZONE 'UTC'
                    AND created_at < coalesce(later.created_at, now) AT TIME ZONE 'UTC'
            ) AS others
        )
        SELECT now AS "now!", current_balance, opened_at AS "opened_at?", opening_balance AS "opening_balance?",
            day::timestamp AT TIME ZONE 'UTC' AS at, charged, closing AS balance
        FROM organization LEFT JOIN account ON true LEFT JOIN change ON true ORDER BY day"#,
        organization_id.uuid(),
        period.from.date_naive(),
        period.to.date_naive()
    ))
    .fetch_all(conn)
    .await?;
    Ok(history(rows))
}

/// The changes of each hour of a period of whole hours, and the last one before.
pub async fn balance_by_hour(
    conn: &mut Connection,
    organization_id: OrganizationId,
    period: Period,
) -> sqlx::Result<Option<BalanceHistory>> {
    let rows = sql!(query_as!(
        HistoryRow,
        r#"WITH account AS (SELECT * FROM cloud.billing_accounts WHERE organization_id = $1), change AS (
            (SELECT date_trunc('hour', created_at, 'UTC') AS hour, 0 AS charged, balance_after FROM cloud.ledger_entries
            WHERE organization_id = $1 AND created_at < $2 ORDER BY seq DESC LIMIT 1)
            UNION ALL
            SELECT date_trunc('hour', created_at, 'UTC'), coalesce(-sum(amount) FILTER (WHERE type = 'usage'), 0),
                (array_agg(balance_after ORDER BY seq DESC))[1]
            FROM cloud.ledger_entries WHERE organization_id = $1 AND created_at >= $2 AND created_at < $3 GROUP BY 1
        )
        SELECT cloud.billing_clock() AS "now!", "# + VALID_BALANCE + r#" AS current_balance, opened_at AS "opened_at?",
            opening_balance AS "opening_balance?", hour AS at, charged, balance_after AS balance
        FROM public.organizations LEFT JOIN account ON true LEFT JOIN change ON true
        WHERE id = $1 ORDER BY hour"#,
        organization_id.uuid(),
        period.from,
        period.to
    ))
    .fetch_all(conn)
    .await?;
    Ok(history(rows))
}

fn history(rows: Vec<HistoryRow>) -> Option<BalanceHistory> {
    let first = rows.first()?;
    let opened = first.opened_at.zip(first.opening_balance);
    let opened = opened.map(|(at, balance)| Opening {
        at,
        balance: Money::rounded(balance),
    });
    let balance = first.current_balance.map(Money::rounded);
    let now = first.now;
    let changes = rows.into_iter().filter_map(|row| {
        Some(BalanceChange {
            at: row.at?,
            charged: Money::rounded(row.charged?),
            balance: Money::rounded(row.balance?),
        })
    });
    Some(BalanceHistory {
        changes: changes.collect(),
        opened,
        balance,
        now,
    })
}
