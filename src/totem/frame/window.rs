//! Which of the latest counters of one life were seen: 1024 bits (SAFETY.md 4.5 item 3).

use base::faulty::{Rule, broken};

use super::Dropped;

const BITS: u64 = 1024;
const WORDS: usize = (BITS / 64) as usize;

/// Invariant: bit `c % 1024` is set exactly if counter `c` was marked, for the `c` in `(newest - 1024, newest]`.
#[derive(Clone, Debug)]
pub(super) struct Window {
    newest: u64,
    seen: [u64; WORDS],
}

impl Window {
    /// A window in which everything up to `counter` counts as seen: what a life sent before it answered the challenge
    /// may have been heard by an earlier life of this node.
    pub(super) const fn after(counter: u64) -> Self {
        Self { newest: counter, seen: [u64::MAX; WORDS] }
    }

    /// Whether `counter` may still be accepted. Counter 0 is never used.
    pub(super) fn check(&self, counter: u64) -> Result<(), Dropped> {
        if counter > self.newest || broken(Rule::NoReplayWindow) {
            Ok(())
        } else if counter == 0 || self.newest - counter >= BITS {
            Err(Dropped::Old)
        } else if self.bit(counter) {
            Err(Dropped::Replayed)
        } else {
            Ok(())
        }
    }

    /// Marks a counter that was checked and whose datagram was authentic.
    pub(super) fn mark(&mut self, counter: u64) {
        if counter > self.newest {
            if counter - self.newest >= BITS {
                self.seen = [0; WORDS];
            } else {
                for skipped in self.newest + 1..counter {
                    let slot = skipped % BITS;
                    self.seen[(slot / 64) as usize] &= !(1 << (slot % 64));
                }
            }
            self.newest = counter;
        }
        let slot = counter % BITS;
        self.seen[(slot / 64) as usize] |= 1 << (slot % 64);
    }

    fn bit(&self, counter: u64) -> bool {
        let slot = counter % BITS;
        self.seen[(slot / 64) as usize] & (1 << (slot % 64)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_passes_once_and_the_old_not_at_all() {
        let mut window = Window::after(0);
        assert_eq!(window.check(0), Err(Dropped::Old));
        for counter in [1, 5, 3, 1024, 2000, 1999, 977] {
            assert_eq!(window.check(counter), Ok(()), "{counter}");
            window.mark(counter);
            assert_eq!(window.check(counter), Err(Dropped::Replayed), "{counter}");
        }
        assert_eq!(window.check(976), Err(Dropped::Old));
        assert_eq!(window.check(978), Ok(()));
    }

    #[test]
    fn nothing_from_before_its_beginning_passes() {
        let mut window = Window::after(5000);
        for counter in 0..=5000 {
            assert!(window.check(counter).is_err(), "{counter}");
        }
        assert_eq!(window.check(5001), Ok(()));
        window.mark(5003);
        assert_eq!(window.check(5002), Ok(()));
        assert!(window.check(5000).is_err());
    }

    #[test]
    fn it_agrees_with_a_set_that_never_forgets() {
        let mut rng = base::SplitMix64::new(7);
        let mut window = Window::after(0);
        let mut seen = alloc::collections::BTreeSet::new();
        let mut centre = 1;
        for _ in 0..50_000 {
            centre +=
                rng.below(4) * rng.below(2) + if rng.below(500) == 0 { rng.below(3000) } else { 0 };
            let counter = (centre + 20).saturating_sub(rng.below(1300)).max(1);
            let newest = seen.last().copied().unwrap_or(0);
            let old = counter <= newest && newest - counter >= BITS;
            let expected = match (old, seen.contains(&counter)) {
                (true, _) => Err(Dropped::Old),
                (false, true) => Err(Dropped::Replayed),
                (false, false) => Ok(()),
            };
            assert_eq!(window.check(counter), expected, "counter {counter} newest {newest}");
            if expected.is_ok() {
                window.mark(counter);
                seen.insert(counter);
            }
        }
    }
}
