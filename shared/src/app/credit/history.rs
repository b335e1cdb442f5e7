//! An organization's transactions, and what one of its agents was charged. Only reads.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use crate::db::billing::history::agent::{
    AgentCharge, AgentSpan, charges_kept_since, charges_of_keys, spans_of_agent,
};
use crate::db::billing::history::entries::{LedgerEntry, Selection, USAGE, entries_page};
use crate::db::billing::history::others::{OtherTransaction, others_of_agent, others_page};
use crate::db::{Connection, Database};
use crate::domain::history::{
    AgentPosition, ChargeKey, ChargedSpan, HistoryPosition, Merged, OtherPosition, Period,
    Positioned, charge_keys, merge, oldest_of_full_page,
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
    // One transaction for all statements: fewer answers of the server to wait for.
    let mut tx = pool.begin().await?;
    let others_from = match from {
        AgentPosition::Charge(key) => {
            if selection.row_type.is_none_or(|word| word == USAGE) {
                let charges = agent_charges(&mut tx, agent, selection.period, key, limit).await?;
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
        let others = others_of_agent(&mut tx, agent, selection, others_from, room).await?;
        rows.extend(others.into_iter().map(|row| Positioned {
            position: AgentPosition::Other(row.position()),
            row: AgentRow::Other(row),
        }));
    }
    tx.commit().await?;
    Ok(rows)
}

/// An agent's charges that begin in a period, from a key on, newest first. Of time that was written off there are none,
/// so more keys are looked up until there are `limit`.
pub async fn agent_charges(
    conn: &mut Connection,
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
        let wanted = keys.next(conn, batch).await?;
        let charges = charges_of_keys(conn, agent, &wanted).await?;
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
            keys.leave_out_before(charges_kept_since(conn).await?);
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
    /// The spans with keys that were not given out yet, newest first.
    left: VecDeque<ChargedSpan>,
    is_exhausted: bool,
}

impl AgentKeys {
    fn new(agent: AgentRef, mut period: Period, from: ChargeKey) -> Self {
        let end = ChargeKey {
            period_start: period.to,
            span: SpanId::new(i64::MIN),
        };
        let from = from.min(end);
        // Keys of a later time are not listed only to be left out.
        period.to = period
            .to
            .min(from.period_start + TimeDelta::microseconds(1));
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
            left: VecDeque::new(),
            is_exhausted: false,
        }
    }

    /// Gives out no more keys of the time before `since`.
    fn leave_out_before(&mut self, since: DateTime<Utc>) {
        self.period.from = self.period.from.max(since);
    }

    /// The next keys: fewer than `count` only at the end.
    async fn next(&mut self, conn: &mut Connection, count: usize) -> sqlx::Result<Vec<ChargeKey>> {
        let mut keys = Vec::new();
        loop {
            self.list(count, &mut keys);
            if keys.len() >= count || self.is_exhausted {
                return Ok(keys);
            }
            self.read_spans(conn, count).await?;
        }
    }

    /// Appends the keys of the spans that are left until there are `count`. A span can have a key for each hour of a
    /// year, so no more are listed than are wanted.
    fn list(&mut self, count: usize, keys: &mut Vec<ChargeKey>) {
        while keys.len() < count
            && let Some(span) = self.left.pop_front()
        {
            let of_span = charge_keys(span, self.period).filter(|key| *key <= self.from);
            keys.extend(of_span.take(count - keys.len()));
            if keys.len() == count
                && let Some(last) = keys.last()
            {
                self.left.push_front(ChargedSpan {
                    charged_to: last.period_start,
                    ..span
                });
            }
        }
    }

    async fn read_spans(&mut self, conn: &mut Connection, count: usize) -> sqlx::Result<()> {
        let limit = i64::try_from(count).unwrap_or(i64::MAX);
        let read = spans_of_agent(conn, self.agent, self.before, limit).await?;
        let period_from = self.period.from;
        self.is_exhausted = read.len() < count
            || read
                .iter()
                .any(|span| span.charged.charged_to <= period_from);
        self.left.extend(read.iter().map(|span| span.charged));
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::AgentId;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-03-01T{text}Z").parse().expect("a time")
    }

    /// The keys from `from` on, listed in pieces of `count`.
    fn listed(from: ChargeKey, count: usize) -> Vec<ChargeKey> {
        let agent = AgentRef {
            organization_id: OrganizationId::new(Uuid::nil()),
            agent_id: AgentId::new(Uuid::nil()),
        };
        let mut keys = AgentKeys::new(agent, Period::ever(), from);
        keys.left.extend(
            [
                (9, "06:59:59", "09:10:00"),
                (8, "05:30:00", "06:10:00"),
                // Nothing is charged yet.
                (7, "05:30:00", "05:30:00"),
                (6, "01:20:00", "05:00:00"),
            ]
            .map(|(id, started_at, charged_to)| ChargedSpan {
                id: SpanId::new(id),
                started_at: at(started_at),
                charged_to: at(charged_to),
            }),
        );
        let mut all = Vec::new();
        loop {
            let mut piece = Vec::new();
            keys.list(count, &mut piece);
            all.extend(&piece);
            if piece.len() < count {
                return all;
            }
        }
    }

    #[test]
    fn keys_that_are_listed_in_pieces_are_each_listed_once() {
        let key = |(start, span): (&str, i64)| ChargeKey {
            period_start: at(start),
            span: SpanId::new(span),
        };
        let whole = [
            ("09:00:00", 9),
            ("08:00:00", 9),
            ("07:00:00", 9),
            ("06:59:59", 9),
            ("06:00:00", 8),
            ("05:30:00", 8),
            ("04:00:00", 6),
            ("03:00:00", 6),
            ("02:00:00", 6),
            ("01:20:00", 6),
        ]
        .map(key);
        for count in 1..=whole.len() + 1 {
            assert_eq!(listed(key(("10:00:00", i64::MAX)), count), whole, "{count}");
            for first in 0..whole.len() {
                let found = listed(whole[first], count);
                assert_eq!(found, whole[first..], "{first} {count}");
            }
        }
        assert_eq!(listed(key(("08:00:00", 8)), 3), whole[2..]);
    }
}
