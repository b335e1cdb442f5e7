//! What the loops share: reading an invocation from the runtime's context.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_runtime::Context;

use crate::invocation::Invocation;

pub(super) fn invocation(context: &Context) -> Invocation {
    Invocation {
        request_id: context.request_id.clone(),
        deadline: deadline(context.deadline),
    }
}

/// Local runtimes name a deadline in the past if they have none.
#[expect(
    clippy::disallowed_methods,
    reason = "the runtime names deadlines in wall-clock time"
)]
fn deadline(unix_milliseconds: u64) -> Option<Instant> {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(unix_milliseconds))?;
    let time_left = at.duration_since(SystemTime::now()).ok()?;
    Instant::now().checked_add(time_left)
}
