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

use base::{BootId, Guarantee, Incarnation, Instant, NodeId, ResourceId, RingId, Role};
use policy::revision as rev;

use super::{
    parts::{Exec, FencerPart},
    specimen::revision,
};
use crate::{
    Config, File, Input, Member, Output, PersistId, Refused, RequestId, RequestKind, Stored,
    Verdict,
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
    pub(crate) last: BTreeMap<usize, BTreeSet<usize>>,
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
    /// The way of failures as this member told it.
    pub(crate) told: Vec<(crate::Phase, NodeId)>,
    /// A power-off on its way: (sender, incident ring, expires, under an eviction).
    pub(crate) bmc: Option<(RingId, Instant)>,
    /// Ends of power-offs: effects of (boot, incident).
    pub(crate) effects: Vec<(u128, RingId)>,
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
    /// Machines whose ring part is of the version before.
    pub(crate) older: BTreeSet<usize>,
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
                told: Vec::new(),
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
            older: BTreeSet::new(),
        };
        for i in 0..n {
            world.start_process(i);
        }
        world
    }

    pub(crate) fn n(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn fail(&mut self, text: String) {
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
        node.exec.scored = None;
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
                Output::Multicast { mut payload, guarantee } => {
                    if let Some(cfg) = node.cfg {
                        if self.older.contains(&i) {
                            super::large::as_before(&mut payload);
                        }
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
                Output::Record(record) => {
                    if let Some(incident) = record.incident {
                        node.told.push((record.phase, incident.node));
                    }
                    self.note(|| format!("{}: {record:?}", i + 1));
                }
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
                if self.scores_due(i) {
                    self.say_scores(i);
                    did = true;
                }
                if self.release_due(i) && !self.nodes[i].exec.stop_fails {
                    self.release(i);
                    did = true;
                }
                if self.suspended_due(i) {
                    self.say_suspended(i);
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
