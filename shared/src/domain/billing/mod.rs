//! Billing: what metered time is worth, what a tick charges, and what follows for those who owe.
//!
//! Three ideas carry it. A *slice*, the part of one usage span inside one clock hour, is the only
//! thing that is charged. An organization is decided once per tick. Debt belongs to the
//! organization, so a deleted, exempted or suspended agent needs no rule of its own.
//!
//! Owns: slices, the order of charging, dunning, the forecast. Does not own: locks, SQL, the clock.

mod dunning;
mod forecast;
mod planner;
mod slice;

pub use dunning::{Agent, Handover, ListedAgent, Notice, Standing};
pub use forecast::{Forecast, forecast};
pub use planner::{AgentTotal, Charge, Decision, Organization, SpanProgress, WriteOff, decide};
pub use slice::{Kind, Slice, Span, amount};

#[cfg(test)]
mod cases;
#[cfg(test)]
mod properties;
