//! The minute's sweep. It takes no input: whatever is due is told of.

use serde::Serialize;
use sqlx::PgPool;

use crate::app::job::sweep::{Swept, job_sweep};
use crate::db;
use crate::events::Publisher;

/// What the function needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who is told.
    pub publisher: Publisher,
}

/// What was done: counts only.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    published: usize,
    recovered: usize,
    orphaned: u64,
    stops: usize,
    told: usize,
    forgotten: u64,
}

/// Why the sweep was not finished.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// `EventBridge` did not take everything. What it did not take is kept for the next sweep.
    #[error("{0} events were not taken and are kept")]
    NotTaken(usize),
    /// The database failed.
    #[error("the database did not answer ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
}

/// Sweeps.
///
/// # Errors
/// [`SweepError`]; what was done stays done.
pub async fn handle(deps: &Deps) -> Result<Answer, SweepError> {
    let swept: Swept = job_sweep(&deps.pool, &deps.publisher).await?;
    let not_taken = swept.kept + swept.untold;
    if not_taken > 0 {
        return Err(SweepError::NotTaken(not_taken));
    }
    Ok(Answer {
        published: swept.published,
        recovered: swept.recovered,
        orphaned: swept.orphaned,
        stops: swept.stops,
        told: swept.told,
        forgotten: swept.forgotten,
    })
}
