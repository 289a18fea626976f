//! A small deterministic network of rings: loss, duplication, reordering, cuts, freezes, restarts, slow disks. Every
//! message crosses the codec. The same seed gives the same run.

use core::time::Duration;
use std::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use base::{Guarantee, Incarnation, Instant, Member, NodeId, RingEvent, RingId, SplitMix64};

use crate::{
    Admission, AdmitAll, Config, Destination, Output, Ring, Start, State,
    wire::{Message, decode, encode},
};

pub(super) fn node(id: u16) -> NodeId {
    NodeId::new(id).expect("not zero")
}

/// What one life of one node saw, in order.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) member: Member,
    pub(super) events: Vec<RingEvent>,
    /// Payloads handed in with success.
    pub(super) sent: Vec<Vec<u8>>,
    /// Ended by a crash or by leaving; otherwise alive at the end.
    pub(super) ended: bool,
}

pub(super) struct Machine {
    pub(super) ring: Option<Ring>,
    pub(super) life: usize,
    frozen_until: Instant,
    /// What its disk holds.
    pub(super) reserved: u64,
    starts: u64,
    pub(super) broken: Vec<(Instant, RingId)>,
    pub(super) silent: Vec<(Instant, NodeId)>,
    pub(super) tokens: Vec<(Instant, RingId)>,
    pub(super) stalls: u64,
    pub(super) writable: u64,
    backlog: Vec<(Member, Message)>,
}

#[derive(Clone, Debug)]
pub(super) struct Faults {
    /// Of 1000 datagrams.
    pub(super) loss: u64,
    pub(super) duplicate: u64,
    /// Longest delay in microseconds; the shortest is 50.
    pub(super) delay: u64,
}

impl Faults {
    pub(super) const NONE: Self = Self { loss: 0, duplicate: 0, delay: 150 };
}

enum Event {
    Datagram { to: NodeId, from: Member, bytes: Vec<u8> },
    Reserved { to: NodeId, life: usize, up_to: u64 },
}

pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) rng: SplitMix64,
    pub(super) machines: BTreeMap<NodeId, Machine>,
    pub(super) lives: Vec<Life>,
    pub(super) faults: Faults,
    /// What every datagram takes at least, and in order: queues of hosts that are busy.
    pub(super) lag: Duration,
    /// Directed pairs that are cut.
    pub(super) cuts: BTreeSet<(NodeId, NodeId)>,
    /// Receives everything but multicasts.
    pub(super) deaf: Option<NodeId>,
    /// Something was changed.
    hostile: bool,
    /// Changes one datagram of ten.
    pub(super) mutate: Option<fn(&mut SplitMix64, &mut [u8])>,
    pub(super) configure: fn(&mut Config),
    pub(super) admission: fn() -> Box<dyn Admission>,
    queue: BTreeMap<(Instant, u64), Event>,
    count: u64,
    pub(super) datagrams: u64,
    /// Longest time that a reservation takes, in microseconds.
    pub(super) disk: u64,
    serial: u64,
}

impl Net {
    pub(super) fn new(seed: u64, nodes: u16) -> Self {
        Self::with(seed, nodes, |_| {})
    }

    pub(super) fn with(seed: u64, nodes: u16, configure: fn(&mut Config)) -> Self {
        let mut net = Self {
            now: Instant::from_millis(1000),
            rng: SplitMix64::new(seed),
            machines: BTreeMap::new(),
            lives: Vec::new(),
            faults: Faults::NONE,
            lag: Duration::ZERO,
            cuts: BTreeSet::new(),
            deaf: None,
            mutate: None,
            hostile: false,
            configure,
            admission: || Box::new(AdmitAll),
            queue: BTreeMap::new(),
            count: 0,
            datagrams: 0,
            disk: 500,
            serial: 0,
        };
        for id in 1..=nodes {
            net.machines.insert(
                node(id),
                Machine {
                    ring: None,
                    life: 0,
                    frozen_until: Instant::ZERO,
                    reserved: 0,
                    starts: 0,
                    broken: Vec::new(),
                    silent: Vec::new(),
                    tokens: Vec::new(),
                    stalls: 0,
                    writable: 0,
                    backlog: Vec::new(),
                },
            );
        }
        net
    }

    pub(super) fn started(seed: u64, nodes: u16) -> Self {
        let mut net = Self::new(seed, nodes);
        net.start_all();
        net
    }

    pub(super) fn start_all(&mut self) {
        for id in self.ids() {
            self.start(id);
        }
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.machines.keys().copied().collect()
    }

    pub(super) fn start(&mut self, id: NodeId) {
        let nodes = self.machines.keys().copied().collect();
        let mut config = Config::new(id, nodes, Duration::from_millis(500));
        (self.configure)(&mut config);
        let random = u128::from(self.rng.next_u64()) << 64 | u128::from(self.rng.next_u64());
        let seed = self.rng.next_u64();
        let admission = (self.admission)();
        let machine = self.machines.get_mut(&id).expect("configured");
        machine.starts += 1;
        let incarnation = Incarnation { counter: machine.starts, random };
        let start = Start { incarnation, reserved: machine.reserved, seed };
        machine.ring = Some(Ring::new(self.now, config, start, admission).expect("valid"));
        machine.life = self.lives.len();
        machine.backlog.clear();
        machine.frozen_until = self.now;
        let member = Member { node: id, incarnation };
        self.lives.push(Life { member, events: Vec::new(), sent: Vec::new(), ended: false });
        self.drain(id);
    }

    pub(super) fn crash(&mut self, id: NodeId) {
        let machine = self.machines.get_mut(&id).expect("configured");
        if machine.ring.take().is_some() {
            self.lives[machine.life].ended = true;
        }
    }

    pub(super) fn freeze(&mut self, id: NodeId, time: Duration) {
        self.machines.get_mut(&id).expect("configured").frozen_until = self.now + time;
    }

    pub(super) fn thaw_all(&mut self) {
        for id in self.ids() {
            self.machines.get_mut(&id).expect("configured").frozen_until = self.now;
            self.thaw(id);
        }
    }

    pub(super) fn leave(&mut self, id: NodeId) {
        self.with_ring(id, |ring, now| ring.leave(now));
        self.crash(id);
    }

    pub(super) fn cut(&mut self, a: u16, b: u16) {
        self.cuts.insert((node(a), node(b)));
        self.cuts.insert((node(b), node(a)));
    }

    pub(super) fn with_ring(&mut self, id: NodeId, act: impl FnOnce(&mut Ring, Instant)) {
        let now = self.now;
        if let Some(ring) = &mut self.machines.get_mut(&id).expect("configured").ring {
            act(ring, now);
            self.drain(id);
        }
    }

    pub(super) fn ring(&self, id: u16) -> &Ring {
        self.machines[&node(id)].ring.as_ref().expect("running")
    }

    /// Hands in a message that occurs once, `size` bytes at least.
    pub(super) fn send(&mut self, id: NodeId, guarantee: Guarantee, size: usize) -> bool {
        self.serial += 1;
        let mut payload = format!("{id}:{}:", self.serial).into_bytes();
        payload.resize(payload.len().max(size), b'.');
        let mut taken = false;
        let copy = payload.clone();
        let frozen = self.machines[&id].frozen_until > self.now;
        if !frozen {
            self.with_ring(id, |ring, now| taken = ring.multicast(now, &copy, guarantee).is_ok());
        }
        if taken {
            // with_ring has drained: the life is still the same one
            let life = self.machines[&id].life;
            self.lives[life].sent.push(payload);
        }
        taken
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.queue.insert((at, self.count), event);
    }

    fn transmit(&mut self, from: Member, to: NodeId, message: &Message) {
        self.datagrams += 1;
        if self.deaf == Some(to) && matches!(message, Message::Mcast(_)) {
            return;
        }
        let mut bytes = Vec::new();
        encode(message, &mut bytes);
        if let Some(mutate) = self.mutate
            && self.rng.below(10) == 0
        {
            mutate(&mut self.rng, &mut bytes);
            self.hostile = true;
        }
        let copies = 1 + u64::from(self.rng.below(1000) < self.faults.duplicate);
        for _ in 0..copies {
            if self.cuts.contains(&(from.node, to)) || self.rng.below(1000) < self.faults.loss {
                continue;
            }
            let delay = 50 + self.rng.below(self.faults.delay);
            let at = self.now + self.lag + Duration::from_micros(delay);
            self.schedule(at, Event::Datagram { to, from, bytes: bytes.clone() });
        }
    }

    fn drain(&mut self, id: NodeId) {
        loop {
            let machine = self.machines.get_mut(&id).expect("configured");
            let Some(ring) = &mut machine.ring else { return };
            let Some(output) = ring.poll_output() else { return };
            let member = self.lives[machine.life].member;
            let now = self.now;
            match output {
                Output::Deliver(event) => self.lives[machine.life].events.push(event),
                Output::ReserveRingSeq { up_to } => {
                    let life = machine.life;
                    let at = now + Duration::from_micros(self.rng.below(self.disk));
                    self.schedule(at, Event::Reserved { to: id, life, up_to });
                }
                Output::Send { to, message } => {
                    let targets: Vec<_> = match to {
                        Destination::All => self.ids(),
                        Destination::Node(to) => std::vec![to],
                        Destination::Ring => ring.members().iter().map(|m| m.node).collect(),
                    };
                    let (to, message) = (to, message);
                    assert!(
                        to != Destination::Node(id),
                        "nobody sends to itself: {message:?} {}",
                        self.describe()
                    );
                    for to in targets.into_iter().filter(|to| *to != id) {
                        self.transmit(member, to, &message);
                    }
                }
                Output::Silent { node, .. } => machine.silent.push((now, node)),
                Output::Stalled { .. } => machine.stalls += 1,
                Output::TokenSeen { ring, .. } => machine.tokens.push((now, ring)),
                Output::RingBroken { ring } => machine.broken.push((now, ring)),
                Output::Writable => machine.writable += 1,
            }
        }
    }

    /// When something happens next.
    fn next(&self) -> Option<(Instant, Option<NodeId>)> {
        let event = self.queue.first_key_value().map(|((at, _), _)| (*at, None));
        let timers = self.machines.iter().filter_map(|(id, machine)| {
            let (at, _) = machine.ring.as_ref()?.poll_timeout()?;
            Some((at.max(machine.frozen_until), Some(*id)))
        });
        timers.chain(event).min_by_key(|(at, id)| (*at, id.map_or(0, NodeId::as_u16)))
    }

    pub(super) fn run_until(&mut self, end: Instant) {
        let mut at_one_instant = 0;
        while let Some((at, who)) = self.next() {
            if at > end {
                break;
            }
            at_one_instant = if at > self.now { 0 } else { at_one_instant + 1 };
            assert!(at_one_instant < 100_000, "time stands still");
            self.now = self.now.max(at);
            match who {
                Some(id) => {
                    self.thaw(id);
                    self.with_ring(id, Ring::handle_timeout);
                }
                None => self.event(),
            }
        }
        self.now = self.now.max(end);
    }

    /// What was queued in the socket of a frozen process comes before its timers.
    fn thaw(&mut self, id: NodeId) {
        let backlog = core::mem::take(&mut self.machines.get_mut(&id).expect("configured").backlog);
        for (from, message) in backlog {
            self.with_ring(id, |ring, now| ring.handle_message(now, from, message));
        }
    }

    fn event(&mut self) {
        let Some((_, event)) = self.queue.pop_first() else { return };
        match event {
            Event::Datagram { to, from, bytes } => {
                let message = match decode(&bytes) {
                    Ok(message) => message,
                    Err(error) => {
                        assert!(self.hostile, "{error}");
                        return;
                    }
                };
                // the frame accepts one life of each node only
                let current = self.machines[&from.node].starts == from.incarnation.counter;
                let machine = self.machines.get_mut(&to).expect("configured");
                if !current {
                    return;
                }
                if machine.frozen_until > self.now {
                    if machine.backlog.len() < 2000 {
                        machine.backlog.push((from, message));
                    }
                    return;
                }
                self.thaw(to);
                self.with_ring(to, |ring, now| ring.handle_message(now, from, message));
            }
            Event::Reserved { to, life, up_to } => {
                let machine = self.machines.get_mut(&to).expect("configured");
                if machine.life == life && machine.ring.is_some() {
                    machine.reserved = machine.reserved.max(up_to);
                    self.with_ring(to, |ring, now| ring.handle_reserved(now, up_to));
                }
            }
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end);
    }

    pub(super) fn run_ms(&mut self, ms: u64) {
        self.run(Duration::from_millis(ms));
    }

    /// Whether all of `ids` are operational in one ring with exactly these members.
    pub(super) fn together(&self, ids: &[u16]) -> bool {
        let wanted: Vec<_> = ids.iter().map(|id| node(*id)).collect();
        let rings: BTreeSet<_> = ids
            .iter()
            .map(|id| {
                let ring = self.machines[&node(*id)].ring.as_ref()?;
                let members: Vec<_> = ring.members().iter().map(|m| m.node).collect();
                (ring.state() == State::Operational && members == wanted).then(|| ring.ring())?
            })
            .collect();
        rings.len() == 1 && !rings.contains(&None)
    }

    /// Runs until they are together; how long it took.
    pub(super) fn until_together(&mut self, ids: &[u16], most_ms: u64) -> Duration {
        let begin = self.now;
        while !self.together(ids) {
            if self.now.since(begin) >= Duration::from_millis(most_ms) {
                panic!("not together {ids:?} after {most_ms} ms: {}", self.describe());
            }
            self.run(Duration::from_millis(1));
        }
        self.now.since(begin)
    }

    pub(super) fn describe(&self) -> String {
        let mut out = String::new();
        for (id, machine) in &self.machines {
            let text = machine.ring.as_ref().map_or_else(
                || String::from("down"),
                |ring| {
                    let members: Vec<_> = ring.members().iter().map(|m| m.node.as_u16()).collect();
                    format!("{:?} {:?} {members:?}", ring.state(), ring.ring())
                },
            );
            out += &format!("\n  {id}: {text}");
        }
        out
    }

    /// The events of the present life of a node.
    pub(super) fn events(&self, id: u16) -> &[RingEvent] {
        &self.lives[self.machines[&node(id)].life].events
    }

    /// Payloads delivered to the present life of a node.
    pub(super) fn delivered(&self, id: u16) -> Vec<&[u8]> {
        self.events(id)
            .iter()
            .filter_map(|event| match event {
                RingEvent::Message(message) => Some(&message.payload[..]),
                RingEvent::Configuration(_) => None,
            })
            .collect()
    }
}
