//! A ring that was lost and that no other has followed.
//!
//! Invariant: what is claimed is known. Where no ring forms in the time that this takes, no era and no quorum are claimed
//! (SAFETY.md#S10); executors and addresses go by the age of their tokens meanwhile.

use base::{Instant, RingId};

use crate::member::Member;

impl Member {
    /// The token of the installed ring was lost, or a member left it; a new one is sought.
    pub(crate) fn ring_broken(&mut self, now: Instant, ring: RingId) {
        if self.ring_id() == Some(ring) {
            self.broken_at.get_or_insert(now);
        }
    }

    /// Where no ring forms in the time that a membership takes, nobody knows what became of the era: it is not claimed any
    /// longer (SAFETY.md#S10). A ring that forms in time is a change like any other and says so itself.
    pub(crate) fn note_ringless(&mut self, now: Instant) {
        if self.ringless_at().is_some_and(|at| at <= now) {
            self.ringless = true;
        }
    }

    pub(crate) fn ringless_at(&self) -> Option<Instant> {
        let at = self.broken_at.filter(|_| !self.ringless)?;
        Some(at + crate::hardware::t_mem(&self.timings()))
    }
}
