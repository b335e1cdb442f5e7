//! `admin_users` of an existing deployment: super admins whom nobody's verified wallet proves.

use crate::db::session::Connection;
use crate::domain::ids::UserId;

/// An active super admin as whom nobody is recognized: the row names no active user, and no active user has verified its
/// wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnrecognizedSuperAdmin {
    pub wallet_address: String,
    /// The only user with this wallet as a text, if they are active and the row names no other user.
    pub user_id: Option<UserId>,
}

pub async fn unrecognized_super_admins(
    conn: &mut Connection,
) -> sqlx::Result<Vec<UnrecognizedSuperAdmin>> {
    let rows = sql!(query!(
        r#"SELECT a.wallet_address, (SELECT min(u.id::text)::uuid FROM public.users u
                WHERE a.user_id IS NULL AND lower(u.wallet_address) = lower(a.wallet_address)
                HAVING count(*) = 1 AND bool_and(u.is_active)) AS "user_id: UserId"
        FROM public.admin_users a
        WHERE a.role = 'super_admin' AND a.is_active AND a.revoked_at IS NULL
            AND NOT EXISTS (SELECT FROM public.users u WHERE u.is_active AND "#
            + IS_ADMIN_OF_USER
            + ")
        ORDER BY a.wallet_address"
    ))
    .fetch_all(conn)
    .await?;
    let admins = rows.into_iter().map(|row| UnrecognizedSuperAdmin {
        wallet_address: row.wallet_address,
        user_id: row.user_id,
    });
    Ok(admins.collect())
}

/// Links each of these super admins to the user at the same place.
pub async fn super_admins_link(
    conn: &mut Connection,
    wallets: &[String],
    users: &[UserId],
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.admin_users a SET user_id = l.user_id, updated_at = now() AT TIME ZONE 'UTC'
        FROM UNNEST($1::text[], $2::uuid[]) AS l (wallet, user_id) WHERE a.wallet_address = l.wallet",
        wallets,
        users as &[UserId]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether there are super admins, and no caller is recognized as one of them.
pub async fn has_only_unrecognized_super_admins(conn: &mut Connection) -> sqlx::Result<bool> {
    sql!(query_scalar!(
        r#"SELECT EXISTS (SELECT FROM public.admin_users a
                WHERE a.role = 'super_admin' AND a.is_active AND a.revoked_at IS NULL)
            AND NOT EXISTS (SELECT FROM public.admin_users a JOIN public.users u ON u.is_active AND "#
            + IS_ADMIN_OF_USER
            + r#" WHERE a.role = 'super_admin' AND a.is_active AND a.revoked_at IS NULL) AS "only!""#
    ))
    .fetch_one(conn)
    .await
}
