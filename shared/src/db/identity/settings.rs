//! `organization_settings`. Owns: what an organization without a row has, and which time zones there are.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::db::session::Connection;
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::money::Money;

/// What an organization's owner has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationSettings {
    /// The balance below which the owner is warned; `None` for the default, which depends on what agents cost.
    pub low_credit_mark: Option<Money>,
    /// Where mails go first.
    pub billing_email: Option<String>,
    /// A name of the IANA time zone database.
    pub time_zone: String,
    /// Whether agents that were suspended because of debt start again when it is paid.
    pub automatic_resume: bool,
}

impl Default for OrganizationSettings {
    fn default() -> Self {
        Self {
            low_credit_mark: None,
            billing_email: None,
            time_zone: "UTC".to_owned(),
            automatic_resume: true,
        }
    }
}

pub async fn settings_find(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<OrganizationSettings> {
    let row = sqlx::query!(
        "SELECT low_credit_mark, billing_email, time_zone, automatic_resume
        FROM cloud.organization_settings WHERE organization_id = $1",
        organization_id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(
        row.map_or_else(OrganizationSettings::default, |row| OrganizationSettings {
            low_credit_mark: row.low_credit_mark.map(Money::rounded),
            billing_email: row.billing_email,
            time_zone: row.time_zone,
            automatic_resume: row.automatic_resume,
        }),
    )
}

pub async fn settings_set(
    conn: &mut Connection,
    organization_id: OrganizationId,
    settings: &OrganizationSettings,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.organization_settings
            (organization_id, low_credit_mark, billing_email, time_zone, automatic_resume, updated_at, updated_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (organization_id) DO UPDATE SET low_credit_mark = excluded.low_credit_mark,
            billing_email = excluded.billing_email, time_zone = excluded.time_zone,
            automatic_resume = excluded.automatic_resume, updated_at = excluded.updated_at,
            updated_by = excluded.updated_by",
        organization_id.uuid(),
        settings.low_credit_mark.map(Money::to_decimal) as Option<Decimal>,
        settings.billing_email.as_deref(),
        settings.time_zone,
        settings.automatic_resume,
        now,
        user_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether the server knows a time zone of this name. Abbreviations and the names of single offsets are no places.
pub async fn time_zone_exists(conn: &mut Connection, name: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM pg_catalog.pg_timezone_names WHERE name = $1
            AND (name = 'UTC' OR name LIKE '%/%') AND name !~ '^(posix|right|Etc)/') AS "exists!""#,
        name
    )
    .fetch_one(conn)
    .await
}
