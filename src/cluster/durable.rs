//! What is durable before it is said: promise and state on this member's disk, and what waits for each write.
//!
//! Invariants: durable means the whole state and position, never a side record (CLUSTER.md section 3.6); what rests on a
//! write is said only after its [`Input::Persisted`](crate::Input::Persisted), and only in the ring for which it was held.

use alloc::vec::Vec;
use core::time::Duration;

use base::{Instant, RingId};

use crate::{
    File, Output, PersistId,
    member::Member,
    wire::{self, Message},
};

/// Quiet time after which a changed state is written although no rule asks for it.
const LAZY: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(crate) struct Writes {
    next: u64,
    waiting: Vec<(PersistId, After)>,
    /// Said together when the state is durable.
    hold: Vec<Message>,
    dirty: Option<Instant>,
}

/// What a durable write was for.
#[derive(Debug)]
pub(crate) enum After {
    /// Say these in the ring, if it is still the one.
    Say(RingId, Vec<Message>),
    /// The promise may be said.
    Promised(RingId),
    /// A clean leave is durable: the promise for the ring that follows may be written.
    Left(RingId),
    /// The snapshot is durable: the old state may go.
    Snapshot(RingId),
    /// A durable state of an era that was opened without this disk: its promises count again.
    Sound(RingId),
    /// A suspension that stands, or the end of one: the parts may hear of it.
    Suspension(bool),
    /// Nobody waits.
    Nothing,
}

impl Member {
    /// When a changed state is written although no rule asks for it.
    pub(crate) fn lazy_persist_at(&self) -> Option<Instant> {
        self.writes.dirty.map(|at| at + LAZY)
    }

    pub(crate) fn persist_lazily(&mut self, now: Instant) {
        if self.lazy_persist_at().is_some_and(|at| now >= at) {
            self.persist_state(After::Nothing);
        }
    }

    pub(crate) fn persist_promise(&mut self, after: After) {
        let bytes = self.promise.bytes();
        self.write(File::Promise, bytes, after);
    }

    /// Durable means the whole state and position up to here, not a side record (CLUSTER.md section 3.6).
    pub(crate) fn persist_state(&mut self, after: After) {
        if let Some(state) = &self.state {
            let bytes = wire::encode(state);
            self.writes.dirty = None;
            self.write(File::State, bytes, after);
        }
    }

    pub(crate) fn persist_snapshot(&mut self, bytes: Vec<u8>, ring: RingId) {
        self.write(File::State, bytes, After::Snapshot(ring));
    }

    /// To be said when the state as it is at the end of this turn is durable.
    pub(crate) fn hold(&mut self, message: Message) {
        self.writes.hold.push(message);
    }

    pub(crate) fn dirty(&mut self, now: Instant) {
        self.writes.dirty.get_or_insert(now);
    }

    pub(crate) fn flush_holds(&mut self) {
        if !self.writes.hold.is_empty() {
            let messages = core::mem::take(&mut self.writes.hold);
            if let Some(ring) = self.ring_id() {
                self.persist_state(After::Say(ring, messages));
            }
        }
    }

    pub(crate) fn persisted(&mut self, now: Instant, id: PersistId) {
        let Some(at) = self.writes.waiting.iter().position(|(waiting, _)| *waiting == id) else {
            return;
        };
        match self.writes.waiting.remove(at).1 {
            After::Say(ring, messages) => {
                if self.ring_id() == Some(ring) && self.acts_in_ring() {
                    for message in messages {
                        self.say(&message);
                    }
                }
            }
            After::Promised(ring) => self.promised(ring),
            After::Left(ring) => self.persist_promise(After::Promised(ring)),
            After::Snapshot(ring) => self.snapshot_durable(now, ring),
            After::Sound(ring) => {
                if self.state.as_ref().is_some_and(|s| s.position.era >= ring) {
                    self.promise.wiped = false;
                    self.persist_promise(After::Nothing);
                }
            }
            After::Suspension(stands) => self.suspension_durable(stands),
            After::Nothing => {}
        }
    }

    fn write(&mut self, file: File, bytes: Vec<u8>, after: After) {
        let id = PersistId(self.writes.next);
        self.writes.next += 1;
        self.writes.waiting.push((id, after));
        self.out.push_back(Output::Persist { id, file, bytes });
    }
}
