//! Money: metering, ticks, dunning, the gate, adoption.

mod adoption;
mod dunning;
mod faults;
mod gate;
mod known_failures;
mod metering;
mod storm;
mod tick;
