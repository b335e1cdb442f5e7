//! Billing: metering, billing runs, dunning, the credit gate, adoption.

mod adoption;
mod charging;
mod dunning;
mod faults;
mod gate;
mod known_failures;
mod metering;
mod schema_check;
mod storm;
