//! The engine of one member: five verbs over disk, configuration, state and what people asked.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    vec::Vec,
};
use core::time::Duration;

use base::{Instant, NodeId, ResourceId, RingId};
use fencing::Incident;
use policy::revision::{Revision, Timings};

use crate::{
    Config, ExecutorDo, FencerDo, Input, Output, Phase, Reason, Record, RequestId, RequestKind,
    ails::Ails,
    commands::Commands,
    coordinator::Planned,
    durable::Writes,
    era::Installed,
    evidence::Fact,
    model::Models,
    pause::Pauses,
    promise::{self, PromiseRecord},
    safety::Broken,
    silence::Silence,
    state::State,
    status::Condition,
    suspend::Suspension,
    transfer::Assembly,
    wire::{self, Change, Message},
};

/// Changes of the executor that wait for an era.
const CHANGES_MAX: usize = 1024;
/// Facts that are kept: at most a few for each voter.
const FACTS_MAX: usize = 128;
/// Requests that wait for their delivery.
pub(crate) const ASKS_MAX: usize = 256;

/// One member's engine: five verbs and getters (docs/ARCHITECTURE.md). After each `handle` or `handle_timeout`, poll
/// outputs until there are none, then ask `poll_timeout`. Spurious calls do nothing.
#[derive(Debug)]
pub struct Member {
    pub(crate) config: Config,
    pub(crate) out: VecDeque<Output>,
    /// In memory; what is durable of it is at most one promise older.
    pub(crate) promise: PromiseRecord,
    pub(crate) state: Option<State>,
    /// What this member received and nobody may have recorded (CLUSTER.md section 2).
    pub(crate) facts: Vec<Fact>,
    pub(crate) installed: Option<Installed>,
    /// Members of the configuration before, and whether an era was open in it.
    pub(crate) previous: (Vec<NodeId>, bool),
    pub(crate) coordinated: bool,
    pub(crate) since: Option<RingId>,
    /// Newest era that was opened here without any state before it.
    pub(crate) began: Option<RingId>,
    pub(crate) assembly: Assembly,
    pub(crate) silence: Silence,
    pub(crate) started: Instant,
    /// Members met in any configuration of this process.
    pub(crate) met: BTreeSet<NodeId>,
    /// Nodes outside that were heard, when, and whether they said that their disk counts as wiped.
    pub(crate) heard: BTreeMap<NodeId, (Instant, bool)>,
    /// When the deadline of every command against an evicted member has passed, by this member's count.
    pub(crate) late: BTreeMap<NodeId, Instant>,
    pub(crate) commands: Commands,
    /// When a failed power command may be tried again.
    pub(crate) retry: BTreeMap<Incident, Instant>,
    /// Orders of this configuration that their executors refused.
    pub(crate) pauses: Pauses,
    pub(crate) wall: (i64, Instant),
    pub(crate) asks: BTreeMap<RequestId, RequestKind>,
    pub(crate) leaving: Leaving,
    /// End of the absence that this member announced in this configuration, while it is still here.
    pub(crate) away_until: Option<Instant>,
    /// Tokens that must be seen before anything is carried out (CLUSTER.md section 4, gap rule).
    pub(crate) gap: u8,
    /// What is carried out after the gap, with the time from which its deadline counts.
    pub(crate) held: Vec<(Instant, Output)>,
    pub(crate) changes: VecDeque<Change>,
    pub(crate) next_change: u64,
    pub(crate) offered: Option<Box<Revision>>,
    /// The API showed it; it is not just what the disk of this machine had kept.
    pub(crate) shown: bool,
    /// Era in which the offered revision was proposed from here.
    pub(crate) proposed: Option<RingId>,
    pub(crate) watchdog: Option<Duration>,
    /// What the agent last said of itself.
    pub(crate) ails: Ails,
    pub(crate) ails_heard: u64,
    pub(crate) suspension: Suspension,
    pub(crate) halted: Option<Broken>,
    pub(crate) conditions: BTreeSet<Condition>,
    /// When the installed ring was given up, and whether none has formed in time since.
    pub(crate) broken_at: Option<Instant>,
    pub(crate) ringless: bool,
    /// When and why the coordinator's half wants to look again.
    pub(crate) wakes: Vec<(Instant, Reason)>,
    pub(crate) recovering: BTreeSet<Incident>,
    /// Incidents for which recovery is on the timeline.
    pub(crate) recovery_said: BTreeSet<Incident>,
    /// Incidents of the recovery that ended last, and when.
    pub(crate) recovered: Option<(Instant, BTreeSet<Incident>)>,
    /// Addresses that nobody has seen at their new place yet, with the incidents by which they moved.
    pub(crate) announcing: BTreeMap<ResourceId, BTreeSet<Incident>>,
    /// Attempts after which each incident's pause was begun.
    pub(crate) backed_off: BTreeMap<Incident, u32>,
    /// What the last look at the state came to: planned again only when the state or the time has changed.
    pub(crate) planned: Option<Planned>,
    /// The last model of the state and what the engine remembers of it: an event changes little of either.
    pub(crate) models: Models,
    pub(crate) scheduler: policy::Scheduler,
    /// Changes of the executor wait to be said in this era.
    pub(crate) unsaid_changes: bool,
    /// An eviction was delivered: form a ring without the target, once the joins can say so.
    pub(crate) reform: bool,
    /// Last changed boot id that was said.
    pub(crate) booted_said: Option<(NodeId, base::BootId)>,
    standing: Vec<u8>,
    pub(crate) writes: Writes,
}

/// How far this member is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It stays.
    No,
    /// The coordinator moves away what runs here.
    Draining,
    /// The executor releases what is left.
    Releasing,
    /// The clean leave was said: no other message follows.
    Said,
}

impl Member {
    /// A member that has just started.
    pub fn new(now: Instant, config: Config) -> Self {
        let (promise, state) = promise::read(&config.disk);
        let suspension = Suspension::restored(state.as_ref());
        let offered = Some(Box::new(config.first.clone()));
        let mut member = Self {
            config,
            out: VecDeque::new(),
            promise,
            state,
            facts: Vec::new(),
            installed: None,
            previous: (Vec::new(), false),
            coordinated: false,
            since: None,
            began: None,
            assembly: Assembly::default(),
            silence: Silence::default(),
            started: now,
            met: BTreeSet::new(),
            heard: BTreeMap::new(),
            late: BTreeMap::new(),
            commands: Commands::default(),
            retry: BTreeMap::new(),
            pauses: Pauses::default(),
            wall: (0, now),
            asks: BTreeMap::new(),
            leaving: Leaving::No,
            away_until: None,
            gap: 0,
            held: Vec::new(),
            changes: VecDeque::new(),
            next_change: 1,
            offered,
            shown: false,
            proposed: None,
            watchdog: None,
            ails: Ails::default(),
            ails_heard: 0,
            suspension,
            halted: None,
            conditions: BTreeSet::new(),
            broken_at: None,
            ringless: false,
            wakes: Vec::new(),
            recovering: BTreeSet::new(),
            recovery_said: BTreeSet::new(),
            recovered: None,
            announcing: BTreeMap::new(),
            backed_off: BTreeMap::new(),
            planned: None,
            models: Models::default(),
            scheduler: policy::Scheduler::default(),
            unsaid_changes: false,
            reform: false,
            booted_said: None,
            standing: Vec::new(),
            writes: Writes::default(),
        };
        member.restart_deadlines(now);
        member.settings();
        member.tell_suspension();
        member.refresh_standing(now);
        member
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Instant, input: Input) {
        // Tokens come a thousand times a second; they matter only after a gap.
        if matches!(input, Input::Token { .. }) && self.gap == 0 {
            return;
        }
        match input {
            Input::Ring(event) => self.ring(now, event),
            Input::RingBroken { ring } => self.ring_broken(now, ring),
            Input::Token { ring } => self.token(now, ring),
            Input::Stalled(gap) => self.stalled(gap),
            Input::Persisted(id) => self.persisted(now, id),
            Input::Executor(says) => self.executor(now, says),
            Input::Fencer(says) => self.fencer(says),
            Input::Probed { node, verdict } => self.silence.probed(node, verdict),
            Input::Heard { node, standing } => self.heard_outside(now, node, &standing),
            Input::Silent { node } => self.silent(now, node),
            Input::Ails(ails) => self.ails(ails),
            Input::Wall(seconds) => self.wall = (seconds, now),
            Input::Revision(revision) => {
                self.offered = Some(revision);
                self.shown = true;
                self.proposed = None;
            }
            Input::Request { id, kind } => self.asked(now, id, kind),
        }
        self.after(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.planned = None;
        self.persist_lazily(now);
        self.after(now);
    }

    /// The next thing to be done.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When and why to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let lazy = self.lazy_persist_at().map(|at| (at, Reason::LazyPersist));
        let late = self.late.iter().filter_map(|(node, at)| {
            let open = self.state.as_ref().is_some_and(|s| s.evicted.contains_key(node));
            open.then_some((*at, Reason::CommandDeadline))
        });
        let absence = self.away_until.map(|at| (at, Reason::Absence));
        let ringless = self.ringless_at().map(|at| (at, Reason::Ringless));
        let own = lazy.into_iter().chain(absence).chain(ringless).chain(self.suspension_wakes());
        self.wakes.iter().copied().chain(late).chain(own).min()
    }

    /// Whether tokens of the installed ring renew addresses: quorate and its era open (CLUSTER.md section 8).
    pub fn era_open(&self) -> bool {
        self.halted.is_none()
            && !self.ringless
            && !self.suspension.stopped
            && self.installed.as_ref().is_some_and(|i| !i.transitional && i.is_open())
    }

    /// Whether this member may be counted on, for whoever wants to take the next one away: its era is open, it holds the
    /// state, its disk is whole, and its executor has reported.
    pub fn is_ready(&self) -> bool {
        let me = self.config.me;
        let reported = |s: &State| s.members.get(&me).is_some_and(|m| m.reported && !m.leaving);
        self.era_open() && !self.promise.wiped && self.state.as_ref().is_some_and(reported)
    }

    /// The clean leave was said: nothing is held here any more.
    pub fn has_left(&self) -> bool {
        self.leaving == Leaving::Said
    }

    /// The newest era that this life of the member opened from nothing: all voters were there and none had a state. What
    /// was accepted before is forgotten by all.
    pub const fn began(&self) -> Option<RingId> {
        self.began
    }

    /// Everything that the state has to run, what is retained included.
    pub fn resources(&self) -> impl Iterator<Item = &ResourceId> {
        let revision = self.state.iter().filter_map(|s| s.revision.as_ref());
        revision.flat_map(|r| r.primitives().map(|(_, m)| &m.id))
    }

    /// Era, index and hash of the state: at one place all members hold the same (CLUSTER.md section 3.3).
    pub fn position(&self) -> Option<(RingId, u64, u128)> {
        let position = self.state.as_ref()?.position;
        Some((position.era, position.index, position.hash))
    }

    /// Place, hash and content of the state, for tests that compare replicas.
    #[cfg(test)]
    pub(crate) fn fingerprint(&self) -> Option<((RingId, u64), u128, u128)> {
        let state = self.state.as_ref()?;
        let content = crate::state::fnv(1, &wire::encode(state));
        Some((state.position.place(), state.position.hash, content))
    }

    fn after(&mut self, now: Instant) {
        self.heard.retain(|_, (at, _)| now.since(*at) < crate::hardware::HEARD_FOR);
        self.note_ringless(now);
        self.flush_holds();
        self.leave_when_empty();
        self.take_back_absence(now);
        self.say_commands_over(now);
        self.say_changes();
        self.offer();
        self.decide(now);
        self.flush_holds();
        self.follow_suspension(now);
        if let (Some(installed), Some(state)) = (&mut self.installed, &self.state) {
            installed.due.retain(|order, _| state.overdue_on(*order).is_some());
            installed.fence_due.retain(|node, _| state.intents.contains_key(node));
        }
        let mut passed = false;
        self.late.retain(|node, at| {
            // Kept while the eviction is open; passed deadlines need no timer.
            let open = self.state.as_ref().is_some_and(|s| s.evicted.contains_key(node));
            passed |= open && *at <= now;
            open && *at > now
        });
        // Where no era is open the refusal may lapse from here on: all have to hear it, members and those outside
        // (CLUSTER.md section 6, *Lapse*).
        self.reform |= passed && !self.era_open();
        self.refresh_standing(now);
        if core::mem::take(&mut self.reform) {
            self.out.push_back(Output::Reform);
        }
    }

    // ---- time

    pub(crate) fn timings(&self) -> Timings {
        self.revision().timings
    }

    /// The accepted revision, or the cached one until there is one.
    pub(crate) fn revision(&self) -> &Revision {
        self.state.as_ref().and_then(|s| s.revision.as_ref()).unwrap_or(&self.config.first)
    }

    /// This machine's clock, for decisions.
    pub(crate) fn wall_now(&self, now: Instant) -> i64 {
        let passed = i64::try_from(now.since(self.wall.1).as_secs()).unwrap_or(0);
        self.wall.0.saturating_add(passed)
    }

    // ---- speaking

    pub(crate) fn ring_id(&self) -> Option<RingId> {
        self.installed.as_ref().map(|i| i.configuration.ring)
    }

    /// Whether a message said now belongs to the installed ring.
    pub(crate) fn acts_in_ring(&self) -> bool {
        self.installed.as_ref().is_some_and(|i| !i.transitional) && self.leaving != Leaving::Said
    }

    pub(crate) fn say(&mut self, message: &Message) {
        if !self.acts_in_ring() {
            return;
        }
        let Some(installed) = &mut self.installed else { return };
        if message.is_decision() {
            installed.awaited += 1;
        }
        let payload = wire::encode_message(installed.configuration.ring, message);
        // Everything that is said has a limit below this one; a violation is a bug of ours and must not reach totem.
        assert!(payload.len() <= wire::MESSAGE_MAX, "message above MESSAGE_MAX");
        self.out.push_back(Output::Multicast { payload, guarantee: message.guarantee() });
    }

    pub(crate) fn record(&mut self, phase: Phase, incident: Option<Incident>, text: String) {
        // Whoever drives the engine logs the record itself.
        let ring = incident.map(|incident| tracing::field::display(incident.ring));
        tracing::debug!(?phase, incident = ring, "{text}");
        self.out.push_back(Output::Record(Record { phase, incident, text }));
    }

    /// To executor or fencer: after a gap only once a token proves that the ring is alive.
    pub(crate) fn carry(&mut self, now: Instant, output: Output) {
        if self.halted.is_some() {
            return;
        }
        if self.gap > 0 {
            self.held.push((now, output));
        } else {
            self.out.push_back(output);
        }
    }

    pub(crate) fn halt(&mut self, broken: Broken) {
        if self.halted.is_none() {
            let Broken { invariant, detail } = broken.clone();
            self.out.push_back(Output::SafeState { invariant, detail });
            self.halted = Some(broken);
        }
    }

    // ---- the gap rule (CLUSTER.md section 4)

    fn stalled(&mut self, gap: Duration) {
        if gap > self.timings().token / 2 {
            // The first token may have lain in the socket all the while; the second has been round all members.
            self.gap = 2;
        }
    }

    fn token(&mut self, now: Instant, ring: RingId) {
        if self.gap == 0 || self.ring_id() != Some(ring) {
            return;
        }
        self.gap -= 1;
        if self.gap > 0 {
            return;
        }
        for (since, output) in core::mem::take(&mut self.held) {
            self.carry_late(now.since(since), output);
        }
    }

    /// The deadline counts from delivery, not from the end of the gap.
    fn carry_late(&mut self, waited: Duration, output: Output) {
        match output {
            Output::Executor(ExecutorDo::Carry(mut order)) => {
                order.deadline = order.deadline.saturating_sub(waited);
                self.out.push_back(Output::Executor(ExecutorDo::Carry(order)));
            }
            Output::Fencer(FencerDo::Carry(mut command)) => {
                command.deadline = command.deadline.saturating_sub(waited);
                if command.deadline.is_zero() {
                    self.commands.not_sent(&command);
                } else {
                    self.out.push_back(Output::Fencer(FencerDo::Carry(command)));
                }
            }
            other => self.out.push_back(other),
        }
    }

    // ---- facts and changes

    pub(crate) fn keep_fact(&mut self, fact: Fact) {
        if !self.facts.contains(&fact) && self.facts.len() < FACTS_MAX {
            self.facts.push(fact);
        }
    }

    pub(crate) fn push_change(&mut self, change: Change) {
        if self.changes.len() < CHANGES_MAX {
            self.changes.push_back(change);
        }
    }

    // ---- what totem puts into joins

    fn refresh_standing(&mut self, now: Instant) {
        let standing = self.own_standing(now);
        if standing != self.standing {
            self.standing.clone_from(&standing);
            self.out.push_back(Output::Standing(standing));
        }
    }

    /// Newest of the own delivery of an intent, the installation of a configuration and the own restart; plus the
    /// command's deadline and the token time (CLUSTER.md section 6, *Closing*).
    pub(crate) fn restart_deadlines(&mut self, now: Instant) {
        let token = self.timings().token;
        if let Some(state) = &self.state {
            for (node, eviction) in &state.evicted {
                self.late.insert(*node, now + eviction.deadline + token);
            }
        }
    }

    /// Whether the deadline of every command against the node has passed here.
    pub(crate) fn past_deadline(&self, now: Instant, node: NodeId) -> bool {
        self.late.get(&node).is_none_or(|at| now >= *at)
    }

    fn own_standing(&self, now: Instant) -> Vec<u8> {
        let voters = match &self.state {
            Some(state) => state.voter_ids(),
            None => self.config.first.voters.iter().map(|v| v.id).collect(),
        };
        let evicted = self.state.iter().flat_map(|s| s.evicted.keys()).map(|node| {
            let past_deadline = self.past_deadline(now, *node);
            crate::admission::Evicted { node: *node, past_deadline }
        });
        wire::encode_standing(&crate::admission::Standing {
            position: self.state.as_ref().map(|s| s.position.place()),
            promise: self.promise.promise,
            wiped: self.promise.wiped,
            boot: Some(self.config.boot_id),
            voters,
            evicted: evicted.collect(),
        })
    }
}
