//! An operator's action on one container. Owns: that the audit log has an entry before the action begins and its
//! result afterwards. Does not own: performing the action (`perform`), nor when it is refused
//! (`domain::fleet::ContainerAction`).

mod perform;
mod request;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::timeout;
use tracing::error;

use crate::app::container::entry::{ContainerEntry, begin_entry, finish_entry};
use crate::app::error::{AgentFault, RequestError};
use crate::app::fleet::run_clock::RunClock;
use crate::app::idempotency::{IdempotencyGuard, IdempotencyKey, run_once};
use crate::db;
use crate::db::Database;
use crate::domain::fleet::{ContainerAction, HostReadError};

use perform::{Performed, perform};
use request::PULL_TIMEOUT;
pub use request::{ActionDeps, ActionOutcome, ActionRequest, ActionResult};

/// How long an action may take. The function's own timeout is 29 s, and the audit entry needs a part of it.
const ACTION_TIMEOUT: Duration = Duration::from_secs(20);

/// Performs an action on a container and records it in the audit log.
///
/// # Errors
/// A refused action ([`RequestError::NotFound`], [`RequestError::StatusConflict`]) has no effect. An action that
/// failed otherwise may have had its effect.
pub async fn container_act(
    deps: ActionDeps<'_>,
    request: &ActionRequest,
    key: IdempotencyKey,
) -> Result<ActionOutcome, RequestError> {
    run_once(deps.pool, key, async |guard| {
        perform_audited(deps, request, guard).await
    })
    .await
}

/// The audit entry is committed before the action and completed after it. An entry that stays `begun` belongs to an
/// action whose worker died.
async fn perform_audited(
    deps: ActionDeps<'_>,
    request: &ActionRequest,
    guard: &mut IdempotencyGuard,
) -> Result<ActionOutcome, RequestError> {
    let mut conn = deps.pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    let entry_id = append_entry(&mut conn, request, now).await?;
    // Nothing holds a connection while it waits for a host.
    drop(conn);
    let clock = RunClock::start(now);
    let performed = timeout(time_limit(request.action), perform(deps, request, now))
        .await
        .unwrap_or_else(|_| Err(timeout_error(request.action)));
    let outcome = performed.map(
        |Performed {
             container_id,
             result,
         }| ActionOutcome {
            container_id,
            result,
            performed_at: clock.now(),
        },
    );
    let settled_at = clock.now();
    if let Err(error) = complete_entry(deps.pool, entry_id, &outcome, settled_at, guard).await {
        // The effect cannot be undone, so the operator gets the action's own outcome.
        error!(
            %error,
            audit.id = entry_id,
            "outcome of a container action not recorded; its audit entry stays `begun`"
        );
    }
    outcome
}

async fn append_entry(
    conn: &mut db::Connection,
    request: &ActionRequest,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    let entry = ContainerEntry {
        admin_id: request.admin_id,
        action: request.action,
        node_id: &request.node_id,
        container_name: &request.container_name,
        details: json!({
            "nodeId": request.node_id, "containerName": request.container_name,
            "askedContainerId": request.container_id,
        }),
    };
    begin_entry(conn, entry, now).await
}

/// Records how the action ended, and in the same transaction the outcome that a repeated request gets.
async fn complete_entry(
    pool: &Database,
    entry_id: i64,
    outcome: &Result<ActionOutcome, RequestError>,
    settled_at: DateTime<Utc>,
    guard: &mut IdempotencyGuard,
) -> Result<(), RequestError> {
    let ending = outcome.as_ref();
    let ending = ending.map(|outcome| json!({"containerId": outcome.container_id}));
    let mut tx = pool.begin().await?;
    finish_entry(&mut tx, entry_id, ending, settled_at).await?;
    if let Ok(outcome) = outcome {
        guard.complete(&mut tx, outcome).await?;
    }
    tx.commit().await?;
    Ok(())
}

fn time_limit(action: ContainerAction) -> Duration {
    match action {
        ContainerAction::PullImage => PULL_TIMEOUT,
        _ => ACTION_TIMEOUT,
    }
}

fn timeout_error(action: ContainerAction) -> RequestError {
    match action {
        ContainerAction::PullImage => AgentFault::PullTimedOut.into(),
        _ => HostReadError::TimedOut.into(),
    }
}
