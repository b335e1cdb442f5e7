//! The kinds of jobs, a file each. Owns: what a kind is apart from its name and class, which queries need too
//! (`domain::job::JobKind`).

mod delete;
mod provision;
mod restore;
mod suspend;

use super::definition::JobDefinition;
use crate::domain::job::JobKind;

pub(super) fn definition(kind: JobKind) -> &'static JobDefinition {
    match kind {
        JobKind::Provision => &provision::PROVISION,
        JobKind::Restore => &restore::RESTORE,
        JobKind::Suspend => &suspend::SUSPEND,
        JobKind::Delete => &delete::DELETE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_have_three_attempts_and_stops_are_retried_without_end() {
        let seconds = |kind: JobKind, attempts| {
            let wait = definition(kind).retry.wait_after(attempts);
            wait.map(|wait| wait.num_seconds())
        };
        for kind in [JobKind::Provision, JobKind::Restore] {
            assert_eq!(
                [1, 2, 3, 4].map(|n| seconds(kind, n)),
                [Some(30), Some(120), None, None]
            );
        }
        for kind in [JobKind::Suspend, JobKind::Delete] {
            let waits = [1, 2, 3, 4, 1_000].map(|n| seconds(kind, n));
            assert_eq!(
                waits,
                [Some(30), Some(120), Some(900), Some(900), Some(900)]
            );
        }
    }
}
