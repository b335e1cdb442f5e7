//! What a batch of a billing run writes. Owns: the order of the writes.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::tally::Tally;
use crate::db::Connection;
use crate::db::billing::accounts::DecidedAccounts;
use crate::db::billing::ledger::LedgerRows;
use crate::db::jobs::queue::StopJob;
use crate::db::requests::outbox::NewEvents;
use crate::db::{self, DatabaseFailure};
use crate::domain::agent::BillingStatus;
use crate::domain::billing::{
    AgentTotal, BillingUpdate, Decision, Notice, Organization, SpanProgress,
};
use crate::domain::ids::{AgentId, OrganizationId};

/// Why a batch was rolled back.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchError {
    #[error("another transaction moved the billing mark of a span after it was read")]
    SpanMoved,
    #[error("the database did not answer ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
}

impl BatchError {
    /// Whether the transaction may succeed when it is repeated.
    pub(super) fn is_conflict(&self) -> bool {
        match self {
            Self::SpanMoved => true,
            Self::Database(error) => db::classify(error) == DatabaseFailure::Conflict,
        }
    }

    /// What may be logged of it.
    pub(super) fn class(&self) -> String {
        match self {
            Self::SpanMoved => "span moved".to_owned(),
            Self::Database(error) => db::error_class(error),
        }
    }

    /// [`Self::class`], or the error itself if the database is unavailable, which ends the run.
    pub(super) fn class_unless_unavailable(self) -> Result<String, sqlx::Error> {
        let class = self.class();
        match self {
            Self::Database(error) if db::classify(&error) == DatabaseFailure::Unavailable => {
                Err(error)
            }
            _ => Ok(class),
        }
    }
}

/// Everything that a batch writes, gathered into a fixed number of statements.
#[derive(Default)]
pub(super) struct BatchWrite {
    pub(super) tally: Tally,
    debit_ids: Vec<OrganizationId>,
    debit_amounts: Vec<Decimal>,
    ledger_rows: LedgerRows,
    spans: Vec<SpanProgress>,
    totals: Vec<AgentTotal>,
    /// The agent's index in `totals`.
    total_index: HashMap<AgentId, usize>,
    updates: Vec<BillingUpdate>,
    stops: Vec<StopJob>,
    events: NewEvents,
    decided: DecidedAccounts,
}

impl BatchWrite {
    pub(super) fn push(
        &mut self,
        organization: &Organization,
        decision: Decision,
        billed_until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) {
        self.count(organization, &decision);
        if decision.charged.is_positive() {
            self.debit_ids.push(organization.id);
            self.debit_amounts.push(decision.charged.to_decimal());
        }
        for charge in &decision.charges {
            let span = &organization.spans[charge.span_index];
            self.ledger_rows
                .push_charge(organization.id, span, charge, now);
        }
        for write_off in &decision.write_offs {
            let span = &organization.spans[write_off.span_index];
            self.ledger_rows.push_write_off(
                organization.id,
                span,
                write_off,
                decision.balance,
                now,
            );
        }
        self.push_stops(organization.id, &decision.updates);
        self.push_notices(organization.id, &decision.notices, billed_until);
        self.spans.extend(decision.spans);
        for total in decision.totals {
            self.add_total(total);
        }
        self.updates.extend(decision.updates);
        self.decided.organization_ids.push(organization.id);
        self.decided.low_since.push(decision.low_since);
        self.decided
            .opening_balances
            .push(organization.balance.to_decimal());
    }

    fn push_stops(&mut self, organization_id: OrganizationId, updates: &[BillingUpdate]) {
        for update in updates {
            let Some(target) = &update.stop else {
                continue;
            };
            self.stops.push(StopJob {
                organization_id,
                user_id: target.user_id,
                agent_id: update.id,
                agent_name: target.agent_name.clone(),
                reason: "billing",
            });
        }
    }

    fn push_notices(
        &mut self,
        organization_id: OrganizationId,
        notices: &[Notice],
        billed_until: DateTime<Utc>,
    ) {
        for notice in notices {
            let event_type = notice.event_type();
            let hour = billed_until.timestamp();
            self.events
                .keys
                .push(format!("{event_type}:{organization_id}:{hour}"));
            self.events.types.push(event_type.to_owned());
            self.events.organization_ids.push(organization_id);
            self.events
                .payloads
                .push(serde_json::to_value(notice).unwrap_or_default());
        }
    }

    /// An agent that moved to another organization may be charged in both.
    fn add_total(&mut self, total: AgentTotal) {
        let next = self.totals.len();
        let at = *self.total_index.entry(total.id).or_insert(next);
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
        let processed: HashSet<AgentId> = metered.chain(dunned.map(|agent| agent.id)).collect();
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

    pub(super) async fn execute(
        &self,
        conn: &mut Connection,
        billed_until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), BatchError> {
        advance_spans(conn, &self.spans, None).await?;
        if !self.debit_ids.is_empty() {
            db::identity::organizations::organizations_debit(
                conn,
                &self.debit_ids,
                &self.debit_amounts,
            )
            .await?;
        }
        if !self.ledger_rows.is_empty() {
            db::billing::ledger::ledger_append(conn, &self.ledger_rows, now).await?;
        }
        if !self.totals.is_empty() {
            db::agents::billing::agents_add_totals(conn, &self.totals).await?;
        }
        if !self.updates.is_empty() {
            db::agents::billing::agents_update_billing(conn, &self.updates, now).await?;
        }
        if !self.stops.is_empty() {
            let agents: Vec<AgentId> = self.stops.iter().map(|stop| stop.agent_id).collect();
            db::jobs::queue::starts_supersede_of_any_organization(conn, &agents, now).await?;
            db::jobs::queue::suspensions_enqueue(conn, &self.stops, now).await?;
        }
        if !self.events.keys.is_empty() {
            db::requests::outbox::outbox_append(conn, &self.events, now).await?;
        }
        if !self.decided.organization_ids.is_empty() {
            db::billing::accounts::accounts_decide(conn, billed_until, now, &self.decided).await?;
        }
        Ok(())
    }
}

/// Moves `billed_through` of spans, all of them or none.
pub(super) async fn advance_spans(
    conn: &mut Connection,
    progress: &[SpanProgress],
    closed_reason: Option<&str>,
) -> Result<(), BatchError> {
    if progress.is_empty() {
        return Ok(());
    }
    let moved = db::billing::spans::spans_advance(conn, progress, closed_reason).await?;
    if moved == progress.len() {
        Ok(())
    } else {
        Err(BatchError::SpanMoved)
    }
}
