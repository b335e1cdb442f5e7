//! The statement of a day: what was charged on a day that is over is added up once, for agents, organizations and the
//! older application. Owns: which days and organizations, in how many transactions. A day that was interrupted goes on
//! with the organizations that are left.

mod day;
mod page;

use std::time::{Duration, Instant};

use chrono::NaiveDate;
use tracing::warn;

use crate::db::billing::days::DueStatement;
use crate::db::{self, Database, DatabaseFailure};
use crate::domain::ids::OrganizationId;

/// A page is cut at this many spans that are not settled; one organization is never split.
const MAX_PAGE_WEIGHT: usize = 2_000;
/// How many times a page is attempted in total if it keeps conflicting with others.
const MAX_ATTEMPTS: usize = 4;
/// No new page begins with less time than this before the deadline.
const PAGE_TIME: Duration = Duration::from_secs(30);

/// What was stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatementReport {
    /// Days of organizations.
    pub organization_days: usize,
    /// Days of organizations that failed. A later call states them.
    pub failed: usize,
    /// Whether all days that are over were reached before the deadline.
    pub complete: bool,
}

/// States every day before `today` that is not stated, the oldest first.
///
/// # Errors
/// Only an unavailable database. Committed pages stay.
pub async fn state_days(
    pool: &Database,
    today: NaiveDate,
    deadline: Option<Instant>,
) -> sqlx::Result<StatementReport> {
    let mut report = StatementReport {
        complete: true,
        ..StatementReport::default()
    };
    let mut conn = pool.statements();
    let mut next = db::billing::days::first_unstated_day_of_any_organization(&mut conn).await?;
    while let Some(day) = next.filter(|day| *day < today) {
        let due = db::billing::days::statements_due_of_any_organization(&mut conn, day).await?;
        for organizations in pages(&due) {
            if deadline.is_some_and(|at| Instant::now() + PAGE_TIME >= at) {
                report.complete = false;
                return Ok(report);
            }
            match state_page(pool, &organizations, day).await {
                Ok(stated) => report.organization_days += stated,
                Err(error) if db::classify(&error) == DatabaseFailure::Unavailable => {
                    return Err(error);
                }
                Err(error) => {
                    let error = db::error_class(&error);
                    let organizations = organizations.len();
                    warn!(%day, organizations, error, "the statement of {day} failed for {organizations} organizations");
                    report.failed += organizations;
                }
            }
        }
        next = day.succ_opt();
    }
    Ok(report)
}

/// Repeats the page's transaction while it conflicts with others.
async fn state_page(
    pool: &Database,
    organization_ids: &[OrganizationId],
    day: NaiveDate,
) -> sqlx::Result<usize> {
    let mut attempt = 1;
    loop {
        match page::transaction(pool, organization_ids, day).await {
            Err(error)
                if db::classify(&error) == DatabaseFailure::Conflict && attempt < MAX_ATTEMPTS =>
            {
                let error = db::error_class(&error);
                warn!(
                    attempt,
                    error,
                    "a page of the statement of {day} conflicted with another transaction and is repeated"
                );
            }
            result => return result,
        }
        attempt += 1;
    }
}

fn pages(due: &[DueStatement]) -> Vec<Vec<OrganizationId>> {
    let mut pages: Vec<Vec<OrganizationId>> = Vec::new();
    let mut weight = 0;
    for organization in due {
        let added = organization.weight.max(1);
        match pages.last_mut() {
            Some(page) if weight + added <= MAX_PAGE_WEIGHT => {
                page.push(organization.organization_id);
                weight += added;
            }
            _ => {
                pages.push(vec![organization.organization_id]);
                weight = added;
            }
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn sizes(weights: &[usize]) -> Vec<usize> {
        let due: Vec<DueStatement> = weights
            .iter()
            .map(|&weight| DueStatement {
                organization_id: OrganizationId::new(Uuid::nil()),
                weight,
            })
            .collect();
        pages(&due).iter().map(Vec::len).collect()
    }

    #[test]
    fn pages_hold_whole_organizations_of_at_most_two_thousand_spans_unless_one_has_more() {
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[0; 2_001]), [2_000, 1]);
        assert_eq!(sizes(&[1_500, 500, 1, 5_000, 10]), [2, 1, 1, 1]);
    }
}
