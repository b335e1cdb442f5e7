//! `POST /api/v1/milady/agents/{agentId}/restore`: restores an agent's state from a backup.

use shared::api::agent::restore::handle;
use shared::api::deps::StartDeps;
use shared::encryption::EncryptionKeys;
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &StartDeps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        prices: config::prices()?,
        domain: config::agent_base_domain()?,
        address_policy: config::webhook_address_policy()?,
        publisher: config::publisher()?,
        // A restore has no webhook.
        keys: EncryptionKeys::default(),
    };
    lambda::serve_http("agent-restore", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
