//! One ring's order: its messages, and how far they were delivered.

use alloc::{collections::BTreeSet, collections::VecDeque, vec::Vec};

use base::{Guarantee, Member, NodeId, RingEvent, RingId, RingMessage};

use crate::{
    Output,
    log::Log,
    packing::Reassembly,
    serial::{after, later},
    wire::{CommitEntry, Mcast},
};

/// Invariant: `delivered <= log.aru()` until the ring ends; `safe` is known to be received by all members.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) id: RingId,
    /// Ascending by node.
    pub(super) members: Vec<Member>,
    pub(super) log: Log,
    pub(super) delivered: u32,
    pub(super) safe: u32,
    /// Whose messages must be delivered beyond a gap: an attempt at a new ring got as far as exchanging everything,
    /// so somebody may have delivered them in its transitional configuration.
    pub(super) obliged: BTreeSet<NodeId>,
    reassembly: Reassembly,
    /// Payloads that could not be unpacked. Their sender runs another version.
    pub(super) malformed: u64,
}

impl Order {
    pub(super) fn new(id: RingId, members: Vec<Member>, start: u32) -> Self {
        Self {
            id,
            members,
            log: Log::new(start),
            delivered: start,
            safe: start,
            obliged: BTreeSet::new(),
            reassembly: Reassembly::default(),
            malformed: 0,
        }
    }

    pub(super) fn has(&self, member: &Member) -> bool {
        self.members.contains(member)
    }

    pub(super) fn has_node(&self, node: NodeId) -> bool {
        self.members.iter().any(|member| member.node == node)
    }

    /// Takes a message of this ring; whether it was new.
    pub(super) fn receive(&mut self, message: Mcast) -> bool {
        self.has_node(message.origin) && self.log.insert(message.seq, message)
    }

    /// What this member brings into the next ring.
    pub(super) fn entry(&self, member: Member) -> CommitEntry {
        CommitEntry {
            member,
            old_ring: Some(self.id),
            aru: self.log.aru(),
            high: self.log.high(),
            delivered: self.delivered,
            obliged: self.obliged.iter().copied().collect(),
        }
    }

    /// Delivers up to the first gap, and up to the first safe message that is not known to be everywhere: an agreed
    /// message never overtakes an earlier safe one.
    pub(super) fn deliver(&mut self, out: &mut VecDeque<Output>) {
        self.deliver_regular(self.safe, out);
    }

    /// As `deliver`, with `known`: up to there somebody delivered in this regular configuration.
    pub(super) fn deliver_regular(&mut self, known: u32, out: &mut VecDeque<Output>) {
        loop {
            let seq = self.delivered.wrapping_add(1);
            let Some(message) = self.log.get(seq) else { return };
            if message.guarantee == Guarantee::Safe && after(seq, known) {
                return;
            }
            let message = message.clone();
            self.deliver_one(&message, out);
            self.delivered = seq;
        }
    }

    /// Delivers the rest in the transitional configuration. Beyond the first gap only what `from` sent: a message of
    /// another may depend on one that is lost.
    pub(super) fn deliver_transitional(
        &mut self,
        from: &BTreeSet<NodeId>,
        out: &mut VecDeque<Output>,
    ) {
        let mut gap = false;
        while after(self.log.high(), self.delivered) {
            self.delivered = self.delivered.wrapping_add(1);
            match self.log.get(self.delivered).cloned() {
                None => gap = true,
                Some(message) if !gap || from.contains(&message.origin) => {
                    self.deliver_one(&message, out);
                }
                Some(_) => {}
            }
        }
    }

    /// Frees what all have received and this member has delivered (TOTEM.md section 17.4).
    pub(super) fn free(&mut self, all_received: u32) {
        self.safe = later(self.safe, all_received);
        self.log.free(crate::serial::earlier(self.safe, self.delivered));
    }

    fn deliver_one(&mut self, message: &Mcast, out: &mut VecDeque<Output>) {
        if message.recovered.is_some() {
            return; // of an old ring, delivered there
        }
        let (sender, guarantee) = (message.origin, message.guarantee);
        let taken = self.reassembly.take(sender, &message.payload, |payload| {
            let message = RingMessage { sender, guarantee, payload };
            out.push_back(Output::Deliver(RingEvent::Message(message)));
        });
        if taken.is_err() {
            self.malformed += 1;
        }
    }
}
