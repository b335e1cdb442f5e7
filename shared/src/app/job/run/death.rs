//! A container that ended while it was being started. Owns: that its owner reads how it ended (F88), and that the end of
//! its log is kept: the container itself is removed with the failed start.

use super::context::JobContext;
use super::error::StepError;
use crate::app::fleet::deaths::read_last_lines;
use crate::app::host_access::Host;
use crate::db;
use crate::db::agents::deaths::NewDeath;
use crate::hosts::ContainerRuntime;

/// Keeps what is known of the container, under the fence. Returns the error for the owner.
pub(super) async fn died_at_start(
    context: &JobContext<'_>,
    host: &Host,
    container_id: &str,
    runtime: &ContainerRuntime,
) -> StepError {
    let log = read_last_lines(&host.engine, container_id).await;
    match record(context, host, container_id, runtime, &log).await {
        Ok(()) => StepError::external(runtime.end.during_start()),
        Err(error) => error,
    }
}

async fn record(
    context: &JobContext<'_>,
    host: &Host,
    container_id: &str,
    runtime: &ContainerRuntime,
    log: &str,
) -> Result<(), StepError> {
    let mut tx = context.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    context.checkpoint(&mut tx, now).await?;
    let death = NewDeath {
        node_id: &host.node.node_id,
        container_id,
        died_at: now,
        exit_code: runtime.end.exit_code,
        out_of_memory: runtime.end.is_out_of_memory,
        restarts: runtime.restart_count,
        log,
        // The failed start removes it.
        to_stop: false,
    };
    db::agents::deaths::death_record(&mut tx, context.agent(), &death).await?;
    tx.commit().await?;
    Ok(())
}
