//! The billing tick: charges all metered time up to a full hour, exactly once, then warns and
//! suspends. Owns: which hour, which organizations, in how many transactions, and the run's record.

mod page;

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use sqlx::PgPool;

use crate::db::{self, billing::spans::Due};
use crate::domain::hour::Hour;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// A page is cut at about this many agents; one organization is never split.
const PAGE_WEIGHT: usize = 2_000;
/// So few agents are not worth a second session.
const SMALL_WEIGHT: usize = 500;
/// An hour this far ahead is waited for; the scheduler may be early, the clocks may differ.
const EARLY: TimeDelta = TimeDelta::seconds(60);
/// No new page starts with less than this left.
const PAGE_TIME: Duration = Duration::from_secs(10);

/// What to charge.
#[derive(Clone, Debug)]
pub struct Tick {
    /// The hour up to which time is charged; none = the current one.
    pub period_end: Option<DateTime<Utc>>,
    /// Who asks, for the run's record.
    pub source: &'static str,
    /// When the invocation ends; none = unknown.
    pub deadline: Option<Instant>,
    /// Pages at a time.
    pub concurrency: usize,
}

/// What a tick did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The hour charged up to.
    pub period_end: Hour,
    /// When it ended, by billing's clock.
    pub finished_at: DateTime<Utc>,
    /// All that was due was visited.
    pub complete: bool,
    /// The figures.
    pub tally: Tally,
}

/// A tick's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Organizations decided.
    pub organizations: usize,
    /// Agents with an unsettled span, or under dunning.
    pub agents_processed: usize,
    /// Agents charged.
    pub agents_billed: usize,
    /// Ledger rows.
    pub slices: usize,
    /// Agents that got a shutdown date.
    pub warned: usize,
    /// Agents suspended.
    pub suspended: usize,
    /// Organizations and spans skipped because their rows are broken or their transaction failed.
    pub errors: usize,
    /// Spans the triggers had missed.
    pub repaired_spans: usize,
    /// Charged.
    pub revenue: Money,
    /// Due but not covered, in the organizations visited.
    pub owed: Money,
    /// Debt given up, 90 days after it fell due.
    pub written_off: Money,
    /// Owed by organizations that are gone.
    pub uncollected: Money,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.organizations += other.organizations;
        self.agents_processed += other.agents_processed;
        self.agents_billed += other.agents_billed;
        self.slices += other.slices;
        self.warned += other.warned;
        self.suspended += other.suspended;
        self.errors += other.errors;
        self.repaired_spans += other.repaired_spans;
        self.revenue += other.revenue;
        self.owed += other.owed;
        self.written_off += other.written_off;
        self.uncollected += other.uncollected;
    }

    fn counts(&self) -> db::billing::runs::Counts {
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        db::billing::runs::Counts {
            organizations: count(self.organizations),
            agents_processed: count(self.agents_processed),
            agents_billed: count(self.agents_billed),
            slices: count(self.slices),
            warned: count(self.warned),
            suspended: count(self.suspended),
            errors: count(self.errors),
            repaired_spans: count(self.repaired_spans),
            revenue: self.revenue.to_decimal(),
            owed: self.owed.to_decimal(),
            written_off: self.written_off.to_decimal(),
            uncollected: self.uncollected.to_decimal(),
        }
    }
}

/// Why a tick did not charge, or not all.
#[derive(Debug, thiserror::Error)]
pub enum TickError {
    /// The hour has not come. Nothing was charged.
    #[error("the hour to charge lies more than {} s ahead of billing's clock", EARLY.num_seconds())]
    TooFarAhead,
    /// An older biller may still run on this database. Nothing was charged.
    #[error(
        "this deployment had agents before: switch the older biller off and run db-migrate with {{\"adopt\": true}}"
    )]
    AdoptionRequired,
    /// The database failed. Pages that were committed stay; the rest is due at the next try.
    #[error("the database did not answer")]
    Database(#[from] sqlx::Error),
    /// The invocation's time was not enough. Pages that were committed stay.
    #[error("not all organizations were reached in time; what is left is due at the next try")]
    Incomplete(Box<Report>),
}

/// Runs one tick. Repeated, overlapping, late and out of order it charges nothing twice: an
/// organization is decided once per hour, under its lock.
///
/// # Errors
/// [`TickError`]; each leaves nothing half charged, and a later tick finishes.
pub async fn billing_tick(
    pool: &PgPool,
    prices: &Prices,
    tick: &Tick,
) -> Result<Report, TickError> {
    let (period_end, started_at) = resolve(pool, tick.period_end).await?;
    let through = period_end.start();
    let run = async {
        let mut conn = pool.acquire().await?;
        db::billing::runs::run_start(&mut conn, through, tick.source, started_at).await
    };
    let mismatched = async {
        let mut conn = pool.acquire().await?;
        db::billing::spans::spans_mismatched(&mut conn).await
    };
    let (run, mismatched, mut due) = tokio::try_join!(run, mismatched, due(pool, through))?;
    let mut tally = Tally::default();
    if mismatched > 0 {
        tally.repaired_spans = repair(pool).await?;
        due = self::due(pool, through).await?;
    }
    let cx = &page::Context {
        pool,
        prices,
        period_end,
    };
    let deadline = tick.deadline;
    let mut results = stream::iter(pages(&due, tick.concurrency.max(1)))
        .map(move |page| async move {
            let in_time = deadline.is_none_or(|at| Instant::now() + PAGE_TIME < at);
            if in_time {
                cx.settle(&page).await.map(Some)
            } else {
                Ok(None)
            }
        })
        .buffer_unordered(tick.concurrency.max(1));
    let (mut complete, mut failure) = (true, None);
    while let Some(result) = results.next().await {
        match result {
            Ok(Some(page)) => tally.add(&page),
            Ok(None) => complete = false,
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    drop(results);
    if let Some(error) = failure {
        return Err(error.into());
    }
    let mut conn = pool.acquire().await?;
    let finished_at = db::billing::runs::run_finish(&mut conn, run, complete, &tally.counts()).await?;
    let report = Report {
        period_end,
        finished_at,
        complete,
        tally,
    };
    if complete {
        Ok(report)
    } else {
        Err(TickError::Incomplete(Box::new(report)))
    }
}

/// The hour to charge up to, and billing's clock. An hour that is about to begin is waited for.
async fn resolve(
    pool: &PgPool,
    asked: Option<DateTime<Utc>>,
) -> Result<(Hour, DateTime<Utc>), TickError> {
    let waited_since = Instant::now();
    loop {
        let mut conn = pool.acquire().await?;
        let (now, adoption_required) = db::clock::readiness(&mut conn).await?;
        drop(conn);
        if adoption_required {
            return Err(TickError::AdoptionRequired);
        }
        let period_end = Hour::containing(asked.unwrap_or(now));
        let ahead = period_end.start() - now;
        if ahead <= TimeDelta::zero() {
            return Ok((period_end, now));
        }
        let patience = EARLY - TimeDelta::from_std(waited_since.elapsed()).unwrap_or(EARLY);
        if ahead > EARLY || patience <= TimeDelta::zero() {
            return Err(TickError::TooFarAhead);
        }
        let pause = ahead
            .min(TimeDelta::seconds(1))
            .to_std()
            .unwrap_or_default();
        tokio::time::sleep(pause).await;
    }
}

async fn due(pool: &PgPool, through: DateTime<Utc>) -> sqlx::Result<Vec<Due>> {
    let mut conn = pool.acquire().await?;
    db::billing::spans::organizations_due(&mut conn, through).await
}

/// Sets right what the metering triggers missed, and counts it.
async fn repair(pool: &PgPool) -> Result<usize, TickError> {
    let mut tx = pool.begin().await?;
    let ended = db::billing::spans::spans_end_unwanted(&mut tx).await?;
    let opened = db::billing::spans::spans_open_missing(&mut tx).await?;
    tx.commit().await?;
    Ok(usize::try_from(ended.max(opened)).unwrap_or(usize::MAX))
}

/// Cuts the due organizations into pages, keeping their order. As many pages as keep all
/// connections busy to the end, none of them larger than it may be.
fn pages(due: &[Due], concurrency: usize) -> Vec<Vec<uuid::Uuid>> {
    let total: usize = due.iter().map(|organization| organization.weight).sum();
    let count = match total {
        0..=SMALL_WEIGHT => 1,
        _ => total
            .div_ceil(PAGE_WEIGHT)
            .next_multiple_of(concurrency.max(1)),
    };
    let most = total.div_ceil(count).min(PAGE_WEIGHT);
    let mut pages = Vec::new();
    let (mut page, mut weight) = (Vec::new(), 0);
    for organization in due {
        if weight > 0 && weight + organization.weight > most {
            pages.push(std::mem::take(&mut page));
            weight = 0;
        }
        page.push(organization.organization_id);
        weight += organization.weight;
    }
    if !page.is_empty() {
        pages.push(page);
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn sizes(weights: &[usize], concurrency: usize) -> Vec<usize> {
        let due: Vec<Due> = weights
            .iter()
            .map(|&weight| Due {
                organization_id: Uuid::nil(),
                weight,
            })
            .collect();
        let pages = pages(&due, concurrency);
        pages.iter().map(Vec::len).collect()
    }

    #[test]
    fn pages_hold_whole_organizations_and_keep_all_connections_busy() {
        assert_eq!(sizes(&[], 4), [0; 0]);
        assert_eq!(sizes(&[5; 3], 4), [3]);
        assert_eq!(sizes(&[1_500, 500, 1, 5_000, 10], 1), [1, 2, 1, 1]);
        assert_eq!(sizes(&[10; 100], 3), [33, 33, 33, 1]);
        assert_eq!(sizes(&[10; 1_000], 4), [125; 8]);
        assert_eq!(sizes(&[10; 1_000], 1), [200; 5]);
        assert_eq!(sizes(&vec![10; 100_000], 4).iter().max(), Some(&200));
    }
}
