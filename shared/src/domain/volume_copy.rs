//! Copying an agent's volume to another host. Owns: whether a copy goes on, and what is said of one that takes too long. Does
//! not own: the copy itself (`hosts`, `app::job::run`).

use std::time::Duration;

/// How long a copy may take. The agent stands still meanwhile, and the function that copies ends after 15 minutes.
pub const MAX_COPY_TIME: Duration = Duration::from_mins(10);
/// A copy that was given less time, because other steps took long, is repeated rather than refused.
const FULL_COPY_TIME: Duration = Duration::from_mins(8);
/// The rate of a copy is judged after so many bytes, or after so much time: it rises at the beginning of a connection.
const MEASURED_BYTES: u64 = 16 << 20;
const MEASURED_AFTER: Duration = Duration::from_secs(10);

const BYTES_PER_MB: u64 = 1_000_000;
const BYTES_PER_GB: u64 = 1_000_000_000;

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyProgress {
    pub copied: u64,
    /// The size of the data; `None` if the host did not say it.
    pub size: Option<u64>,
    pub elapsed: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyVerdict {
    GoesOn,
    /// The next attempt has more time.
    NeedsMoreTime,
    /// The copy cannot be done in time.
    TooLong {
        /// How long all of it would take; `None` if that is not known.
        needed: Option<Duration>,
    },
}

impl CopyProgress {
    /// How long the whole copy takes at the rate so far. `None` if that cannot be said yet.
    #[must_use]
    pub fn needed(self) -> Option<Duration> {
        let is_measured = self.copied >= MEASURED_BYTES || self.elapsed >= MEASURED_AFTER;
        let size = self.size.filter(|_| is_measured)?;
        // The archive is longer than the data by its headers.
        let remaining = u128::from(size.saturating_sub(self.copied));
        let more = self.elapsed.as_millis().saturating_mul(remaining);
        let more = more.checked_div(u128::from(self.copied))?;
        let more = Duration::from_millis(u64::try_from(more).unwrap_or(u64::MAX));
        Some(self.elapsed.saturating_add(more))
    }

    /// Whether the copy goes on, if it may take `allowed` in all.
    #[must_use]
    pub fn judge(self, allowed: Duration) -> CopyVerdict {
        let needed = self.needed();
        let fits = |time: Duration| needed.is_none_or(|needed| needed <= time);
        if self.elapsed < allowed && fits(allowed) {
            return CopyVerdict::GoesOn;
        }
        if allowed < FULL_COPY_TIME && fits(MAX_COPY_TIME) {
            return CopyVerdict::NeedsMoreTime;
        }
        CopyVerdict::TooLong { needed }
    }
}

/// What operators and the owner read of an agent whose data cannot be copied in time.
#[must_use]
pub fn refusal_text(size: Option<u64>, needed: Option<Duration>) -> String {
    match size.zip(needed) {
        Some((size, needed)) => format!(
            "The agent cannot be moved: its data of {} would take about {} minutes",
            rounded_size(size),
            needed.as_secs().div_ceil(60)
        ),
        None => "The agent cannot be moved: its data cannot be copied within 10 minutes".to_owned(),
    }
}

fn rounded_size(bytes: u64) -> String {
    if bytes >= 10 * BYTES_PER_GB {
        format!("{} GB", bytes / BYTES_PER_GB)
    } else {
        format!("{} MB", bytes.div_ceil(BYTES_PER_MB))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = BYTES_PER_GB;

    fn progress(copied: u64, size: Option<u64>, seconds: u64) -> CopyProgress {
        CopyProgress {
            copied,
            size,
            elapsed: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_copy_ends_as_soon_as_the_rest_does_not_fit_the_time_that_is_left() {
        let too_long = |seconds| CopyVerdict::TooLong {
            needed: Some(Duration::from_secs(seconds)),
        };
        let ten = MAX_COPY_TIME;
        for (progress, allowed, expected) in [
            // Nothing is judged by the first packets.
            (progress(1_000, Some(12 * GB), 5), ten, CopyVerdict::GoesOn),
            // 5 MB/s: 12 GB take 40 minutes, 3 GB exactly 10.
            (
                progress(50_000_000, Some(12 * GB), 10),
                ten,
                too_long(2_400),
            ),
            (
                progress(50_000_000, Some(3 * GB), 10),
                ten,
                CopyVerdict::GoesOn,
            ),
            (
                progress(50_000_000, Some(3 * GB + 5_000_000), 10),
                ten,
                too_long(601),
            ),
            // It has become slower.
            (progress(GB, Some(2 * GB), 400), ten, too_long(800)),
            // The size is not known.
            (progress(GB, None, 599), ten, CopyVerdict::GoesOn),
            (
                progress(GB, None, 600),
                ten,
                CopyVerdict::TooLong { needed: None },
            ),
            // More than the data, because the archive has headers.
            (progress(GB + 1, Some(GB), 20), ten, CopyVerdict::GoesOn),
            (progress(0, Some(GB), 30), ten, CopyVerdict::GoesOn),
        ] {
            assert_eq!(progress.judge(allowed), expected, "{progress:?}");
        }
    }

    #[test]
    fn a_copy_that_began_late_is_repeated_if_it_fits_the_whole_time() {
        let short = Duration::from_mins(3);
        let verdict = |size| progress(50_000_000, Some(size), 10).judge(short);
        assert_eq!(verdict(GB / 2), CopyVerdict::GoesOn);
        assert_eq!(verdict(2 * GB), CopyVerdict::NeedsMoreTime);
        let needed = Some(Duration::from_mins(40));
        assert_eq!(verdict(12 * GB), CopyVerdict::TooLong { needed });
        assert_eq!(
            progress(GB, None, 180).judge(short),
            CopyVerdict::NeedsMoreTime
        );
    }

    #[test]
    fn a_refusal_says_how_much_and_how_long() {
        for (size, needed, expected) in [
            (
                Some(12_300_000_000),
                Some(Duration::from_secs(2_399)),
                "The agent cannot be moved: its data of 12 GB would take about 40 minutes",
            ),
            (
                Some(1_500_000_001),
                Some(Duration::from_secs(601)),
                "The agent cannot be moved: its data of 1501 MB would take about 11 minutes",
            ),
            (
                None,
                None,
                "The agent cannot be moved: its data cannot be copied within 10 minutes",
            ),
        ] {
            assert_eq!(refusal_text(size, needed), expected);
        }
    }
}
