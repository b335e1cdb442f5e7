//! Billing: what metered time costs, what a billing run charges, and what follows for organizations in debt.
//!
//! Three ideas carry it. A *slice*, the part of one usage span inside one clock hour, is the only thing that is
//! charged. Each run makes one decision per organization. Debt belongs to the organization, so deleted, exempt and
//! suspended agents need no rules of their own.
//!
//! Owns: slices, the order of charging, dunning, the forecast. Does not own: locks, SQL, the clock.

mod account;
mod decision;
mod dunning;
mod forecast;
mod planner;
mod slice;

pub use account::{Agent, Organization, WarningDelivery};
pub use decision::{Decision, decide};
pub use dunning::{BillingUpdate, ListedAgent, MAX_LISTED_AGENTS, Notice, StopTarget};
pub use forecast::{Forecast, forecast};
pub use planner::{AgentTotal, Charge, SpanProgress, WriteOff};
pub use slice::{Slice, Span, SpanKind, amount};

#[cfg(test)]
mod cases;
#[cfg(test)]
mod properties;
