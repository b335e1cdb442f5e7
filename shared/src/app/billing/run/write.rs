//! What a part of a billing run writes. Owns: the order of the writes.

use std::collections::{HashMap, HashSet};

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::tally::PartTally;
use crate::db::Connection;
use crate::db::billing::accounts::AccountUpdates;
use crate::db::billing::ledger::{EntryPeriod, EntryType, NewCharges, NewEntry};
use crate::db::billing::spans::SpanCut;
use crate::db::jobs::queue::StopJob;
use crate::db::requests::outbox::NewEvents;
use crate::db::requests::product_events::product_batches_append_of_any_organization;
use crate::db::{self, DatabaseFailure};
use crate::domain::agent::BillingStatus;
use crate::domain::billing::{
    BillingUpdate, Charge, Consequences, Decision, Notice, Organization, SpanProgress, Terms,
};
use crate::domain::ids::{AgentId, OrganizationId, SpanId};
use crate::domain::money::Money;
use crate::domain::product_event::{CapturedEvent, MAX_BATCH_EVENTS, ProductEvent};

/// Why a part was rolled back.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartError {
    #[error("another transaction moved the billing mark of a span after it was read")]
    SpanMoved,
    #[error("the database request failed ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
}

impl PartError {
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
        match self {
            Self::Database(error) => db::class_unless_unavailable(error),
            Self::SpanMoved => Ok(Self::SpanMoved.class()),
        }
    }
}

/// The charges of a usage entry that is not written yet.
struct EntryCharges {
    /// Index into the entries.
    entry: usize,
    charges: Vec<(SpanId, Charge)>,
}

/// What a run has charged organizations that it has not decided yet, because they owe more slices than a part charges. What
/// a run that died had charged them is not known to the next one.
pub(super) type EarlierParts = HashMap<OrganizationId, Billed>;

/// What a run has charged one organization.
#[derive(Clone, Debug, Default)]
pub(super) struct Billed {
    agents: HashSet<AgentId>,
    amount: Money,
}

/// Everything that a part writes, gathered so that a fixed number of SQL statements writes it.
#[derive(Default)]
pub(super) struct PartWrite {
    pub(super) tally: PartTally,
    debited_organizations: Vec<OrganizationId>,
    debit_amounts: Vec<Decimal>,
    entries: Vec<NewEntry>,
    charges: Vec<EntryCharges>,
    spans: Vec<SpanProgress>,
    cuts: Vec<SpanCut>,
    updates: Vec<BillingUpdate>,
    stops: Vec<StopJob>,
    events: NewEvents,
    product_events: Vec<CapturedEvent>,
    /// Of the organizations that this part does not decide.
    pub(super) undecided: EarlierParts,
    accounts: AccountUpdates,
}

impl PartWrite {
    pub(super) fn push(
        &mut self,
        organization: &Organization,
        decision: Decision,
        terms: &Terms<'_>,
        earlier: Option<&Billed>,
    ) {
        self.count(organization, &decision);
        self.push_product_events(organization, &decision, terms, earlier);
        self.push_entries(organization, &decision);
        let debit = decision.carried_debt_payment + decision.charged;
        if debit.is_positive() {
            self.debited_organizations.push(organization.id);
            self.debit_amounts.push(debit.to_decimal());
        }
        let accounts = &mut self.accounts;
        accounts.organization_ids.push(organization.id);
        accounts.charged_through.push(decision.charged_through);
        accounts
            .carried_debt
            .push(decision.carried_debt.to_decimal());
        accounts.is_decided.push(decision.consequences.is_some());
        let consequences = decision.consequences.as_ref();
        accounts
            .low_since
            .push(consequences.and_then(|consequences| consequences.low_since));
        let low_notice = consequences.map_or(organization.low_notice, |consequences| {
            consequences.low_notice
        });
        accounts.low_noticed_at.push(low_notice.noticed_at);
        accounts.low_armed.push(low_notice.is_armed);
        accounts
            .opening_balances
            .push(organization.balance.to_decimal());
        for write_off in &decision.write_offs {
            self.cuts.push(SpanCut {
                id: organization.spans[write_off.span_index].id,
                start: write_off.start,
                end: write_off.end,
            });
        }
        self.spans.extend(decision.span_progress);
        if let Some(consequences) = decision.consequences {
            self.push_stops(organization.id, &consequences.updates);
            self.push_notices(organization.id, &consequences, terms);
            self.updates.extend(consequences.updates);
        }
    }

    fn push_entries(&mut self, organization: &Organization, decision: &Decision) {
        let mut balance = organization.balance;
        if decision.carried_debt_payment.is_positive() {
            self.entries.push(NewEntry {
                organization_id: organization.id,
                entry_type: EntryType::DebtPayment,
                amount: -decision.carried_debt_payment,
                balance_before: balance,
                period: None,
                detail: Some(json!({"left": decision.carried_debt})),
            });
            balance -= decision.carried_debt_payment;
        }
        if let Some(period) = period(organization, &decision.charges) {
            let span = |charge: &Charge| (organization.spans[charge.span_index].id, *charge);
            self.charges.push(EntryCharges {
                entry: self.entries.len(),
                charges: decision.charges.iter().map(span).collect(),
            });
            self.entries.push(NewEntry {
                organization_id: organization.id,
                entry_type: EntryType::Usage,
                amount: -decision.charged,
                balance_before: balance,
                period: Some(period),
                detail: None,
            });
            balance -= decision.charged;
        }
        let start = decision.write_offs.iter().map(|off| off.start).min();
        let end = decision.write_offs.iter().map(|off| off.end).max();
        if let (Some(start), Some(end)) = (start, end) {
            let agents: HashSet<AgentId> = decision
                .write_offs
                .iter()
                .map(|off| organization.spans[off.span_index].agent_id)
                .collect();
            let worth: Money = decision.write_offs.iter().map(|off| off.worth).sum();
            self.entries.push(NewEntry {
                organization_id: organization.id,
                entry_type: EntryType::WriteOff,
                amount: Money::ZERO,
                balance_before: balance,
                period: Some(EntryPeriod {
                    start,
                    end,
                    agents: agents.len(),
                }),
                detail: Some(json!({"worth": worth, "reason": "not paid within 90 days"})),
            });
        }
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
        consequences: &Consequences,
        terms: &Terms<'_>,
    ) {
        for notice in &consequences.notices {
            let event_type = notice.event_type();
            let hour = terms.period_end.instant().timestamp();
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

    /// Events of what a run did to an organization are written by the part that decides it, so there is one of each.
    fn push_product_events(
        &mut self,
        organization: &Organization,
        decision: &Decision,
        terms: &Terms<'_>,
        earlier: Option<&Billed>,
    ) {
        let mut billed = earlier.cloned().unwrap_or_default();
        let charged = decision.charges.iter();
        billed
            .agents
            .extend(charged.map(|charge| organization.spans[charge.span_index].agent_id));
        billed.amount += decision.charged;
        let Some(consequences) = &decision.consequences else {
            self.undecided.insert(organization.id, billed);
            return;
        };
        let mut push = |event: ProductEvent| {
            let at = terms.period_end.instant();
            self.product_events.push(event.capture(organization.id, at));
        };
        if !billed.agents.is_empty() {
            push(ProductEvent::HourlyBilled {
                agents: billed.agents.len(),
                amount: billed.amount,
                new_balance: decision.balance,
                owed: decision.owed,
            });
        }
        for notice in &consequences.notices {
            push(ProductEvent::of_notice(notice));
        }
    }

    fn count(&mut self, organization: &Organization, decision: &Decision) {
        let agent_of = |charge: &Charge| organization.spans[charge.span_index].agent_id;
        self.tally
            .billed
            .extend(decision.charges.iter().map(agent_of));
        let tally = &mut self.tally.figures;
        tally.slices += decision.charges.len();
        tally.revenue += decision.charged;
        tally.written_off += decision
            .write_offs
            .iter()
            .map(|write_off| write_off.worth)
            .sum();
        let Some(consequences) = &decision.consequences else {
            return;
        };
        let metered = organization.spans.iter().map(|span| span.agent_id);
        let dunned = organization.agents.iter().filter(|agent| {
            matches!(
                agent.billing,
                BillingStatus::Warning | BillingStatus::ShutdownPending
            )
        });
        let processed: HashSet<AgentId> = metered.chain(dunned.map(|agent| agent.id)).collect();
        tally.organizations += 1;
        tally.agents_processed += processed.len();
        tally.owed += decision.owed;
        tally.unwarned += consequences
            .updates
            .iter()
            .filter(|update| update.is_unwarned)
            .count();
        for notice in &consequences.notices {
            match notice {
                Notice::ShutdownScheduled { agent_count, .. } => tally.warned += agent_count,
                Notice::Suspended { agent_count, .. } => tally.suspended += agent_count,
                Notice::CreditLow { .. } => {}
            }
        }
    }

    pub(super) async fn execute(
        &self,
        conn: &mut Connection,
        terms: &Terms<'_>,
    ) -> Result<(), PartError> {
        let now = terms.now;
        if !self.entries.is_empty() {
            let entries = db::billing::ledger::entries_append(conn, &self.entries, now).await?;
            self.append_charges(conn, &entries).await?;
        }
        if !self.debited_organizations.is_empty() {
            db::identity::organizations::organizations_debit(
                conn,
                &self.debited_organizations,
                &self.debit_amounts,
            )
            .await?;
        }
        if !self.accounts.organization_ids.is_empty() {
            let through = terms.period_end.instant();
            db::billing::accounts::accounts_update(conn, through, now, &self.accounts).await?;
        }
        self.change_spans(conn).await?;
        if !self.updates.is_empty() {
            db::agents::billing::agents_update_billing(conn, &self.updates, now).await?;
        }
        if !self.stops.is_empty() {
            let agents: Vec<AgentId> = self.stops.iter().map(|stop| stop.agent_id).collect();
            db::jobs::queue::starts_supersede_of_any_organization(conn, &agents, now).await?;
            db::jobs::queue::stops_enqueue(conn, &self.stops, now).await?;
        }
        if !self.events.keys.is_empty() {
            db::requests::outbox::outbox_append(conn, &self.events, now).await?;
        }
        if !self.product_events.is_empty() {
            let batches = self.product_events.chunks(MAX_BATCH_EVENTS);
            let batches: Vec<Value> = batches.map(|batch| json!(batch)).collect();
            product_batches_append_of_any_organization(conn, &batches, now).await?;
        }
        Ok(())
    }

    async fn append_charges(&self, conn: &mut Connection, entries: &[i64]) -> sqlx::Result<()> {
        let count = self.charges.iter().map(|of_entry| of_entry.charges.len());
        let mut charges = NewCharges::with_capacity(count.sum());
        for of_entry in &self.charges {
            let entry = entries
                .get(of_entry.entry)
                .ok_or(sqlx::Error::RowNotFound)?;
            for (span, charge) in &of_entry.charges {
                charges.push(*entry, *span, charge);
            }
        }
        if charges.is_empty() {
            return Ok(());
        }
        db::billing::ledger::charges_append(conn, &charges).await
    }

    /// An error if another transaction has moved one of them; the caller rolls back.
    async fn change_spans(&self, conn: &mut Connection) -> Result<(), PartError> {
        let mut changed = 0;
        if !self.spans.is_empty() {
            changed += db::billing::spans::spans_advance(conn, &self.spans).await?;
        }
        if !self.cuts.is_empty() {
            changed +=
                db::billing::spans::spans_cut_of_any_organization(conn, &self.cuts, "written off")
                    .await?;
        }
        if changed == self.spans.len() + self.cuts.len() {
            Ok(())
        } else {
            Err(PartError::SpanMoved)
        }
    }
}

/// The time that charges are for; `None` if there are none.
fn period(organization: &Organization, charges: &[Charge]) -> Option<EntryPeriod> {
    let agents: HashSet<AgentId> = charges
        .iter()
        .map(|charge| organization.spans[charge.span_index].agent_id)
        .collect();
    Some(EntryPeriod {
        start: charges.iter().map(|charge| charge.slice.start).min()?,
        end: charges.iter().map(|charge| charge.slice.end).max()?,
        agents: agents.len(),
    })
}
