//! Where an agent is placed. Owns: the order in which hosts are tried, which hosts are set aside, how much of a host is
//! promised to agents, and their ports. Does not own: which hosts are too busy (`fleet::HostFacts::is_overloaded`), nor
//! the slots (`db::hosts::slots`).

mod ports;
mod promise;
mod ranking;
mod set_aside;

pub use ports::{Ports, free_ports};
pub use promise::HostSize;
pub use ranking::{Candidate, rank};
pub use set_aside::{FailedStart, SET_ASIDE_PERIOD, set_aside_hosts};
