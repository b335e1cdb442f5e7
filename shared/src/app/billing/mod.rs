//! The hourly billing run, the daily statement with the audit, and the gate that every start passes.

pub mod audit;
pub mod gate;
pub mod retention;
pub mod run;
pub mod statement;
