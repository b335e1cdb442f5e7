//! Ids of rows that are written by the thousand. Owns: their order.

use chrono::{DateTime, Utc};
use uuid::{Builder, Uuid};

/// A version 7 UUID: rows written together get ids that sort together, so that a tick touches few
/// pages of the primary key's index. Its time is `at`; its order within the millisecond is `index`,
/// modulo 4,096; the rest is `entropy`, which tells rows apart and must be different for each.
#[must_use]
pub fn sequential(at: DateTime<Utc>, index: usize, entropy: u128) -> Uuid {
    let mut rest = [0; 10];
    let order = u16::try_from(index % 4_096).unwrap_or_default();
    rest[..2].copy_from_slice(&order.to_be_bytes());
    rest[2..].copy_from_slice(&entropy.to_be_bytes()[8..]);
    let milliseconds = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(milliseconds, &rest).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_then_index_and_differ_by_entropy() {
        let at = |ms: i64| DateTime::from_timestamp_millis(1_772_323_200_000 + ms).expect("a time");
        let ids = [
            sequential(at(0), 0, 5),
            sequential(at(0), 0, 6),
            sequential(at(0), 1, 1),
            sequential(at(0), 4_095, 0),
            sequential(at(1), 0, 0),
        ];
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(ids[0].get_version_num(), 7);
    }
}
