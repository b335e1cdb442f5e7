//! `jobs`: the queue as requests see it, and as workers do.

pub mod queue;
pub mod work;
