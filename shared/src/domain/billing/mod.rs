//! Billing: what metered time costs, what a billing run charges, and what follows for organizations in debt.
//!
//! Three ideas carry it. A *slice*, the part of one usage span inside one clock hour, is the only thing that is
//! charged. Each run makes one decision per organization. Debt belongs to the organization, so deleted, exempt and
//! suspended agents need no rules of their own.
//!
//! Owns: slices, the order of charging, dunning, the forecast. Does not own: locks, SQL, the clock.

mod account;
mod charging;
mod decision;
mod dunning;
mod finding;
mod forecast;
mod low_credit;
mod slice;
mod terms;
mod unpaid_backups;

pub use account::{Agent, Organization, WarningDelivery};
pub use charging::{Charge, SpanProgress, WriteOff};
pub use decision::{Decision, decide};
pub use dunning::{
    BillingUpdate, Consequences, ListedAgent, MAX_LISTED_AGENTS, NOTICE_PERIOD,
    NOTICE_PERIOD_ABOVE_CEILING, Notice, StopTarget,
};
pub use finding::{FindingKind, OpenFindings};
pub use forecast::{Forecast, Position, forecast};
pub use low_credit::{LowCreditNotice, low_credit_mark};
pub use slice::{Slice, Span, SpanKind, amount, worth};
pub use terms::Terms;
pub use unpaid_backups::{UnpaidBackups, unpaid_backups};

#[cfg(test)]
mod boundaries;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod properties;
