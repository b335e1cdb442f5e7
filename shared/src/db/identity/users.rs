//! `users` as operators manage them. Owns: that a mail address belongs to one user, and the list of an organization's
//! users.

use chrono::{DateTime, Utc};

use crate::db::page::PagePosition;
use crate::db::session::Connection;
use crate::domain::access::Role;
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::redacted::debug_without_secrets;

pub struct NewUser<'a> {
    pub organization_id: OrganizationId,
    /// In lower case.
    pub email: &'a str,
    pub name: Option<&'a str>,
    pub role: Role,
}

debug_without_secrets!(NewUser<'_>: organization_id, role);

/// `None` if there is a user with this mail address.
pub async fn user_insert(
    conn: &mut Connection,
    user: &NewUser<'_>,
) -> sqlx::Result<Option<UserId>> {
    sqlx::query_scalar!(
        "INSERT INTO public.users (email, name, organization_id, role) VALUES ($1, $2, $3, $4)
        ON CONFLICT (email) DO NOTHING RETURNING id",
        user.email,
        user.name,
        user.organization_id.uuid(),
        user.role.as_str()
    )
    .fetch_optional(conn)
    .await
}

/// Whether a user is a super admin. `None` if the organization has no such user.
pub async fn is_super_admin(
    conn: &mut Connection,
    organization_id: OrganizationId,
    user_id: UserId,
) -> sqlx::Result<Option<bool>> {
    sql!(query_scalar!(
        r#"SELECT EXISTS (SELECT FROM public.admin_users a
            WHERE a.role = 'super_admin' AND a.is_active AND a.revoked_at IS NULL AND "#
            + IS_ADMIN_OF_USER
            + r#") AS "is_super_admin!"
        FROM public.users u WHERE u.id = $1 AND u.organization_id = $2"#,
        user_id.uuid(),
        organization_id.uuid()
    ))
    .fetch_optional(conn)
    .await
}

/// A user as operators see them.
#[derive(Clone)]
pub struct UserRecord {
    pub id: UserId,
    pub name: Option<String>,
    pub email: Option<String>,
    /// What the user is in the organization now.
    pub role: Role,
    pub is_super_admin: bool,
    /// Whether the user and the organization are active.
    pub is_active: bool,
    pub created_at: DateTime<Utc>,
}

debug_without_secrets!(UserRecord: id, role, is_super_admin, is_active, created_at);

/// One page of an organization's users, newest first, after a position.
pub async fn users_page(
    conn: &mut Connection,
    organization_id: OrganizationId,
    after: Option<PagePosition>,
    limit: i64,
) -> sqlx::Result<Vec<UserRecord>> {
    let rows = sql!(query!(
        r#"SELECT u.id AS "id!: UserId", u.name, u.email, u.created_at AT TIME ZONE 'UTC' AS "created_at!", "#
            + USER_RIGHTS_COLUMNS
            + " FROM public.users u "
            + PRINCIPAL_JOINS
            + " WHERE u.organization_id = $1 AND ($2::timestamp IS NULL OR (u.created_at, u.id) < ($2, $3))
        ORDER BY u.created_at DESC, u.id DESC LIMIT $4",
        organization_id.uuid(),
        after.map(|position| position.created_at.naive_utc()),
        after.map(|position| position.id),
        limit
    ))
    .fetch_all(conn)
    .await?;
    let users = rows.into_iter().map(|row| UserRecord {
        id: row.id,
        name: row.name,
        email: row.email,
        role: Role::parse(&row.role).unwrap_or(Role::Viewer),
        is_super_admin: row.admin_role.as_deref() == Some("super_admin"),
        is_active: row.active,
        created_at: row.created_at,
    });
    Ok(users.collect())
}
