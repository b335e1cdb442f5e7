//! The billing run: charges all metered time up to a full hour, exactly once, then warns and suspends. Owns: which
//! hour, which organizations, in how many transactions, and the run's record.

mod abandoned;
mod part;
mod repair;
mod tally;
mod write;

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use tracing::error;

pub use tally::{Failure, Tally};

use crate::db::Database;
use crate::db::{
    self,
    billing::{accounts::DueOrganization, metering::SpanMismatch},
};
use crate::domain::hour::Hour;
use crate::domain::ids::OrganizationId;
use crate::domain::pricing::Prices;
use repair::{Repair, repair_spans};

/// A batch is cut at this many spans and agents under dunning together, or at [`MAX_CHARGES`] slices; one organization
/// is never split. Larger batches hold their locks longer without becoming cheaper per agent.
const MAX_BATCH_WEIGHT: usize = 2_000;
/// A part charges about this many slices of one organization, and a batch has about this many; an hour of one
/// organization is never split. More would need more memory and hold locks longer.
pub const MAX_CHARGES: usize = 20_000;
/// Up to this weight, one connection is faster than distributing the organizations.
const SINGLE_BATCH_WEIGHT: usize = 1_000;
/// A run waits for an hour that begins within this time: the scheduler may be early, and clocks differ.
const MAX_EARLY: TimeDelta = TimeDelta::seconds(60);
/// The first list prices are valid from here; they change nothing.
const FIRST_PRICES: DateTime<Utc> = DateTime::UNIX_EPOCH;

#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Metered time is charged up to this hour; `None` for the current one.
    pub period_end: Option<DateTime<Utc>>,
    /// Who asked for the run, for its record.
    pub source: &'static str,
    /// When the invocation ends; `None` if that is unknown.
    pub deadline: Option<Instant>,
    /// The number of batches in progress at the same time.
    pub concurrency: usize,
    /// A part charges about this many slices of one organization: [`MAX_CHARGES`].
    pub max_charges: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// The hour up to which the run charged.
    pub period_end: Hour,
    /// By billing's clock.
    pub finished_at: DateTime<Utc>,
    /// Whether the run decided every organization that was due, and repaired all that the metering triggers missed.
    pub complete: bool,
    /// The period up to which the organization that has waited longest is decided; `None` if all are decided.
    pub oldest_undecided: Option<DateTime<Utc>>,
    pub tally: Tally,
}

/// Why a run charged nothing, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The hour has not begun. Nothing was charged.
    #[error("the hour to charge lies more than {} s ahead of billing's clock", MAX_EARLY.num_seconds())]
    TooFarAhead,
    /// An older biller may still work on this database. Nothing was charged.
    #[error(
        "this deployment had agents before: switch the older biller off and run db-migrate with {{\"adopt\": true}}"
    )]
    AdoptionRequired,
    /// Committed parts stay; the next run charges the rest.
    #[error("the database request failed ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
    /// The invocation's time ran out, organizations could not be decided, or their metering could not be
    /// repaired. Committed parts stay.
    #[error("the run is not complete (failed organizations: {}); the next run does the rest", .0.tally.errors)]
    Incomplete(Box<RunReport>),
    /// All that was known was charged. Until the objects are restored, changes of agents may be metered late, or
    /// charged twice.
    #[error("objects that we made in shared tables are missing or changed: {}", .0.join(", "))]
    SchemaChanged(Vec<String>),
}

/// Executes one billing run. Repeated, overlapping, late and out-of-order runs charge nothing twice: an organization is
/// decided once per hour, under its lock. After an error nothing is half charged, and a later run finishes.
pub async fn billing_run(
    pool: &Database,
    prices: &Prices,
    request: &RunRequest,
) -> Result<RunReport, RunError> {
    // The two slow reads at the same time.
    let (begun, mismatches) = tokio::join!(begin(pool, request), mismatches(pool));
    let (mut input, mismatches) = (begun?, mismatches?);
    if !mismatches.is_empty() {
        input.repair = repair_spans(pool, &mismatches).await?;
        let billed_until = input.period_end.instant();
        let mut conn = pool.statements();
        input.due = db::billing::accounts::organizations_due(&mut conn, billed_until).await?;
    }
    // Not `try_join`: a check that fails must not end the charges half-way.
    let (changed, report) =
        tokio::join!(changed_objects(pool), charge(pool, prices, request, input));
    let (report, changed) = (report?, changed?);
    if !report.complete {
        Err(RunError::Incomplete(Box::new(report)))
    } else if !changed.is_empty() {
        Err(RunError::SchemaChanged(changed))
    } else {
        Ok(report)
    }
}

/// What other applications have changed in the tables that we share with them.
async fn changed_objects(pool: &Database) -> Result<Vec<String>, RunError> {
    let mut conn = pool.statements();
    let changed = db::schema_check::changed_objects(&mut conn).await?;
    if !changed.is_empty() {
        let objects = changed.join(", ");
        error!(
            objects,
            "objects that we made in shared tables are missing or changed: {objects}"
        );
    }
    Ok(changed)
}

/// What a run begins with.
struct RunInput {
    /// The hour to charge up to.
    period_end: Hour,
    /// The run's record.
    run: i64,
    due: Vec<DueOrganization>,
    price_changes: Vec<DateTime<Utc>>,
    repair: Repair,
}

/// One connection reads all of it: more of them would cost more than they save, because each one plans anew.
async fn begin(pool: &Database, request: &RunRequest) -> Result<RunInput, RunError> {
    let start = wait_for_hour(pool, request.period_end).await?;
    let billed_until = start.period_end.instant();
    let mut conn = pool.statements();
    let due = db::billing::accounts::organizations_due(&mut conn, billed_until).await?;
    let price_changes =
        db::billing::metering::price_changes(&mut conn, FIRST_PRICES, billed_until).await?;
    let run =
        db::billing::runs::run_start(&mut conn, billed_until, request.source, start.started_at)
            .await?;
    Ok(RunInput {
        period_end: start.period_end,
        run,
        due,
        price_changes,
        repair: Repair::default(),
    })
}

async fn charge(
    pool: &Database,
    prices: &Prices,
    request: &RunRequest,
    input: RunInput,
) -> Result<RunReport, RunError> {
    let period_end = input.period_end;
    let billed_until = period_end.instant();
    let mut conn = pool.statements();
    let mut tally = Tally {
        repaired_spans: input.repair.spans,
        ..Tally::default()
    };
    let context = part::Context {
        pool,
        prices,
        period_end,
        price_changes: input.price_changes,
        deadline: request.deadline,
        max_charges: request.max_charges,
    };
    let reached = decide_all(&context, &input.due, request, &mut tally).await?;
    for (organization_id, reason) in input.repair.failures {
        tally.fail_unless_named(organization_id, reason);
    }
    let complete = reached && tally.errors == 0;
    if tally.unwarned > 0 {
        let agents = tally.unwarned;
        error!(
            agents,
            "{agents} agents are suspended although the mail provider never took their warning"
        );
    }
    let oldest_undecided = if complete {
        None
    } else {
        db::billing::accounts::oldest_undecided_of_any_organization(&mut conn, billed_until).await?
    };
    let counts = tally.counts(oldest_undecided);
    let finished_at =
        db::billing::runs::run_finish(&mut conn, input.run, complete, &counts).await?;
    Ok(RunReport {
        period_end,
        finished_at,
        complete,
        oldest_undecided,
        tally,
    })
}

/// Decides the organizations in batches. Returns whether all were reached before the deadline.
async fn decide_all(
    context: &part::Context<'_>,
    due: &[DueOrganization],
    request: &RunRequest,
    tally: &mut Tally,
) -> sqlx::Result<bool> {
    let concurrency = request.concurrency.max(1);
    let mut results = stream::iter(batches(due, concurrency))
        .map(move |batch| async move { context.decide(&batch).await })
        .buffer_unordered(concurrency);
    let mut complete = true;
    while let Some(result) = results.next().await {
        let outcome = result?;
        tally.add(&outcome.tally);
        complete &= outcome.complete;
    }
    Ok(complete)
}

struct RunStart {
    /// The hour to charge up to.
    period_end: Hour,
    /// By billing's clock.
    started_at: DateTime<Utc>,
}

/// Waits for an hour that is about to begin.
async fn wait_for_hour(
    pool: &Database,
    requested: Option<DateTime<Utc>>,
) -> Result<RunStart, RunError> {
    let waiting_since = Instant::now();
    loop {
        let mut conn = pool.statements();
        let readiness = db::clock::readiness(&mut conn).await?;
        drop(conn);
        let now = readiness.now;
        if readiness.adoption_required {
            return Err(RunError::AdoptionRequired);
        }
        let period_end = Hour::containing(requested.unwrap_or(now));
        let ahead = period_end.instant() - now;
        if ahead <= TimeDelta::zero() {
            return Ok(RunStart {
                period_end,
                started_at: now,
            });
        }
        let waited = TimeDelta::from_std(waiting_since.elapsed()).unwrap_or(MAX_EARLY);
        if ahead > MAX_EARLY || waited >= MAX_EARLY {
            return Err(RunError::TooFarAhead);
        }
        let pause = ahead
            .min(TimeDelta::seconds(1))
            .to_std()
            .unwrap_or_default();
        tokio::time::sleep(pause).await;
    }
}

async fn mismatches(pool: &Database) -> sqlx::Result<Vec<SpanMismatch>> {
    let mut conn = pool.statements();
    db::billing::metering::mismatches_of_any_organization(&mut conn).await
}

/// Cuts the due organizations into batches and keeps their order: as many batches as keep all connections busy to the
/// end, none larger than [`MAX_BATCH_WEIGHT`] or [`MAX_CHARGES`] unless a single organization is.
fn batches(due: &[DueOrganization], concurrency: usize) -> Vec<Vec<OrganizationId>> {
    let total: usize = due.iter().map(|organization| organization.weight).sum();
    let count = match total {
        0..=SINGLE_BATCH_WEIGHT => 1,
        _ => total
            .div_ceil(MAX_BATCH_WEIGHT)
            .next_multiple_of(concurrency.max(1)),
    };
    let max_weight = total.div_ceil(count).min(MAX_BATCH_WEIGHT);
    let mut batches = Vec::new();
    let (mut batch, mut weight, mut slices) = (Vec::new(), 0, 0);
    for organization in due {
        let is_full =
            weight + organization.weight > max_weight || slices + organization.slices > MAX_CHARGES;
        if is_full && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            (weight, slices) = (0, 0);
        }
        batch.push(organization.organization_id);
        weight += organization.weight;
        slices += organization.slices;
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn sizes(weights: &[usize], concurrency: usize) -> Vec<usize> {
        let due: Vec<DueOrganization> = weights
            .iter()
            .map(|&weight| DueOrganization {
                organization_id: OrganizationId::new(Uuid::nil()),
                weight,
                slices: weight,
            })
            .collect();
        let batches = batches(&due, concurrency);
        batches.iter().map(Vec::len).collect()
    }

    #[test]
    fn batches_hold_whole_organizations_and_keep_all_connections_busy() {
        assert_eq!(sizes(&[], 4), [0; 0]);
        assert_eq!(sizes(&[5; 3], 4), [3]);
        assert_eq!(sizes(&[1_500, 500, 1, 5_000, 10], 1), [1, 2, 1, 1]);
        assert_eq!(sizes(&[10; 100], 3), [100]);
        assert_eq!(sizes(&[10; 200], 3), [66, 66, 66, 2]);
        assert_eq!(sizes(&[10; 1_000], 4), [125; 8]);
        assert_eq!(sizes(&[10; 1_000], 1), [200; 5]);
        assert_eq!(sizes(&vec![10; 100_000], 4).iter().max(), Some(&200));
    }
}
