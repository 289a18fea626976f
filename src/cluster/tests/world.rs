//! Machines, disks, rings, executors and power switches around the real engine.
//!
//! The ring is that of the model behind CLUSTER.md: each configuration has one log; a message is delivered when received,
//! a safe one when all members have it; at a change each transitional group goes on to a common place, delivers the rest
//! in the transitional configuration, skips gaps, and then installs the new ring. What was not synced is lost with power
//! or process. Executors and power switches are trivial. Ground truth is checked after every step.

use core::time::Duration;
use std::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};

use base::{
    BootId, Configuration, ConfigurationKind, Epoch, Guarantee, Incarnation, Instant, Label,
    NodeId, ResourceId, ResourceKind, RingEvent, RingId, RingMessage, Role,
};
use fencing::{FenceCommand, FenceResult, PowerGoal, PowerState};
use lifecycle::{InstanceReport, Operation, Order, OrderEnd, Outcome, Quorum, Refusal, Report};
use policy::revision as rev;

use crate::{
    Config, ExecutorDo, ExecutorSays, FencerDo, FencerSays, File, Input, Member, Output, PersistId,
    Refused, RequestId, RequestKind, Stored, Verdict, admission,
    faulty::{Rule, broken},
};

pub(crate) fn id(i: usize) -> NodeId {
    NodeId::new(u16::try_from(i + 1).expect("few nodes")).expect("not zero")
}

pub(crate) fn web() -> ResourceId {
    "web".parse().expect("valid")
}

/// One configuration.
pub(crate) struct Cfg {
    pub(crate) ring: RingId,
    pub(crate) members: Vec<usize>,
    pub(crate) log: Vec<(usize, Guarantee, Vec<u8>)>,
    /// What those that went away had received.
    last: BTreeMap<usize, BTreeSet<usize>>,
}

/// One machine.
pub(crate) struct Node {
    pub(crate) on: bool,
    pub(crate) boot: u128,
    pub(crate) lives: u64,
    pub(crate) member: Option<Box<Member>>,
    pub(crate) frozen: Option<Instant>,
    /// Its configuration is over although it has not noticed (only after a freeze).
    pub(crate) old: bool,
    pub(crate) cfg: Option<usize>,
    pub(crate) received: BTreeSet<usize>,
    pub(crate) delivered: usize,
    pub(crate) disk: Stored,
    pub(crate) writes: Vec<(PersistId, File, Vec<u8>)>,
    pub(crate) standing: Vec<u8>,
    pub(crate) wants_reform: bool,
    pub(crate) probes: Vec<NodeId>,
    pub(crate) exec: Exec,
    pub(crate) fencer: FencerPart,
    pub(crate) left: Option<String>,
    pub(crate) answers: BTreeMap<RequestId, Result<(), Refused>>,
    /// A power-off on its way: (sender, incident ring, expires, under an eviction).
    pub(crate) bmc: Option<(RingId, Instant)>,
    /// Ends of power-offs: effects of (boot, incident).
    pub(crate) effects: Vec<(u128, RingId)>,
}

/// A trivial executor. It outlives the agent's ring part.
#[derive(Default)]
pub(crate) struct Exec {
    pub(crate) epoch: Option<(Epoch, Quorum)>,
    pub(crate) quorum: Option<Quorum>,
    pub(crate) running: BTreeMap<ResourceId, (ResourceKind, Role)>,
    pub(crate) queue: Vec<(Instant, Order)>,
    pub(crate) stop_fails: bool,
    stop_failed: BTreeSet<ResourceId>,
    report_due: bool,
    leaving: bool,
    /// Says nothing (an executor that hangs).
    pub(crate) mute: bool,
}

#[derive(Default)]
pub(crate) struct FencerPart {
    epoch: Option<Epoch>,
    members: Vec<NodeId>,
    /// (delivered, command, sent, was on when sent)
    pub(crate) commands: Vec<(Instant, FenceCommand, bool)>,
}

/// Everything.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) cfgs: Vec<Cfg>,
    pub(crate) revision: rev::Revision,
    planner: crate::Planner,
    pub(crate) seq: u64,
    pub(crate) violation: Option<String>,
    pub(crate) starts: u32,
    pub(crate) shots: u32,
    pub(crate) unreachable_bmc: BTreeSet<usize>,
    /// Power-offs of these machines take their time.
    pub(crate) slow_bmc: BTreeSet<usize>,
    pub(crate) trace: Option<Vec<String>>,
    positions: BTreeMap<(RingId, u64), (u128, u128)>,
    eras: BTreeMap<RingId, usize>,
    next_request: u64,
}

impl World {
    pub(crate) fn new(n: usize) -> Self {
        Self::with(revision(n), super::planner::plan)
    }

    /// Machines for every voter of the revision.
    pub(crate) fn with(revision: rev::Revision, planner: crate::Planner) -> Self {
        let n = revision.voters.len();
        let nodes = (0..n)
            .map(|_| Node {
                on: true,
                boot: 1,
                lives: 0,
                member: None,
                frozen: None,
                old: false,
                cfg: None,
                received: BTreeSet::new(),
                delivered: 0,
                disk: Stored::default(),
                writes: Vec::new(),
                standing: Vec::new(),
                wants_reform: false,
                probes: Vec::new(),
                exec: Exec::default(),
                fencer: FencerPart::default(),
                left: None,
                answers: BTreeMap::new(),
                bmc: None,
                effects: Vec::new(),
            })
            .collect();
        let mut world = Self {
            now: Instant::from_millis(1000),
            nodes,
            cfgs: Vec::new(),
            revision,
            planner,
            seq: 0,
            violation: None,
            starts: 0,
            shots: 0,
            unreachable_bmc: BTreeSet::new(),
            slow_bmc: BTreeSet::new(),
            trace: None,
            positions: BTreeMap::new(),
            eras: BTreeMap::new(),
            next_request: 1,
        };
        for i in 0..n {
            world.start_process(i);
        }
        world
    }

    pub(crate) fn n(&self) -> usize {
        self.nodes.len()
    }

    fn fail(&mut self, text: String) {
        if self.violation.is_none() {
            self.violation = Some(text);
        }
    }

    pub(crate) fn note(&mut self, text: impl Fn() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now} {}", text()));
        }
    }

    // ---- processes and machines

    pub(crate) fn start_process(&mut self, i: usize) {
        let first = self.revision.clone();
        let planner = self.planner;
        let now = self.now;
        let node = &mut self.nodes[i];
        assert!(node.on && node.member.is_none());
        node.lives += 1;
        node.left = None;
        node.exec.leaving = false;
        let incarnation = Incarnation {
            counter: node.lives,
            random: (i as u128 + 1) << 64 | u128::from(node.lives),
        };
        let config = Config {
            me: id(i),
            incarnation,
            boot_id: BootId((i as u128 + 1) << 64 | node.boot),
            system_uuid: None,
            first,
            disk: node.disk.clone(),
            planner,
        };
        let mut member = Box::new(Member::new(now, config));
        member.handle(
            now,
            Input::Wall(1_700_000_000 + i64::try_from(now.0 / 1_000_000).unwrap_or(0)),
        );
        node.member = Some(member);
        self.pump(i);
    }

    /// The ring part's process dies; the executor keeps what runs and drops what is queued.
    pub(crate) fn kill_process(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        if let Some(cfg) = node.cfg.take() {
            let received = core::mem::take(&mut node.received);
            self.cfgs[cfg].last.insert(i, received);
        }
        let node = &mut self.nodes[i];
        node.member = None;
        node.frozen = None;
        node.old = false;
        node.delivered = 0;
        node.writes.clear();
        node.probes.clear();
        node.wants_reform = false;
        node.answers.clear();
        if !broken(Rule::EpochByAge) {
            node.exec.epoch = None;
            node.exec.queue.clear();
        }
        node.exec.report_due = false;
        node.fencer = FencerPart::default();
    }

    pub(crate) fn power_off(&mut self, i: usize) {
        self.kill_process(i);
        let node = &mut self.nodes[i];
        node.on = false;
        node.exec = Exec::default();
    }

    pub(crate) fn power_on(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        assert!(!node.on);
        node.on = true;
        node.boot += 1;
        self.start_process(i);
    }

    pub(crate) fn wipe(&mut self, i: usize) {
        self.kill_process(i);
        self.nodes[i].disk = Stored::default();
    }

    pub(crate) fn acts(&self, i: usize) -> bool {
        let node = &self.nodes[i];
        node.on && node.member.is_some() && node.frozen.is_none()
    }

    pub(crate) fn member(&self, i: usize) -> &Member {
        self.nodes[i].member.as_deref().expect("its process runs")
    }

    pub(crate) fn freeze(&mut self, i: usize) {
        self.nodes[i].frozen = Some(self.now);
    }

    pub(crate) fn thaw(&mut self, i: usize) {
        let Some(since) = self.nodes[i].frozen.take() else { return };
        let gap = self.now.since(since);
        self.give(i, Input::Stalled(gap.max(Duration::from_secs(1))));
    }

    // ---- engine in and out

    pub(crate) fn give(&mut self, i: usize, input: Input) {
        let now = self.now;
        if let Some(member) = &mut self.nodes[i].member {
            member.handle(now, input);
        }
        self.pump(i);
    }

    pub(crate) fn request(&mut self, i: usize, kind: RequestKind) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.give(i, Input::Request { id: request, kind });
        request
    }

    fn pump(&mut self, i: usize) {
        let mut gone = false;
        while let Some(output) = self.nodes[i].member.as_mut().and_then(|m| m.poll_output()) {
            let now = self.now;
            let node = &mut self.nodes[i];
            match output {
                Output::Multicast { payload, guarantee } => {
                    if let Some(cfg) = node.cfg {
                        let at = self.cfgs[cfg].log.len();
                        self.cfgs[cfg].log.push((i, guarantee, payload));
                        self.nodes[i].received.insert(at);
                    }
                }
                Output::Persist { id, file, bytes } => node.writes.push((id, file, bytes)),
                Output::Executor(what) => node.exec.told(now, what),
                Output::Fencer(what) => node.fencer.told(now, what),
                Output::Probe { node: whom } => node.probes.push(whom),
                Output::Standing(bytes) => node.standing = bytes,
                Output::Reform => node.wants_reform = true,
                Output::LeaveRing { reason } => {
                    node.left = Some(reason);
                    gone = true;
                }
                Output::StopRing => {
                    node.left = Some("suspended".to_string());
                    gone = true;
                }
                Output::SafeState { invariant, detail } => {
                    let text = format!("({invariant}) asserted by {}: {detail}", i + 1);
                    self.fail(text);
                }
                Output::Answer { id, result } => {
                    node.answers.insert(id, result);
                }
                Output::Record(record) => self.note(|| format!("{}: {record:?}", i + 1)),
            }
        }
        if gone {
            self.kill_process(i);
        }
        self.check_replicas(i);
    }

    /// Two members at one place have one history and one state.
    fn check_replicas(&mut self, i: usize) {
        let Some(member) = &self.nodes[i].member else { return };
        let open = member.era_open();
        let Some((place, hash, content)) = member.fingerprint() else { return };
        let known = *self.positions.entry(place).or_insert((hash, content));
        if known != (hash, content) {
            let what = if known.0 == hash { "states" } else { "hashes" };
            self.fail(format!("(3) place {place:?} has two {what}, one at {}", i + 1));
        }
        if open && let Some(cfg) = self.nodes[i].cfg {
            let first = *self.eras.entry(place.0).or_insert(cfg);
            if first != cfg {
                self.fail(format!("(3) era {} is open in two configurations", place.0));
            }
        }
    }

    // ---- the ring

    fn all_have(&self, cfg: usize, upto: usize) -> bool {
        let have = |set: &BTreeSet<usize>| (0..=upto).all(|k| set.contains(&k));
        self.cfgs[cfg].members.iter().all(|&j| {
            let node = &self.nodes[j];
            (node.cfg == Some(cfg) && have(&node.received))
                || self.cfgs[cfg].last.get(&j).is_some_and(have)
        })
    }

    pub(crate) fn receivable(&self, i: usize) -> Vec<usize> {
        let node = &self.nodes[i];
        let Some(cfg) = node.cfg else { return Vec::new() };
        (0..self.cfgs[cfg].log.len())
            .filter(|k| !node.received.contains(k))
            .filter(|k| {
                (0..self.n()).any(|j| {
                    j != i && self.nodes[j].cfg == Some(cfg) && self.nodes[j].received.contains(k)
                })
            })
            .collect()
    }

    pub(crate) fn receive(&mut self, i: usize, k: usize) {
        self.nodes[i].received.insert(k);
    }

    pub(crate) fn deliverable(&self, i: usize) -> bool {
        let node = &self.nodes[i];
        let Some(cfg) = node.cfg else { return false };
        let at = node.delivered;
        let Some((_, guarantee, _)) = self.cfgs[cfg].log.get(at) else { return false };
        node.received.contains(&at) && (*guarantee == Guarantee::Agreed || self.all_have(cfg, at))
    }

    pub(crate) fn deliver(&mut self, i: usize) {
        let cfg = self.nodes[i].cfg.expect("deliverable");
        let at = self.nodes[i].delivered;
        self.nodes[i].delivered += 1;
        self.hand(i, cfg, at);
    }

    fn hand(&mut self, i: usize, cfg: usize, at: usize) {
        let (sender, guarantee, payload) = self.cfgs[cfg].log[at].clone();
        self.note(|| format!("{}: delivers {at} of {}", i + 1, sender + 1));
        let message = RingMessage { sender: id(sender), guarantee, payload };
        self.give(i, Input::Ring(RingEvent::Message(message)));
    }

    /// New configurations for everybody that acts; `component[i]` says who goes together. `late` lets what is safe
    /// already be delivered in the old regular configuration.
    pub(crate) fn change(&mut self, component: &[usize], late: bool) {
        let live: Vec<usize> = (0..self.n()).filter(|&i| self.acts(i)).collect();
        let mut component: BTreeMap<usize, usize> =
            live.iter().map(|&i| (i, component[i])).collect();
        self.admit(&mut component);
        self.note(|| format!("change {component:?}"));
        self.transitional(&live, &component, late);
        let groups: BTreeSet<usize> = component.values().copied().collect();
        for group in groups {
            let members: Vec<usize> =
                live.iter().copied().filter(|i| component[i] == group && self.acts(*i)).collect();
            self.install(&members);
        }
        for i in 0..self.n() {
            let Some(cfg) = self.nodes[i].cfg else { continue };
            if self.nodes[i].frozen.is_none() {
                continue;
            }
            let moved = self.cfgs[cfg].members.iter().any(|&j| {
                j != i && !(self.nodes[j].cfg == Some(cfg) && self.nodes[j].frozen.is_some())
            });
            self.nodes[i].old |= moved;
        }
    }

    fn admit(&self, component: &mut BTreeMap<usize, usize>) {
        let groups: BTreeSet<usize> = component.values().copied().collect();
        for group in groups {
            let heard = component
                .iter()
                .filter(|(_, g)| **g == group)
                .map(|(i, _)| (id(*i), self.nodes[*i].standing.clone()))
                .collect();
            for refused in admission::refused(&heard) {
                let i = usize::from(refused.as_u16()) - 1;
                component.insert(i, 100 + i);
            }
        }
    }

    fn transitional(&mut self, live: &[usize], component: &BTreeMap<usize, usize>, late: bool) {
        let mut done = BTreeSet::new();
        // Who had what, before anybody moves.
        let safe: BTreeMap<usize, usize> = (0..self.cfgs.len())
            .map(|cfg| {
                let upto = (0..self.cfgs[cfg].log.len()).take_while(|k| self.all_have(cfg, *k));
                (cfg, upto.count())
            })
            .collect();
        for &i in live {
            let Some(cfg) = self.nodes[i].cfg else { continue };
            if !done.insert(i) {
                continue;
            }
            let group: Vec<usize> = live
                .iter()
                .copied()
                .filter(|j| component[j] == component[&i] && self.nodes[*j].cfg == Some(cfg))
                .collect();
            done.extend(group.iter().copied());
            let available: BTreeSet<usize> =
                group.iter().flat_map(|j| self.nodes[*j].received.iter().copied()).collect();
            let mut common = group.iter().map(|j| self.nodes[*j].delivered).max().unwrap_or(0);
            while late
                && available.contains(&common)
                && (self.cfgs[cfg].log[common].1 == Guarantee::Agreed || common < safe[&cfg])
            {
                common += 1;
            }
            // What a member says while the others catch up goes into no log: the ring is broken.
            let end = self.cfgs[cfg].log.len();
            for &j in &group {
                while self.nodes[j].delivered < common && self.nodes[j].cfg == Some(cfg) {
                    self.deliver(j);
                }
            }
            let mut gap = false;
            let mut rest = Vec::new();
            for k in common..end {
                if !available.contains(&k) {
                    gap = true;
                } else if !gap || group.contains(&self.cfgs[cfg].log[k].0) {
                    rest.push(k);
                }
            }
            let next = RingId { seq: self.seq + 1, rep: id(group[0]) };
            for &j in &group {
                let members = self.configuration_of(&group);
                let kind = ConfigurationKind::Transitional;
                let c = Configuration { kind, ring: next, members };
                self.give(j, Input::Ring(RingEvent::Configuration(c)));
                for &k in &rest {
                    self.hand(j, cfg, k);
                }
            }
        }
    }

    fn configuration_of(&self, members: &[usize]) -> Vec<base::Member> {
        members
            .iter()
            .map(|&j| base::Member {
                node: id(j),
                incarnation: Incarnation {
                    counter: self.nodes[j].lives,
                    random: (j as u128 + 1) << 64 | u128::from(self.nodes[j].lives),
                },
            })
            .collect()
    }

    fn install(&mut self, members: &[usize]) {
        let members: Vec<usize> = members.iter().copied().filter(|j| self.acts(*j)).collect();
        let Some(first) = members.first() else { return };
        self.seq += 4;
        let ring = RingId { seq: self.seq, rep: id(*first) };
        self.cfgs.push(Cfg {
            ring,
            members: members.clone(),
            log: Vec::new(),
            last: BTreeMap::new(),
        });
        let at = self.cfgs.len() - 1;
        for &j in &members {
            let node = &mut self.nodes[j];
            let received = core::mem::take(&mut node.received);
            if let Some(old) = node.cfg.replace(at) {
                self.cfgs[old].last.insert(j, received);
            }
            self.nodes[j].delivered = 0;
            self.nodes[j].old = false;
            self.nodes[j].wants_reform = false;
        }
        for &j in &members {
            let members = self.configuration_of(&self.cfgs[at].members.clone());
            let c = Configuration { kind: ConfigurationKind::Regular, ring, members };
            self.give(j, Input::Ring(RingEvent::Configuration(c)));
        }
    }

    // ---- disks, probes, tokens, time

    pub(crate) fn sync(&mut self, i: usize) {
        if self.nodes[i].writes.is_empty() {
            return;
        }
        let (write, file, bytes) = self.nodes[i].writes.remove(0);
        match file {
            File::Promise => self.nodes[i].disk.promise = Some(bytes),
            File::State => self.nodes[i].disk.state = Some(bytes),
        }
        self.give(i, Input::Persisted(write));
    }

    pub(crate) fn answer_probe(&mut self, i: usize) {
        let Some(whom) = self.nodes[i].probes.pop() else { return };
        let j = usize::from(whom.as_u16()) - 1;
        let node = &self.nodes[j];
        let verdict = if !node.on {
            Verdict::Silent
        } else if node.member.is_none() {
            Verdict::PortClosed
        } else if node.frozen.is_some() {
            Verdict::PortOpen
        } else {
            Verdict::Silent
        };
        self.give(i, Input::Probed { node: whom, verdict });
    }

    pub(crate) fn stale(&self, i: usize) -> bool {
        self.nodes[i].cfg.is_none() || self.nodes[i].old
    }

    pub(crate) fn token(&mut self, i: usize) {
        if let (Some(cfg), false) = (self.nodes[i].cfg, self.stale(i)) {
            let ring = self.cfgs[cfg].ring;
            self.give(i, Input::Token { ring });
        }
    }

    /// The next thing that time brings; at most `most` later.
    pub(crate) fn tick(&mut self, most: Duration) {
        let next = (0..self.n())
            .filter(|i| self.acts(*i))
            .filter_map(|i| self.member(i).poll_timeout().map(|(at, _)| at))
            .min();
        let limit = self.now + most;
        self.now = next.map_or(limit, |at| at.min(limit)).max(self.now);
        for i in 0..self.n() {
            if let (true, Some(member)) = (self.acts(i), &mut self.nodes[i].member) {
                if member.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
                    member.handle_timeout(self.now);
                }
                self.pump(i);
            }
        }
    }

    // ---- executors

    /// Whether the executor of `i` may begin something: its machine runs and the ring part has fresh tokens.
    pub(crate) fn can_begin(&self, i: usize) -> bool {
        let node = &self.nodes[i];
        node.on && node.frozen.is_none() && !node.exec.queue.is_empty() && !node.exec.mute
    }

    pub(crate) fn begin(&mut self, i: usize) {
        let (since, order) = self.nodes[i].exec.queue.remove(0);
        let fresh = self.nodes[i].member.is_some() && !self.stale(i);
        let late = self.now > since + order.deadline;
        let exec = &mut self.nodes[i].exec;
        let release = order.operation.is_release();
        let same = exec.epoch.is_some_and(|(epoch, quorum)| {
            let matches = if broken(Rule::EpochByAge) {
                order.epoch.ring >= epoch.ring
            } else {
                order.epoch == epoch
            };
            matches && (quorum == Quorum::Quorate || release)
        });
        let by_age = broken(Rule::EpochByAge);
        let end = if !same {
            OrderEnd::Refused(Refusal::StaleEpoch)
        } else if late && !by_age {
            OrderEnd::Refused(Refusal::Late)
        } else if !fresh && !by_age {
            OrderEnd::Refused(Refusal::NotActing)
        } else {
            OrderEnd::Done(exec.run(&order))
        };
        let done = end == OrderEnd::Done(Outcome::Ok);
        if done && order.operation == Operation::Start {
            self.starts += 1;
            self.check_start(i, &order);
        }
        let Order { epoch, id, interval, .. } = order;
        if interval.is_none() {
            self.give(i, Input::Executor(ExecutorSays::Ended { epoch, id, end }));
        }
    }

    fn check_start(&mut self, i: usize, order: &Order) {
        if let Some(cfg) = self.nodes[i].cfg {
            let ring = self.cfgs[cfg].ring;
            if order.epoch.ring != ring {
                self.fail(format!("(S9) {} began under {} in ring {ring}", i + 1, order.epoch));
            }
        }
    }

    pub(crate) fn report_due(&self, i: usize) -> bool {
        self.acts(i) && self.nodes[i].exec.report_due && !self.nodes[i].exec.mute
    }

    pub(crate) fn report(&mut self, i: usize) {
        let exec = &mut self.nodes[i].exec;
        exec.report_due = false;
        let Some((epoch, _)) = exec.epoch else { return };
        let report = exec.report();
        self.give(i, Input::Executor(ExecutorSays::Report { epoch, report }));
    }

    /// An inquorate executor stops by itself, or fences its machine where that fails.
    pub(crate) fn must_stop(&self, i: usize) -> bool {
        let node = &self.nodes[i];
        node.on
            && node.frozen.is_none()
            && !node.exec.running.is_empty()
            && node.exec.quorum == Some(Quorum::Inquorate)
    }

    pub(crate) fn stop_by_itself(&mut self, i: usize) {
        if self.nodes[i].exec.stop_fails {
            self.power_off(i);
        } else {
            self.nodes[i].exec.running.clear();
        }
    }

    pub(crate) fn release_due(&self, i: usize) -> bool {
        self.acts(i) && self.nodes[i].exec.leaving
    }

    pub(crate) fn release(&mut self, i: usize) {
        let exec = &mut self.nodes[i].exec;
        if exec.stop_fails && !exec.running.is_empty() {
            return;
        }
        exec.leaving = false;
        exec.running.clear();
        exec.queue.clear();
        exec.epoch = None;
        self.give(i, Input::Executor(ExecutorSays::Released));
    }

    // ---- power

    pub(crate) fn command_due(&self, i: usize) -> bool {
        self.acts(i) && !self.nodes[i].fencer.commands.is_empty()
    }

    /// The next step of the first command of the fencer of `i`.
    pub(crate) fn fence_step(&mut self, i: usize) {
        let (since, command, sent) = self.nodes[i].fencer.commands[0].clone();
        let t = usize::from(command.incident.node.as_u16()) - 1;
        let fencer = &self.nodes[i].fencer;
        let mine = fencer.epoch == Some(command.epoch)
            && !fencer.members.contains(&command.incident.node)
            && !self.stale(i);
        let expires = since + command.deadline;
        let reachable = !self.unreachable_bmc.contains(&t);
        if self.now > expires || (!sent && !mine) || (!reachable && !sent) {
            let error = fencing::DeviceError::Unreachable;
            return self.fence_end(i, &command, Err(error), sent);
        }
        let on = self.nodes[t].on;
        match command.goal {
            PowerGoal::Read => {
                let state = if on { PowerState::On } else { PowerState::Off };
                self.fence_end(i, &command, Ok(state), false);
            }
            PowerGoal::Off if !on && self.nodes[t].bmc.is_none() => {
                self.fence_end(i, &command, Ok(PowerState::Off), sent);
            }
            PowerGoal::Off if !sent => {
                self.check_shot(i, t);
                self.nodes[t].bmc = Some((command.incident.ring, expires));
                self.nodes[i].fencer.commands[0].2 = true;
            }
            PowerGoal::Off => {}
            PowerGoal::On => {
                if !on {
                    self.power_on(t);
                }
                self.fence_end(i, &command, Ok(PowerState::On), true);
            }
        }
    }

    fn fence_end(
        &mut self,
        i: usize,
        command: &FenceCommand,
        outcome: Result<PowerState, fencing::DeviceError>,
        commanded: bool,
    ) {
        self.nodes[i].fencer.commands.remove(0);
        let result = FenceResult {
            incident: command.incident,
            epoch: command.epoch,
            goal: command.goal,
            outcome,
            commanded,
            took: Duration::ZERO,
            verify: Duration::ZERO,
        };
        self.give(i, Input::Fencer(FencerSays::Ended(result)));
    }

    fn check_shot(&mut self, i: usize, t: usize) {
        self.shots += 1;
        let cfg = self.nodes[i].cfg.expect("not stale");
        let members = self.cfgs[cfg].members.clone();
        let newer = (0..self.n()).any(|j| {
            self.acts(j)
                && self.nodes[j].cfg.is_some_and(|c| {
                    c > cfg
                        && self.cfgs[c].members.len() > self.n() / 2
                        && !self.cfgs[c].members.contains(&i)
                })
        });
        if members.len() <= self.n() / 2 || newer {
            self.fail(format!("(S5) {} is shot by {} without quorum", t + 1, i + 1));
        }
        if members.contains(&t) {
            self.fail(format!("(S7) the member {} is shot by {}", t + 1, i + 1));
        }
    }

    pub(crate) fn effect_due(&self, t: usize) -> bool {
        self.nodes[t].bmc.is_some()
    }

    /// The power-off reaches its machine, or its connection was aborted at the deadline.
    pub(crate) fn effect(&mut self, t: usize) {
        let Some((incident, expires)) = self.nodes[t].bmc.take() else { return };
        if self.now > expires || !self.nodes[t].on {
            return;
        }
        let cfg = self.nodes[t].cfg;
        let in_era = cfg.is_some_and(|c| {
            !self.nodes[t].old
                && self.nodes[t].member.is_some()
                && self.cfgs[c].members.len() > self.n() / 2
                && self.cfgs[c].members.iter().any(|&j| {
                    self.nodes[j].cfg == cfg
                        && self.nodes[j].member.as_ref().is_some_and(|m| m.era_open())
                })
        });
        if in_era {
            self.fail(format!("(S7) a power-off hits {} in an open era", t + 1));
        }
        let boot = self.nodes[t].boot;
        if self.nodes[t].effects.contains(&(boot, incident)) {
            self.fail(format!("(6) two effects on {} for {incident}", t + 1));
        }
        self.nodes[t].effects.push((boot, incident));
        self.note(|| format!("power-off of {}", t + 1));
        self.power_off(t);
    }

    // ---- truth

    /// SAFETY.md#S2: a machine that is on runs what its executor runs, frozen or not.
    pub(crate) fn check(&mut self) {
        let holders = self.holders();
        if holders.len() > 1 {
            self.fail(format!("(S2) web runs on {holders:?}"));
        }
    }

    /// Machines (from 1) on which a resource is in that role.
    pub(crate) fn in_role(&self, name: &str, wanted: Role) -> Vec<usize> {
        let runs = |i: usize| {
            let running = self.nodes[i].exec.running.iter();
            self.nodes[i].on
                && running.into_iter().any(|(r, (_, role))| r.as_str() == name && *role == wanted)
        };
        (0..self.n()).filter(|i| runs(*i)).map(|i| i + 1).collect()
    }

    /// Machines (from 1) on which the resource runs.
    pub(crate) fn holders(&self) -> Vec<usize> {
        (0..self.n())
            .filter(|&i| self.nodes[i].on && self.nodes[i].exec.running.contains_key(&web()))
            .map(|i| i + 1)
            .collect()
    }

    // ---- driving without faults

    /// Everything that can happen happens, in rounds, until nothing changes but time; at most `span` of it.
    pub(crate) fn settle(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let mut idle = 0;
            while idle < 2 {
                idle = if self.round() { 0 } else { idle + 1 };
                assert!(self.violation.is_none(), "{:?}", self.violation);
            }
            self.reform();
            if self.round() {
                continue;
            }
            if self.now >= end {
                return;
            }
            self.tick(end.since(self.now).min(Duration::from_secs(1)));
            self.check();
        }
    }

    /// A member asked for a new ring: all that act and hear each other form one.
    pub(crate) fn reform(&mut self) {
        if (0..self.n()).any(|i| self.acts(i) && self.nodes[i].wants_reform) {
            let component: Vec<usize> =
                (0..self.n()).map(|i| self.nodes[i].cfg.unwrap_or(1000 + i)).collect();
            self.change(&component, true);
        }
    }

    /// One of everything, once around.
    pub(crate) fn round(&mut self) -> bool {
        self.round_but(None)
    }

    /// One of everything, once around; one machine only receives.
    pub(crate) fn round_but(&mut self, slow: Option<usize>) -> bool {
        let mut did = false;
        for i in 0..self.n() {
            if slow == Some(i) {
                for k in self.receivable(i) {
                    self.receive(i, k);
                }
                continue;
            }
            if self.acts(i) {
                for k in self.receivable(i) {
                    self.receive(i, k);
                    did = true;
                }
                while self.acts(i) && self.deliverable(i) {
                    self.deliver(i);
                    did = true;
                }
                while !self.nodes[i].writes.is_empty() {
                    self.sync(i);
                    did = true;
                }
                while !self.nodes[i].probes.is_empty() {
                    self.answer_probe(i);
                    did = true;
                }
                self.token(i);
                if self.report_due(i) {
                    self.report(i);
                    did = true;
                }
                if self.release_due(i) && !self.nodes[i].exec.stop_fails {
                    self.release(i);
                    did = true;
                }
                if self.command_due(i) {
                    let before = self.nodes[i].fencer.commands.clone();
                    self.fence_step(i);
                    did |= before != self.nodes[i].fencer.commands;
                }
            }
            while self.can_begin(i) {
                self.begin(i);
                did = true;
            }
            if self.effect_due(i) && !self.slow_bmc.contains(&i) {
                self.effect(i);
                did = true;
            }
            if self.must_stop(i) {
                self.stop_by_itself(i);
                did = true;
            }
            self.check();
        }
        did
    }

    /// All that act form one ring and settle.
    pub(crate) fn join_all(&mut self, span: Duration) {
        self.change(&vec![0; self.n()], true);
        self.settle(span);
    }
}

impl Exec {
    fn told(&mut self, now: Instant, what: ExecutorDo) {
        match what {
            ExecutorDo::Void { quorum, .. } => {
                if !broken(Rule::EpochByAge) {
                    self.epoch = None;
                }
                self.quorum = Some(quorum);
                self.report_due = false;
            }
            ExecutorDo::TakeEpoch { epoch, quorum } => {
                self.epoch = Some((epoch, quorum));
                self.quorum = Some(quorum);
                self.report_due = true;
            }
            ExecutorDo::Carry(order) => self.queue.push((now, order)),
            ExecutorDo::Leave => self.leaving = true,
            ExecutorDo::Settings(_) | ExecutorDo::Detach(_) | ExecutorDo::Suspend => {}
        }
    }

    fn run(&mut self, order: &Order) -> Outcome {
        let fails = || Outcome::Failed { code: 1, reason: "it does not end".into() };
        match order.operation {
            Operation::Start => {
                let role = (order.kind.clone(), Role::Started);
                self.running.insert(order.resource.clone(), role);
                Outcome::Ok
            }
            Operation::Stop if self.stop_fails && self.running.contains_key(&order.resource) => {
                self.stop_failed.insert(order.resource.clone());
                fails()
            }
            Operation::Stop => {
                self.running.remove(&order.resource);
                Outcome::Ok
            }
            Operation::Promote | Operation::Demote => {
                let role = if order.operation == Operation::Promote {
                    Role::Promoted
                } else {
                    Role::Unpromoted
                };
                match self.running.get_mut(&order.resource) {
                    Some(runs) => {
                        runs.1 = role;
                        Outcome::Ok
                    }
                    None => Outcome::NotRunning,
                }
            }
            Operation::Probe | Operation::Monitor => Outcome::Ok,
        }
    }

    fn report(&self) -> Report {
        let instance =
            |(resource, (kind, role)): (&ResourceId, &(ResourceKind, Role))| InstanceReport {
                resource: resource.clone(),
                kind: kind.clone(),
                role: Some(*role),
                stop_failed: self.stop_failed.contains(resource),
                failed: None,
                run: 1,
            };
        Report { instances: self.running.iter().map(instance).collect() }
    }
}

impl FencerPart {
    fn told(&mut self, now: Instant, what: FencerDo) {
        match what {
            FencerDo::Install { epoch, members, .. } => {
                self.epoch = Some(epoch);
                self.members = members;
            }
            FencerDo::Carry(command) => self.commands.push((now, command, false)),
            FencerDo::AbortAll => {
                self.epoch = None;
                self.commands.clear();
            }
        }
    }
}

pub(crate) fn process() -> ResourceKind {
    let template: Label = "web".parse().expect("valid");
    ResourceKind::Process { template }
}

/// One process, a power switch for each machine.
pub(crate) fn revision(n: usize) -> rev::Revision {
    let ms = Duration::from_millis;
    let name = |i: usize| format!("ctl-{}", i + 1).parse().expect("valid");
    let web_object = rev::ObjectVersion {
        kind: rev::ObjectKind::ResourcePlacement,
        name: "web".into(),
        uid: "web-uid".into(),
        generation: 1,
        hash: 1,
    };
    rev::Revision {
        format: rev::REVISION_FORMAT,
        cluster: rev::ClusterKey { namespace: "ns".into(), name: "main".into(), uid: "u".into() },
        objects: vec![web_object],
        voters: (0..n)
            .map(|i| rev::Voter {
                id: id(i),
                name: name(i),
                links: Vec::new(),
                system_uuid: None,
                interfaces: BTreeMap::new(),
            })
            .collect(),
        timings: rev::Timings {
            token: ms(400),
            consensus: ms(480),
            join: ms(50),
            merge: ms(200),
            agent_restart_grace: ms(5000),
            stall_tolerance: ms(1000),
            report_timeout: ms(5000),
            startup_wait: ms(20000),
        },
        transport: rev::Transport {
            port: 5405,
            cipher: rev::Cipher::Aes256GcmSiv,
            key: rev::SecretEntry { secret: "ring".into(), entry: "key".into() },
        },
        quorum: rev::QuorumOptions {},
        no_quorum_policy: rev::NoQuorumPolicy::Stop,
        fencing: rev::FencingOptions {
            enabled: true,
            action: rev::FenceAction::Off,
            self_fencing: false,
            budget: 30,
            budget_window: ms(600_000),
        },
        devices: (0..n)
            .map(|i| rev::Device {
                device: base::FenceDevice {
                    name: format!("bmc-{}", i + 1).parse().expect("valid"),
                    driver: base::FenceDriver::Ipmi {
                        address: core::net::IpAddr::from([127, 0, 0, 1]),
                        port: 623,
                        cipher_suite: 17,
                    },
                    credentials: "bmc".into(),
                    targets: vec![id(i)],
                    level: 1,
                    delay: ms(0),
                    identity: None,
                },
                timeout: ms(10_000),
                deletion: rev::DeletionPolicy::Retain,
                retained: false,
            })
            .collect(),
        nodes: (0..n)
            .map(|i| rev::NodeIntent {
                name: name(i),
                standby: false,
                maintenance: false,
                attributes: BTreeMap::new(),
            })
            .collect(),
        placements: vec![single("web")],
        constraints: Vec::new(),
    }
}

pub(crate) fn single(name: &str) -> rev::Placement {
    let id: ResourceId = name.parse().expect("valid");
    let s = Duration::from_secs;
    rev::Placement {
        id: id.clone(),
        shape: rev::Shape::Single,
        members: vec![rev::Primitive {
            id,
            kind: process(),
            timeouts: rev::Timeouts {
                start: s(10),
                stop: s(10),
                promote: s(10),
                demote: s(10),
                probe: s(10),
            },
            monitors: Vec::new(),
            meta: rev::Meta::default(),
        }],
        meta: rev::Meta::default(),
        deletion: rev::DeletionPolicy::Retain,
        retained: false,
    }
}
