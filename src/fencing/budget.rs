//! How often one node may be fenced (SAFETY.md#S6, O23): a machine that boots and never joins must not be switched off
//! and on for ever.

use alloc::vec::Vec;
use core::time::Duration;

use base::Instant;
use serde::{Deserialize, Serialize};

/// At most this many operations against one node in this window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Budget {
    /// 1 to 255.
    pub times_max: u8,
    /// Slides with the time.
    pub window: Duration,
}

impl Default for Budget {
    /// Five an hour: a crash loop with a boot of ten minutes just stays below it.
    fn default() -> Self {
        Self { times_max: 5, window: Duration::from_secs(3600) }
    }
}

/// The budget is used up. Nothing is sent; a person should look at the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "fenced {times} times within the window: look why this machine does not come back, or wait"
)]
pub struct Suspended {
    /// How often it was fenced in the window.
    pub times: u8,
    /// When the next one is allowed.
    pub until: Instant,
}

impl Budget {
    /// Whether one more operation may begin, given when the past ones began.
    ///
    /// # Errors
    /// [`Suspended`] with the time at which the oldest one that counts leaves the window.
    pub fn admit(&self, past: &[Instant], now: Instant) -> Result<(), Suspended> {
        let mut counted: Vec<Instant> =
            past.iter().copied().filter(|at| now.since(*at) < self.window).collect();
        counted.sort_unstable();
        let allowed = usize::from(self.times_max.max(1));
        if counted.len() < allowed {
            return Ok(());
        }
        // the one whose leaving makes room
        let at = counted.len() - allowed;
        let until = counted.get(at).map_or(now, |at| *at + self.window);
        let times = u8::try_from(counted.len()).unwrap_or(u8::MAX);
        Err(Suspended { times, until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_within_the_window_waits_until_the_first_has_left_it() {
        let budget = Budget { times_max: 2, window: Duration::from_secs(10) };
        let s = |s: u64| Instant::from_millis(s * 1000);
        assert_eq!(budget.admit(&[], s(0)), Ok(()));
        assert_eq!(budget.admit(&[s(1)], s(2)), Ok(()));
        assert_eq!(budget.admit(&[s(1), s(4)], s(5)), Err(Suspended { times: 2, until: s(11) }));
        assert_eq!(budget.admit(&[s(1), s(4)], s(11)), Ok(()));
        assert_eq!(
            budget.admit(&[s(4), s(1), s(5)], s(6)),
            Err(Suspended { times: 3, until: s(14) })
        );
    }
}
