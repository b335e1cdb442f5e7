//! `organizations`. Owns: that a new one has no credit, the row lock that every transaction about money holds, relative
//! changes of the balance, and the list for operators.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::db::page::PagePosition;
use crate::db::session::Connection;
use crate::domain::ids::OrganizationId;
use crate::domain::money::Money;

#[derive(Clone, Copy, Debug)]
pub struct LockedOrganization {
    pub id: OrganizationId,
    /// `None` if the row holds no valid amount (negative or not a number).
    pub balance: Option<Money>,
    /// Whether it may use the service.
    pub is_active: bool,
    /// The low-credit mark that the owner has set.
    pub own_low_credit_mark: Option<Money>,
}

/// Adds an organization without credit. `None` if there is one with this slug.
pub async fn organization_insert(
    conn: &mut Connection,
    name: &str,
    slug: &str,
) -> sqlx::Result<Option<OrganizationId>> {
    sqlx::query_scalar!(
        "INSERT INTO public.organizations (name, slug, credit_balance) VALUES ($1, $2, 0)
        ON CONFLICT (slug) DO NOTHING RETURNING id",
        name,
        slug
    )
    .fetch_optional(conn)
    .await
}

/// Locks organizations in the order of their ids. Ids without a row are left out.
pub async fn organizations_lock(
    conn: &mut Connection,
    ids: &[OrganizationId],
) -> sqlx::Result<Vec<LockedOrganization>> {
    let rows = sql!(query!(
        "SELECT id, "
            + VALID_BALANCE
            + r#" AS balance, is_active,
            (SELECT s.low_credit_mark FROM cloud.organization_settings s WHERE s.organization_id = o.id)
                AS "own_low_credit_mark?"
        FROM public.organizations o WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE OF o"#,
        ids as &[OrganizationId]
    ))
    .fetch_all(conn)
    .await?;
    let organizations = rows.into_iter().map(|row| LockedOrganization {
        id: row.id,
        balance: row.balance.map(Money::rounded),
        is_active: row.is_active,
        own_low_credit_mark: row.own_low_credit_mark.map(Money::rounded),
    });
    Ok(organizations.collect())
}

/// Subtracts amounts from balances by relative changes, under the locks that are held.
///
/// # Errors
/// A check constraint forbids balances below zero.
pub async fn organizations_debit(
    conn: &mut Connection,
    ids: &[OrganizationId],
    amounts: &[Decimal],
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "UPDATE public.organizations o SET credit_balance = o.credit_balance - c.amount
        FROM UNNEST($1::uuid[], $2::numeric[]) AS c (id, amount) WHERE o.id = c.id",
        ids as &[OrganizationId],
        amounts
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

pub async fn organization_name(
    conn: &mut Connection,
    id: OrganizationId,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "SELECT name FROM public.organizations WHERE id = $1",
        id.uuid()
    )
    .fetch_optional(conn)
    .await
}

/// `None` if there is no such organization, or its row holds no valid amount.
pub async fn organization_balance(
    conn: &mut Connection,
    id: OrganizationId,
) -> sqlx::Result<Option<Money>> {
    let balance = sql!(query_scalar!(
        "SELECT " + VALID_BALANCE + " FROM public.organizations WHERE id = $1",
        id.uuid()
    ))
    .fetch_optional(conn)
    .await?;
    Ok(balance.flatten().map(Money::rounded))
}

/// The names of organizations. Those that are deleted are left out.
pub async fn organization_names(
    conn: &mut Connection,
    ids: &[OrganizationId],
) -> sqlx::Result<HashMap<OrganizationId, String>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: OrganizationId", name FROM public.organizations WHERE id = ANY($1)"#,
        ids as &[OrganizationId]
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// An organization as operators see it.
#[derive(Clone, Debug)]
pub struct OrganizationRecord {
    pub id: OrganizationId,
    pub name: String,
    /// `None` if the row holds no valid amount.
    pub balance: Option<Decimal>,
    pub is_active: bool,
    pub agents: i64,
    pub created_at: DateTime<Utc>,
}

/// One page of organizations, newest first, after a position. `search` is a part of the name in any case, or the id.
pub async fn organizations_page_of_any_organization(
    conn: &mut Connection,
    search: Option<&str>,
    after: Option<PagePosition>,
    limit: i64,
) -> sqlx::Result<Vec<OrganizationRecord>> {
    sql!(query_as!(
        OrganizationRecord,
        r#"SELECT id, name, is_active, created_at AT TIME ZONE 'UTC' AS "created_at!",
            (SELECT count(*) FROM public.milady_sandboxes a WHERE a.organization_id = o.id) AS "agents!", "#
            + VALID_BALANCE
            + r#" AS balance
        FROM public.organizations o
        WHERE ($1::text IS NULL OR strpos(lower(name), lower($1)) > 0 OR id::text = lower($1))
            AND ($2::timestamp IS NULL OR (created_at, id) < ($2, $3))
        ORDER BY created_at DESC, id DESC LIMIT $4"#,
        search,
        after.map(|position| position.created_at.naive_utc()),
        after.map(|position| position.id),
        limit
    ))
    .fetch_all(conn)
    .await
}
