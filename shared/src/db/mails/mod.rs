//! Mails: the events that they tell of, whom they may go to, and what became of each delivery.

pub mod deliveries;
pub mod events;
pub mod notices;
pub mod recipients;
