//! The webhooks of organizations: which there are, and what became of the events that are sent to them.

pub mod deliveries;
pub mod registered;
