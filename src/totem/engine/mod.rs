//! The engine: five verbs over four states.

mod form;
mod gather;
mod join;
mod mend;
mod operational;
mod order;
mod refusal;
mod rotation;
mod shun;
#[cfg(test)]
mod tests;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec::Vec,
};
use core::time::Duration;

use base::{Guarantee, Incarnation, Instant, Member, NodeId, RingId};

use crate::{
    Admission, Config, ConfigError, Destination, MESSAGE_BYTES_MAX, MulticastError, Output,
    RESERVE_BLOCK, RING_SEQ_MAX, Reason, STANDING_BYTES_MAX, Start, State, StateEvent,
    packing::SendQueue, wire::Message,
};
use form::{Commit, Recovery};
use gather::Gather;
use mend::Word;
use order::Order;
use rotation::Rotation;
use shun::Shun;

/// Lives of one node that were replaced and are remembered.
const RETIRED_MAX: usize = 8;
/// Timers worked off in one call. There are fewer than eight; the bound keeps a mistake from spinning.
const TIMERS_MAX: usize = 32;
/// A jump of another's ring sequence number beyond this is not followed: no cluster forms 2^40 rings.
const RING_SEQ_JUMP_MAX: u64 = 1 << 40;

/// Where the effects of one call go.
struct Turn<'a> {
    now: Instant,
    config: &'a Config,
    out: &'a mut VecDeque<Output>,
    /// Tokens of a ring of one.
    loopback: &'a mut VecDeque<Message>,
}

/// Messages that were dropped, by reason, and other figures of one life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingCounters {
    /// Not of a configured node, or of a replaced life.
    pub unknown_sender: u64,
    /// Of another ring, an earlier round or a duplicate.
    pub stale: u64,
    /// Values that cannot be true.
    pub impossible: u64,
    /// Joins and merge detects of members that are kept out for a while.
    pub shunned: u64,
    /// Messages multicast again on request.
    pub resent: u64,
    /// Rings installed.
    pub rings: u64,
    /// Tokens lost (timer ran out).
    pub tokens_lost: u64,
    /// Tokens sent again.
    pub tokens_resent: u64,
    /// Payloads of members that could not be unpacked.
    pub malformed: u64,
}

/// What is known about one other node over all rings.
#[derive(Debug)]
struct Life {
    incarnation: Incarnation,
    /// Number of its latest join.
    join: u64,
    retired: VecDeque<Incarnation>,
    heard_at: Instant,
    /// Heard without a break since.
    steady_since: Instant,
    /// What it said last of its ring and of whom it hears.
    word: Option<Word>,
    /// What it said last of itself, and when.
    standing: Option<(Arc<[u8]>, Instant)>,
}

enum Phase {
    Commit(Commit),
    Gather(Gather),
    Left,
    Operational(Rotation),
    Recovery(Box<Recovery>),
}

/// One node's part in the ring. Time comes with every verb and never goes back. After each verb take the outputs
/// until there are none; then sleep until `poll_timeout`. Calls that come too early or twice do nothing.
pub struct Ring {
    config: Config,
    me: Member,
    admission: Box<dyn Admission>,
    now: Instant,
    phase: Phase,
    /// The last operational ring, current in `Phase::Operational`, the old one otherwise. None before the first.
    order: Option<Order>,
    queue: SendQueue,
    wants_room: bool,
    standing: Arc<[u8]>,
    /// To whom it listens, as its last merge detect said.
    said: BTreeSet<NodeId>,
    lives: BTreeMap<NodeId, Life>,
    shunned: BTreeMap<NodeId, Shun>,
    /// Highest ring sequence number seen.
    ring_seq: u64,
    /// Highest ring sequence number of a formation that this node took part in.
    tried: u64,
    reserved: u64,
    asked: u64,
    joins: u64,
    /// Nodes that refused a datagram, since the last ring.
    suspects: BTreeSet<NodeId>,
    out: VecDeque<Output>,
    loopback: VecDeque<Message>,
    counters: RingCounters,
}

impl Ring {
    /// A node that begins to look for a ring at once.
    pub fn new(
        now: Instant,
        config: Config,
        start: Start,
        admission: Box<dyn Admission>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let me = Member { node: config.node, incarnation: start.incarnation };
        let reserved = start.reserved.min(RING_SEQ_MAX);
        let mut ring = Self {
            me,
            admission,
            now,
            phase: Phase::Left,
            order: None,
            queue: SendQueue::default(),
            wants_room: false,
            standing: Arc::from(&b""[..]),
            said: BTreeSet::new(),
            lives: BTreeMap::new(),
            shunned: BTreeMap::new(),
            ring_seq: reserved,
            tried: 0,
            reserved,
            asked: reserved,
            joins: 0,
            suspects: BTreeSet::new(),
            out: VecDeque::new(),
            loopback: VecDeque::new(),
            counters: RingCounters::default(),
            config,
        };
        ring.reserve();
        let gather = ring.begin_gather();
        ring.phase = Phase::Gather(gather);
        ring.gather_changed();
        Ok(ring)
    }

    /// Takes a message that the frame has shown to be `from`'s.
    pub fn handle_message(&mut self, now: Instant, from: Member, message: Message) {
        self.clock(now);
        if matches!(self.phase, Phase::Left) || !self.heard(from) {
            self.counters.unknown_sender += 1;
            return;
        }
        match message {
            Message::Commit(token) => self.handle_commit(from, token),
            Message::HoldCancel(cancel) => self.handle_hold_cancel(from, &cancel),
            Message::Join(join) => self.handle_join(from, join),
            Message::Mcast(mcast) => self.handle_mcast(from, mcast),
            Message::MergeDetect(detect) => self.handle_merge_detect(from, &detect),
            Message::Token(token) => self.handle_token(from, token),
        }
        self.settle();
    }

    /// Works off the timers that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.clock(now);
        for _ in 0..TIMERS_MAX {
            let Some((at, reason)) = self.poll_timeout() else { break };
            if at > self.now {
                break;
            }
            self.timer(reason);
            self.settle();
        }
    }

    /// Ring sequence numbers up to `up_to` are reserved durably.
    pub fn handle_reserved(&mut self, now: Instant, up_to: u64) {
        self.clock(now);
        self.reserved = self.reserved.max(up_to.min(self.asked));
        self.gather_changed();
        self.settle();
    }

    /// A datagram to `node` came back as undeliverable (ICMP port unreachable): a hint that its process is gone. It
    /// is only believed as far as to ask: a node that is alive answers the joins.
    pub fn handle_unreachable(&mut self, now: Instant, node: NodeId) {
        self.clock(now);
        let quiet = self
            .lives
            .get(&node)
            .is_none_or(|life| self.now.since(life.heard_at) >= self.config.join);
        let member = self.order.as_ref().is_some_and(|order| order.has_node(node));
        if !quiet || !member || node == self.me.node || !self.suspects.insert(node) {
            return;
        }
        if let Phase::Operational(_) = self.phase {
            self.enter_gather(StateEvent::unreachable);
            self.gather_changed();
            self.settle();
        }
    }

    /// Gives the ring up and forms a new one at once: the application wants its answer to [`Admission`] applied to those
    /// who are members now (CLUSTER.md section 6, eviction). Does nothing while a ring is being formed anyway.
    pub fn reform(&mut self, now: Instant) {
        self.clock(now);
        if let Phase::Operational(_) = self.phase {
            self.enter_gather(StateEvent::reform);
            self.gather_changed();
            self.settle();
        }
    }

    /// Hands in a message. It is delivered to this member too, in its place of the order, unless this life ends.
    pub fn multicast(
        &mut self,
        now: Instant,
        payload: &[u8],
        guarantee: Guarantee,
    ) -> Result<(), MulticastError> {
        self.clock(now);
        if let Phase::Left = self.phase {
            return Err(MulticastError::Left);
        }
        if payload.len() > MESSAGE_BYTES_MAX {
            return Err(MulticastError::TooLarge { size: payload.len() });
        }
        // small messages cost more than their bytes
        let cost = payload.len().max(16);
        if self.queue.bytes() + cost > self.config.queue_bytes {
            self.wants_room = true;
            return Err(MulticastError::Busy { queued: self.queue.bytes() });
        }
        self.queue.push(guarantee, payload);
        self.want_token();
        self.settle();
        Ok(())
    }

    /// What the application says about itself in the joins of this member (CLUSTER.md section 6, Admission).
    pub fn set_standing(&mut self, now: Instant, standing: &[u8]) -> Result<(), MulticastError> {
        self.clock(now);
        if standing.len() > STANDING_BYTES_MAX {
            return Err(MulticastError::TooLarge { size: standing.len() });
        }
        if *self.standing != *standing {
            self.standing = Arc::from(standing);
            self.gather_changed();
            self.settle();
        }
        Ok(())
    }

    /// Leaves in order. The last verb of a life; what waits to be sent is not sent.
    pub fn leave(&mut self, now: Instant) {
        self.clock(now);
        if let Phase::Left = self.phase {
            return;
        }
        let join = self.leave_join();
        for _ in 0..2 {
            let message = Message::Join(join.clone());
            self.out.push_back(Output::Send { to: Destination::All, message });
        }
        self.moved(StateEvent::leave);
        self.phase = Phase::Left;
    }

    /// The next effect.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When `handle_timeout` wants to be called at the latest, and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let mut timers: [Option<(Instant, Reason)>; 4] = [None; 4];
        match &self.phase {
            Phase::Left => {}
            Phase::Gather(gather) => {
                timers[0] = Some((gather.join_at, Reason::Join));
                timers[1] = Some((gather.consensus_at, Reason::Consensus));
            }
            Phase::Commit(commit) => {
                timers[0] = Some((commit.resend_at, Reason::TokenResend));
                timers[1] = Some((commit.lost_at, Reason::CommitLost));
            }
            Phase::Recovery(recovery) => {
                timers[0] = recovery.resend_at().map(|at| (at, Reason::TokenResend));
                timers[1] = Some((recovery.rotation.lost_at, Reason::TokenLost));
            }
            Phase::Operational(rotation) => {
                timers[0] = rotation.resend_at.map(|at| (at, Reason::TokenResend));
                timers[1] = Some((rotation.lost_at, Reason::TokenLost));
                timers[2] = rotation.hold_at.map(|at| (at, Reason::Hold));
                timers[3] = rotation.merge_at.map(|at| (at, Reason::MergeDetect));
            }
        }
        timers.into_iter().flatten().min()
    }

    /// Where this member stands.
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Commit(_) => State::Commit,
            Phase::Gather(_) => State::Gather,
            Phase::Left => State::Left,
            Phase::Operational(_) => State::Operational,
            Phase::Recovery(_) => State::Recovery,
        }
    }

    /// The installed ring, while it is operational.
    pub fn ring(&self) -> Option<RingId> {
        matches!(self.phase, Phase::Operational(_)).then_some(self.order.as_ref()?.id)
    }

    /// To whom `Destination::Ring` goes: the members of the ring that is used or formed, this one included.
    pub fn members(&self) -> &[Member] {
        match &self.phase {
            Phase::Recovery(recovery) => &recovery.order.members,
            _ => self.order.as_ref().map_or(&[], |order| &order.members),
        }
    }

    /// Bytes of messages that wait for the token.
    pub const fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Figures of this life.
    pub fn counters(&self) -> RingCounters {
        RingCounters {
            malformed: self.order.as_ref().map_or(0, |order| order.malformed),
            ..self.counters
        }
    }

    /// Checks the move against the table. An illegal one is a mistake in this crate.
    fn moved(&self, event: StateEvent) {
        assert!(event.apply(self.state()).is_some(), "{event:?} in {:?}", self.state());
        tracing::debug!(me = %self.me.node, from = ?self.state(), ?event, "membership");
    }

    /// Takes the time. A call far behind its timer means that this process was not run: datagrams wait in the
    /// sockets, so nobody is judged before they were taken in (TOTEM.md section 19.2).
    fn clock(&mut self, now: Instant) {
        let due = self.poll_timeout().map_or(now, |(at, _)| at);
        self.now = self.now.max(now);
        let gap = self.now.since(due);
        if gap <= self.config.token / 2 {
            return;
        }
        self.out.push_back(Output::Stalled { gap });
        let floor = self.now + (self.config.token / 20).max(Duration::from_millis(5));
        match &mut self.phase {
            Phase::Commit(commit) => commit.lost_at = commit.lost_at.max(floor),
            Phase::Gather(gather) => {
                gather.consensus_at = gather.consensus_at.max(floor);
                gather.judge_from = self.now;
            }
            Phase::Left => {}
            Phase::Operational(rotation) => rotation.lost_at = rotation.lost_at.max(floor),
            Phase::Recovery(recovery) => {
                recovery.rotation.lost_at = recovery.rotation.lost_at.max(floor);
            }
        }
    }

    /// Notes who spoke. `false`: not a node of ours, or a life that was replaced.
    fn heard(&mut self, from: Member) -> bool {
        if from.node == self.me.node || !self.config.nodes.contains(&from.node) {
            return false;
        }
        let (now, gap) = (self.now, self.gap());
        let life = self.lives.entry(from.node).or_insert_with(|| Life {
            incarnation: from.incarnation,
            join: 0,
            retired: VecDeque::new(),
            heard_at: now,
            steady_since: now,
            word: None,
            standing: None,
        });
        if life.incarnation != from.incarnation {
            if life.retired.contains(&from.incarnation) {
                return false;
            }
            if life.retired.len() == RETIRED_MAX {
                life.retired.pop_front();
            }
            life.retired.push_back(life.incarnation);
            life.incarnation = from.incarnation;
            life.join = 0;
            life.standing = None;
            life.word = None;
            life.steady_since = now;
            self.shunned.remove(&from.node);
        }
        if now.since(life.heard_at) > gap {
            life.steady_since = now;
        }
        life.heard_at = now;
        self.suspects.remove(&from.node);
        true
    }

    fn timer(&mut self, reason: Reason) {
        match reason {
            Reason::CommitLost => {
                self.enter_gather(StateEvent::commit_lost);
                self.gather_changed();
            }
            Reason::Consensus => self.consensus_over(),
            Reason::Hold => self.with_rotation(Rotation::hold_over),
            Reason::Join => self.join_due(),
            Reason::MergeDetect => self.tell_outsiders(),
            Reason::TokenLost => {
                self.counters.tokens_lost += 1;
                self.enter_gather(StateEvent::token_lost);
                self.gather_changed();
            }
            Reason::TokenResend => self.resend_due(),
        }
    }

    /// Works off what a ring of one sends to itself.
    fn settle(&mut self) {
        while let Some(message) = self.loopback.pop_front() {
            match message {
                Message::Commit(token) => self.handle_commit(self.me, token),
                Message::Token(token) => self.handle_token(self.me, token),
                _ => {}
            }
        }
        let room = self.config.queue_bytes.saturating_sub(MESSAGE_BYTES_MAX);
        if self.wants_room && self.queue.bytes() <= room {
            self.wants_room = false;
            self.out.push_back(Output::Writable);
        }
    }

    /// Asks for the next block of ring sequence numbers half a block ahead.
    fn reserve(&mut self) {
        let needed = (self.ring_seq + RESERVE_BLOCK / 2).min(RING_SEQ_MAX);
        if self.asked < needed {
            self.asked = ((self.ring_seq / RESERVE_BLOCK + 2) * RESERVE_BLOCK).min(RING_SEQ_MAX);
            self.out.push_back(Output::ReserveRingSeq { up_to: self.asked });
        }
    }

    fn saw_ring_seq(&mut self, seq: u64) -> bool {
        if seq > self.ring_seq.saturating_add(RING_SEQ_JUMP_MAX) || seq > RING_SEQ_MAX {
            self.counters.impossible += 1;
            return false;
        }
        self.ring_seq = self.ring_seq.max(seq);
        self.reserve();
        true
    }
}

/// Digest of what was heard, order-dependent: FNV-1a, 64 bits. Those who could forge it are members anyway.
struct Digest(u64);

impl Digest {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn all_members(members: impl IntoIterator<Item = Member>) -> Vec<Member> {
    let mut members: Vec<_> = members.into_iter().collect();
    members.sort_by_key(|member| member.node);
    members
}
