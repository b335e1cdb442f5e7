//! One invocation of a function, as its handler sees it. Owns: how much time is left. Does not own: where the
//! deadline comes from (`lambda`).

use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
pub struct Invocation {
    /// The Lambda runtime's identifier of the invocation.
    pub request_id: String,
    /// When the runtime ends the invocation. `None` if the runtime names no deadline, as local ones do.
    pub deadline: Option<Instant>,
}

impl Invocation {
    /// The time until `reserve` before the deadline; [`Duration::MAX`] if there is no deadline.
    #[must_use]
    pub fn time_left(&self, reserve: Duration) -> Duration {
        self.deadline.map_or(Duration::MAX, |deadline| {
            deadline
                .saturating_duration_since(Instant::now())
                .saturating_sub(reserve)
        })
    }
}
