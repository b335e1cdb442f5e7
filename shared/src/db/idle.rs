//! Connections that nobody uses at the moment. Owns: how long each was not used, and when it is to be closed.

use std::time::{Duration, Instant, SystemTime};

use sqlx::postgres::PgConnection;

/// An idle connection is closed after this many ticks: nobody holds one during a stream or a wait. A function that is
/// frozen meanwhile has one tick at most, so that a connection survives between requests.
const MAX_IDLE_TICKS: u8 = 4;
pub(super) const TICK: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(super) struct Idle {
    connections: Vec<IdleConnection>,
    /// Whether a task counts the ticks.
    has_reaper: bool,
}

pub(super) struct IdleConnection {
    pub(super) connection: PgConnection,
    /// `None` if it was given back in the background: then it may be as old as it can be.
    pub(super) since: Option<LastUse>,
    ticks: u8,
}

/// By both clocks: the monotonic one stands still while the machine is suspended, the other one can be set back.
#[derive(Clone, Copy)]
pub(super) struct LastUse(Instant, SystemTime);

impl LastUse {
    #[expect(
        clippy::disallowed_methods,
        reason = "the age of a connection is no time of the product"
    )]
    pub(super) fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed().max(self.1.elapsed().unwrap_or_default())
    }
}

impl Idle {
    pub(super) fn take(&mut self) -> Option<IdleConnection> {
        self.connections.pop()
    }

    /// Returns whether a task has to be started that calls [`Self::tick`].
    pub(super) fn keep(&mut self, connection: PgConnection, since: Option<LastUse>) -> bool {
        self.connections.push(IdleConnection {
            connection,
            since,
            ticks: 0,
        });
        !std::mem::replace(&mut self.has_reaper, true)
    }

    /// Returns the connections that are to be closed, and whether none is left.
    pub(super) fn tick(&mut self) -> (Vec<IdleConnection>, bool) {
        for connection in &mut self.connections {
            connection.ticks += 1;
        }
        let is_expired = |idle: &mut IdleConnection| idle.ticks >= MAX_IDLE_TICKS;
        let expired = self.connections.extract_if(.., is_expired).collect();
        self.has_reaper = !self.connections.is_empty();
        (expired, !self.has_reaper)
    }
}
