//! `GET /api/v1/milady/agents/{agentId}/backups/{backupId}/download`: an address at which the state of a backup can be
//! downloaded.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::auth::Auth;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::api::{path, response};
use crate::app::agent::backup_download::{BackupDownload, backup_download};
use crate::bucket::{ADDRESS_LIFETIME, Bucket};
use crate::db::Database;

pub const ROUTE: Route = Route {
    description: "A state can hold secrets, so viewers may not download it, and each address is recorded in the audit log. \
                  The status is 501 if the deployment keeps this backup in its database.",
    // As with everything that can hold secrets of agents.
    caller: CallerKind::AgentManager,
    responses: &[ResponseKind::json::<Data<Download>>(
        200,
        "The address. Whoever has it can download the state, until it expires.",
    )],
    refusals: &[400, 404, 501, 502],
    ..Route::get(
        "agent-backup-download",
        "/api/v1/milady/agents/{agentId}/backups/{backupId}/download",
        Tag::Agents,
        "Get an address at which a backup can be downloaded",
    )
};

const IN_DATABASE: &str = "This backup is kept in the database, from which it cannot be downloaded; a deployment with a \
    bucket for backups keeps them there";

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Download {
    #[schemars(extend("format" = "uri"))]
    url: String,
    /// Seconds.
    #[schemars(extend("const" = ADDRESS_LIFETIME.as_secs()))]
    expires_in: u64,
}

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub auth: Auth,
    /// Where states are kept; in the database if there is no bucket.
    pub bucket: Option<Bucket>,
}

/// # Errors
/// 400, 401, 403, 404, 501 if the backup is in the database, 502 if the bucket is not configured any more, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let backup_id = path::identifier(&request, "backupId")?;
    let bucket = deps.bucket.as_ref();
    match backup_download(&deps.pool, bucket, agent, backup_id, caller.user_id).await? {
        BackupDownload::At(url) => response::ok(Download {
            url,
            expires_in: ADDRESS_LIFETIME.as_secs(),
        }),
        BackupDownload::InDatabase => Err(Problem::not_implemented(IN_DATABASE)),
    }
}
