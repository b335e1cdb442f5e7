//! Whom an organization's mails may go to. Owns: the order of the chain, and the suppressed addresses. One organization's
//! reports suppress no address for another one: its owner may have entered an address of somebody else.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::OrganizationId;

/// The addresses of an organization in the order of the chain, without suppressed ones: the setting, what other
/// applications know as the billing address, the owners, the admins, and the oldest of the other active users. An address
/// may be there twice, or be none.
pub async fn recipients(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"WITH member AS (
            SELECT u.email, u.created_at, u.id,
                CASE coalesce(m.role, u.role) WHEN 'owner' THEN 4 WHEN 'admin' THEN 5 ELSE 6 END AS rank
            FROM public.users u
            LEFT JOIN cloud.member_roles m ON m.organization_id = u.organization_id AND m.user_id = u.id
            WHERE u.organization_id = $1 AND u.is_active AND u.email IS NOT NULL
        ), chain (rank, since, address) AS (
            SELECT 1, NULL::timestamp, billing_email FROM cloud.organization_settings WHERE organization_id = $1
            UNION ALL
            SELECT 2, NULL, billing_email FROM public.organization_billing WHERE organization_id = $1
            UNION ALL
            SELECT 3, NULL, billing_email FROM public.organizations WHERE id = $1
            UNION ALL
            SELECT rank, created_at, email FROM member WHERE rank < 6
            UNION ALL
            (SELECT rank, created_at, email FROM member WHERE rank = 6 ORDER BY created_at, id LIMIT 1)
        )
        SELECT c.address AS "address!" FROM chain c
        WHERE c.address IS NOT NULL AND NOT EXISTS (
            SELECT FROM cloud.suppressed_addresses s
            WHERE s.organization_id = $1 AND s.address = lower(c.address))
        ORDER BY c.rank, c.since, c.address"#,
        organization_id.uuid()
    )
    .fetch_all(conn)
    .await
}

/// Sends no mail of the organization to this address from now on.
pub async fn address_suppress(
    conn: &mut Connection,
    organization_id: OrganizationId,
    address: &str,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.suppressed_addresses (organization_id, address, reason, created_at)
        VALUES ($1, lower($2), $3, $4) ON CONFLICT (organization_id, address) DO NOTHING",
        organization_id.uuid(),
        address,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Allows mails of the organization to this address again.
pub async fn address_allow(
    conn: &mut Connection,
    organization_id: OrganizationId,
    address: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.suppressed_addresses WHERE organization_id = $1 AND address = lower($2)",
        organization_id.uuid(),
        address
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes the suppressed addresses of organizations that are gone.
pub async fn suppressed_addresses_forget_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.suppressed_addresses s
        WHERE NOT EXISTS (SELECT FROM public.organizations o WHERE o.id = s.organization_id)"
    )
    .execute(conn)
    .await?;
    Ok(())
}
