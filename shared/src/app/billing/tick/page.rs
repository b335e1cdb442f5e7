//! One page of a tick: a transaction over some organizations. Owns: its statements' order, which is
//! the lock order of the whole project (organizations by id, then their agents by id), and what is
//! done when it fails.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use tracing::warn;
use uuid::Uuid;

use super::Tally;
use crate::db::billing::accounts::Decided;
use crate::db::agents::billing::LockedAgent;
use crate::db::jobs::queue::Stop;
use crate::db::billing::ledger::Lines;
use crate::db::requests::outbox::Events;
use crate::db::{self, Failure};
use crate::domain::agent::BillingStatus;
use crate::domain::billing::{
    self, AgentTotal, Decision, Handover, Notice, Organization, Span, SpanProgress, Standing,
};
use crate::domain::hour::Hour;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// Tries of a transaction that lost a lock conflict.
const TRIES: usize = 4;

/// What every page of a tick shares.
pub(super) struct Context<'a> {
    pub pool: &'a PgPool,
    pub prices: &'a Prices,
    pub period_end: Hour,
}

/// Why a page was rolled back.
enum PageError {
    /// A span did not stand where it was read.
    Moved,
    Database(sqlx::Error),
}

impl From<sqlx::Error> for PageError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Context<'_> {
    /// Decides a page. When it keeps failing, each of its organizations is decided on its own and
    /// those that fail are counted. Only a database that is away is an error.
    pub async fn settle(&self, page: &[Uuid]) -> Result<Tally, sqlx::Error> {
        if let Some(tally) = self.try_settle(page).await? {
            return Ok(tally);
        }
        let mut tally = Tally::default();
        for organization in page {
            match self.try_settle(&[*organization]).await? {
                Some(done) => tally.add(&done),
                None => tally.errors += 1,
            }
        }
        Ok(tally)
    }

    async fn try_settle(&self, page: &[Uuid]) -> Result<Option<Tally>, sqlx::Error> {
        for _ in 0..TRIES {
            let class = match self.transaction(page).await {
                Ok(tally) => return Ok(Some(tally)),
                Err(PageError::Moved) => "span moved".to_owned(),
                Err(PageError::Database(error)) => match db::failure(&error) {
                    Failure::Unavailable => return Err(error),
                    Failure::Conflict => db::error_class(&error),
                    Failure::Other => {
                        warn!(
                            organizations = page.len(),
                            error = db::error_class(&error),
                            "billing.page failed"
                        );
                        return Ok(None);
                    }
                },
            };
            warn!(
                organizations = page.len(),
                error = class,
                "billing.page rolled back"
            );
        }
        Ok(None)
    }

    async fn transaction(&self, page: &[Uuid]) -> Result<Tally, PageError> {
        let mut tx = self.pool.begin().await?;
        let tally = self.decide(&mut tx, page).await?;
        tx.commit().await?;
        Ok(tally)
    }

    async fn decide(&self, conn: &mut PgConnection, page: &[Uuid]) -> Result<Tally, PageError> {
        let through = self.period_end.start();
        let locked = db::identity::organizations::organizations_lock(conn, page).await?;
        let (now, accounts) = db::billing::accounts::accounts_read(conn, page).await?;
        let accounts: HashMap<Uuid, _> = accounts
            .into_iter()
            .map(|account| (account.organization_id, account))
            .collect();
        let undecided = |id: &Uuid| {
            accounts.get(id).and_then(|account| account.decided_through) < Some(through)
        };
        let mut write = Write::default();
        let here: HashSet<Uuid> = locked.iter().map(|organization| organization.id).collect();
        let mut organizations: HashMap<Uuid, Organization> = HashMap::new();
        for organization in locked
            .iter()
            .filter(|organization| undecided(&organization.id))
        {
            let Some(balance) = organization.balance else {
                write.tally.errors += 1;
                continue;
            };
            organizations.insert(
                organization.id,
                Organization {
                    id: organization.id,
                    balance,
                    low_since: accounts
                        .get(&organization.id)
                        .and_then(|account| account.low_since),
                    agents: Vec::new(),
                    spans: Vec::new(),
                },
            );
        }
        let ids: Vec<Uuid> = organizations.keys().copied().collect();
        let mut watched = db::agents::billing::agents_lock(conn, &ids).await?;
        let gone: Vec<Uuid> = page
            .iter()
            .filter(|id| !here.contains(id))
            .copied()
            .collect();
        let wanted: Vec<Uuid> = ids.iter().chain(&gone).copied().collect();
        let mut abandoned = Vec::new();
        for owned in db::billing::spans::spans_unsettled(conn, &wanted, through).await? {
            match (owned.span, organizations.get_mut(&owned.organization_id)) {
                (Some(span), Some(organization)) => organization.spans.push(span),
                (Some(span), None) => abandoned.push(span),
                (None, _) => write.tally.errors += 1,
            }
        }
        let short = organizations
            .values()
            .filter(|organization| !organization.is_comfortable(self.period_end, self.prices));
        watched.extend(short.map(|organization| organization.id));
        let owners = self.read_agents(conn, &watched, &mut organizations).await?;
        let mut organizations: Vec<_> = organizations.into_values().collect();
        organizations.sort_by_key(|organization| organization.id);
        for organization in organizations {
            let decision = billing::decide(&organization, self.period_end, now, self.prices);
            write.push(&organization, decision, &owners, through, now);
        }
        write.execute(conn, through, now).await?;
        let mut tally = write.tally;
        tally.uncollected = self.abandon(conn, &abandoned).await?;
        Ok(tally)
    }

    /// Reads the agents of organizations that may be warned or suspended, and what became of the
    /// warnings whose deadline may have passed.
    async fn read_agents(
        &self,
        conn: &mut PgConnection,
        ids: &[Uuid],
        organizations: &mut HashMap<Uuid, Organization>,
    ) -> Result<HashMap<Uuid, Uuid>, sqlx::Error> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut agents = db::agents::billing::agents_read(conn, ids).await?;
        self.read_warnings(conn, &mut agents).await?;
        let mut owners = HashMap::with_capacity(agents.len());
        for locked in agents {
            owners.insert(locked.agent.id, locked.user_id);
            if let Some(organization) = organizations.get_mut(&locked.organization_id) {
                organization.agents.push(locked.agent);
            }
        }
        Ok(owners)
    }

    async fn read_warnings(
        &self,
        conn: &mut PgConnection,
        agents: &mut [LockedAgent],
    ) -> Result<(), sqlx::Error> {
        let mut due: Vec<&mut LockedAgent> = agents
            .iter_mut()
            .filter(|locked| {
                locked.agent.billing == BillingStatus::ShutdownPending
                    && locked
                        .agent
                        .shutdown_at
                        .is_some_and(|at| at <= self.period_end.start())
            })
            .collect();
        let Some(since) = due.iter().filter_map(|locked| locked.agent.warned_at).min() else {
            return Ok(());
        };
        let organization_ids: Vec<Uuid> = due.iter().map(|locked| locked.organization_id).collect();
        let warnings = db::requests::outbox::shutdown_warnings(conn, &organization_ids, since).await?;
        let fates: HashMap<(Uuid, DateTime<Utc>), Handover> = warnings
            .into_iter()
            .map(|warning| {
                (
                    (warning.organization_id, warning.occurred_at),
                    warning.handover,
                )
            })
            .collect();
        for locked in &mut due {
            let warned_at = locked.agent.warned_at;
            let fate = warned_at.and_then(|at| fates.get(&(locked.organization_id, at)));
            locked.agent.warning = fate.copied().unwrap_or_default();
        }
        Ok(())
    }

    /// Closes what organizations that are gone left behind; their debt is counted once.
    async fn abandon(&self, conn: &mut PgConnection, spans: &[Span]) -> Result<Money, PageError> {
        let through = self.period_end.start();
        let mut uncollected = Money::ZERO;
        let mut progress = Vec::new();
        for span in spans {
            uncollected += span.worth(span.unbilled_from(), through, self.prices);
            let billed_through = span.end(through);
            progress.push(SpanProgress {
                id: span.id,
                was: span.billed_through,
                billed_through,
                settled: span.ended_at == Some(billed_through),
            });
        }
        advance(conn, &progress, Some("organization gone")).await?;
        Ok(uncollected)
    }
}

/// All that a page writes, gathered into a fixed number of statements.
#[derive(Default)]
struct Write {
    tally: Tally,
    debit_ids: Vec<Uuid>,
    debit_amounts: Vec<rust_decimal::Decimal>,
    lines: Lines,
    spans: Vec<SpanProgress>,
    totals: Vec<AgentTotal>,
    total_of: HashMap<Uuid, usize>,
    standings: Vec<Standing>,
    stops: Vec<Stop>,
    events: Events,
    decided: Decided,
}

impl Write {
    fn push(
        &mut self,
        organization: &Organization,
        decision: Decision,
        owners: &HashMap<Uuid, Uuid>,
        through: DateTime<Utc>,
        now: DateTime<Utc>,
    ) {
        self.count(organization, &decision);
        if decision.charged.is_positive() {
            self.debit_ids.push(organization.id);
            self.debit_amounts.push(decision.charged.to_decimal());
        }
        for charge in &decision.charges {
            let span = &organization.spans[charge.span];
            self.lines.push_charge(organization.id, span, charge, now);
        }
        for write_off in &decision.write_offs {
            let span = &organization.spans[write_off.span];
            self.lines
                .push_write_off(organization.id, span, write_off, decision.balance, now);
        }
        for standing in decision.standings.iter().filter(|standing| standing.stop) {
            let agent = organization
                .agents
                .iter()
                .find(|agent| agent.id == standing.id);
            self.stops.push(Stop {
                organization_id: organization.id,
                user_id: owners.get(&standing.id).copied().unwrap_or_default(),
                agent_id: standing.id,
                agent_name: agent.and_then(|agent| agent.name.clone()),
                reason: "billing",
            });
        }
        for notice in &decision.notices {
            let event_type = notice.event_type();
            self.events.keys.push(format!(
                "{event_type}:{}:{}",
                organization.id,
                through.timestamp()
            ));
            self.events.types.push(event_type.to_owned());
            self.events.organization_ids.push(organization.id);
            self.events
                .payloads
                .push(serde_json::to_value(notice).unwrap_or_default());
        }
        self.spans.extend(decision.spans);
        for total in decision.totals {
            self.add_total(total);
        }
        self.standings.extend(decision.standings);
        self.decided.organization_ids.push(organization.id);
        self.decided.low_since.push(decision.low_since);
        self.decided
            .opening_balances
            .push(organization.balance.to_decimal());
    }

    /// An agent that changed hands may be charged in two organizations.
    fn add_total(&mut self, total: AgentTotal) {
        let next = self.totals.len();
        let at = *self.total_of.entry(total.id).or_insert(next);
        match self.totals.get_mut(at) {
            Some(sum) => {
                sum.amount += total.amount;
                sum.billed_through = sum.billed_through.max(total.billed_through);
            }
            None => self.totals.push(total),
        }
    }

    fn count(&mut self, organization: &Organization, decision: &Decision) {
        let metered = organization.spans.iter().map(|span| span.agent_id);
        let dunned = organization.agents.iter().filter(|agent| {
            matches!(
                agent.billing,
                BillingStatus::Warning | BillingStatus::ShutdownPending
            )
        });
        let processed: HashSet<Uuid> = metered.chain(dunned.map(|agent| agent.id)).collect();
        self.tally.organizations += 1;
        self.tally.agents_processed += processed.len();
        self.tally.agents_billed += decision.totals.len();
        self.tally.slices += decision.charges.len();
        self.tally.revenue += decision.charged;
        self.tally.owed += decision.owed;
        self.tally.written_off += decision
            .write_offs
            .iter()
            .map(|write_off| write_off.worth)
            .sum();
        for notice in &decision.notices {
            match notice {
                Notice::ShutdownScheduled { agent_count, .. } => self.tally.warned += agent_count,
                Notice::Suspended { agent_count, .. } => self.tally.suspended += agent_count,
                Notice::CreditLow { .. } => {}
            }
        }
    }

    async fn execute(
        &self,
        conn: &mut PgConnection,
        through: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), PageError> {
        advance(conn, &self.spans, None).await?;
        if !self.debit_ids.is_empty() {
            db::identity::organizations::organizations_debit(conn, &self.debit_ids, &self.debit_amounts)
                .await?;
        }
        if !self.lines.is_empty() {
            db::billing::ledger::ledger_append(conn, &self.lines, now).await?;
        }
        if !self.totals.is_empty() {
            db::agents::billing::agents_add_totals(conn, &self.totals).await?;
        }
        if !self.standings.is_empty() {
            db::agents::billing::agents_set_standing(conn, &self.standings, now).await?;
        }
        if !self.stops.is_empty() {
            let agents: Vec<Uuid> = self.stops.iter().map(|stop| stop.agent_id).collect();
            db::jobs::queue::starts_supersede(conn, &agents, now).await?;
            db::jobs::queue::stops_enqueue(conn, &self.stops, now).await?;
        }
        if !self.events.keys.is_empty() {
            db::requests::outbox::outbox_append(conn, &self.events, now).await?;
        }
        if !self.decided.organization_ids.is_empty() {
            db::billing::accounts::accounts_decide(conn, through, now, &self.decided).await?;
        }
        Ok(())
    }
}

/// Moves spans, all of them or none.
async fn advance(
    conn: &mut PgConnection,
    progress: &[SpanProgress],
    closed_reason: Option<&str>,
) -> Result<(), PageError> {
    if progress.is_empty() {
        return Ok(());
    }
    let moved = db::billing::spans::spans_advance(conn, progress, closed_reason).await?;
    if moved == progress.len() {
        Ok(())
    } else {
        Err(PageError::Moved)
    }
}
