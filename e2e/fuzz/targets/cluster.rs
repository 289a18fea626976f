//! Target `cluster`: what members say to each other behind the ring, standings in joins, and the files of a disk.
//!
//! Three engines hear one total order, some of it made up. Whatever was said: nobody panics, all that are at one
//! place of the history hold one state, and what an engine writes it can read.

#[path = "../../../src/cluster/tests/specimen.rs"]
pub(crate) mod specimen;

/// What the specimen expects beside it.
mod world {
    pub(crate) fn id(index: usize) -> base::NodeId {
        base::NodeId::new(index as u16 + 1).expect("not zero")
    }
}

use std::{collections::BTreeMap, time::Duration};

use base::{
    BootId, Configuration, ConfigurationKind, Guarantee, Incarnation, Instant, NodeId, RingEvent,
    RingId, RingMessage, Role,
};
use cluster::{
    Config, ExecutorDo, ExecutorSays, FencerDo, FencerSays, File, Input, MESSAGE_MAX, Member,
    Output, RequestId, RequestKind, Stored, Verdict, admission, decode_standing, encode_standing,
    restate,
};
use fencing::{DeviceError, FenceResult, PowerState};
use lifecycle::{InstanceReport, Operation, OrderEnd, Outcome, Report};
use world::id;

use super::script::{Script, within};

const NODES: usize = 3;
/// Configurations and messages of one case.
const STEPS_MAX: usize = 400;
/// A message, and the lists in it; a list of unknown length begins with at most 1 MiB.
const READER_BYTES: usize = 4 << 20;
const ENGINES_BYTES: usize = 128 << 20;
/// Bytes of a promise record (`File::Promise`).
const PROMISE_BYTES: usize = 16 * 1024;

pub(crate) fn run(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 5 {
        0 => message(bytes),
        1 => standings(bytes),
        2 => within(ENGINES_BYTES, || disk(bytes)),
        _ => within(ENGINES_BYTES, || engines(bytes)),
    }
}

/// What was read is said in at most as many bytes, and reads the same.
fn message(bytes: &[u8]) {
    let Some(again) = within(READER_BYTES, || restate(bytes)) else { return };
    assert!(again.len() <= bytes.len().min(MESSAGE_MAX));
    assert_eq!(restate(&again).as_ref(), Some(&again));
}

/// What several say of themselves: read, and judged.
fn standings(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let heard: BTreeMap<NodeId, Vec<u8>> =
        (0..script.below(9)).map(|index| (id(index), script.bytes().to_vec())).collect();
    for bytes in heard.values() {
        if let Some(standing) = within(READER_BYTES, || decode_standing(bytes)) {
            assert_eq!(decode_standing(&encode_standing(&standing)), Some(standing));
        }
    }
    let refused = admission::refused(&heard);
    assert!(refused.iter().all(|node| heard.contains_key(node)));
}

/// A disk that somebody put back: any promise, any state.
fn disk(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let promise = Some(script.bytes().to_vec());
    let state = Some(script.rest().to_vec());
    let mut world = World::new();
    world.nodes[0].disk = Stored { promise, state };
    world.start(0);
    world.install(0b111);
    world.settle();
    world.check();
}

struct Node {
    member: Member,
    lives: u64,
    disk: Stored,
    standing: Vec<u8>,
    pending: Vec<Input>,
    /// Out of the ring: it left, or is not in the configuration.
    away: bool,
}

struct World {
    now: Instant,
    nodes: Vec<Node>,
    ring: RingId,
    /// Said in this configuration, and how far it was delivered.
    log: Vec<(NodeId, Guarantee, Vec<u8>)>,
    delivered: usize,
    members: Vec<usize>,
    steps: usize,
    requests: u64,
}

fn config(index: usize, lives: u64, disk: Stored) -> Config {
    Config {
        me: id(index),
        incarnation: Incarnation { counter: lives, random: index as u128 },
        boot_id: BootId(index as u128 + 100),
        system_uuid: None,
        first: specimen::revision(NODES),
        disk,
        planner: policy::Scheduler::schedule,
    }
}

impl World {
    fn new() -> Self {
        let now = Instant::from_millis(1000);
        let nodes = (0..NODES).map(|index| Node {
            member: Member::new(now, config(index, 1, Stored::default())),
            lives: 1,
            disk: Stored::default(),
            standing: Vec::new(),
            pending: Vec::new(),
            away: true,
        });
        let ring = RingId { seq: 4, rep: id(0) };
        let mut world = Self {
            now,
            nodes: nodes.collect(),
            ring,
            log: Vec::new(),
            delivered: 0,
            members: Vec::new(),
            steps: 0,
            requests: 0,
        };
        for index in 0..NODES {
            world.pump(index);
        }
        world
    }

    /// A new life, from what its disk holds.
    fn start(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.lives += 1;
        node.away = true;
        node.pending.clear();
        node.member = Member::new(self.now, config(index, node.lives, node.disk.clone()));
        self.members.retain(|member| *member != index);
        self.pump(index);
    }

    /// The next configuration, with all of `mask` that is there.
    fn install(&mut self, mask: usize) {
        self.members = (0..NODES).filter(|index| mask >> index & 1 == 1).collect();
        let Some(first) = self.members.first() else { return };
        self.ring = RingId { seq: self.ring.seq + 4, rep: id(*first) };
        self.log.clear();
        self.delivered = 0;
        let members: Vec<base::Member> = self
            .members
            .iter()
            .map(|index| base::Member {
                node: id(*index),
                incarnation: Incarnation {
                    counter: self.nodes[*index].lives,
                    random: *index as u128,
                },
            })
            .collect();
        for kind in [ConfigurationKind::Transitional, ConfigurationKind::Regular] {
            for index in self.members.clone() {
                self.nodes[index].away = false;
                let c = Configuration { kind, ring: self.ring, members: members.clone() };
                self.give(index, Input::Ring(RingEvent::Configuration(c)));
            }
        }
        for index in 0..NODES {
            self.nodes[index].away |= !self.members.contains(&index);
        }
    }

    fn give(&mut self, index: usize, input: Input) {
        self.nodes[index].member.handle(self.now, input);
        self.pump(index);
    }

    fn pump(&mut self, index: usize) {
        let mut outputs = 0;
        while let Some(output) = self.nodes[index].member.poll_output() {
            outputs += 1;
            assert!(outputs < 20_000, "one input, outputs without end");
            self.carry(index, output);
        }
    }

    fn carry(&mut self, index: usize, output: Output) {
        let node = &mut self.nodes[index];
        match output {
            Output::Multicast { payload, guarantee } => {
                assert!(payload.len() <= MESSAGE_MAX);
                assert!(restate(&payload).is_some(), "says what nobody can read");
                if !node.away {
                    self.log.push((id(index), guarantee, payload));
                }
            }
            Output::Persist { id, file, bytes } => {
                match file {
                    File::Promise => {
                        assert!(bytes.len() <= PROMISE_BYTES, "{} bytes of promise", bytes.len());
                        node.disk.promise = Some(bytes);
                    }
                    File::State => node.disk.state = Some(bytes),
                }
                node.pending.push(Input::Persisted(id));
            }
            Output::Executor(what) => node.pending.extend(executor(what)),
            Output::Fencer(FencerDo::Carry(command)) => {
                let outcome = if command.deadline.as_millis() % 2 == 0 {
                    Ok(PowerState::Off)
                } else {
                    Err(DeviceError::Unreachable)
                };
                let ended = FenceResult {
                    incident: command.incident,
                    epoch: command.epoch,
                    goal: command.goal,
                    outcome,
                    commanded: true,
                    took: Duration::from_millis(5),
                    verify: Duration::from_millis(5),
                };
                node.pending.push(Input::Fencer(FencerSays::Ended(ended)));
            }
            Output::Probe { node: silent } => {
                node.pending.push(Input::Probed { node: silent, verdict: Verdict::Silent });
            }
            Output::Standing(bytes) => {
                assert!(decode_standing(&bytes).is_some(), "a standing that nobody can read");
                node.standing = bytes;
            }
            Output::LeaveRing { .. } | Output::StopRing => node.away = true,
            _ => {}
        }
    }

    /// Delivers and answers until nothing is under way.
    fn settle(&mut self) {
        while self.steps < STEPS_MAX {
            let mut quiet = true;
            for index in 0..NODES {
                for input in core::mem::take(&mut self.nodes[index].pending) {
                    quiet = false;
                    self.give(index, input);
                }
            }
            if let Some((sender, guarantee, payload)) = self.log.get(self.delivered).cloned() {
                self.delivered += 1;
                quiet = false;
                for index in self.members.clone() {
                    if !self.nodes[index].away {
                        let payload = payload.clone();
                        let message = RingMessage { sender, guarantee, payload };
                        self.give(index, Input::Ring(RingEvent::Message(message)));
                    }
                }
            }
            self.steps += 1;
            if quiet {
                return;
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        for index in 0..NODES {
            self.nodes[index].member.handle_timeout(self.now);
            self.pump(index);
        }
    }

    /// All that are at one place hold one state, and each can read what it wrote.
    fn check(&mut self) {
        // what is written lazily is written now
        self.steps = 0;
        self.wait(Duration::from_millis(600));
        self.settle();
        if self.steps == STEPS_MAX {
            return;
        }
        let mut states: BTreeMap<_, Vec<u8>> = BTreeMap::new();
        for index in 0..NODES {
            let node = &self.nodes[index];
            let standing = decode_standing(&node.standing).expect("checked when it was said");
            if node.disk.promise.is_none() || standing.position.is_none() {
                continue;
            }
            let mut again = Member::new(self.now, config(index, node.lives + 1, node.disk.clone()));
            let mut said = None;
            while let Some(output) = again.poll_output() {
                if let Output::Standing(bytes) = output {
                    said = decode_standing(&bytes);
                }
            }
            let read = said.expect("a member begins with its standing");
            if read.position != standing.position {
                // its last change is not on the disk yet: only those that are may be compared
                continue;
            }
            let state = node.disk.state.clone().expect("it has a position");
            let known = states.entry(read.position).or_insert_with(|| state.clone());
            assert!(*known == state, "two states at {:?}", read.position);
        }
    }
}

fn executor(what: ExecutorDo) -> Option<Input> {
    let says = match what {
        ExecutorDo::TakeEpoch { epoch, .. } => {
            ExecutorSays::Report { epoch, report: Report { instances: Vec::new() } }
        }
        ExecutorDo::Carry(order) => ExecutorSays::Ended {
            epoch: order.epoch,
            id: order.id,
            end: OrderEnd::Done(Outcome::Ok),
        },
        ExecutorDo::Leave => ExecutorSays::Released,
        ExecutorDo::Suspend => ExecutorSays::Suspended,
        _ => return None,
    };
    Some(Input::Executor(says))
}

fn engines(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut world = World::new();
    world.install(0b111);
    if script.below(4) > 0 {
        world.settle();
    }
    while !script.is_empty() && world.steps < STEPS_MAX {
        let index = script.below(NODES);
        match script.below(10) {
            // of this ring, with any content
            0 | 1 => {
                let mut payload = heading(world.ring);
                payload.extend_from_slice(script.bytes());
                let guarantee = script.pick(&[Guarantee::Agreed, Guarantee::Safe]);
                world.log.push((id(index), guarantee, payload));
            }
            // something that was said, by somebody else or changed
            2 | 3 => {
                let at = usize::from(script.byte());
                if let Some((_, guarantee, mut payload)) =
                    world.log.get(at % world.log.len().max(1)).cloned()
                {
                    if script.below(4) > 0 {
                        script.edit(&mut payload);
                    }
                    world.log.push((id(index), guarantee, payload));
                }
            }
            4 => world.install(script.below(8)),
            5 => world.wait(Duration::from_millis(u64::from(script.byte()) * 40)),
            6 => world.start(index),
            7 => {
                world.requests += 1;
                let kind = request(&mut script);
                let input = Input::Request { id: RequestId(world.requests), kind };
                world.give(index, input);
            }
            8 => {
                let node = id(script.below(NODES + 1));
                let ring = world.ring;
                let input = match script.below(10) {
                    0 => Input::Silent { node },
                    1 => Input::Heard { node, standing: script.bytes().to_vec() },
                    2 => Input::Executor(ExecutorSays::Restarted),
                    3 => Input::Executor(ExecutorSays::Regained),
                    4 => Input::Executor(ExecutorSays::SelfFencing { reason: text(&mut script) }),
                    5 => Input::Executor(changed(&mut script)),
                    6 => Input::RingBroken { ring },
                    7 => Input::Token { ring },
                    8 => Input::Wall(i64::from(script.byte()) << 24),
                    _ => Input::Stalled(Duration::from_millis(300)),
                };
                world.give(index, input);
            }
            _ => world.settle(),
        }
    }
    world.settle();
    world.check();
}

/// The bytes before the body of a message said in `ring`.
fn heading(ring: RingId) -> Vec<u8> {
    let mut bytes = vec![1];
    let mut put = |mut number: u64| {
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
    };
    put(ring.seq);
    put(u64::from(ring.rep.as_u16()));
    bytes
}

fn text(script: &mut Script<'_>) -> String {
    String::from_utf8_lossy(script.bytes()).into_owned()
}

/// What a recurring monitor found.
fn changed(script: &mut Script<'_>) -> ExecutorSays {
    let outcome = match script.below(4) {
        0 => Outcome::Ok,
        1 => Outcome::NotRunning,
        2 => Outcome::TimedOut,
        _ => Outcome::Failed { code: script.byte().max(1), reason: text(script) },
    };
    let role = script.pick(&[None, Some(Role::Stopped), Some(Role::Started)]);
    let instance = InstanceReport {
        resource: "web".parse().expect("valid"),
        kind: specimen::process(),
        role,
        stop_failed: script.below(4) == 0,
        failed: (outcome != Outcome::Ok).then(|| outcome.clone()),
        run: u64::from(script.byte()),
    };
    ExecutorSays::Changed { operation: Operation::Monitor, outcome, instance }
}

fn request(script: &mut Script<'_>) -> RequestKind {
    let node = id(script.below(NODES + 1));
    let resource = || "web".parse().expect("valid");
    let who = text(script);
    match script.below(16) {
        0 => RequestKind::Standby(node),
        1 => RequestKind::Online(node),
        2 => RequestKind::Maintenance(node),
        3 => RequestKind::Fence { node, who },
        4 => RequestKind::ConfirmOff { node, incident: None, who },
        5 => RequestKind::Cleanup { resource: resource(), node: Some(node) },
        6 => RequestKind::Move { resource: resource(), to: node },
        7 => RequestKind::Ban { resource: resource(), node },
        8 => RequestKind::Clear(resource()),
        9 => RequestKind::Restart(resource()),
        10 => RequestKind::Remove(resource()),
        11 => RequestKind::Detach(Duration::from_secs(u64::from(script.byte()))),
        12 => RequestKind::Leave,
        13 => RequestKind::Suspend,
        14 => RequestKind::Resume,
        _ => RequestKind::AcceptStateLoss { who },
    }
}
