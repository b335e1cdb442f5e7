//! The clients and settings that several routes use. Owns: which combinations there are. A route that is
//! alone with its combination defines its own `Deps`.
//!
//! There is no struct of all clients: it would double every binary and cost milliseconds at each cold start.
//! A `main` builds exactly what its route declares.

use super::auth::Auth;
use crate::app::agent::{start, stop_request};
use crate::app::deployment::roles::RuntimeLogin;
use crate::app::webhook;
use crate::cache::Cache;
use crate::db::Database;
use crate::domain::address::AddressPolicy;
use crate::domain::encrypted::OlderApplication;
use crate::domain::pricing::Prices;
use crate::encryption::EncryptionKeys;
use crate::events::Publisher;
use crate::hosts::HostClient;

/// For routes that only read or write the database.
#[derive(Debug)]
pub struct DatabaseDeps {
    pub pool: Database,
    pub auth: Auth,
}

/// For routes that show operators which agents run another image than the default one.
#[derive(Debug)]
pub struct ImageDeps {
    pub pool: Database,
    pub auth: Auth,
    /// The image of agents that name none.
    pub default_image: String,
}

/// For routes that show what agents use of their hosts.
#[derive(Debug)]
pub struct FigureDeps {
    pub pool: Database,
    pub auth: Auth,
    pub cache: Cache,
}

/// For routes that show what agents cost.
#[derive(Debug)]
pub struct PriceDeps {
    pub pool: Database,
    pub auth: Auth,
    pub prices: Prices,
}

/// For routes that connect to hosts.
#[derive(Debug)]
pub struct HostDeps {
    pub pool: Database,
    pub auth: Auth,
    pub hosts: HostClient,
}

/// For routes that register or test an organization's webhooks.
#[derive(Debug)]
pub struct WebhookDeps {
    pub pool: Database,
    pub auth: Auth,
    /// Encrypt what a webhook is called with.
    pub keys: EncryptionKeys,
    /// Which addresses a webhook may lead to.
    pub address_policy: AddressPolicy,
}

impl WebhookDeps {
    pub(super) fn for_app(&self) -> webhook::WebhookDeps<'_> {
        webhook::WebhookDeps {
            pool: &self.pool,
            keys: &self.keys,
            address_policy: self.address_policy,
        }
    }
}

/// For routes that start an agent.
#[derive(Debug)]
pub struct StartDeps {
    pub pool: Database,
    pub auth: Auth,
    pub prices: Prices,
    /// Agents are reached at `https://<id>.<domain>`. `None` if they have no public address.
    pub domain: Option<String>,
    /// Which addresses a webhook may lead to.
    pub address_policy: AddressPolicy,
    /// Publishes the start job.
    pub publisher: Publisher,
    /// Encrypt webhook secrets.
    pub keys: EncryptionKeys,
}

impl StartDeps {
    pub(super) fn for_app(&self) -> start::StartDeps<'_> {
        start::StartDeps {
            pool: &self.pool,
            prices: &self.prices,
            publisher: &self.publisher,
            keys: &self.keys,
        }
    }
}

/// For routes that stop an agent.
#[derive(Debug)]
pub struct StopDeps {
    pub pool: Database,
    pub auth: Auth,
    /// Publishes the stop job.
    pub publisher: Publisher,
}

impl StopDeps {
    pub(super) fn for_app(&self) -> stop_request::StopDeps<'_> {
        stop_request::StopDeps {
            pool: &self.pool,
            publisher: &self.publisher,
        }
    }
}

/// For the function that sets a deployment up, as the owner of its tables.
#[derive(Debug)]
pub struct DeploymentDeps {
    pub owner: Database,
    pub runtime_login: RuntimeLogin,
    pub prices: Prices,
    /// Encrypt what older keys, or none, have encrypted.
    pub keys: EncryptionKeys,
    pub older_application: OlderApplication,
}

/// For functions that bill without a caller.
#[derive(Debug)]
pub struct BillingDeps {
    pub pool: Database,
    pub prices: Prices,
}
