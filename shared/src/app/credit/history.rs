//! An organization's transactions, and what one of its agents was charged. Only reads.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::db::Database;
use crate::db::billing::history::agent::{
    AgentCharge, AgentSpan, charges_kept_since, charges_of_keys, spans_of_agent,
};
use crate::db::billing::history::entries::{LedgerEntry, Selection, USAGE, entries_page};
use crate::db::billing::history::others::{OtherTransaction, others_of_agent, others_page};
use crate::domain::history::{
    AgentPosition, ChargeKey, HistoryPosition, Merged, OtherPosition, Period, Positioned,
    charge_keys, merge, oldest_of_full_page,
};
use crate::domain::ids::{AgentRef, OrganizationId, SpanId};

/// The keys whose charges are looked up at once.
const MAX_KEYS: usize = 2_000;

pub type HistoryRow = Merged<LedgerEntry, OtherTransaction>;

/// An organization's entries and the rows of other applications, newest first.
pub async fn history_page(
    pool: &Database,
    organization_id: OrganizationId,
    selection: Selection<'_>,
    from: HistoryPosition,
    limit: i64,
) -> sqlx::Result<Vec<Positioned<HistoryRow, HistoryPosition>>> {
    // One transaction for both statements: fewer answers of the server to wait for.
    let mut tx = pool.begin().await?;
    let entries = match from.entry {
        Some(entry) => entries_page(&mut tx, organization_id, selection, entry, limit).await?,
        None => Vec::new(),
    };
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let newer_than = oldest_of_full_page(entries.iter().map(|entry| entry.created_at), page);
    let others = match from.other {
        Some(other) => {
            others_page(
                &mut tx,
                organization_id,
                selection,
                other,
                newer_than,
                limit,
            )
            .await?
        }
        None => Vec::new(),
    };
    tx.commit().await?;
    let mut rows = merge(
        entries,
        others,
        |entry| (entry.created_at, entry.seq),
        OtherTransaction::position,
    );
    rows.truncate(page);
    Ok(rows)
}

/// A charge with what its span says.
#[derive(Clone, Debug)]
pub struct ExplainedCharge {
    pub charge: AgentCharge,
    pub span: AgentSpan,
}

#[derive(Clone, Debug)]
pub enum AgentRow {
    Charge(ExplainedCharge),
    Other(OtherTransaction),
}

/// What an agent was charged: charges by the time of use, newest first, then the rows of an older biller.
pub async fn agent_history_page(
    pool: &Database,
    agent: AgentRef,
    selection: Selection<'_>,
    from: AgentPosition,
    limit: i64,
) -> sqlx::Result<Vec<Positioned<AgentRow, AgentPosition>>> {
    let mut rows = Vec::new();
    let others_from = match from {
        AgentPosition::Charge(key) => {
            if selection.row_type.is_none_or(|word| word == USAGE) {
                let charges = agent_charges(pool, agent, selection.period, key, limit).await?;
                rows.extend(charges.into_iter().map(|row| Positioned {
                    position: AgentPosition::Charge(row.charge.key),
                    row: AgentRow::Charge(row),
                }));
            }
            OtherPosition::newest()
        }
        AgentPosition::Other(position) => position,
    };
    let room = limit - i64::try_from(rows.len()).unwrap_or(i64::MAX);
    if room > 0 {
        let mut conn = pool.statements();
        let others = others_of_agent(&mut conn, agent, selection, others_from, room).await?;
        rows.extend(others.into_iter().map(|row| Positioned {
            position: AgentPosition::Other(row.position()),
            row: AgentRow::Other(row),
        }));
    }
    Ok(rows)
}

/// An agent's charges that begin in a period, from a key on, newest first. Of time that was written off there are none,
/// so more keys are looked up until there are `limit`.
pub async fn agent_charges(
    pool: &Database,
    agent: AgentRef,
    period: Period,
    from: ChargeKey,
    limit: i64,
) -> sqlx::Result<Vec<ExplainedCharge>> {
    let limit = usize::try_from(limit).unwrap_or_default();
    let mut found = Vec::new();
    let mut batch = limit.min(MAX_KEYS);
    let mut keys = AgentKeys::new(agent, period, from);
    let mut knows_what_is_kept = false;
    loop {
        let wanted = keys.next(pool, batch).await?;
        let mut conn = pool.statements_planned_for_values();
        let charges = charges_of_keys(&mut conn, agent, &wanted).await?;
        found.extend(charges.into_iter().filter_map(|charge| {
            let span = keys.spans.get(&charge.key.span)?.clone();
            Some(ExplainedCharge { charge, span })
        }));
        if found.len() >= limit || wanted.len() < batch {
            found.truncate(limit);
            return Ok(found);
        }
        if !knows_what_is_kept {
            // Charges may be missing because the months of the other keys were dropped.
            keys.leave_out_before(charges_kept_since(&mut pool.statements()).await?);
            knows_what_is_kept = true;
        }
        batch = MAX_KEYS;
    }
}

/// Reads an agent's spans and lists the keys of their charges, newest first.
struct AgentKeys {
    agent: AgentRef,
    period: Period,
    from: ChargeKey,
    /// The spans that were read, of which no other may be older than the next.
    spans: HashMap<SpanId, AgentSpan>,
    before: ChargeKey,
    /// Keys that were not given out yet, newest last.
    left: Vec<ChargeKey>,
    is_exhausted: bool,
}

impl AgentKeys {
    fn new(agent: AgentRef, period: Period, from: ChargeKey) -> Self {
        let end = ChargeKey {
            period_start: period.to,
            span: SpanId::new(i64::MIN),
        };
        let from = from.min(end);
        let after = SpanId::new(from.span.get().saturating_add(1));
        Self {
            agent,
            period,
            from,
            spans: HashMap::new(),
            before: ChargeKey {
                period_start: from.period_start,
                span: after,
            },
            left: Vec::new(),
            is_exhausted: false,
        }
    }

    /// Gives out no more keys of the time before `since`.
    fn leave_out_before(&mut self, since: DateTime<Utc>) {
        self.period.from = self.period.from.max(since);
        self.left.retain(|key| key.period_start >= since);
    }

    /// The next keys: fewer than `count` only at the end.
    async fn next(&mut self, pool: &Database, count: usize) -> sqlx::Result<Vec<ChargeKey>> {
        while self.left.len() < count && !self.is_exhausted {
            self.read_spans(pool, count).await?;
        }
        let rest = self.left.len().saturating_sub(count);
        let mut keys = self.left.split_off(rest);
        keys.reverse();
        Ok(keys)
    }

    async fn read_spans(&mut self, pool: &Database, count: usize) -> sqlx::Result<()> {
        let limit = i64::try_from(count).unwrap_or(i64::MAX);
        let mut conn = pool.statements();
        let read = spans_of_agent(&mut conn, self.agent, self.before, limit).await?;
        let period_from = self.period.from;
        self.is_exhausted = read.len() < count
            || read
                .iter()
                .any(|span| span.charged.charged_to <= period_from);
        let from = self.from;
        let keys = read
            .iter()
            .flat_map(|span| charge_keys(span.charged, self.period));
        let mut keys: Vec<ChargeKey> = keys.filter(|key| *key <= from).collect();
        keys.reverse();
        keys.append(&mut self.left);
        self.left = keys;
        if let Some(last) = read.last() {
            self.before = ChargeKey {
                period_start: last.charged.started_at,
                span: last.charged.id,
            };
        }
        let spans = read.into_iter();
        self.spans.extend(spans.map(|span| (span.charged.id, span)));
        Ok(())
    }
}
