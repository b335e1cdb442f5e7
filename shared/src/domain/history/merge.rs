//! Puts entries and rows of other applications in one order, newest first.

use std::iter::Peekable;

use chrono::{DateTime, Utc};

use super::position::{HistoryPosition, OtherPosition, Positioned};

/// A row of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged<E, O> {
    Entry(E),
    Other(O),
}

/// Merges entries in descending order of their numbers with other applications' rows in descending order of their
/// positions. Rows of the same time: entries first. Of each kind, the rows must be all that are left, or more than the
/// caller uses of the result: [`oldest_of_full_page`] says which those are.
pub fn merge<E, O>(
    entries: Vec<E>,
    others: Vec<O>,
    entry_key: impl Fn(&E) -> (DateTime<Utc>, i64),
    other_key: impl Fn(&O) -> OtherPosition,
) -> Vec<Positioned<Merged<E, O>, HistoryPosition>> {
    let mut entries: Peekable<_> = entries.into_iter().peekable();
    let mut others: Peekable<_> = others.into_iter().peekable();
    let mut merged = Vec::with_capacity(entries.len() + others.len());
    loop {
        let entry = entries.peek().map(&entry_key);
        let other = others.peek().map(&other_key);
        let position = HistoryPosition {
            entry: entry.map(|(_, seq)| seq),
            other,
        };
        let entry_is_next = match (entry, other) {
            (Some((created_at, _)), Some(other)) => created_at >= other.created_at,
            (entry, _) => entry.is_some(),
        };
        let row = if entry_is_next {
            entries.next().map(Merged::Entry)
        } else {
            others.next().map(Merged::Other)
        };
        let Some(row) = row else {
            return merged;
        };
        merged.push(Positioned { row, position });
    }
}

/// If entries fill a page, it shows only those rows of other applications that are newer than this time. It also needs
/// the next one, to say where the following page begins. Entries are in the order of their numbers, so the oldest need
/// not be the last.
pub fn oldest_of_full_page(
    entry_times: impl ExactSizeIterator<Item = DateTime<Utc>>,
    limit: usize,
) -> Option<DateTime<Utc>> {
    let is_full = entry_times.len() >= limit;
    entry_times.min().filter(|_| is_full)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::TransactionId;

    type Entry = (DateTime<Utc>, i64);

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("a time")
    }

    /// One page, as it is read: at most `limit` rows and the position of the next one.
    fn page(
        entries: &[Entry],
        others: &[OtherPosition],
        position: HistoryPosition,
        limit: usize,
    ) -> Vec<Positioned<Merged<Entry, OtherPosition>, HistoryPosition>> {
        let entries = entries
            .iter()
            .filter(|(_, seq)| Some(*seq) <= position.entry);
        let entries: Vec<Entry> = entries.take(limit + 1).copied().collect();
        let newer_than = oldest_of_full_page(entries.iter().map(|(at, _)| *at), limit + 1);
        let others = others
            .iter()
            .filter(|other| Some(**other) <= position.other);
        let others: Vec<OtherPosition> = others.copied().collect();
        let needed = newer_than.map_or(limit + 1, |time| {
            let newer = others.iter().filter(|other| other.created_at > time);
            (1 + newer.count()).min(limit + 1)
        });
        merge(
            entries,
            others.into_iter().take(needed).collect(),
            |entry| *entry,
            |other| *other,
        )
    }

    proptest! {
        #[test]
        fn a_walk_over_pages_of_any_length_gives_each_row_once(
            times in prop::collection::vec(0_i64..20, 0..30),
            other_times in prop::collection::vec(0_i64..20, 0..30),
            limit in 1_usize..12,
        ) {
            // The clock of entries may have been set back.
            let entries: Vec<Entry> = times.iter().enumerate().rev()
                .map(|(seq, second)| (at(*second), i64::try_from(seq).expect("small"))).collect();
            let mut others: Vec<OtherPosition> = other_times.iter().enumerate()
                .map(|(id, second)| OtherPosition {
                    created_at: at(*second), id: TransactionId::new(Uuid::from_u128(id as u128)),
                }).collect();
            others.sort_by(|a, b| b.cmp(a));
            let whole: Vec<_> = page(&entries, &others, HistoryPosition::newest(), 100)
                .into_iter().map(|row| row.row).collect();
            prop_assert_eq!(whole.len(), entries.len() + others.len());
            let mut walked = Vec::new();
            let mut position = Some(HistoryPosition::newest());
            while let Some(start) = position {
                let mut rows = page(&entries, &others, start, limit);
                position = rows.get(limit).map(|row| row.position);
                rows.truncate(limit);
                walked.extend(rows.into_iter().map(|row| row.row));
            }
            prop_assert_eq!(walked, whole);
        }

        #[test]
        fn rows_are_newest_first_and_entries_come_before_others_of_the_same_time(
            mut times in prop::collection::vec(0_i64..20, 0..30),
            mut other_times in prop::collection::vec(0_i64..20, 0..30),
        ) {
            times.sort_unstable();
            other_times.sort_unstable();
            let entries: Vec<Entry> = times.iter().enumerate().rev()
                .map(|(seq, second)| (at(*second), i64::try_from(seq).expect("small"))).collect();
            let others: Vec<OtherPosition> = other_times.iter().rev()
                .map(|second| OtherPosition { created_at: at(*second), id: TransactionId::new(Uuid::nil()) }).collect();
            let merged = page(&entries, &others, HistoryPosition::newest(), 100);
            let keys: Vec<_> = merged.iter().map(|row| match &row.row {
                Merged::Entry((created_at, _)) => (*created_at, true),
                Merged::Other(other) => (other.created_at, false),
            }).collect();
            prop_assert!(keys.is_sorted_by(|a, b| a >= b), "{keys:?}");
        }
    }
}
