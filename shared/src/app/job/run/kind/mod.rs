//! The kinds of jobs, a file each. Owns: what a kind does. Its name, class and attempts, which others need too, are in
//! `domain::job`.

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
