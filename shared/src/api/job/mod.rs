//! Jobs: what clients ask of them, and the two functions that carry them out.

pub mod get;
pub mod run;
pub mod sweep;
