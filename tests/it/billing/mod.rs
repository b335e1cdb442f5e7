//! Billing: metering, billing runs, dunning, the credit gate, adoption, and its end.

mod adoption;
mod audit;
mod charging;
mod corruptions;
mod debt;
mod dunning;
mod faults;
mod forecast;
mod free_ride;
mod gate;
mod known_failures;
mod leave;
mod metering;
mod partitions;
mod repair;
mod schema_check;
mod statement;
mod statement_faults;
mod storm;
