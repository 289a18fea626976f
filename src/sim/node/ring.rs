//! Glue around `totem` and `cluster`: datagrams, disk and people in; everything else out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

use base::{
    ConfigurationKind, Guarantee, Incarnation, Instant, Member, NodeId, RingEvent,
    faulty::{Rule, broken},
};
use cluster::{ExecutorDo, ExecutorSays, FencerDo, File, Input, RequestId, Status};
use lifecycle::Quorum;
use totem::{
    Admission, Destination, MulticastError, Ring, Start,
    frame::{Channel, ChannelConfig, Cipher, Forged, KeyId, KeyName},
    wire,
};

use super::{Context, Effect, Message, Written};
use crate::{
    checks::ONE_HISTORY,
    disk::{FileName, Files, stored},
    fact::{Fact, Part},
    log::digest,
    params::{address, index_of},
    planner,
};

/// Ring sequence numbers per second of wall time: more than restarts use up, of which each takes a block of 1024.
const SEQUENCES_PER_SECOND: u64 = 4096;

/// No cryptography: nobody in this world forges. Four bytes of tag catch mistakes of the glue.
#[derive(Debug)]
struct Null;

impl Cipher for Null {
    type Key = u64;

    fn derive(&self, name: &KeyName) -> Option<u64> {
        Some(name.life ^ u64::from(name.sender.as_u16()))
    }

    fn seal(&self, key: &u64, counter: u64, datagram: &mut Vec<u8>, _text: usize) {
        datagram.extend_from_slice(&(key ^ counter).to_le_bytes());
    }

    fn open(
        &self,
        key: &u64,
        counter: u64,
        datagram: &mut [u8],
        text: usize,
    ) -> Result<usize, Forged> {
        let at = datagram.len().checked_sub(8).filter(|at| *at >= text).ok_or(Forged)?;
        if datagram[at..] == (key ^ counter).to_le_bytes() { Ok(at - text) } else { Err(Forged) }
    }
}

/// The rule of `cluster` as totem asks for it.
struct Kept;

impl Admission for Kept {
    fn refused(&self, heard: &BTreeMap<NodeId, Vec<u8>>) -> BTreeSet<NodeId> {
        cluster::admission::refused(heard)
    }
}

/// The ring process.
pub struct RingPart {
    ring: Ring,
    channel: Channel<Null>,
    member: cluster::Member,
    /// Messages that the ring had no room for.
    backlog: VecDeque<(Vec<u8>, Guarantee)>,
    /// What each new connection of the fencer hears first.
    install: Option<FencerDo>,
    /// So is whether it is suspended.
    suspension: Option<FencerDo>,
    requests: u64,
    /// Those that ask for a suspension.
    suspends: BTreeSet<RequestId>,
    /// The ring was stopped by a suspension.
    stopped: bool,
    buffer: Vec<u8>,
    /// Whether the installed configuration has quorum and its era is open, as `cluster` told the executor.
    acts: bool,
    /// Whether the installed configuration has quorum.
    quorate: bool,
    /// Position of the state after the last delivery.
    place: Option<(base::RingId, u64, u128)>,
}

impl RingPart {
    /// Starts from what the disk holds. The counters are durable before anything else happens, as in the agent.
    pub fn start(ctx: &mut Context<'_>, files: &mut Files, random: u128) -> Self {
        let seconds = u64::try_from(ctx.clock.wall_s(ctx.now)).unwrap_or(0);
        let number = |files: &Files, name| {
            files.get(&name).and_then(|bytes| Some(u64::from_le_bytes(bytes[..].try_into().ok()?)))
        };
        let counter = number(files, FileName::Incarnation).map_or(seconds, |counter| counter + 1);
        let file = number(files, FileName::RingSequence).unwrap_or(0);
        // a disk that was lost or put back goes on above what it used, as long as its clock was not set back
        let by_clock = ctx.clock.wall_ms(ctx.now) * SEQUENCES_PER_SECOND / 1000;
        let reserved = if broken(Rule::RingIdReused) { file } else { file.max(by_clock) };
        let disk = stored(files);
        files.insert(FileName::Incarnation, counter.to_le_bytes().to_vec());
        files.insert(FileName::RingSequence, reserved.to_le_bytes().to_vec());
        ctx.log.fact(Fact::Reserved { node: ctx.node, up_to: reserved });
        let incarnation = Incarnation { counter, random };
        ctx.log.fact(Fact::Life { node: ctx.node, incarnation });

        let voters: BTreeSet<NodeId> =
            ctx.params.revision.voters.iter().map(|voter| voter.id).collect();
        let mut config = totem::Config::new(ctx.node, voters.clone(), ctx.params.token);
        config.consensus = ctx.params.revision.timings.consensus;
        let start = Start { incarnation, reserved, seed: (random >> 64) as u64 };
        let ring = Ring::new(ctx.local, config, start, Box::new(Kept)).map_err(|e| e.to_string());
        let me = Member { node: ctx.node, incarnation };
        let channel = Channel::new(
            ChannelConfig {
                cluster: 1,
                member: me,
                peers: voters.iter().map(|v| (*v, vec![address(index_of(*v))])).collect(),
                keys: vec![KeyId(1)],
                seed: random as u64,
            },
            Null,
        )
        .map_err(|e| e.to_string());
        let (Ok(ring), Ok(channel)) = (ring, channel) else {
            panic!("the parameters of a run are valid by construction")
        };
        let config = cluster::Config {
            me: ctx.node,
            incarnation,
            boot_id: base::BootId(
                (u128::from(ctx.node.as_u16()) << 64) | u128::from(ctx.clock.boots),
            ),
            system_uuid: Some(crate::params::uuid(index_of(ctx.node))),
            first: ctx.params.revision.clone(),
            disk,
            planner: planner::schedule,
        };
        let mut part = Self {
            ring,
            channel,
            member: cluster::Member::new(ctx.local, config),
            backlog: VecDeque::new(),
            requests: 0,
            buffer: Vec::new(),
            acts: false,
            quorate: false,
            place: None,
            install: None,
            suspension: None,
            suspends: BTreeSet::new(),
            stopped: false,
        };
        let wall = ctx.clock.wall_s(ctx.now);
        part.tell(ctx.local, Input::Wall(wall));
        part.drain(ctx);
        part
    }

    pub(super) fn handle(&mut self, ctx: &mut Context<'_>, message: Message) {
        let now = ctx.local;
        match message {
            Message::Datagram { from, bytes } => self.datagram(ctx, from, &bytes),
            Message::Written(Written::Reserved(up_to)) => {
                ctx.log.fact(Fact::Reserved { node: ctx.node, up_to });
                self.ring.handle_reserved(now, up_to);
            }
            Message::Written(Written::File(id)) => self.tell(now, Input::Persisted(id)),
            Message::ExecutorSays(says) => self.tell(now, Input::Executor(says)),
            Message::FencerSays(says) => self.tell(now, Input::Fencer(says)),
            Message::Connected(Part::Executor) => {
                self.tell(now, Input::Executor(ExecutorSays::Restarted));
            }
            Message::Connected(Part::Fencer) => {
                for install in self.suspension.iter().chain(&self.install).cloned() {
                    let message = Message::FencerDo(install, now);
                    ctx.effects.push(Effect::Tell(Part::Fencer, message));
                }
            }
            Message::Probed { node, verdict } => self.tell(now, Input::Probed { node, verdict }),
            Message::Unreachable(node) => self.ring.handle_unreachable(now, node),
            Message::Wall(seconds) => self.tell(now, Input::Wall(seconds)),
            Message::Revision(revision) => self.tell(now, Input::Revision(revision)),
            // as the agent does: its ring part starts again
            Message::Request(cluster::RequestKind::Resume) if self.stopped => {
                ctx.effects.push(Effect::Exit);
            }
            Message::Request(kind) => {
                self.requests += 1;
                match kind {
                    cluster::RequestKind::Suspend => {
                        self.suspends.insert(RequestId(self.requests));
                    }
                    // before it is answered: others may hear of it earlier than this one
                    cluster::RequestKind::Resume => ctx.log.fact(Fact::Resumed),
                    _ => {}
                }
                self.tell(now, Input::Request { id: RequestId(self.requests), kind });
            }
            _ => {}
        }
        self.drain(ctx);
    }

    pub(super) fn handle_timeout(&mut self, ctx: &mut Context<'_>) {
        self.ring.handle_timeout(ctx.local);
        // tokens wake the ring a hundred times a second; the member plans anew at each of its own timers
        if self.member.poll_timeout().is_some_and(|(at, _)| at <= ctx.local) {
            self.member.handle_timeout(ctx.local);
        }
        self.drain(ctx);
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        let ring = self.ring.poll_timeout().map(|(at, _)| at);
        let member = self.member.poll_timeout().map(|(at, _)| at);
        match (ring, member) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// What this member says of itself.
    pub fn status(&self) -> Status {
        self.member.status()
    }

    /// The era that it says is open.
    pub fn era(&self) -> Option<base::RingId> {
        self.member.status().era
    }

    fn tell(&mut self, now: Instant, input: Input) {
        self.member.handle(now, input);
    }

    fn datagram(&mut self, ctx: &mut Context<'_>, from: usize, bytes: &[u8]) {
        self.buffer.clear();
        self.buffer.extend_from_slice(bytes);
        let mut buffer = std::mem::take(&mut self.buffer);
        let received = self.channel.handle_datagram(ctx.local, address(from), &mut buffer);
        if let Some(received) = received {
            match wire::decode(received.payload) {
                Ok(message) => {
                    let (node, now) = (received.from.node, ctx.local);
                    let standing = match &message {
                        wire::Message::Join(join) => Some(join.standing.to_vec()),
                        wire::Message::MergeDetect(detect) => Some(detect.standing.to_vec()),
                        _ => None,
                    };
                    if let Some(standing) = standing
                        && self.ring.members().iter().all(|member| member.node != node)
                    {
                        self.member.handle(now, Input::Heard { node, standing });
                    }
                    self.ring.handle_message(now, received.from, message);
                }
                Err(error) => panic!("a member's own message does not decode: {error}"),
            }
        }
        self.buffer = buffer;
    }

    /// Outputs of both cores, until neither has any.
    fn drain(&mut self, ctx: &mut Context<'_>) {
        loop {
            while let Some((node, datagram)) = self.channel.poll_transmit() {
                ctx.effects.push(Effect::Send { to: index_of(node), datagram: datagram.into() });
            }
            if let Some(output) = self.ring.poll_output() {
                self.take_from_ring(ctx, output);
            } else if let Some(output) = self.member.poll_output() {
                self.take_from_member(ctx, output);
            } else {
                return;
            }
        }
    }

    fn take_from_ring(&mut self, ctx: &mut Context<'_>, output: totem::Output) {
        let now = ctx.local;
        match output {
            totem::Output::Deliver(event) => {
                self.note_delivery(ctx, &event);
                self.tell(now, Input::Ring(event));
                let place = self.member.position();
                if let Some((era, index, hash)) = place.filter(|_| place != self.place) {
                    ctx.log.fact(Fact::Placed { node: ctx.node, era, index, hash });
                    let began = self.member.began() == Some(era);
                    ctx.log.truth.state(era, began, self.member.resources());
                }
                self.place = place;
            }
            totem::Output::ReserveRingSeq { up_to } => ctx.effects.push(Effect::Write {
                name: FileName::RingSequence,
                bytes: up_to.to_le_bytes().to_vec(),
                then: Written::Reserved(up_to),
            }),
            totem::Output::Send { to, message } => self.send(ctx, to, &message),
            totem::Output::Silent { node, .. } => self.tell(now, Input::Silent { node }),
            totem::Output::Stalled { gap } => self.tell(now, Input::Stalled(gap)),
            totem::Output::TokenSeen { ring, .. } => {
                self.tell(now, Input::Token { ring });
                for part in [Part::Executor, Part::Fencer] {
                    let token = Message::Token { seen_at: now, era_open: self.member.era_open() };
                    ctx.effects.push(Effect::Tell(part, token));
                }
                if self.quorate {
                    ctx.log.truth.token(ctx.node, ctx.now, self.acts);
                }
            }
            totem::Output::RingBroken { ring } => self.tell(now, Input::RingBroken { ring }),
            totem::Output::Writable => {
                while let Some((payload, guarantee)) = self.backlog.pop_front() {
                    if !self.multicast(ctx, payload, guarantee) {
                        break;
                    }
                }
            }
        }
    }

    fn note_delivery(&mut self, ctx: &mut Context<'_>, event: &RingEvent) {
        let node = ctx.node;
        match event {
            RingEvent::Configuration(c) => {
                ctx.log.fact(Fact::Installed {
                    node,
                    kind: c.kind,
                    ring: c.ring,
                    members: c.members.clone(),
                });
                if c.kind == ConfigurationKind::Regular {
                    self.channel.set_members(c.members.iter().map(|m| m.node));
                }
            }
            RingEvent::Message(m) => ctx.log.fact(Fact::Delivered {
                node,
                sender: m.sender,
                guarantee: m.guarantee,
                digest: digest(&m.payload),
            }),
        }
    }

    fn send(&mut self, ctx: &mut Context<'_>, to: Destination, message: &wire::Message) {
        let mut body = Vec::with_capacity(256);
        wire::encode(message, &mut body);
        let target = if let Destination::Node(node) = to { Some(node) } else { None };
        let mut datagram = Vec::with_capacity(body.len() + 64);
        if let Err(error) = self.channel.seal(target, &body, &mut datagram) {
            panic!("a run is too short to use up a counter: {error}");
        }
        let datagram: Rc<[u8]> = datagram.into();
        let nodes: Vec<NodeId> = match to {
            Destination::Node(node) => vec![node],
            Destination::All => ctx.params.revision.voters.iter().map(|voter| voter.id).collect(),
            Destination::Ring => self.ring.members().iter().map(|member| member.node).collect(),
        };
        for node in nodes.into_iter().filter(|node| *node != ctx.node) {
            let datagram = Rc::clone(&datagram);
            ctx.effects.push(Effect::Send { to: index_of(node), datagram });
        }
    }

    /// False if there is no room; the message then waits.
    fn multicast(&mut self, ctx: &mut Context<'_>, payload: Vec<u8>, guarantee: Guarantee) -> bool {
        match self.ring.multicast(ctx.local, &payload, guarantee) {
            Ok(()) => {
                ctx.log.fact(Fact::Sent { node: ctx.node, digest: digest(&payload) });
                true
            }
            Err(MulticastError::Busy { .. }) => {
                self.backlog.push_front((payload, guarantee));
                false
            }
            Err(error) => {
                ctx.log.note(|| format!("{}: not multicast: {error}", ctx.node));
                true
            }
        }
    }

    fn take_from_member(&mut self, ctx: &mut Context<'_>, output: cluster::Output) {
        use cluster::Output;
        match output {
            Output::Multicast { payload, guarantee } if self.backlog.is_empty() => {
                self.multicast(ctx, payload, guarantee);
            }
            Output::Multicast { payload, guarantee } => {
                self.backlog.push_back((payload, guarantee));
            }
            Output::Persist { id, file, bytes } => {
                let name = match file {
                    File::Promise => FileName::Promise,
                    File::State => FileName::State,
                };
                ctx.effects.push(Effect::Write { name, bytes, then: Written::File(id) });
            }
            Output::Executor(order) => {
                match &order {
                    ExecutorDo::TakeEpoch { quorum, .. } => self.acts = *quorum == Quorum::Quorate,
                    ExecutorDo::Void { quorum, .. } => {
                        self.quorate = *quorum == Quorum::Quorate;
                        self.acts = false;
                    }
                    _ => {}
                }
                ctx.log.note(|| format!("{} to executor: {order:?}", ctx.node));
                let message = Message::ExecutorDo(order, ctx.local);
                ctx.effects.push(Effect::Tell(Part::Executor, message));
            }
            Output::Fencer(order) => {
                match &order {
                    FencerDo::Install { .. } => self.install = Some(order.clone()),
                    FencerDo::AbortAll => self.install = None,
                    FencerDo::Suspend | FencerDo::Resume => self.suspension = Some(order.clone()),
                    FencerDo::Carry(_) | FencerDo::Drop(_) => {}
                }
                let message = Message::FencerDo(order, ctx.local);
                ctx.effects.push(Effect::Tell(Part::Fencer, message));
            }
            Output::Probe { node } => ctx.effects.push(Effect::Probe { node }),
            Output::Standing(bytes) => {
                if let Err(error) = self.ring.set_standing(ctx.local, &bytes) {
                    panic!("a standing is bounded by cluster: {error}");
                }
            }
            Output::Reform => self.ring.reform(ctx.local),
            Output::LeaveRing { reason } => {
                ctx.log.note(|| format!("{} leaves: {reason}", ctx.node));
                // equal place and unequal hash is a bug (CLUSTER.md section 3.3), not a way out
                if reason.contains("differs from that of the others") {
                    let (node, detail) = (ctx.node, reason);
                    ctx.log.fact(Fact::Assertion { node, invariant: ONE_HISTORY, detail });
                }
                self.ring.leave(ctx.local);
                ctx.effects.push(Effect::Exit);
            }
            Output::StopRing => {
                self.stopped = true;
                self.ring.leave(ctx.local);
            }
            Output::SafeState { invariant, detail } => {
                ctx.log.fact(Fact::Assertion { node: ctx.node, invariant, detail });
            }
            Output::Answer { id, result } => {
                if result.is_ok() && self.suspends.contains(&id) {
                    ctx.log.fact(Fact::AllSuspended);
                }
                ctx.log.note(|| format!("{} answers {id:?}: {result:?}", ctx.node));
            }
            Output::Record(record) => {
                ctx.log.note(|| format!("{} {:?}: {}", ctx.node, record.phase, record.text));
            }
        }
    }
}
