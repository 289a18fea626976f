//! One configuration after the other: exchange, promise, opening, and what is delivered meanwhile (CLUSTER.md sections 2
//! and 3).
//!
//! Invariants: nothing is applied but in an open era of a regular configuration; what is delivered in a transitional one,
//! or before the era is open, is dropped unless it is a fact; each quorate regular configuration opens an era of its own,
//! named by its ring.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use base::{
    Configuration, ConfigurationKind, Epoch, Instant, NodeId, RingEvent, RingId, RingMessage,
};
use lifecycle::Quorum;

use crate::{
    ExecutorDo, FencerDo, Output, Phase, RequestKind,
    ails::Ails,
    debt::base_state,
    durable::After,
    evidence::{Fact, Kind},
    faulty::{Rule, broken},
    member::{Leaving, Member},
    merge::{Merged, merge, needed},
    pause::Pauses,
    promise::delivered,
    state::{STATE_MAX, State},
    suspend::Agreeing,
    wire::{self, Chunk, Hello, Message},
};

/// Messages that a member without current state keeps until its snapshot is durable.
const BACKLOG_MAX: usize = 8192;

/// The regular configuration that is installed.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) configuration: Configuration,
    /// The configuration is over; what comes is delivered in its transitional one.
    pub(crate) transitional: bool,
    pub(crate) hellos: BTreeMap<NodeId, Hello>,
    pub(crate) merged: Option<Merged>,
    pub(crate) loss_accepted: bool,
    proposed: bool,
    promised: bool,
    /// Voters whose promises were delivered.
    promises: BTreeSet<NodeId>,
    pub(crate) phase: Phases,
    pub(crate) opened_at: Option<Instant>,
    /// Own decisions that were not yet delivered.
    pub(crate) awaited: usize,
    /// When a member of the open era said that it has to report again.
    pub(crate) unreported: BTreeMap<NodeId, Instant>,
    /// Orders and commands that should have been answered by then.
    pub(crate) due: BTreeMap<u64, Instant>,
    pub(crate) fence_due: BTreeMap<NodeId, Instant>,
    /// What members say is wrong with themselves.
    pub(crate) ails: BTreeMap<NodeId, Ails>,
    /// Who has said what of a suspension.
    pub(crate) suspending: Agreeing,
}

/// How far the era of the configuration is.
#[derive(Debug)]
pub(crate) enum Phases {
    /// Not open.
    Closed,
    /// Open, but this member waits for the state.
    Syncing(Backlog),
    /// The state has come and is being made durable; the old one is kept until then.
    Storing(Box<State>, Backlog),
    /// Open, and this member holds its state.
    Open,
}

/// What was delivered since the era opened, to be applied on the snapshot.
pub(crate) type Backlog = Vec<(NodeId, Vec<u8>, Option<Message>)>;

impl Installed {
    /// Whether the era is open and this member holds its state.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.phase, Phases::Open)
    }

    pub(crate) fn quorate(&self) -> bool {
        self.merged.as_ref().is_some_and(|m| m.quorate)
    }

    /// Epoch of this configuration, once its coordinator is known.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        let coordinator = self.merged.as_ref()?.coordinator?;
        let incarnation = self.hellos.get(&coordinator)?.incarnation;
        Some(Epoch { ring: self.configuration.ring, coordinator: incarnation })
    }

    pub(crate) fn members(&self) -> Vec<NodeId> {
        self.configuration.members.iter().map(|m| m.node).collect()
    }
}

impl Member {
    pub(crate) fn ring(&mut self, now: Instant, event: RingEvent) {
        match event {
            RingEvent::Configuration(c) if c.kind == ConfigurationKind::Transitional => {
                self.interrupt(c.ring);
            }
            RingEvent::Configuration(c) => self.install(now, c),
            RingEvent::Message(message) => self.message(now, &message),
        }
    }

    /// The configuration is over: whatever was ordered in it is void from here on.
    fn interrupt(&mut self, next: RingId) {
        let Some(installed) = &mut self.installed else { return };
        if core::mem::replace(&mut installed.transitional, true) {
            return;
        }
        self.forget_held();
        let quorum = quorum(false);
        self.out.push_back(Output::Executor(ExecutorDo::Void { ring: next, quorum }));
        self.out.push_back(Output::Fencer(FencerDo::AbortAll));
    }

    fn install(&mut self, now: Instant, configuration: Configuration) {
        let ring = configuration.ring;
        // who announces asks again in the next era, and then it counts anew
        self.announcing.clear();
        let before = self.installed.as_ref().map(|i| {
            let idle = i.merged.as_ref().is_some_and(|m| !m.can_open());
            (i.members(), idle)
        });
        if let Some(old) = &self.installed {
            // Ring ids are never reused (SAFETY.md#S12); totem checks it too.
            if old.configuration.ring >= ring {
                return self.halt(crate::safety::Broken {
                    invariant: "S12",
                    detail: format!("ring {ring} after {}", old.configuration.ring),
                });
            }
            self.previous = (old.members(), old.is_open());
        }
        let members: Vec<NodeId> = configuration.members.iter().map(|m| m.node).collect();
        self.installed = Some(Installed {
            configuration,
            transitional: false,
            hellos: BTreeMap::new(),
            merged: None,
            loss_accepted: false,
            proposed: false,
            promised: false,
            promises: BTreeSet::new(),
            phase: Phases::Closed,
            opened_at: None,
            awaited: 0,
            unreported: BTreeMap::new(),
            due: BTreeMap::new(),
            fence_due: BTreeMap::new(),
            ails: BTreeMap::new(),
            suspending: Agreeing::default(),
        });
        self.assembly.clear();
        self.forget_held();
        self.pauses = Pauses::default();
        self.wakes.clear();
        self.gap = 0;
        self.proposed = None;
        self.broken_at = None;
        self.ringless = false;
        self.away_until = None;
        self.fail_asks("the configuration changed before it was decided; try again");
        // A configuration without quorum, or of too many lost disks, opens no era and commands nothing: one after it need
        // not wait again, or a target that knocks again and again would never be let in (SAFETY.md#L10).
        let commands_end = before.is_none_or(|(before, idle)| self.has_quorum(&before) && !idle);
        let quorum = quorum(self.has_quorum(&members));
        self.out.push_back(Output::Executor(ExecutorDo::Void { ring, quorum }));
        self.out.push_back(Output::Fencer(FencerDo::AbortAll));
        self.met.extend(members.iter().copied());
        self.silence.heard(&members);
        if commands_end {
            self.restart_deadlines(now);
        }
        for node in self.voters().into_iter().filter(|n| !members.contains(n)) {
            self.silent_member(now, node);
        }
        if self.leaving == Leaving::Said {
            self.resay_leave(ring);
        } else {
            let hello = self.hello();
            self.say(&Message::Hello(hello));
        }
    }

    pub(crate) fn voters(&self) -> Vec<NodeId> {
        match &self.state {
            Some(state) => state.voter_ids(),
            None => self.config.first.voters.iter().map(|v| v.id).collect(),
        }
    }

    fn voter_count(&self) -> usize {
        self.voters().len()
    }

    /// As far as this member knows who the voters are.
    pub(crate) fn has_quorum(&self, members: &[NodeId]) -> bool {
        let voters = members.iter().filter(|n| self.is_voter(**n)).count();
        voters >= crate::majority(self.voter_count())
    }

    fn is_voter(&self, node: NodeId) -> bool {
        self.voters().contains(&node)
    }

    fn hello(&self) -> Hello {
        Hello {
            incarnation: self.config.incarnation,
            boot: self.config.boot_id,
            uuid: self.config.system_uuid,
            position: self.state.as_ref().map(|s| s.position),
            voters: self.voters(),
            promise: self.promise.promise,
            wiped: self.promise.wiped,
            seen: self.promise.seen.values().copied().collect(),
            delivered: delivered(&self.promise, self.state.as_ref()).into_iter().collect(),
            coordinated: self.coordinated,
            since: self.since,
            facts: self.facts.clone(),
            previous: self.previous.0.clone(),
            was_open: self.previous.1,
            watchdog: self.watchdog,
            dialect: wire::DIALECT,
        }
    }

    fn message(&mut self, now: Instant, message: &RingMessage) {
        let Some((ring, body)) = wire::decode_message(&message.payload) else { return };
        let in_place = self
            .installed
            .as_ref()
            .is_some_and(|i| !i.transitional && i.configuration.ring == ring);
        let from = message.sender;
        self.keep_facts(from, body.as_ref());
        if in_place {
            self.in_place(now, from, &message.payload, body);
        }
    }

    /// Facts are kept wherever they are delivered; in an open era they are applied as well.
    fn keep_facts(&mut self, from: NodeId, body: Option<&Message>) {
        match body {
            Some(Message::Leave { incarnation }) => {
                self.keep_fact(Fact::Left { node: from, incarnation: *incarnation });
                if from == self.config.me && self.leaving == Leaving::Said {
                    let reason = String::from("left: nothing is held here any more");
                    self.out.push_back(Output::LeaveRing { reason });
                }
            }
            Some(Message::Evidence(e)) => {
                if let Kind::VerifiedOff { incident, commanded } = e.kind {
                    self.keep_fact(Fact::Off { incident, commanded });
                }
            }
            _ => {}
        }
    }

    fn in_place(&mut self, now: Instant, from: NodeId, raw: &[u8], body: Option<Message>) {
        let me = self.config.me;
        let Some(installed) = &mut self.installed else { return };
        if from == me && body.as_ref().is_some_and(Message::is_decision) {
            installed.awaited = installed.awaited.saturating_sub(1);
        }
        match &body {
            Some(Message::Hello(hello)) => return self.heard_hello(now, from, hello.clone()),
            Some(Message::Propose) => return self.proposal(from),
            Some(Message::Snapshot(chunk)) => return self.snapshot_part(from, chunk),
            Some(Message::Promised) => {
                self.promise.delivered(from, installed.configuration.ring);
                installed.promises.insert(from);
                if matches!(installed.phase, Phases::Closed) {
                    return self.try_open(now);
                }
            }
            Some(Message::Request { kind: RequestKind::AcceptStateLoss { who }, id, .. })
                if matches!(installed.phase, Phases::Closed) =>
            {
                let (id, who) = (*id, who.clone());
                return self.accept_loss(now, from, id, &who);
            }
            _ => {}
        }
        match &mut installed.phase {
            Phases::Closed => {}
            Phases::Syncing(backlog) | Phases::Storing(_, backlog) => {
                if backlog.len() < BACKLOG_MAX {
                    backlog.push((from, raw.to_vec(), body));
                } else {
                    let reason = "too much was said while the state was fetched; join again";
                    self.out.push_back(Output::LeaveRing { reason: reason.into() });
                }
            }
            Phases::Open => self.apply(now, from, raw, body.as_ref()),
        }
    }

    fn heard_hello(&mut self, now: Instant, from: NodeId, hello: Hello) {
        let Some(installed) = &mut self.installed else { return };
        let known = installed
            .configuration
            .member(from)
            .is_some_and(|m| m.incarnation == hello.incarnation);
        if !known || installed.merged.is_some() {
            return;
        }
        installed.hellos.insert(from, hello);
        if installed.hellos.len() == installed.configuration.members.len() {
            self.merge(now);
        }
    }

    /// All have said what they have.
    fn merge(&mut self, now: Instant) {
        let me = self.config.me;
        let Some(installed) = &mut self.installed else { return };
        let merged = merge(&installed.hellos, installed.loss_accepted);
        let ring = installed.configuration.ring;
        if merged.diverged.contains(&me) {
            let reason = format!(
                "the history of this member differs from that of the others at the same place; set its state \
                 directory aside and report this (ring {ring})"
            );
            self.out.push_back(Output::LeaveRing { reason });
        }
        let lost = merged.wiped.contains(&me);
        self.coordinated = merged.coordinator == Some(me);
        if merged.current.contains(&me) {
            self.since = self.since.or(Some(ring));
        } else {
            self.since = None;
        }
        let quorate = merged.quorate;
        let leads = merged.coordinator == Some(me) && merged.can_open();
        installed.merged = Some(merged);
        if lost && !self.promise.wiped {
            // An older copy was put back: its own joins have to say so too, and a promise that it gives here must not make
            // it look whole again before it has a snapshot (CLUSTER.md section 3.2).
            self.promise.wiped = true;
            self.persist_promise(After::Nothing);
        }
        if broken(Rule::EraOnlyWhenBecomingQuorate) && self.go_on(now) {
            return;
        }
        if !quorate {
            return self.take_epoch(now);
        }
        if leads && !installed_proposed(&mut self.installed) {
            self.say(&Message::Propose);
        }
    }

    /// A person accepts that the state is lost: all promises count here, once (CLUSTER.md section 3.2).
    fn accept_loss(&mut self, now: Instant, from: NodeId, id: crate::RequestId, who: &str) {
        let Some(installed) = &mut self.installed else { return };
        let lost = installed.merged.as_ref().is_some_and(|m| m.quorate && !m.can_open())
            || installed.merged.as_ref().is_some_and(|m| m.quorate && m.coordinator.is_none());
        let result = if lost {
            installed.loss_accepted = true;
            let text = format!("{} accepts that state is lost", wire::short(who));
            self.record(Phase::Note, None, text);
            self.merge(now);
            Ok(())
        } else {
            Err(String::from(
                "nothing is lost here: wait for the missing members, or look at `palisade status`",
            ))
        };
        if from == self.config.me && self.asks.remove(&id).is_some() {
            let result = result.map_err(crate::Refused);
            self.out.push_back(Output::Answer { id, result });
        }
    }

    fn proposal(&mut self, from: NodeId) {
        let me = self.config.me;
        let Some(installed) = &mut self.installed else { return };
        let Some(merged) = &installed.merged else { return };
        if merged.coordinator != Some(from) || !merged.quorate || installed.promised {
            return;
        }
        installed.promised = true;
        let ring = installed.configuration.ring;
        self.promise.give(ring, &installed.hellos, merged, me);
        // A clean leave pays when the era opens, and evidence takes effect when it is durable on a majority (CLUSTER.md
        // section 3.6): before the promise, or a power cut of all would take it back and have the machine shot.
        if self.state.as_ref().is_some_and(|s| s.members.values().any(|m| m.left)) {
            self.persist_state(After::Left(ring));
        } else {
            self.persist_promise(After::Promised(ring));
        }
    }

    /// The promise is durable.
    pub(crate) fn promised(&mut self, ring: RingId) {
        if self.ring_id() == Some(ring) {
            self.say(&Message::Promised);
        }
    }

    fn try_open(&mut self, now: Instant) {
        let me = self.config.me;
        let Some(installed) = &mut self.installed else { return };
        let Some(merged) = &installed.merged else { return };
        let counted = installed.promises.intersection(&merged.countable).count();
        if !merged.quorate || counted < needed(merged.voters.len()) {
            return;
        }
        let Some(coordinator) = merged.coordinator else { return };
        installed.opened_at = Some(now);
        let current = merged.winner.is_none() || merged.current.contains(&me);
        if !current {
            installed.phase = Phases::Syncing(Vec::new());
            return;
        }
        let winning = self.state.as_ref().filter(|_| merged.winner.is_some());
        let mut base =
            base_state(winning, &installed.configuration, &installed.hellos, merged, coordinator);
        let ring = installed.configuration.ring;
        for node in &installed.promises {
            if let Some(voter) = base.voters.get_mut(node) {
                voter.promised = voter.promised.max(Some(ring));
            }
        }
        let others = merged.winner.is_some() && merged.current.len() < installed.hellos.len();
        let send = others && coordinator == me;
        let anew = merged.winner.is_none();
        installed.phase = Phases::Open;
        self.state = Some(base);
        if anew {
            self.began = Some(ring);
            let text = "no member has a state: it begins from nothing".into();
            self.record(Phase::Note, None, text);
        }
        if send {
            self.send_snapshot();
        }
        self.opened(now);
    }

    /// Faulty rule: a configuration that follows a quorate one goes on with its era.
    fn go_on(&mut self, now: Instant) -> bool {
        let me = self.config.me;
        let Some(installed) = &mut self.installed else { return false };
        let Some(merged) = &installed.merged else { return false };
        let went_on = merged
            .current
            .first()
            .and_then(|n| installed.hellos.get(n))
            .is_some_and(|h| h.was_open);
        let (Some(coordinator), true) = (merged.coordinator, went_on && merged.quorate) else {
            return false;
        };
        installed.opened_at = Some(now);
        if !merged.current.contains(&me) {
            installed.phase = Phases::Syncing(Vec::new());
            return true;
        }
        let mut base = base_state(
            self.state.as_ref(),
            &installed.configuration,
            &installed.hellos,
            merged,
            coordinator,
        );
        if let (Some(was), true) = (&self.state, true) {
            base.position.era = was.position.era;
            base.position.index = was.position.index.saturating_add(1);
        }
        let send = merged.current.len() < installed.hellos.len() && coordinator == me;
        installed.phase = Phases::Open;
        self.state = Some(base);
        if send {
            self.send_snapshot();
        }
        self.opened(now);
        true
    }

    fn send_snapshot(&mut self) {
        let Some(state) = &self.state else { return };
        let bytes = wire::encode(state);
        for chunk in crate::transfer::split(0, &bytes) {
            self.say(&Message::Snapshot(chunk));
        }
    }

    fn snapshot_part(&mut self, from: NodeId, chunk: &Chunk) {
        let Some(installed) = &mut self.installed else { return };
        let ring = installed.configuration.ring;
        let leads = installed.merged.as_ref().and_then(|m| m.coordinator) == Some(from);
        if !leads || !matches!(installed.phase, Phases::Syncing(_)) {
            return;
        }
        let Some(bytes) = self.assembly.take(from, chunk, STATE_MAX) else { return };
        let state: Option<State> = wire::decode(&bytes, STATE_MAX);
        let fits = |s: &State| {
            (s.position.era == ring || broken(Rule::EraOnlyWhenBecomingQuorate))
                && s.members.contains_key(&self.config.me)
        };
        let Some(state) = state.filter(fits) else {
            let reason = "the snapshot cannot be read by this version; upgrade this agent";
            return self.out.push_back(Output::LeaveRing { reason: reason.into() });
        };
        if let Phases::Syncing(backlog) = &mut installed.phase {
            let backlog = core::mem::take(backlog);
            installed.phase = Phases::Storing(Box::new(state), backlog);
        }
        self.persist_snapshot(bytes, ring);
    }

    /// Only now may the old state go (CLUSTER.md section 3.3).
    pub(crate) fn snapshot_durable(&mut self, now: Instant, ring: RingId) {
        let Some(installed) = &mut self.installed else { return };
        if installed.configuration.ring != ring || installed.transitional {
            // Too late: this member has said another position since. The next write puts the disk back beside memory;
            // a crash before that restarts from the snapshot, which is as sound.
            return;
        }
        let phase = core::mem::replace(&mut installed.phase, Phases::Open);
        let Phases::Storing(state, backlog) = phase else {
            installed.phase = phase;
            return;
        };
        self.since = Some(ring);
        self.state = Some(*state);
        self.opened(now);
        for (from, raw, body) in backlog {
            self.apply(now, from, &raw, body.as_ref());
        }
    }

    /// The era is open and this member holds its state.
    fn opened(&mut self, now: Instant) {
        let Some(state) = &self.state else { return };
        let ring = state.position.era;
        let pending: Vec<Message> = state
            .evidence
            .keys()
            .filter_map(|node| match state.voters.get(node).map(|v| v.debt) {
                Some(crate::state::Debt::Owed { incident, .. }) => {
                    let incident = fencing::Incident { node: *node, ring: incident };
                    Some(Message::EvidenceHeld { incident })
                }
                _ => None,
            })
            .collect();
        let change = state.change.as_ref().map(|c| c.accepted);
        let debts: Vec<fencing::Incident> = state.owing().collect();
        for message in pending {
            self.hold(message);
        }
        if let Some(accepted) = change {
            self.hold(Message::VotersHeld { accepted });
        }
        if self.promise.wiped {
            self.persist_state(After::Sound(ring));
        } else {
            self.dirty(now);
        }
        self.drop_old_facts();
        self.restart_deadlines(now);
        self.settings();
        self.take_epoch(now);
        self.say_ails();
        for incident in debts {
            self.record(Phase::Agree, Some(incident), format!("era {ring} is open without it"));
        }
    }
}

fn installed_proposed(installed: &mut Option<Installed>) -> bool {
    installed.as_mut().is_none_or(|i| core::mem::replace(&mut i.proposed, true))
}

pub(crate) const fn quorum(quorate: bool) -> Quorum {
    if quorate { Quorum::Quorate } else { Quorum::Inquorate }
}
