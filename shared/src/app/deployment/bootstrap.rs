//! The first organization of an empty deployment: its user, super admin and API key. Owns: that it is created once.

use crate::db;
use crate::db::Database;
use crate::db::billing::accounts::account_open;
use crate::db::identity::api_keys::{NewApiKey, api_key_insert, key_text};
use crate::db::identity::organizations::organization_insert;
use crate::domain::access::Permissions;
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::redacted::debug_without_secrets;
use crate::domain::slug::slug_of;

const MAX_NAME_CHARS: usize = 100;
/// The longest mail address that SMTP can carry (erratum 1690 of RFC 3696).
const MAX_EMAIL_BYTES: usize = 254;

#[derive(Clone)]
pub struct Bootstrap {
    pub organization: String,
    pub email: String,
    /// The user's wallet address, by which the admin role is found.
    pub wallet: String,
    /// 32 random bytes for the API key.
    pub secret: [u8; 32],
}

debug_without_secrets!(Bootstrap: organization, wallet);

#[derive(Clone)]
pub struct FirstOrganization {
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    /// Shown only once: the database holds its digest.
    pub api_key: String,
}

debug_without_secrets!(FirstOrganization: organization_id, user_id);

/// Why nothing was created.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("bootstrap.{0}")]
    Invalid(&'static str),
    /// There is an admin, an organization of this name, or a user with this address or wallet.
    #[error("this deployment has its first organization already")]
    Exists,
    #[error("the database request failed ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
}

/// Creates the first organization, with a balance of 0. After an error, nothing was written.
pub async fn bootstrap(
    database: &Database,
    request: &Bootstrap,
) -> Result<FirstOrganization, BootstrapError> {
    let (name, email, wallet) = validate(request)?;
    let mut tx = database.begin().await?;
    // Serializes concurrent calls, so that only one of them sees a deployment without an admin.
    sqlx::query!("LOCK TABLE public.admin_users IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await?;
    let has_admin =
        sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM public.admin_users) AS "exists!""#)
            .fetch_one(&mut *tx)
            .await?;
    if has_admin {
        return Err(BootstrapError::Exists);
    }
    let organization_id = organization_insert(&mut tx, name, &slug_of(name))
        .await?
        .ok_or(BootstrapError::Exists)?;
    let user_id = sqlx::query_scalar!(
        "INSERT INTO public.users (email, wallet_address, organization_id, role)
        VALUES ($1, $2, $3, 'owner') ON CONFLICT DO NOTHING RETURNING id",
        email,
        wallet,
        organization_id.uuid()
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(BootstrapError::Exists)?;
    sqlx::query!(
        "INSERT INTO public.admin_users (user_id, wallet_address, role) VALUES ($1, $2, 'super_admin')",
        user_id.uuid(),
        wallet
    )
    .execute(&mut *tx)
    .await?;
    let api_key = key_text(request.secret);
    let key = NewApiKey {
        organization_id,
        user_id,
        name: "bootstrap",
        text: &api_key,
        permissions: &Permissions::all(),
    };
    api_key_insert(&mut tx, &key).await?;
    account_open(&mut tx, organization_id).await?;
    tx.commit().await?;
    Ok(FirstOrganization {
        organization_id,
        user_id,
        api_key,
    })
}

fn validate(request: &Bootstrap) -> Result<(&str, String, String), BootstrapError> {
    let name = request.organization.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.contains(char::is_control) {
        return Err(BootstrapError::Invalid(
            "organization must be 1 to 100 printable characters",
        ));
    }
    let email = request.email.trim().to_lowercase();
    let address = email
        .split_once('@')
        .filter(|(user, host)| !user.is_empty() && host.contains('.'));
    if address.is_none() || email.len() > MAX_EMAIL_BYTES || email.contains(char::is_whitespace) {
        return Err(BootstrapError::Invalid("email must be a mail address"));
    }
    let wallet = request.wallet.trim().to_lowercase();
    let is_alphanumeric = wallet.chars().all(|c| c.is_ascii_alphanumeric());
    if !is_alphanumeric || !(20..=100).contains(&wallet.len()) {
        return Err(BootstrapError::Invalid("wallet must be a wallet address"));
    }
    Ok((name, email, wallet))
}
