//! Jobs: running them, waiting for one, and the sweep that takes care of those that nobody works on.

pub mod run;
pub mod sweep;
pub mod wait;
