//! One batch of a billing run: a transaction over some organizations. Owns: the order of its statements, which is the
//! lock order of the whole project (organizations by id, then their agents by id), and what happens when it fails.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use tracing::warn;

use super::tally::Tally;
use super::write::{BatchError, BatchWrite, advance_spans};
use crate::db;
use crate::db::agents::billing::BilledAgent;
use crate::db::billing::accounts::{BillingAccount, BillingAccounts};
use crate::db::identity::organizations::LockedOrganization;
use crate::db::{Connection, Database};
use crate::domain::agent::BillingStatus;
use crate::domain::billing::{self, Organization, Span, SpanProgress, WarningDelivery};
use crate::domain::hour::Hour;
use crate::domain::ids::OrganizationId;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// How many times a transaction is attempted in total if it keeps losing conflicts.
const MAX_ATTEMPTS: usize = 4;

/// What all batches of a run share.
pub(super) struct Context<'a> {
    pub pool: &'a Database,
    pub prices: &'a Prices,
    pub period_end: Hour,
}

/// What a batch reads under its locks.
struct BatchInput {
    /// Billing's clock, read after the locks were taken.
    now: DateTime<Utc>,
    /// The organizations to decide, in the order of their ids.
    organizations: Vec<Organization>,
    /// The unsettled spans of deleted organizations.
    abandoned: Vec<Span>,
    /// Organizations and spans whose rows are invalid.
    errors: usize,
}

impl Context<'_> {
    /// Decides a batch. If it keeps failing, decides each of its organizations alone and counts those that fail. Only
    /// an unavailable database is an error.
    pub async fn decide(&self, batch: &[OrganizationId]) -> Result<Tally, sqlx::Error> {
        match self.try_decide(batch).await {
            Ok(tally) => return Ok(tally),
            Err(error) => {
                let class = error.class_unless_unavailable()?;
                warn!(
                    organizations = batch.len(),
                    error = class,
                    "billing batch failed; its organizations are billed one by one"
                );
            }
        }
        let mut tally = Tally::default();
        for organization_id in batch {
            match self.try_decide(&[*organization_id]).await {
                Ok(decided) => tally.add(&decided),
                Err(error) => {
                    let class = error.class_unless_unavailable()?;
                    warn!(
                        organization.id = %organization_id,
                        error = class,
                        "organization {organization_id} was not billed; a later run charges it"
                    );
                    tally.errors += 1;
                }
            }
        }
        Ok(tally)
    }

    /// Repeats the transaction while it loses conflicts.
    async fn try_decide(&self, batch: &[OrganizationId]) -> Result<Tally, BatchError> {
        let mut attempt = 1;
        loop {
            match self.transaction(batch).await {
                Err(error) if error.is_conflict() && attempt < MAX_ATTEMPTS => warn!(
                    organizations = batch.len(),
                    attempt,
                    error = error.class(),
                    "billing batch lost a conflict and is repeated"
                ),
                result => return result,
            }
            attempt += 1;
        }
    }

    async fn transaction(&self, batch: &[OrganizationId]) -> Result<Tally, BatchError> {
        let mut tx = self.pool.begin().await?;
        let input = self.read(&mut tx, batch).await?;
        let billed_until = self.period_end.instant();
        let mut write = BatchWrite::default();
        for organization in &input.organizations {
            let decision = billing::decide(organization, self.period_end, input.now, self.prices);
            write.push(organization, decision, billed_until, input.now);
        }
        write.execute(&mut tx, billed_until, input.now).await?;
        let mut tally = write.tally;
        tally.errors = input.errors;
        tally.uncollected = self.abandon(&mut tx, &input.abandoned).await?;
        tx.commit().await?;
        Ok(tally)
    }

    /// Takes the batch's locks, then reads what it decides on.
    async fn read(
        &self,
        conn: &mut Connection,
        batch: &[OrganizationId],
    ) -> Result<BatchInput, sqlx::Error> {
        let locked = db::identity::organizations::organizations_lock(conn, batch).await?;
        let BillingAccounts { now, accounts } =
            db::billing::accounts::accounts_read(conn, batch).await?;
        let mut errors = 0;
        let mut organizations = self.undecided(&locked, &accounts, &mut errors);
        let ids: Vec<OrganizationId> = organizations.keys().copied().collect();
        // Those under dunning need their agents; those that are low on credit are added below.
        let mut needing_agents =
            db::agents::billing::agents_lock_and_find_dunned(conn, &ids).await?;

        let existing: HashSet<OrganizationId> =
            locked.iter().map(|organization| organization.id).collect();
        let deleted = batch.iter().filter(|id| !existing.contains(id));
        let with_spans: Vec<OrganizationId> = ids.iter().chain(deleted).copied().collect();
        let billed_until = self.period_end.instant();
        let mut abandoned = Vec::new();
        for owned in db::billing::spans::spans_unsettled(conn, &with_spans, billed_until).await? {
            match (owned.span, organizations.get_mut(&owned.organization_id)) {
                (Some(span), Some(organization)) => organization.spans.push(span),
                (Some(span), None) => abandoned.push(span),
                (None, _) => errors += 1,
            }
        }

        let low_on_credit = organizations.values().filter(|organization| {
            !organization.stays_above_warning_mark(self.period_end, self.prices)
        });
        needing_agents.extend(low_on_credit.map(|organization| organization.id));
        self.read_agents(conn, &needing_agents, &mut organizations)
            .await?;

        let mut organizations: Vec<Organization> = organizations.into_values().collect();
        organizations.sort_by_key(|organization| organization.id);
        Ok(BatchInput {
            now,
            organizations,
            abandoned,
            errors,
        })
    }

    /// The locked organizations that no run has decided up to this hour. An invalid balance counts as an error.
    fn undecided(
        &self,
        locked: &[LockedOrganization],
        accounts: &[BillingAccount],
        errors: &mut usize,
    ) -> HashMap<OrganizationId, Organization> {
        let billed_until = self.period_end.instant();
        let accounts: HashMap<OrganizationId, &BillingAccount> = accounts
            .iter()
            .map(|account| (account.organization_id, account))
            .collect();
        let mut organizations = HashMap::new();
        for organization in locked {
            let account = accounts.get(&organization.id);
            if account.and_then(|account| account.decided_through) >= Some(billed_until) {
                continue;
            }
            let Some(balance) = organization.balance else {
                *errors += 1;
                continue;
            };
            organizations.insert(
                organization.id,
                Organization {
                    id: organization.id,
                    balance,
                    low_since: account.and_then(|account| account.low_since),
                    agents: Vec::new(),
                    spans: Vec::new(),
                },
            );
        }
        organizations
    }

    /// Adds the agents of organizations that may be warned or suspended.
    async fn read_agents(
        &self,
        conn: &mut Connection,
        ids: &[OrganizationId],
        organizations: &mut HashMap<OrganizationId, Organization>,
    ) -> Result<(), sqlx::Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut agents = db::agents::billing::agents_read(conn, ids).await?;
        self.read_warnings(conn, &mut agents).await?;
        for billed in agents {
            if let Some(organization) = organizations.get_mut(&billed.organization_id) {
                organization.agents.push(billed.agent);
            }
        }
        Ok(())
    }

    /// Fills in what became of the warnings of agents whose shutdown date has passed.
    async fn read_warnings(
        &self,
        conn: &mut Connection,
        agents: &mut [BilledAgent],
    ) -> Result<(), sqlx::Error> {
        let mut due: Vec<&mut BilledAgent> = agents
            .iter_mut()
            .filter(|billed| {
                billed.agent.billing == BillingStatus::ShutdownPending
                    && billed
                        .agent
                        .shutdown_at
                        .is_some_and(|at| at <= self.period_end.instant())
            })
            .collect();
        let Some(since) = due.iter().filter_map(|billed| billed.agent.warned_at).min() else {
            return Ok(());
        };
        let organization_ids: Vec<OrganizationId> =
            due.iter().map(|billed| billed.organization_id).collect();
        let warnings =
            db::requests::outbox::shutdown_warnings(conn, &organization_ids, since).await?;
        let deliveries: HashMap<(OrganizationId, DateTime<Utc>), WarningDelivery> = warnings
            .into_iter()
            .map(|warning| {
                let key = (warning.organization_id, warning.occurred_at);
                (key, warning.delivery)
            })
            .collect();
        for billed in &mut due {
            let warned_at = billed.agent.warned_at;
            let delivery = warned_at.and_then(|at| deliveries.get(&(billed.organization_id, at)));
            billed.agent.warning = delivery.copied().unwrap_or_default();
        }
        Ok(())
    }

    /// Closes the spans of deleted organizations. Their debt is counted once and charged to nobody.
    async fn abandon(&self, conn: &mut Connection, spans: &[Span]) -> Result<Money, BatchError> {
        let billed_until = self.period_end.instant();
        let mut uncollected = Money::ZERO;
        let mut progress = Vec::new();
        for span in spans {
            uncollected += span.worth(span.unbilled_from(), billed_until, self.prices);
            let billed_through = span.end(billed_until);
            progress.push(SpanProgress {
                id: span.id,
                previous: span.billed_through,
                billed_through,
                settled: span.ended_at == Some(billed_through),
            });
        }
        advance_spans(conn, &progress, Some("organization gone")).await?;
        Ok(uncollected)
    }
}
