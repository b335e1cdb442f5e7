//! The event of the deployment's own function: `{}` applies the migrations; `{"adopt": true}` also
//! takes over from an older biller; `{"bootstrap": {organization, email, wallet}}` also sets up the
//! first organization and prints its key, once.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::deployment::adopt::{Adoption, adopt};
use crate::app::deployment::bootstrap::{Bootstrap, BootstrapError, bootstrap};
use crate::app::deployment::migrate::{MigrationError, migrate};
use crate::domain::pricing::Prices;
use crate::lambda::random_bytes;

/// What the function needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection without a statement time-out.
    pub pool: PgPool,
    /// The price list: adoption sets the running price.
    pub prices: Prices,
}

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    adopt: bool,
    bootstrap: Option<BootstrapRequest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BootstrapRequest {
    organization: String,
    email: String,
    wallet: String,
}

/// What was done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    migrations: Migrations,
    #[serde(skip_serializing_if = "Option::is_none")]
    adoption: Option<TakeOver>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bootstrap: Option<FirstOrganization>,
}

#[derive(Debug, Serialize)]
struct Migrations {
    applied: usize,
    total: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TakeOver {
    already_adopted: bool,
    spans_opened: u64,
    spans_closed: u64,
    rates_set: u64,
    deadlines_renewed: usize,
    reactivated: u64,
    accounts_opened: u64,
}

impl From<Adoption> for TakeOver {
    fn from(adoption: Adoption) -> Self {
        Self {
            already_adopted: adoption.already,
            spans_opened: adoption.spans_opened,
            spans_closed: adoption.spans_closed,
            rates_set: adoption.rates_set,
            deadlines_renewed: adoption.deadlines_renewed,
            reactivated: adoption.reactivated,
            accounts_opened: adoption.accounts_opened,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FirstOrganization {
    organization_id: Uuid,
    user_id: Uuid,
    api_key: String,
}

/// Why something was not done. What came before it in the event's order is done.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says what it is")]
pub enum DeployError {
    #[error(
        "the event must be {{}}, {{\"adopt\": true}} or {{\"bootstrap\": {{organization, email, wallet}}}}"
    )]
    Event,
    #[error(transparent)]
    Migration(#[from] MigrationError),
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error("the database did not answer")]
    Database(#[from] sqlx::Error),
    #[error("the operating system gave no random bytes")]
    Random,
}

/// Does what the event asks for.
///
/// # Errors
/// [`DeployError`].
pub async fn handle(deps: &Deps, event: Value) -> Result<Answer, DeployError> {
    let request: Request = match event {
        Value::Null => Request::default(),
        event => serde_json::from_value(event).map_err(|_| DeployError::Event)?,
    };
    let mut conn = deps.pool.acquire().await?;
    let migrated = migrate(&mut conn).await?;
    let adoption = if request.adopt {
        Some(adopt(&mut conn, &deps.prices).await?.into())
    } else {
        None
    };
    let bootstrap = match request.bootstrap {
        Some(first) => {
            let secret = random_bytes().map_err(|_| DeployError::Random)?;
            let BootstrapRequest {
                organization,
                email,
                wallet,
            } = first;
            let request = Bootstrap {
                organization,
                email,
                wallet,
                secret,
            };
            let done = bootstrap(&mut conn, &request).await?;
            Some(FirstOrganization {
                organization_id: done.organization_id,
                user_id: done.user_id,
                api_key: done.api_key,
            })
        }
        None => None,
    };
    let migrations = Migrations {
        applied: migrated.applied,
        total: migrated.total,
    };
    Ok(Answer {
        migrations,
        adoption,
        bootstrap,
    })
}
