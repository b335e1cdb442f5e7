//! The hourly billing run, and the gate that every start passes.

pub mod gate;
pub mod run;
