//! The statement of a day: what was charged on a day that is over is added up once, for agents, organizations and the
//! older application. Owns: which days and organizations, in how many transactions, and that an organization that fails
//! keeps no other from its statement. A day that was interrupted goes on with the organizations that are left.

mod day;
mod page;

use std::slice;
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
/// No new transaction begins with less time than this before the deadline.
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
    let mut statements = Statements {
        pool,
        deadline,
        report: StatementReport {
            complete: true,
            ..StatementReport::default()
        },
    };
    let mut conn = pool.statements();
    let mut next = db::billing::days::first_unstated_day_of_any_organization(&mut conn).await?;
    while let Some(day) = next.filter(|day| *day < today) {
        let due = db::billing::days::statements_due_of_any_organization(&mut conn, day).await?;
        for organizations in pages(&due) {
            statements.state(&organizations, day).await?;
            if !statements.report.complete {
                return Ok(statements.report);
            }
        }
        next = day.succ_opt();
    }
    Ok(statements.report)
}

/// The statements that a call makes.
struct Statements<'a> {
    pool: &'a Database,
    deadline: Option<Instant>,
    report: StatementReport,
}

impl Statements<'_> {
    /// States a day for a page of organizations. If that keeps failing, states it for each of them alone and counts
    /// those that fail. Only an unavailable database is an error.
    async fn state(&mut self, page: &[OrganizationId], day: NaiveDate) -> sqlx::Result<()> {
        let Some(class) = self.attempt(page, day, MAX_ATTEMPTS).await? else {
            return Ok(());
        };
        if let [organization_id] = page {
            self.fail(*organization_id, day, &class);
            return Ok(());
        }
        let organizations = page.len();
        warn!(
            %day,
            organizations,
            error = class,
            "a page of the statement of {day} failed; the day is stated for its organizations one by one"
        );
        for organization_id in page {
            let alone = slice::from_ref(organization_id);
            if let Some(class) = self.attempt(alone, day, 1).await? {
                self.fail(*organization_id, day, &class);
            }
        }
        Ok(())
    }

    /// States a day in a transaction that is repeated while it conflicts with others. Returns why it failed. Does
    /// nothing if there is not enough time.
    async fn attempt(
        &mut self,
        page: &[OrganizationId],
        day: NaiveDate,
        max_attempts: usize,
    ) -> sqlx::Result<Option<String>> {
        let mut attempt = 1;
        loop {
            if !self.has_time() {
                self.report.complete = false;
                return Ok(None);
            }
            let error = match page::transaction(self.pool, page, day).await {
                Ok(stated) => {
                    self.report.organization_days += stated;
                    return Ok(None);
                }
                Err(error) => error,
            };
            let is_conflict = db::classify(&error) == DatabaseFailure::Conflict;
            let class = db::class_unless_unavailable(error)?;
            if !is_conflict || attempt == max_attempts {
                return Ok(Some(class));
            }
            warn!(
                attempt,
                error = class,
                "a page of the statement of {day} conflicted with another transaction and is repeated"
            );
            attempt += 1;
        }
    }

    fn has_time(&self) -> bool {
        self.deadline
            .is_none_or(|at| Instant::now() + PAGE_TIME < at)
    }

    fn fail(&mut self, organization_id: OrganizationId, day: NaiveDate, class: &str) {
        warn!(
            organization.id = %organization_id,
            %day,
            error = class,
            "the statement of {day} failed for organization {organization_id}; a later call makes it"
        );
        self.report.failed += 1;
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
