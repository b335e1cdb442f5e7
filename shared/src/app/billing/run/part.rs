//! One part of a billing run: a transaction over some organizations. Owns: the order of its SQL statements, which is
//! the lock order of the whole project (organizations by id, then their agents, accounts and spans by id), and what
//! happens when it fails.
//!
//! Organizations that pay are charged without the locks of their agents: metering locks the account before it ends a
//! span. Those whose agents may be warned or suspended are left to a part that locks the agents first, because writers
//! lock an agent before the account.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::warn;

use super::abandoned::Abandoned;
use super::tally::{PartTally, Tally};
use super::write::{EarlierParts, PartError, PartWrite};
use crate::db;
use crate::db::agents::billing::BilledAgent;
use crate::db::billing::accounts::{BillingAccount, BillingAccounts};
use crate::db::identity::organizations::LockedOrganization;
use crate::db::requests::outbox::ShutdownWarning;
use crate::db::{Connection, Database};
use crate::domain::agent::BillingStatus;
use crate::domain::billing::{self, Organization, Terms};
use crate::domain::hour::Hour;
use crate::domain::ids::{AgentId, OrganizationId};
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// No new part begins with less time than this before the deadline.
const PART_TIME: Duration = Duration::from_secs(10);
/// How many times a transaction is attempted in total if it keeps conflicting with others.
pub(super) const MAX_ATTEMPTS: usize = 4;
/// How long after a price change runs still cut spans at it: a writer may have opened a span at the old price while the
/// first run cut them.
const PRICE_CHANGE_OVERLAP: TimeDelta = TimeDelta::hours(1);

/// What all parts of a run share.
pub(super) struct Context<'a> {
    pub pool: &'a Database,
    pub prices: &'a Prices,
    pub period_end: Hour,
    /// When list prices changed, in order.
    pub price_changes: Vec<DateTime<Utc>>,
    /// When the invocation ends; `None` if that is unknown.
    pub deadline: Option<Instant>,
    pub max_charges: usize,
}

/// What became of a batch of organizations.
pub(super) struct BatchOutcome {
    pub tally: Tally,
    /// Whether all were reached before the deadline.
    pub complete: bool,
}

/// What a part reads under its locks.
struct PartInput {
    /// Billing's clock, read after the locks were taken.
    now: DateTime<Utc>,
    /// The organizations to decide, in the order of their ids.
    organizations: Vec<Organization>,
    abandoned: Abandoned,
    /// Organizations whose row holds no valid balance.
    invalid: Vec<OrganizationId>,
    /// Organizations whose agents must be locked first.
    deferred: Vec<OrganizationId>,
}

/// What a part locks, besides organizations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Locks {
    Accounts,
    AgentsAndAccounts,
}

/// What a part did, and what it left.
struct PartOutcome {
    tally: PartTally,
    /// Organizations that owe more slices than the part could charge, with what the run has charged them.
    undecided: EarlierParts,
    /// Organizations whose agents must be locked first.
    deferred: Vec<OrganizationId>,
}

impl Context<'_> {
    fn has_time(&self) -> bool {
        self.deadline
            .is_none_or(|at| Instant::now() + PART_TIME < at)
    }

    /// Decides a batch in as many parts as it needs. If one keeps failing, decides each organization alone and counts
    /// those that fail. Only an unavailable database is an error.
    pub async fn decide(&self, batch: &[OrganizationId]) -> Result<BatchOutcome, sqlx::Error> {
        let mut total = Tally::default();
        let mut earlier = EarlierParts::new();
        match self.decide_in_parts(batch, &mut total, &mut earlier).await {
            Ok(complete) => {
                return Ok(BatchOutcome {
                    tally: total,
                    complete,
                });
            }
            Err(error) => {
                let class = error.class_unless_unavailable()?;
                warn!(
                    organizations = batch.len(),
                    error = class,
                    "billing part failed; the organizations of its batch are billed one by one"
                );
            }
        }
        let mut complete = true;
        for &organization_id in batch {
            match self
                .decide_in_parts(&[organization_id], &mut total, &mut earlier)
                .await
            {
                Ok(reached) => complete &= reached,
                Err(error) => {
                    let class = error.class_unless_unavailable()?;
                    warn!(
                        organization.id = %organization_id,
                        error = class,
                        "organization {organization_id} was not billed; a later run charges it"
                    );
                    total.fail(organization_id, class);
                }
            }
        }
        Ok(BatchOutcome {
            tally: total,
            complete,
        })
    }

    /// Adds to `total` what was committed, even if a later part fails. Returns whether there was enough time.
    async fn decide_in_parts(
        &self,
        batch: &[OrganizationId],
        total: &mut Tally,
        earlier: &mut EarlierParts,
    ) -> Result<bool, PartError> {
        let mut billed: HashSet<AgentId> = HashSet::new();
        let mut deferred = batch.to_vec();
        for locks in [Locks::Accounts, Locks::AgentsAndAccounts] {
            let mut remaining = std::mem::take(&mut deferred);
            while !remaining.is_empty() {
                if !self.has_time() {
                    return Ok(false);
                }
                let outcome = self.try_part(&remaining, locks, earlier).await?;
                let billed_before = billed.len();
                billed.extend(outcome.tally.billed);
                total.add(&outcome.tally.figures);
                total.agents_billed += billed.len() - billed_before;
                remaining = outcome.undecided.keys().copied().collect();
                earlier.extend(outcome.undecided);
                deferred.extend(outcome.deferred);
            }
        }
        Ok(true)
    }

    /// Repeats the transaction while it conflicts with others.
    async fn try_part(
        &self,
        batch: &[OrganizationId],
        locks: Locks,
        earlier: &EarlierParts,
    ) -> Result<PartOutcome, PartError> {
        let mut attempt = 1;
        loop {
            match self.transaction(batch, locks, earlier).await {
                Err(error) if error.is_conflict() && attempt < MAX_ATTEMPTS => warn!(
                    organizations = batch.len(),
                    attempt,
                    error = error.class(),
                    "billing part conflicted with another transaction and is repeated"
                ),
                result => return result,
            }
            attempt += 1;
        }
    }

    async fn transaction(
        &self,
        batch: &[OrganizationId],
        locks: Locks,
        earlier: &EarlierParts,
    ) -> Result<PartOutcome, PartError> {
        let mut tx = self.pool.begin().await?;
        let input = self.read(&mut tx, batch, locks).await?;
        let terms = Terms {
            period_end: self.period_end,
            now: input.now,
            prices: self.prices,
            max_charges: self.max_charges,
        };
        let mut write = PartWrite::default();
        for organization in &input.organizations {
            let decision = billing::decide(organization, &terms);
            let earlier = earlier.get(&organization.id);
            write.push(organization, decision, &terms, earlier);
        }
        write.execute(&mut tx, &terms).await?;
        let mut tally = write.tally;
        for organization_id in input.invalid {
            tally
                .figures
                .fail(organization_id, "invalid balance".to_owned());
        }
        let billed_until = self.period_end.instant();
        tally.figures.uncollected = input.abandoned.close(&mut tx, billed_until).await?;
        tx.commit().await?;
        Ok(PartOutcome {
            tally,
            undecided: write.undecided,
            deferred: input.deferred,
        })
    }

    /// Takes the part's locks, then reads what it decides on.
    async fn read(
        &self,
        conn: &mut Connection,
        batch: &[OrganizationId],
        locks: Locks,
    ) -> Result<PartInput, sqlx::Error> {
        let locked = db::identity::organizations::organizations_lock(conn, batch).await?;
        if locks == Locks::AgentsAndAccounts {
            db::agents::billing::agents_lock(conn, batch).await?;
        }
        db::billing::accounts::accounts_lock(conn, batch).await?;
        let BillingAccounts { now, accounts } =
            db::billing::accounts::accounts_read(conn, batch).await?;
        let mut invalid = Vec::new();
        let mut organizations = self.undecided(&locked, &accounts, &mut invalid);
        let mut deferred = Vec::new();
        let ids: Vec<OrganizationId> = organizations.keys().copied().collect();
        // Those under dunning need their agents; those that are low on credit are added below.
        let mut needing_agents =
            db::agents::billing::organizations_under_dunning(conn, &ids).await?;
        if locks == Locks::Accounts {
            defer(&mut organizations, &mut needing_agents, &mut deferred);
        }

        let existing: HashSet<OrganizationId> =
            locked.iter().map(|organization| organization.id).collect();
        let deleted = batch.iter().filter(|id| !existing.contains(id));
        let with_spans: Vec<OrganizationId> =
            organizations.keys().chain(deleted).copied().collect();
        self.cut_at_price_changes(conn, &with_spans, &accounts)
            .await?;
        let billed_until = self.period_end.instant();
        let indebted = accounts.iter().filter(|account| {
            account.carried_debt.is_positive() && !existing.contains(&account.organization_id)
        });
        let mut abandoned = Abandoned {
            accounts: indebted.copied().collect(),
            ..Abandoned::default()
        };
        let with_account: HashSet<OrganizationId> = accounts
            .iter()
            .map(|account| account.organization_id)
            .collect();
        let (with_account, without_account): (Vec<_>, Vec<_>) = with_spans
            .into_iter()
            .partition(|id| with_account.contains(id));
        let mut spans =
            db::billing::spans::spans_uncharged(conn, &with_account, &accounts, billed_until)
                .await?;
        if !without_account.is_empty() {
            spans.extend(
                db::billing::spans::spans_lock_uncharged(conn, &without_account, billed_until)
                    .await?,
            );
        }
        for owned in spans {
            match organizations.get_mut(&owned.organization_id) {
                Some(organization) => organization.spans.push(owned.span),
                None => abandoned.spans.push(owned.span),
            }
        }

        let low_on_credit = organizations.values().filter(|organization| {
            !organization.stays_above_low_credit(self.period_end, self.prices)
        });
        needing_agents.extend(low_on_credit.map(|organization| organization.id));
        if locks == Locks::Accounts {
            defer(&mut organizations, &mut needing_agents, &mut deferred);
            invalid.retain(|id| organizations.contains_key(id));
        }
        self.read_agents(conn, &needing_agents, &mut organizations)
            .await?;

        let mut organizations: Vec<Organization> = organizations.into_values().collect();
        organizations.sort_by_key(|organization| organization.id);
        Ok(PartInput {
            now,
            organizations,
            abandoned,
            invalid,
            deferred,
        })
    }

    /// The locked organizations that no run has decided up to this hour. An invalid balance counts as 0, so that dunning
    /// takes its course (F56).
    fn undecided(
        &self,
        locked: &[LockedOrganization],
        accounts: &[BillingAccount],
        invalid: &mut Vec<OrganizationId>,
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
            if organization.balance.is_none() {
                invalid.push(organization.id);
            }
            organizations.insert(
                organization.id,
                Organization {
                    id: organization.id,
                    balance: organization.balance.unwrap_or_default(),
                    carried_debt: account.map_or(Money::ZERO, |account| account.carried_debt),
                    charged_through: account.and_then(|account| account.charged_through),
                    low_since: account.and_then(|account| account.low_since),
                    low_notice: account
                        .map(|account| account.low_notice)
                        .unwrap_or_default(),
                    own_low_credit_mark: organization.own_low_credit_mark,
                    agents: Vec::new(),
                    spans: Vec::new(),
                },
            );
        }
        organizations
    }

    /// Cuts spans at price changes after which their organizations have not been decided, so that each piece is
    /// charged at its own price. An organization without an account has never been decided.
    async fn cut_at_price_changes(
        &self,
        conn: &mut Connection,
        organization_ids: &[OrganizationId],
        accounts: &[BillingAccount],
    ) -> Result<(), sqlx::Error> {
        let decided: HashMap<OrganizationId, DateTime<Utc>> = accounts
            .iter()
            .filter_map(|account| Some((account.organization_id, account.decided_through?)))
            .collect();
        for &valid_from in &self.price_changes {
            let cut_through = valid_from + PRICE_CHANGE_OVERLAP;
            let affected: Vec<OrganizationId> = organization_ids
                .iter()
                .copied()
                .filter(|id| {
                    decided
                        .get(id)
                        .is_none_or(|through| *through <= cut_through)
                })
                .collect();
            if !affected.is_empty() {
                db::billing::metering::spans_cut_at_price_change(conn, &affected, valid_from)
                    .await?;
            }
        }
        Ok(())
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

    /// Fills in the warnings of agents with a shutdown date: what became of them, and the debt ceiling that they name.
    async fn read_warnings(
        &self,
        conn: &mut Connection,
        agents: &mut [BilledAgent],
    ) -> Result<(), sqlx::Error> {
        let mut pending: Vec<&mut BilledAgent> = agents
            .iter_mut()
            .filter(|billed| billed.agent.billing == BillingStatus::ShutdownPending)
            .collect();
        let Some(since) = pending
            .iter()
            .filter_map(|billed| billed.agent.warned_at)
            .min()
        else {
            return Ok(());
        };
        let organization_ids: Vec<OrganizationId> = pending
            .iter()
            .map(|billed| billed.organization_id)
            .collect();
        let warnings =
            db::requests::outbox::shutdown_warnings(conn, &organization_ids, since).await?;
        let warnings: HashMap<(OrganizationId, DateTime<Utc>), ShutdownWarning> = warnings
            .into_iter()
            .map(|warning| ((warning.organization_id, warning.occurred_at), warning))
            .collect();
        for billed in &mut pending {
            let warned_at = billed.agent.warned_at;
            let warning = warned_at.and_then(|at| warnings.get(&(billed.organization_id, at)));
            if let Some(warning) = warning {
                billed.agent.warning = warning.delivery;
                billed.agent.warned_ceiling = warning.debt_ceiling;
            }
        }
        Ok(())
    }
}

/// Leaves organizations to a part that locks their agents.
fn defer(
    organizations: &mut HashMap<OrganizationId, Organization>,
    ids: &mut Vec<OrganizationId>,
    deferred: &mut Vec<OrganizationId>,
) {
    for id in ids.iter() {
        organizations.remove(id);
    }
    deferred.append(ids);
}
