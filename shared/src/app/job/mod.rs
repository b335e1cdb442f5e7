//! Jobs: running one, waiting for one, and the sweep that finishes what was left.

pub mod run;
pub mod sweep;
pub mod wait;
