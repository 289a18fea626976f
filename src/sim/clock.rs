//! The clocks of one machine: a boot-time clock that drifts, and a wall clock that jumps.

use base::Instant;

use crate::queue::Time;

/// 2026-01-01, so that seconds look like those of a real machine.
const EPOCH_S: i64 = 1_767_225_600;

/// Parts per million of a second.
const MILLION: i128 = 1_000_000;

/// One machine's clocks. The boot-time clock starts anew at each boot; it never stops or jumps.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    booted_at: Time,
    /// What the boot-time clock showed at `booted_at`.
    offset: u64,
    /// How much faster than the world, in parts per million.
    drift_ppm: i64,
    /// How often the machine has booted.
    pub boots: u64,
    /// Wall clock minus world, microseconds.
    pub wall_offset: i64,
}

impl Clock {
    /// A clock that shows `offset` at `booted_at`.
    pub fn new(booted_at: Time, offset: u64, drift_ppm: i64) -> Self {
        Self { booted_at, offset, drift_ppm, boots: 0, wall_offset: 0 }
    }

    /// The machine boots: the boot-time clock begins again.
    pub fn boot(&mut self, at: Time, offset: u64) {
        self.booted_at = at;
        self.offset = offset;
        self.boots += 1;
    }

    /// What the boot-time clock shows.
    pub fn local(&self, at: Time) -> Instant {
        let passed = i128::from(at.saturating_sub(self.booted_at));
        let passed = passed * (MILLION + i128::from(self.drift_ppm)) / MILLION;
        Instant(self.offset + u64::try_from(passed).unwrap_or(0))
    }

    /// The first moment of the world at which the boot-time clock shows at least `instant`.
    pub fn world(&self, instant: Instant) -> Time {
        let passed = i128::from(instant.0.saturating_sub(self.offset));
        let rate = MILLION + i128::from(self.drift_ppm);
        let passed = (passed * MILLION + rate - 1) / rate;
        self.booted_at.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Milliseconds since 1970 on the wall.
    pub fn wall_ms(&self, at: Time) -> u64 {
        let us = i64::try_from(at).unwrap_or(i64::MAX) + self.wall_offset;
        u64::try_from(EPOCH_S * 1000 + us / 1000).unwrap_or(0)
    }

    /// Seconds since 1970 on the wall.
    pub fn wall_s(&self, at: Time) -> i64 {
        EPOCH_S + (i64::try_from(at).unwrap_or(i64::MAX) + self.wall_offset) / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_never_fires_before_its_time_whatever_the_drift() {
        for drift in [-500, -1, 0, 1, 500] {
            let clock = Clock::new(1_000, 77, drift);
            for span in [0, 1, 999, 1_000_003, 30_000_000] {
                let wanted = Instant(77 + span);
                assert!(clock.local(clock.world(wanted)) >= wanted, "{drift} ppm, {span} us");
                assert!(clock.local(clock.world(wanted)).0 <= wanted.0 + 1);
            }
        }
    }
}
