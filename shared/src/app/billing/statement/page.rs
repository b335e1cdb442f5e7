//! One page of a day's statement: a transaction over some organizations. Owns: the order of its SQL statements. They
//! follow the lock order that `run::part` owns: organizations, their agents, then the rest.

use std::collections::HashMap;

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::day::{DayStatement, OrganizationDay};
use crate::db;
use crate::db::Database;
use crate::db::billing::days;
use crate::db::billing::stated;
use crate::domain::ids::OrganizationId;
use crate::domain::money::Money;

/// States a day for those of these organizations for which it is not stated yet. Returns how many these were.
pub(super) async fn transaction(
    pool: &Database,
    organization_ids: &[OrganizationId],
    day: NaiveDate,
) -> sqlx::Result<usize> {
    let from = midnight(day);
    let until = day.checked_add_days(Days::new(1)).map_or(from, midnight);
    let mut tx = pool.begin().await?;
    let conn = &mut tx;
    let locked = db::identity::organizations::organizations_lock(conn, organization_ids).await?;
    // An organization that is deleted has no balance, and no rows in tables that refer to it.
    let balances: HashMap<OrganizationId, Option<Money>> = locked
        .iter()
        .map(|organization| (organization.id, organization.balance))
        .collect();
    db::agents::billing::agents_lock(conn, organization_ids).await?;
    let ids = days::accounts_lock_unstated(conn, organization_ids, day).await?;
    let mut statement = DayStatement::new(day);
    let mut entries = Vec::new();
    let (mut used_from, mut used_until) = (until, from);
    for organization in days::entries_of_day(conn, &ids, from, until).await? {
        used_from = organization
            .used_from
            .map_or(used_from, |at| at.min(used_from));
        used_until = organization
            .used_until
            .map_or(used_until, |at| at.max(used_until));
        let balance = balances.get(&organization.organization_id).copied();
        statement.push_organization(&OrganizationDay {
            entries: &organization,
            balance: balance.flatten(),
        });
        entries.extend(organization.usage);
    }
    let usage =
        days::usage_of_entries_of_any_organization(conn, &entries, used_from, used_until).await?;
    for span_usage in usage {
        let exists = balances.contains_key(&span_usage.organization_id);
        statement.push_usage(span_usage, exists);
    }
    let rows = statement.finish();
    days::usage_days_add(conn, &rows.usage).await?;
    days::ledger_days_insert(conn, day, &rows.ledger).await?;
    stated::agents_add_charged_of_any_organization(conn, &rows.agents).await?;
    stated::spans_state_of_any_organization(conn, &rows.spans).await?;
    stated::spans_settle(conn, &ids).await?;
    stated::daily_debits_insert(conn, until, &rows.debits).await?;
    days::accounts_state(conn, &ids, day).await?;
    tx.commit().await?;
    Ok(ids.len())
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(chrono::NaiveTime::MIN).and_utc()
}
