//! Frame, ring and engine in one: what comes in from the world goes through all three, what they want goes out.
//!
//! Invariants: no socket, clock or disk here; the order of effects is the order in which the cores gave them; a message
//! that the ring cannot take now waits its turn, so the order of the engine's messages is kept. It decides nothing.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use base::{Configuration, ConfigurationKind, Guarantee, Instant, NodeId, RingEvent, RingId};
use cluster::{File, Input, Member, Output, PersistId, Record, Refused, RequestId, RequestKind};
use totem::{
    Admission, Destination, MulticastError, Output as RingOutput, Ring, RingCounters, State,
    frame::{Channel, Dropped, KeyId},
    wire::{self, Message},
};

use crate::{
    cipher::RingCipher,
    keys::RingKeys,
    state::{FileKind, WriteToken},
};

/// Messages of the engine that wait for room in the ring. It sends in bounded bursts; more than this is a mistake.
const PENDING_MAX: usize = 4096;
/// A key that left the Secret is accepted for so long: members that were away have fetched the next one by then, and
/// datagrams sealed with it are long gone.
const RETIRE_AFTER: Duration = Duration::from_secs(60);

/// Asks the engine's rule who stays outside (CLUSTER.md section 6).
pub(super) struct ClusterAdmission;

impl Admission for ClusterAdmission {
    fn refused(&self, heard: &BTreeMap<NodeId, Vec<u8>>) -> BTreeSet<NodeId> {
        cluster::admission::refused(heard)
    }
}

/// Where effects go. None of these may block.
pub(super) trait World {
    /// One sealed datagram to one peer on all links.
    fn send(&mut self, to: NodeId, datagram: &[u8]);
    /// Make durable and answer by [`Core::handle_persisted`].
    fn persist(&mut self, kind: FileKind, content: Vec<u8>, token: WriteToken);
    /// To the executor of this machine.
    fn executor(&mut self, what: cluster::ExecutorDo);
    /// To the fencer of this machine.
    fn fencer(&mut self, what: cluster::FencerDo);
    /// Look whether the machine answers.
    fn probe(&mut self, node: NodeId);
    /// A request was taken up or refused.
    fn answer(&mut self, id: RequestId, result: Result<(), Refused>);
    /// For timeline, events and metrics.
    fn record(&mut self, record: Record);
    /// What the ring itself did.
    fn ring(&mut self, event: RingNews<'_>);
    /// The member has left; the process ends with this reason.
    fn left(&mut self, reason: String);
    /// An assertion failed.
    fn safe_state(&mut self, invariant: &'static str, detail: String);
}

/// What the ring itself did, for metrics, timeline and the freshness of everything.
#[derive(Debug)]
pub(super) enum RingNews<'a> {
    /// No token in time, or a member left.
    Broken(RingId),
    /// A regular configuration was delivered.
    Installed(&'a Configuration),
    /// A token of an installed ring.
    Token(RingId, Instant),
}

/// The three, with what lies between them.
pub(super) struct Core {
    channel: Channel<RingCipher>,
    ring: Ring,
    member: Member,
    me: NodeId,
    nodes: Vec<NodeId>,
    members: Vec<NodeId>,
    /// Ids of the ring keys that the channel accepts.
    held: Vec<u16>,
    /// Those that left the Secret, and when they may go.
    retiring: BTreeMap<u16, Instant>,
    pending: VecDeque<(Vec<u8>, Guarantee)>,
    body: Vec<u8>,
    datagram: Vec<u8>,
}

impl Core {
    /// `nodes` are all voters but this one, `keys` the ids that the channel was made with.
    pub(super) fn new(
        channel: Channel<RingCipher>,
        ring: Ring,
        member: Member,
        me: NodeId,
        nodes: Vec<NodeId>,
        keys: Vec<u16>,
    ) -> Self {
        Self {
            channel,
            ring,
            member,
            me,
            nodes,
            members: Vec::new(),
            held: keys,
            retiring: BTreeMap::new(),
            pending: VecDeque::new(),
            body: Vec::new(),
            datagram: Vec::new(),
        }
    }

    /// One datagram as it came. Call [`Self::pump`] after a batch of them.
    pub(super) fn handle_datagram(&mut self, now: Instant, source: IpAddr, datagram: &mut [u8]) {
        let Some(received) = self.channel.handle_datagram(now, source, datagram) else { return };
        let from = received.from;
        let message = match wire::decode(received.payload) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(member_id = from.node.as_u16(), %error, "an authentic message cannot be read");
                return;
            }
        };
        let outside = !self.members.contains(&from.node);
        let standing = match &message {
            Message::Join(join) if outside => Some(join.standing.to_vec()),
            Message::MergeDetect(detect) if outside => Some(detect.standing.to_vec()),
            _ => None,
        };
        if let Some(standing) = standing {
            self.member.handle(now, Input::Heard { node: from.node, standing });
        }
        self.ring.handle_message(now, from, message);
    }

    /// The peer's machine says that nobody listens on its port.
    pub(super) fn handle_unreachable(&mut self, now: Instant, node: NodeId) {
        self.ring.handle_unreachable(now, node);
    }

    /// This process was not run; to be said before anything that came meanwhile.
    pub(super) fn handle_gap(&mut self, now: Instant, gap: Duration) {
        self.member.handle(now, Input::Stalled(gap));
    }

    /// Something for the engine.
    pub(super) fn handle(&mut self, now: Instant, input: Input) {
        self.member.handle(now, input);
    }

    /// A request of a person or a program on this machine.
    pub(super) fn handle_request(&mut self, now: Instant, id: RequestId, kind: RequestKind) {
        self.member.handle(now, Input::Request { id, kind });
    }

    /// These writes are durable.
    pub(super) fn handle_persisted(&mut self, now: Instant, kind: FileKind, tokens: &[WriteToken]) {
        for WriteToken(token) in tokens {
            match kind {
                FileKind::RingSequence => self.ring.handle_reserved(now, *token),
                FileKind::Promise | FileKind::State => {
                    // The engine's number and the file of it: one counter serves both files.
                    self.member.handle(now, Input::Persisted(PersistId(*token)));
                }
                _ => {}
            }
        }
    }

    /// Works off the timers that are due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.ring.handle_timeout(now);
        if self.member.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.member.handle_timeout(now);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let ring = self.ring.poll_timeout().map(|(at, _)| at);
        let member = self.member.poll_timeout().map(|(at, _)| at);
        match (ring, member) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Keys were rotated: new ones are accepted and advertised at once; one that is gone from the Secret is retired when
    /// nobody needs it any more, see [`Self::retire_keys`].
    pub(super) fn set_keys(&mut self, now: Instant, keys: &RingKeys) {
        self.channel.cipher_mut().add_keys(keys);
        for id in keys.ids() {
            match self.channel.add_key(KeyId(id)) {
                Ok(()) if self.held.contains(&id) => {}
                Ok(()) => {
                    tracing::info!(key = id, "a ring key is accepted");
                    self.held.push(id);
                }
                Err(error) => tracing::error!(key = id, %error, "a ring key was not taken"),
            }
        }
        self.retiring.retain(|id, _| !keys.ids().contains(id));
        for id in self.held.iter().filter(|id| !keys.ids().contains(id)) {
            self.retiring.entry(*id).or_insert(now + RETIRE_AFTER);
        }
    }

    /// Ids under which these are other keys than those that are held: they are not taken.
    pub(super) fn differing_keys(&mut self, keys: &RingKeys) -> Vec<u16> {
        self.channel.cipher_mut().differing(keys)
    }

    /// Called now and then: drops keys whose time has passed and that this member does not send with any more.
    pub(super) fn retire_keys(&mut self, now: Instant) {
        let due: Vec<u16> =
            self.retiring.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in due {
            if self.channel.retire_key(KeyId(id)).is_ok() {
                self.channel.cipher_mut().drop_key(id);
                self.retiring.remove(&id);
                self.held.retain(|held| *held != id);
                tracing::info!(key = id, "a ring key is retired");
            }
        }
    }

    /// Stops taking part, without a word of the engine: a planned absence was announced, or the cluster is suspended.
    pub(super) fn leave_ring(&mut self, now: Instant) {
        self.ring.leave(now);
    }

    /// Carries out what the cores want until they want nothing more.
    pub(super) fn pump(&mut self, now: Instant, world: &mut impl World) {
        loop {
            if let Some(output) = self.ring.poll_output() {
                self.ring_output(now, output, world);
            } else if let Some(output) = self.member.poll_output() {
                self.member_output(now, output, world);
            } else {
                break;
            }
        }
        while let Some((to, datagram)) = self.channel.poll_transmit() {
            world.send(to, &datagram);
        }
    }

    fn ring_output(&mut self, now: Instant, output: RingOutput, world: &mut impl World) {
        match output {
            RingOutput::Deliver(event) => {
                if let RingEvent::Configuration(configuration) = &event
                    && configuration.kind == ConfigurationKind::Regular
                {
                    self.members = configuration.members.iter().map(|m| m.node).collect();
                    self.channel.set_members(self.members.iter().copied());
                    world.ring(RingNews::Installed(configuration));
                }
                self.member.handle(now, Input::Ring(event));
            }
            RingOutput::ReserveRingSeq { up_to } => {
                let content = postcard::to_allocvec(&up_to).unwrap_or_default();
                world.persist(FileKind::RingSequence, content, WriteToken(up_to));
            }
            RingOutput::Send { to, message } => self.send(to, &message, world),
            RingOutput::Silent { node, ring: _ } => self.member.handle(now, Input::Silent { node }),
            RingOutput::Stalled { gap } => {
                tracing::debug!(gap_ms = gap.as_millis(), "timers were put off after a stall");
            }
            RingOutput::TokenSeen { ring, now: seen } => {
                self.member.handle(now, Input::Token { ring });
                world.ring(RingNews::Token(ring, seen));
            }
            RingOutput::RingBroken { ring } => {
                self.member.handle(now, Input::RingBroken { ring });
                world.ring(RingNews::Broken(ring));
            }
            RingOutput::Writable => self.flush(now),
        }
    }

    fn member_output(&mut self, now: Instant, output: Output, world: &mut impl World) {
        match output {
            Output::Multicast { payload, guarantee } => {
                if self.pending.len() >= PENDING_MAX {
                    tracing::error!("the ring takes no messages and too many wait: one is lost");
                    return;
                }
                self.pending.push_back((payload, guarantee));
                self.flush(now);
            }
            Output::Persist { id: PersistId(id), file, bytes } => {
                let kind = match file {
                    File::Promise => FileKind::Promise,
                    File::State => FileKind::State,
                };
                world.persist(kind, bytes, WriteToken(id));
            }
            Output::Executor(what) => world.executor(what),
            Output::Fencer(what) => world.fencer(what),
            Output::Probe { node } => world.probe(node),
            Output::Standing(bytes) => {
                if let Err(error) = self.ring.set_standing(now, &bytes) {
                    tracing::error!(%error, "the standing does not fit into a join");
                }
            }
            Output::Reform => self.ring.reform(now),
            Output::LeaveRing { reason } => {
                self.ring.leave(now);
                world.left(reason);
            }
            Output::StopRing => self.ring.leave(now),
            Output::SafeState { invariant, detail } => world.safe_state(invariant, detail),
            Output::Answer { id, result } => world.answer(id, result),
            Output::Record(record) => world.record(record),
        }
    }

    fn flush(&mut self, now: Instant) {
        while let Some((payload, guarantee)) = self.pending.front() {
            match self.ring.multicast(now, payload, *guarantee) {
                Ok(()) => drop(self.pending.pop_front()),
                // `Writable` calls again.
                Err(MulticastError::Busy { .. }) => return,
                Err(error) => {
                    tracing::debug!(%error, "a message of the engine was not taken");
                    self.pending.pop_front();
                }
            }
        }
    }

    fn send(&mut self, to: Destination, message: &Message, world: &mut impl World) {
        self.body.clear();
        wire::encode(message, &mut self.body);
        let target = match to {
            Destination::Node(node) => Some(node),
            Destination::All | Destination::Ring => None,
        };
        if let Err(error) = self.channel.seal(target, &self.body, &mut self.datagram) {
            tracing::error!(%error, "a datagram cannot be sealed");
            return;
        }
        match to {
            Destination::Node(node) => world.send(node, &self.datagram),
            Destination::All => {
                for node in &self.nodes {
                    world.send(*node, &self.datagram);
                }
            }
            Destination::Ring => {
                for member in self.ring.members() {
                    if self.nodes.contains(&member.node) {
                        world.send(member.node, &self.datagram);
                    }
                }
            }
        }
    }

    /// Where the ring stands.
    pub(super) const fn ring_state(&self) -> State {
        self.ring.state()
    }

    /// This member.
    pub(super) const fn me(&self) -> NodeId {
        self.me
    }

    /// The engine, for its getters.
    pub(super) const fn member(&self) -> &Member {
        &self.member
    }

    /// What the ring counted in this life.
    pub(super) fn ring_counters(&self) -> RingCounters {
        self.ring.counters()
    }

    /// Datagrams accepted, and dropped by reason.
    pub(super) fn datagrams(&self) -> (u64, impl Iterator<Item = (Dropped, u64)>) {
        let counters = self.channel.counters();
        (counters.accepted, Dropped::ALL.into_iter().map(|why| (why, counters.dropped(why))))
    }
}
