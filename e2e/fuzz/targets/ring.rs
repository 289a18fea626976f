//! Target `ring`: the codec of the ring, and three engines that hear what one of them never should have said.
//!
//! Everything here is behind the frame: authentic, and hostile all the same (SAFETY.md 4.6: fuzz after decryption too).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use base::{ConfigurationKind, Guarantee, Incarnation, Instant, Member, NodeId, RingEvent, RingId};
use totem::{
    AdmitAll, Config, Destination, MEMBERS_MAX, Output, REQUESTS_MAX, Ring, Start, State, unpack,
    wire::{
        CommitEntry, CommitToken, HoldCancel, Join, Known, Mcast, MergeDetect, Message, Recovered,
        Token, decode, encode,
    },
};

use super::script::{Script, within};

const NODES: usize = 3;
/// Turns of one case.
const TURNS_MAX: usize = 3000;
/// What one datagram may make a reader hold: its bytes again, and lists of members.
const READER_BYTES: usize = 2 * 65_536;
/// What three engines may hold in one case: their windows and queues, all bounded.
const ENGINES_BYTES: usize = 64 << 20;

pub(crate) fn run(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 4 {
        0 => codec(bytes),
        1 => drop(within(READER_BYTES, || unpack(bytes).is_ok())),
        _ => within(ENGINES_BYTES, || engines(bytes)),
    }
}

/// One meaning, one spelling.
fn codec(bytes: &[u8]) {
    if let Ok(message) = within(READER_BYTES, || decode(bytes)) {
        let mut again = Vec::new();
        encode(&message, &mut again);
        assert_eq!(again, bytes, "{message:?} has two spellings");
    }
}

fn node(index: usize) -> NodeId {
    NodeId::new(index as u16 + 1).expect("not zero")
}

/// Delivered by one node in one regular configuration.
type History = BTreeMap<RingId, Vec<(NodeId, Vec<u8>)>>;

struct Net {
    now: Instant,
    rings: Vec<Ring>,
    members: Vec<Member>,
    /// (from, to, bytes)
    queue: VecDeque<(usize, usize, Vec<u8>)>,
    histories: Vec<History>,
    installed: Vec<Option<RingId>>,
    /// Newest token on the wire, for messages that fit.
    token: Option<Token>,
    /// Somebody has lied: the promises of the ring bind nobody any more.
    hostile: bool,
}

impl Net {
    fn new() -> Self {
        let now = Instant::from_millis(1000);
        let nodes: BTreeSet<NodeId> = (0..NODES).map(node).collect();
        let mut net = Self {
            now,
            rings: Vec::new(),
            members: Vec::new(),
            queue: VecDeque::new(),
            histories: vec![History::new(); NODES],
            installed: vec![None; NODES],
            token: None,
            hostile: false,
        };
        for index in 0..NODES {
            let incarnation = Incarnation { counter: 1, random: index as u128 };
            let config = Config::new(node(index), nodes.clone(), Duration::from_millis(400));
            let start = Start { incarnation, reserved: 0, seed: index as u64 };
            let ring = Ring::new(now, config, start, Box::new(AdmitAll)).expect("valid");
            net.rings.push(ring);
            net.members.push(Member { node: node(index), incarnation });
        }
        for index in 0..NODES {
            net.pump(index);
        }
        net
    }

    fn pump(&mut self, index: usize) {
        let mut outputs = 0;
        while let Some(output) = self.rings[index].poll_output() {
            outputs += 1;
            assert!(outputs < 20_000, "one input, outputs without end");
            match output {
                Output::Send { to, message } => self.send(index, to, &message),
                Output::ReserveRingSeq { up_to } => {
                    self.rings[index].handle_reserved(self.now, up_to);
                }
                Output::Deliver(event) => self.deliver(index, event),
                _ => {}
            }
        }
    }

    fn send(&mut self, from: usize, to: Destination, message: &Message) {
        if let Message::Token(token) = message {
            self.token = Some(token.clone());
        }
        let mut bytes = Vec::new();
        encode(message, &mut bytes);
        assert!(bytes.len() <= 65_000, "{} bytes in a datagram", bytes.len());
        assert_eq!(decode(&bytes).as_ref(), Ok(message), "says what nobody can read");
        let receivers: Vec<usize> = match to {
            Destination::All => (0..NODES).filter(|to| *to != from).collect(),
            Destination::Node(id) => (0..NODES).filter(|to| node(*to) == id).collect(),
            Destination::Ring => {
                let members = self.rings[from].members();
                let member = |to: &usize| members.iter().any(|m| m.node == node(*to));
                (0..NODES).filter(|to| *to != from).filter(member).collect()
            }
        };
        for to in receivers {
            self.queue.push_back((from, to, bytes.clone()));
        }
        // a network drops what does not fit
        self.queue.truncate(4096);
    }

    fn deliver(&mut self, index: usize, event: RingEvent) {
        match event {
            RingEvent::Configuration(c) => {
                let regular = c.kind == ConfigurationKind::Regular;
                if regular && !self.hostile {
                    let old = self.histories[index].insert(c.ring, Vec::new());
                    assert!(old.is_none(), "a ring id twice: {}", c.ring);
                }
                self.installed[index] = regular.then_some(c.ring);
            }
            RingEvent::Message(m) => {
                if let Some(ring) = self.installed[index] {
                    let history = self.histories[index].entry(ring).or_default();
                    history.push((m.sender, m.payload));
                }
            }
        }
    }

    /// One datagram, or the next timer where none is under way.
    fn turn(&mut self) {
        if let Some((from, to, bytes)) = self.queue.pop_front() {
            self.now = self.now + Duration::from_micros(50);
            if let Ok(message) = decode(&bytes) {
                let from = self.members[from];
                self.rings[to].handle_message(self.now, from, message);
                self.pump(to);
            }
            return;
        }
        let next = self.rings.iter().filter_map(|ring| ring.poll_timeout()).min();
        self.now = next.map_or(self.now, |(at, _)| at.max(self.now));
        for index in 0..NODES {
            self.rings[index].handle_timeout(self.now);
            self.pump(index);
        }
    }

    /// All that delivered in one ring delivered the same, as far as each came.
    fn agree(&self) {
        for (at, one) in self.histories.iter().enumerate() {
            for other in &self.histories[..at] {
                for (ring, said) in one {
                    let Some(heard) = other.get(ring) else { continue };
                    let both = said.len().min(heard.len());
                    assert_eq!(said[..both], heard[..both], "two orders in {ring}");
                }
            }
        }
    }
}

fn engines(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut net = Net::new();
    let begin = usize::from(script.byte()) * 2;
    let mut turns = 0;
    while turns < begin {
        net.turn();
        turns += 1;
    }
    while !script.is_empty() && turns < TURNS_MAX {
        match script.below(10) {
            0 => {
                let more = usize::from(script.byte());
                for _ in 0..more {
                    net.turn();
                }
                turns += more;
            }
            1 => drop(net.queue.pop_front()),
            2 => {
                if let Some((_, _, bytes)) = net.queue.front_mut() {
                    script.edit(bytes);
                    net.hostile = true;
                }
            }
            3 | 4 => {
                let (from, to) = (script.below(NODES), script.below(NODES));
                let message = message(&mut script, &net);
                let mut bytes = Vec::new();
                encode(&message, &mut bytes);
                if from != to {
                    net.queue.push_front((from, to, bytes));
                    net.hostile = true;
                }
            }
            5 => {
                let index = script.below(NODES);
                let guarantee = script.pick(&[Guarantee::Agreed, Guarantee::Safe]);
                let payload = script.bytes().repeat(1 + script.below(40));
                let _ = net.rings[index].multicast(net.now, &payload, guarantee);
                net.pump(index);
            }
            6 => net.queue.rotate_left(1.min(net.queue.len())),
            7 => {
                if let Some(front) = net.queue.front().cloned() {
                    net.queue.push_back(front);
                }
            }
            8 => {
                let index = script.below(NODES);
                net.now = net.now + Duration::from_millis(u64::from(script.byte()) * 4);
                net.rings[index].handle_timeout(net.now);
                net.pump(index);
            }
            _ => {
                let index = script.below(NODES);
                match script.below(4) {
                    0 => net.rings[index].leave(net.now),
                    1 => net.rings[index].reform(net.now),
                    2 => drop(net.rings[index].set_standing(net.now, script.bytes())),
                    _ => {
                        let other = node(script.below(NODES + 1));
                        net.rings[index].handle_unreachable(net.now, other);
                    }
                }
                net.pump(index);
            }
        }
        turns += 1;
        net.turn();
    }
    for index in 0..NODES {
        let ring = &net.rings[index];
        assert!(ring.queued_bytes() <= 4 << 20, "the send queue has no bound");
        assert!(ring.state() == State::Left || ring.poll_timeout().is_some(), "asleep for ever");
    }
    if !net.hostile {
        net.agree();
    }
}

/// A list of nodes, ascending as the codec wants it.
fn some_nodes(script: &mut Script<'_>) -> Vec<NodeId> {
    (0..=NODES).filter(|_| script.below(2) == 1).map(node).collect()
}

/// A message that decodes, with numbers near those that are in use.
fn message(script: &mut Script<'_>, net: &Net) -> Message {
    let near = net.token.clone().unwrap_or_else(|| Token {
        ring: RingId { seq: 1, rep: node(0) },
        token_seq: 0,
        seq: 0,
        aru: 0,
        aru_addr: None,
        backlog: 0,
        fcc: 0,
        recovering: false,
        requests: Vec::new(),
    });
    match script.below(6) {
        0 => Message::Token(token(script, &near)),
        1 => {
            let recovered = (script.below(2) == 1)
                .then(|| Recovered { ring: ring(script, &near), seq: word(script, near.seq) });
            Message::Mcast(Mcast {
                ring: ring(script, &near),
                seq: word(script, near.seq),
                origin: node(script.below(NODES + 1)),
                guarantee: script.pick(&[Guarantee::Agreed, Guarantee::Safe]),
                recovered,
                payload: Arc::from(script.bytes()),
            })
        }
        2 => Message::MergeDetect(MergeDetect {
            ring: ring(script, &near),
            members: some_nodes(script),
            hears: some_nodes(script),
            standing: Arc::from(script.bytes()),
        }),
        3 => Message::Join(join(script, net, &near)),
        4 => Message::Commit(commit(script, net, &near)),
        _ => Message::HoldCancel(HoldCancel { ring: ring(script, &near) }),
    }
}

/// Near `base`, at an edge, or anything.
fn word(script: &mut Script<'_>, base: u32) -> u32 {
    match script.below(8) {
        0 => script.u64() as u32,
        1 => u32::MAX,
        2 => base.wrapping_add(1 << 31),
        _ => base.wrapping_add(script.byte() as i8 as u32),
    }
}

fn ring(script: &mut Script<'_>, near: &Token) -> RingId {
    match script.below(4) {
        0 => RingId { seq: script.u64() >> 8, rep: node(script.below(NODES + 1)) },
        1 => RingId { seq: near.ring.seq + u64::from(script.byte()), ..near.ring },
        _ => near.ring,
    }
}

fn token(script: &mut Script<'_>, near: &Token) -> Token {
    Token {
        ring: ring(script, near),
        token_seq: word(script, near.token_seq),
        seq: word(script, near.seq),
        aru: word(script, near.aru),
        aru_addr: NodeId::new(script.below(NODES + 2) as u16),
        backlog: word(script, near.backlog),
        fcc: word(script, near.fcc),
        recovering: script.below(2) == 1,
        requests: (0..script.below(REQUESTS_MAX + 1)).map(|_| word(script, near.seq)).collect(),
    }
}

/// A life of a node: mostly the one that runs.
fn life(script: &mut Script<'_>, net: &Net, index: usize) -> Member {
    let known = net.members.get(index).copied();
    let other = Member {
        node: node(index),
        incarnation: Incarnation { counter: u64::from(script.byte()), random: 9 },
    };
    if script.below(4) == 0 { other } else { known.unwrap_or(other) }
}

/// Some of the nodes, ascending.
fn some(script: &mut Script<'_>) -> Vec<usize> {
    let chosen = script.byte();
    let many = if script.below(16) == 0 { MEMBERS_MAX } else { NODES + 1 };
    (0..many).filter(|index| chosen >> (index % 8) & 1 == 1).collect()
}

fn join(script: &mut Script<'_>, net: &Net, near: &Token) -> Join {
    let known = some(script)
        .into_iter()
        .map(|index| Known { member: life(script, net, index), failed: script.below(3) == 0 })
        .collect();
    Join {
        number: u64::from(script.byte()) * u64::from(script.byte()),
        ring_seq: ring(script, near).seq,
        reserved: ring(script, near).seq,
        leaving: script.below(8) == 0,
        view: script.u64(),
        known,
        standing: Arc::from(script.bytes()),
    }
}

fn commit(script: &mut Script<'_>, net: &Net, near: &Token) -> CommitToken {
    let entries: Vec<CommitEntry> = some(script)
        .into_iter()
        .map(|index| CommitEntry {
            member: life(script, net, index),
            old_ring: (script.below(2) == 1).then(|| ring(script, near)),
            aru: word(script, near.aru),
            high: word(script, near.seq),
            delivered: word(script, near.aru),
            obliged: some(script).into_iter().map(node).collect(),
        })
        .collect();
    let rep = entries.first().map_or_else(|| node(0), |first| first.member.node);
    CommitToken {
        token_seq: word(script, 0),
        ring: RingId { rep, ..ring(script, near) },
        view: script.u64(),
        filled: script.below(entries.len() + 1) as u8,
        entries,
    }
}
