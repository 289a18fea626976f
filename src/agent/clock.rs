//! The clock that everything here runs on: `CLOCK_BOOTTIME` (CLUSTER.md section 4). It goes on while the machine
//! sleeps, so a member that was suspended finds its orders late instead of fresh.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Now, on this machine's boot-time clock.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_nsec).unwrap_or(0) / 1000;
    Instant(seconds.saturating_mul(1_000_000).saturating_add(micros))
}

/// Milliseconds since 1970, for people: logs, status and records. Never an input of a decision.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Measures gaps of the own execution (CLUSTER.md section 4): a loop that wanted to wake at one time and woke much
/// later was frozen, and knows nothing of what happened in between.
#[derive(Debug)]
pub struct GapMeter {
    /// When the last turn ended and until when it meant to sleep.
    expected: Instant,
    /// Longer than this is a gap: half of the token timeout.
    limit: Duration,
}

impl GapMeter {
    /// A meter whose first turn is expected now. `limit` is half of the token timeout.
    pub const fn new(now: Instant, limit: Duration) -> Self {
        Self { expected: now, limit }
    }

    /// The token timeout changed with a revision.
    pub const fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Called at the begin of a turn. The length of the gap, if there was one.
    pub fn turn_begins(&mut self, now: Instant) -> Option<Duration> {
        let late = now.since(self.expected);
        self.expected = now;
        (late > self.limit).then_some(late)
    }

    /// Called before waiting: the loop means to be back at `wake` at the latest. Work between two calls counts
    /// too, because `expected` stays at the begin of the turn until this is called.
    pub fn turn_ends(&mut self, now: Instant, wake: Instant) -> Option<Duration> {
        let busy = now.since(self.expected);
        self.expected = wake.max(now);
        (busy > self.limit).then_some(busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn the_clock_only_grows() {
        let a = now();
        let b = now();
        assert!(b >= a);
        assert!(a > Instant::ZERO);
    }

    #[test]
    fn a_loop_that_wakes_in_time_has_no_gap() {
        let mut meter = GapMeter::new(at(0), Duration::from_millis(250));
        assert_eq!(meter.turn_begins(at(0)), None);
        assert_eq!(meter.turn_ends(at(10), at(500)), None);
        assert_eq!(meter.turn_begins(at(100)), None, "woken early by a datagram");
        assert_eq!(meter.turn_ends(at(101), at(500)), None);
        assert_eq!(meter.turn_begins(at(700)), None, "200 ms late is within the limit");
    }

    #[test]
    fn a_frozen_loop_sees_its_gap_wherever_it_was_frozen() {
        let mut meter = GapMeter::new(at(0), Duration::from_millis(250));
        assert_eq!(meter.turn_begins(at(0)), None);
        assert_eq!(meter.turn_ends(at(1), at(50)), None);
        assert_eq!(meter.turn_begins(at(2050)), Some(Duration::from_secs(2)), "while asleep");
        assert_eq!(meter.turn_ends(at(4050), at(5000)), Some(Duration::from_secs(2)), "at work");
    }
}
