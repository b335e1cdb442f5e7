//! The steps of a deployment, and what they report.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::deps::DeploymentDeps;
use crate::app::deployment::adopt::{Adoption, AdoptionError, adopt};
use crate::app::deployment::bootstrap::{Bootstrap, BootstrapError, bootstrap};
use crate::app::deployment::migrate::{MigrationError, migrate};
use crate::app::deployment::plain_secrets::{DecryptSecretsError, decrypt_secrets};
use crate::app::deployment::prices::publish_prices;
use crate::app::deployment::roles::{RoleError, prepare_runtime_role};
use crate::app::deployment::secrets::{
    EncryptSecretsError, EncryptionProgress, MAX_BATCHES, encrypt_secrets,
};
use crate::app::deployment::super_admins::link_super_admins;
use crate::cloud_formation::AnswerError;
use crate::db;
use crate::db::Database;
use crate::db::identity::super_admins::{UnrecognizedSuperAdmin, unrecognized_super_admins};
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::redacted::debug_without_secrets;
use crate::random::random_bytes;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    #[serde(default)]
    adopt: bool,
    #[serde(default)]
    link_super_admins: bool,
    #[serde(default)]
    decrypt: bool,
    bootstrap: Option<BootstrapRequest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BootstrapRequest {
    organization: String,
    email: String,
    wallet: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployed {
    migrations: MigrationsJson,
    /// Only if there was a secret to encrypt.
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets: Option<SecretsJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decryption: Option<DecryptionJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    super_admins_linked: Option<Vec<SuperAdminJson>>,
    /// Active super admins as whom nobody is recognized.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unrecognized_super_admins: Vec<SuperAdminJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adoption: Option<AdoptionJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bootstrap: Option<FirstOrganizationJson>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SuperAdminJson {
    wallet_address: String,
    /// Whom `linkSuperAdmins` would link; null if that is not clear.
    user_id: Option<UserId>,
}

#[derive(Debug, Serialize)]
struct MigrationsJson {
    applied: usize,
    total: usize,
}

#[derive(Debug, Serialize)]
struct SecretsJson {
    encrypted: usize,
    left: i64,
}

#[derive(Debug, Serialize)]
struct DecryptionJson {
    decrypted: usize,
    left: i64,
}

impl SecretsJson {
    fn new(progress: EncryptionProgress) -> Option<Self> {
        let EncryptionProgress { encrypted, left } = progress;
        (progress != EncryptionProgress::default()).then_some(Self { encrypted, left })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AdoptionJson {
    already_adopted: bool,
    spans_opened: u64,
    spans_closed: u64,
    #[serde(rename = "ratesSet")]
    rates_cleared: u64,
    #[serde(rename = "deadlinesRenewed")]
    shutdown_dates_renewed: usize,
    reactivated: u64,
    accounts_opened: u64,
}

impl From<Adoption> for AdoptionJson {
    fn from(adoption: Adoption) -> Self {
        Self {
            already_adopted: adoption.already_adopted,
            spans_opened: adoption.spans_opened,
            spans_closed: adoption.spans_closed,
            rates_cleared: adoption.rates_cleared,
            shutdown_dates_renewed: adoption.shutdown_dates_renewed,
            reactivated: adoption.reactivated,
            accounts_opened: adoption.accounts_opened,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FirstOrganizationJson {
    organization_id: OrganizationId,
    user_id: UserId,
    api_key: String,
}

debug_without_secrets!(FirstOrganizationJson: organization_id, user_id);

/// Why the event was not carried out. The steps before the failed one (migrations, adoption, bootstrap) are done.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error(
        "the event must be {{}}, {{\"adopt\": true}}, {{\"linkSuperAdmins\": true}}, {{\"decrypt\": true}} or \
        {{\"bootstrap\": {{organization, email, wallet}}}}"
    )]
    InvalidEvent(#[source] serde_json::Error),
    #[error(transparent)]
    Migration(#[from] MigrationError),
    #[error(transparent)]
    Role(#[from] RoleError),
    #[error(transparent)]
    Adoption(#[from] AdoptionError),
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error(transparent)]
    Secrets(#[from] EncryptSecretsError),
    #[error(transparent)]
    Decryption(#[from] DecryptSecretsError),
    #[error("the database request failed ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
    #[error("the operating system gave no random bytes")]
    Random(#[from] getrandom::Error),
    /// A setting is missing or malformed.
    #[error("{0}")]
    Setting(String),
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

/// Does everything that a deployment needs, and what the event asks for. Can be repeated.
pub(super) async fn deploy(deps: &DeploymentDeps, event: Value) -> Result<Deployed, DeployError> {
    let request: Request = match event {
        Value::Null => Request::default(),
        event => serde_json::from_value(event).map_err(DeployError::InvalidEvent)?,
    };
    let migrated = migrate(&deps.owner.options()).await?;
    prepare_runtime_role(&deps.owner, &deps.runtime_login).await?;
    db::billing::partitions::ensure_partitions(&deps.owner).await?;
    publish_prices(&deps.owner, &deps.prices).await?;
    let super_admins_linked = if request.link_super_admins {
        Some(json_of(link_super_admins(&deps.owner).await?))
    } else {
        None
    };
    let adoption = if request.adopt {
        Some(adopt(&deps.owner, &deps.prices).await?.into())
    } else {
        None
    };
    let bootstrap = match request.bootstrap {
        Some(request) => Some(first_organization(&deps.owner, request).await?),
        None => None,
    };
    let secrets = encrypt_secrets(&deps.owner, &deps.keys, deps.older_application, MAX_BATCHES);
    let secrets = SecretsJson::new(secrets.await?);
    let decryption = if request.decrypt {
        Some(decryption(deps).await?)
    } else {
        None
    };
    let mut conn = deps.owner.statements();
    let unrecognized = unrecognized_super_admins(&mut conn).await?;
    Ok(Deployed {
        super_admins_linked,
        unrecognized_super_admins: json_of(unrecognized),
        migrations: MigrationsJson {
            applied: migrated.applied,
            total: migrated.total,
        },
        secrets,
        decryption,
        adoption,
        bootstrap,
    })
}

async fn decryption(deps: &DeploymentDeps) -> Result<DecryptionJson, DecryptSecretsError> {
    let older = deps.older_application;
    let progress = decrypt_secrets(&deps.owner, &deps.keys, older, MAX_BATCHES).await?;
    Ok(DecryptionJson {
        decrypted: progress.decrypted,
        left: progress.left,
    })
}

fn json_of(admins: Vec<UnrecognizedSuperAdmin>) -> Vec<SuperAdminJson> {
    let admins = admins.into_iter().map(|admin| SuperAdminJson {
        wallet_address: admin.wallet_address,
        user_id: admin.user_id,
    });
    admins.collect()
}

async fn first_organization(
    database: &Database,
    request: BootstrapRequest,
) -> Result<FirstOrganizationJson, DeployError> {
    let request = Bootstrap {
        organization: request.organization,
        email: request.email,
        wallet: request.wallet,
        secret: random_bytes()?,
    };
    let organization = bootstrap(database, &request).await?;
    Ok(FirstOrganizationJson {
        organization_id: organization.organization_id,
        user_id: organization.user_id,
        api_key: organization.api_key,
    })
}
