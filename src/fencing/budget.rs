//! How often one node may be fenced (SAFETY.md#S6, O23): a machine that boots and never joins must not be switched off
//! and on for ever.
//!
//! Counted on the clock of the replicated state, in seconds: every coordinator comes to the same answer.

use alloc::vec::Vec;
use core::time::Duration;

/// At most this many power-offs of one node in this window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// 1 to 255; 0 counts as 1.
    pub times_max: u8,
    /// Slides with the time.
    pub window: Duration,
}

/// The budget is used up. Nothing is sent; a person should look at the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it was powered off {times} times within the window; find out why it does not come back, then confirm that it is off, or wait until the window has passed"
)]
pub struct Suspended {
    /// How often it was powered off in the window.
    pub times: usize,
    /// When the next power-off is allowed.
    pub until: i64,
}

impl Budget {
    /// Whether one more power-off may begin at `now`, given when the past ones began. What lies in the future, because a
    /// clock was set back, counts.
    ///
    /// # Errors
    /// [`Suspended`] with the time at which the oldest one that counts leaves the window.
    pub fn admit(&self, past: &[i64], now: i64) -> Result<(), Suspended> {
        let window = i64::try_from(self.window.as_secs()).unwrap_or(i64::MAX);
        let mut counted: Vec<i64> =
            past.iter().copied().filter(|at| now.saturating_sub(*at) < window).collect();
        counted.sort_unstable();
        let allowed = usize::from(self.times_max.max(1));
        let times = counted.len();
        // the one whose leaving makes room
        match times.checked_sub(allowed).and_then(|at| counted.get(at)) {
            None => Ok(()),
            Some(at) => Err(Suspended { times, until: at.saturating_add(window) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_within_the_window_waits_until_the_first_has_left_it() {
        let budget = Budget { times_max: 2, window: Duration::from_secs(10) };
        assert_eq!(budget.admit(&[], 0), Ok(()));
        assert_eq!(budget.admit(&[1], 2), Ok(()));
        assert_eq!(budget.admit(&[1, 4], 5), Err(Suspended { times: 2, until: 11 }));
        assert_eq!(budget.admit(&[1, 4], 11), Ok(()));
        assert_eq!(budget.admit(&[4, 1, 5], 6), Err(Suspended { times: 3, until: 14 }));
    }

    #[test]
    fn a_clock_that_was_set_back_frees_nobody_and_an_absurd_one_stops_nothing() {
        let budget = Budget { times_max: 1, window: Duration::from_secs(10) };
        assert_eq!(budget.admit(&[100], 5), Err(Suspended { times: 1, until: 110 }));
        assert_eq!(budget.admit(&[i64::MAX], i64::MIN).map_err(|s| s.until), Err(i64::MAX));
        assert_eq!(budget.admit(&[i64::MIN], i64::MAX), Ok(()));
    }
}
