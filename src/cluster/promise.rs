//! The promise: what a member's disk remembers besides the state (CLUSTER.md sections 3.1 and 3.2).
//!
//! Invariants: durable before `promised` is said, with the members of the configuration, their incarnations and boot ids;
//! a disk that was wiped or restored says so until it holds a durable state of an era that was opened without it.

use alloc::{collections::BTreeMap, vec::Vec};

use base::{NodeId, RingId};
use serde::{Deserialize, Serialize};

use crate::{
    Stored,
    merge::Merged,
    state::{STATE_MAX, State},
    wire::{self, Hello, Seen},
};

/// Bytes of a promise record.
const PROMISE_MAX: usize = 16 * 1024;

/// What is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PromiseRecord {
    /// Newest ring for which a promise was made durable.
    pub(crate) promise: Option<RingId>,
    /// Its promises do not count.
    pub(crate) wiped: bool,
    /// Newest promise in which each member stands.
    pub(crate) seen: BTreeMap<NodeId, Seen>,
    /// Newest promise of each voter that was delivered here.
    pub(crate) delivered: BTreeMap<NodeId, RingId>,
}

impl PromiseRecord {
    /// From the disk; a disk without one counts as wiped.
    pub(crate) fn restore(bytes: Option<&[u8]>) -> Self {
        bytes
            .and_then(|b| wire::decode(b, PROMISE_MAX))
            .unwrap_or_else(|| Self { wiped: true, ..Self::default() })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Takes the promise for a ring into the record; it counts when the record is durable.
    pub(crate) fn give(
        &mut self,
        ring: RingId,
        hellos: &BTreeMap<NodeId, Hello>,
        merged: &Merged,
        me: NodeId,
    ) {
        self.promise = self.promise.max(Some(ring));
        self.wiped |= merged.wiped.contains(&me);
        for (node, hello) in hellos {
            let seen = Seen { node: *node, ring, incarnation: hello.incarnation, boot: hello.boot };
            self.seen.insert(*node, seen);
        }
    }

    /// A promise of another member was delivered.
    pub(crate) fn delivered(&mut self, from: NodeId, ring: RingId) {
        let newest = self.delivered.entry(from).or_insert(ring);
        *newest = (*newest).max(ring);
    }
}

/// What a state directory holds. A record is sound only after a state was durable: without that state this disk has lost
/// something.
pub(crate) fn read(disk: &Stored) -> (PromiseRecord, Option<State>) {
    let mut record = PromiseRecord::restore(disk.promise.as_deref());
    let there = disk.state.as_deref().filter(|_| disk.promise.is_some());
    let state: Option<State> = there.and_then(|bytes| wire::decode(bytes, STATE_MAX));
    record.wiped |= state.is_none();
    (record, state)
}

/// Newest promise of each voter that was delivered: what the record and the state say of it.
pub(crate) fn delivered(record: &PromiseRecord, state: Option<&State>) -> BTreeMap<NodeId, RingId> {
    let mut newest = record.delivered.clone();
    for (node, voter) in state.iter().flat_map(|s| &s.voters) {
        if let Some(ring) = voter.promised {
            let entry = newest.entry(*node).or_insert(ring);
            *entry = (*entry).max(ring);
        }
    }
    newest
}

/// What a state directory says of promises, for whoever looks at one from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promises {
    /// The newest that was made durable here.
    pub own: Option<RingId>,
    /// Whether what is promised from this directory counts before a state was taken from others.
    pub counts: bool,
    /// The newest of each voter that is known here.
    pub known: BTreeMap<NodeId, RingId>,
}

impl Stored {
    /// What it says of promises.
    pub fn promises(&self) -> Promises {
        let (record, state) = read(self);
        let known = delivered(&record, state.as_ref());
        Promises { own: record.promise, counts: !record.wiped, known }
    }
}
