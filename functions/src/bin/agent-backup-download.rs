//! `GET /api/v1/milady/agents/{agentId}/backups/{backupId}/download`: makes an address at which a backup can be downloaded.

use shared::api::agent::backup_download::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        auth: config::auth()?,
        bucket: config::backup_bucket()?,
    };
    lambda::serve_http("agent-backup-download", |request, _| handle(deps, request)).await
}
