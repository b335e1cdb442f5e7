//! Agents on real hosts: what becomes of a request from the first to the last step, and what is left of
//! it when any of them fails. Where no host can be started the tests say so and pass.

mod asleep;
mod bad;
mod containers;
mod faults;
mod inspection;
mod known_failures;
mod legacy;
mod registry;
mod stream;
mod text;
mod waits;
mod walk;
