//! The messages of one ring by sequence number, from the oldest not freed to the newest held.

use alloc::collections::VecDeque;

use crate::{WINDOW_SLOTS_MAX, serial::after, wire::Mcast};

/// Invariants: `slots[i]` holds sequence number `freed + 1 + i`; everything up to `aru` was received; at most
/// `WINDOW_SLOTS_MAX` slots.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    freed: u32,
    slots: VecDeque<Option<Mcast>>,
    aru: u32,
}

impl Log {
    /// An empty log whose first message will be `start + 1`.
    pub(crate) const fn new(start: u32) -> Self {
        Self { freed: start, slots: VecDeque::new(), aru: start }
    }

    /// All received up to.
    pub(crate) const fn aru(&self) -> u32 {
        self.aru
    }

    /// Highest number held, or freed.
    pub(crate) fn high(&self) -> u32 {
        self.freed.wrapping_add(self.slots.len() as u32)
    }

    pub(crate) const fn freed(&self) -> u32 {
        self.freed
    }

    /// Whether the number lies where a message can still be taken.
    pub(crate) const fn fits(&self, seq: u32) -> bool {
        let offset = seq.wrapping_sub(self.freed);
        offset != 0 && offset <= WINDOW_SLOTS_MAX
    }

    pub(crate) fn get(&self, seq: u32) -> Option<&Mcast> {
        if !self.fits(seq) {
            return None;
        }
        self.slots.get(seq.wrapping_sub(self.freed) as usize - 1)?.as_ref()
    }

    /// Takes a message once. `false`: it is held already, was freed, or lies beyond the window.
    pub(crate) fn insert(&mut self, seq: u32, message: Mcast) -> bool {
        if !self.fits(seq) {
            return false;
        }
        let at = seq.wrapping_sub(self.freed) as usize - 1;
        if self.slots.len() <= at {
            self.slots.resize(at + 1, None);
        }
        if self.slots[at].is_some() {
            return false;
        }
        self.slots[at] = Some(message);
        while self.get(self.aru.wrapping_add(1)).is_some() {
            self.aru = self.aru.wrapping_add(1);
        }
        true
    }

    /// Frees everything up to `seq`, at most up to `aru`.
    pub(crate) fn free(&mut self, seq: u32) {
        while after(seq, self.freed) && after(self.aru, self.freed) {
            self.slots.pop_front();
            self.freed = self.freed.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use base::{Guarantee, NodeId, RingId};

    use super::*;

    fn message(seq: u32) -> Mcast {
        let rep = NodeId::new(1).expect("not zero");
        Mcast {
            ring: RingId { seq: 1, rep },
            seq,
            origin: rep,
            guarantee: Guarantee::Agreed,
            recovered: None,
            payload: Arc::from(&b""[..]),
        }
    }

    #[test]
    fn gaps_hold_the_aru_back_over_the_wrap_and_freeing_keeps_what_is_missing() {
        let start = u32::MAX - 2;
        let mut log = Log::new(start);
        for seq in [u32::MAX - 1, 0, 2] {
            assert!(log.insert(seq, message(seq)));
            assert!(!log.insert(seq, message(seq)), "a duplicate");
        }
        assert_eq!((log.aru(), log.high()), (u32::MAX - 1, 2));
        assert!(log.insert(u32::MAX, message(u32::MAX)));
        assert_eq!(log.aru(), 0);
        log.free(2);
        assert_eq!(log.freed(), 0, "1 is missing");
        assert!(!log.insert(u32::MAX, message(u32::MAX)), "freed");
        assert!(!log.insert(WINDOW_SLOTS_MAX + 1, message(0)), "beyond the window");
        assert!(log.get(2).is_some() && log.get(1).is_none());
    }
}
