//! One clock orders everything in the lab: all machines share one kernel.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// CLOCK_MONOTONIC in nanoseconds, the time stamp of every event and record.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Both fields are never negative on this clock.
    (now.tv_sec as u64) * 1_000_000_000 + now.tv_nsec as u64
}

/// Asks `done` every few milliseconds until it says yes or `limit` has passed.
///
/// Answers whether it said yes. The step grows, so that waiting for seconds costs nothing.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    let mut step = Duration::from_millis(1);
    loop {
        if done() {
            return true;
        }
        if begun.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(step);
        step = (step * 2).min(Duration::from_millis(50));
    }
}
