//! Waits for what other tasks and processes do.

use std::time::{Duration, Instant};

/// Longer than any awaited step takes, even on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Waits until a condition is met. Panics with its description if that takes too long.
pub async fn wait_until(condition: &str, mut is_met: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_met().await {
        assert!(Instant::now() < deadline, "not in time: {condition}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
