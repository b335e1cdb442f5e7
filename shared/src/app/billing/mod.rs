//! Charging agents and deciding who may start one.

pub mod gate;
pub mod tick;
