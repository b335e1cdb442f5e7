//! When the backups of suspended agents may be deleted because nobody pays for them (F55). Owns: the dates. Does not
//! own: the notice, without which nothing is deleted. So far nothing sends the notice or deletes backups: the dates are
//! only shown to the owner.

use chrono::{DateTime, TimeDelta, Utc};

use super::slice::Span;
use crate::domain::ids::AgentId;

/// The owner is told when the agent's oldest debt is this old.
const NOTICE_AFTER: TimeDelta = TimeDelta::days(30);
/// The backups are kept for this long after the notice was delivered.
const KEPT_AFTER_NOTICE: TimeDelta = TimeDelta::days(7);

/// The dates for one agent. A payment for its oldest debt moves all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpaidBackups {
    /// The beginning of the oldest time of the agent that is not paid.
    pub unpaid_since: DateTime<Utc>,
    /// When the owner is told.
    pub notice_at: DateTime<Utc>,
    /// When the backups are deleted at the earliest; later if the notice is delivered late.
    pub deletion_at: DateTime<Utc>,
}

/// The dates for an agent that is suspended and has backups. `None` if it owed nothing at the last billing run, which
/// decided the organization up to `decided_through`.
#[must_use]
pub fn unpaid_backups(
    agent_id: AgentId,
    spans: &[Span],
    decided_through: DateTime<Utc>,
) -> Option<UnpaidBackups> {
    let unpaid_since = spans
        .iter()
        .filter(|span| span.agent_id == agent_id && span.mark < span.end(decided_through))
        .map(|span| span.mark)
        .min()?;
    let notice_at = unpaid_since + NOTICE_AFTER;
    Some(UnpaidBackups {
        unpaid_since,
        notice_at,
        deletion_at: notice_at + KEPT_AFTER_NOTICE,
    })
}
