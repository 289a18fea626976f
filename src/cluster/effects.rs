//! What one member does because of a message of the open era, and what its fencer and people say to the era.
//!
//! Invariants: an order goes to the executor, and a command to the fencer, only past the assertions of `safety`; what must
//! be durable is written before it is said to be held; a report is said once in each era.

use alloc::{format, string::String, vec::Vec};

use base::{Instant, NodeId};
use fencing::{FenceCommand, FenceResult, Incident, PowerGoal, PowerState};
use lifecycle::{Operation, OrderEnd};

use crate::{
    ExecutorDo, FencerDo, FencerSays, Output, Phase, Refused, RequestId, RequestKind,
    apply::Effect,
    evidence::{Evidence, Fact, Kind},
    faulty::{Rule, broken},
    hardware,
    member::{ASKS_MAX, Leaving, Member},
    revision::REVISION_MAX,
    safety,
    state::PowerOn,
    wire::{self, Directive, Intent, Message},
};

/// Nodes outside the ring whose joins are remembered.
const HEARD_MAX: usize = 64;

impl Member {
    /// One message of the open era.
    pub(crate) fn apply(&mut self, now: Instant, from: NodeId, raw: &[u8], body: Option<&Message>) {
        let me = self.config.me;
        let mut effects = Vec::new();
        let before = self.state.as_ref().and_then(|s| s.decided);
        let Some(state) = &mut self.state else { return };
        state.advance(from, raw);
        let whole = match body {
            Some(Message::ReportPart(part)) => self.report_part(from, part),
            _ => None,
        };
        let Some(body) = whole.as_ref().or(body) else { return };
        let Some(state) = &mut self.state else { return };
        match body {
            Message::Ended { id, end } => {
                if let Some(p) = state.pending.get(id).filter(|p| p.node == from) {
                    match end {
                        OrderEnd::Refused(refusal) => {
                            self.pauses.refused(now, from, &p.resource, p.operation, *refusal);
                        }
                        OrderEnd::Done(_) => self.pauses.done(from, &p.resource),
                    }
                }
            }
            Message::Report(_) => self.pauses.reported(from),
            _ => {}
        }
        if let Message::Revision(chunk) = body {
            if let Some(bytes) = self.assembly.take(from, chunk, REVISION_MAX)
                && let Some(revision) = wire::decode(&bytes, REVISION_MAX)
                && state.wants(&revision)
            {
                state.accept(&revision, &mut effects);
                self.settings();
            }
        } else {
            state.apply(from, body, &mut effects);
        }
        if let (Message::Decision(decision), true) = (body, from == me)
            && let Err(broken) = safety::decided_once(before, decision.input)
        {
            return self.halt(broken);
        }
        if matches!(body, Message::Unreported) {
            if let Some(installed) = &mut self.installed {
                installed.unreported.insert(from, now);
            }
            if from == me {
                // Only now: an order that came before this word in the total order is forgotten by all, so the executor
                // must get it while it still refuses it, and drop it when it takes the epoch.
                self.take_epoch(now);
            }
        }
        if let (Message::Changes(changes), true) = (body, from == me) {
            let newest = changes.last().map_or(0, |c| c.number);
            self.changes.retain(|c| c.number > newest);
        }
        for effect in effects {
            self.effect(now, effect);
        }
        self.agree_on_suspension(now, from, body);
        if let Message::Ails(ails) = body {
            self.heard_ails(from, ails);
        }
        self.hear_of_address(now, from, body);
    }

    /// Where an address is now is asked and answered between executors (CLUSTER.md section 8).
    fn hear_of_address(&mut self, now: Instant, from: NodeId, body: &Message) {
        let what = match body {
            Message::Announcing { resource, kind, station } => {
                self.announced(now, resource, from);
                ExecutorDo::LookFor {
                    resource: resource.clone(),
                    kind: kind.clone(),
                    station: *station,
                }
            }
            Message::Sees { resource, station } => {
                self.address_seen(resource, from);
                ExecutorDo::SeenAt { resource: resource.clone(), station: *station }
            }
            _ => return,
        };
        if from != self.config.me {
            self.carry(now, Output::Executor(what));
        }
    }

    fn effect(&mut self, now: Instant, effect: Effect) {
        let me = self.config.me;
        match effect {
            Effect::Carry(directive) => self.order(now, directive),
            Effect::HoldIntent { node, attempt } => {
                self.intent_stands(now, node);
                self.hold(Message::IntentHeld { node, attempt });
            }
            Effect::IntentDurable(intent) if intent.executor == me => {
                self.command(now, &intent, intent.incident);
            }
            Effect::IntentDurable(_) => {}
            Effect::DropCommand(incident) => {
                self.carry(now, Output::Fencer(FencerDo::Drop(incident)));
            }
            Effect::HoldEvidence(incident) => self.hold(Message::EvidenceHeld { incident }),
            Effect::Paid { incident, kind } => {
                self.recovering.insert(incident);
                self.facts.retain(|f| f.node() != incident.node);
                self.record(Phase::Verify, Some(incident), format!("evidence: {kind}"));
            }
            Effect::Evicted { node } => self.evicted(now, node),
            Effect::Closed { node } => {
                self.late.remove(&node);
            }
            Effect::PowerOn { incident, executor } if executor == me => {
                self.power_on(now, incident);
            }
            Effect::PowerOn { .. } => {}
            Effect::HoldVoters { accepted } => self.hold(Message::VotersHeld { accepted }),
            Effect::Changed => self.dirty(now),
            Effect::Left { .. } => {}
            Effect::Answer { asker, id, result } => {
                if asker == me {
                    self.answered(now, id, result);
                }
            }
            Effect::Withheld { directive, why } => {
                let Directive { node, order } = directive;
                let text = format!("{} on node {node}: {why}", order.resource);
                self.record(Phase::Note, None, text);
            }
            Effect::Suspended => self.hold(Message::SuspendHeld),
            Effect::Resumed => self.resumed(),
            Effect::Note { incident, text } => self.record(Phase::Note, incident, text),
        }
    }

    fn order(&mut self, now: Instant, directive: Directive) {
        let Directive { node, order } = directive;
        if let (Some(installed), None) = (&mut self.installed, order.interval) {
            let bound = now + order.deadline + order.timeout + hardware::ANSWER_MARGIN;
            installed.due.insert(order.id.0, bound);
        }
        if node != self.config.me {
            return;
        }
        let Some(state) = &self.state else { return };
        match safety::may_carry(state, node, &order) {
            Ok(()) => self.carry(now, Output::Executor(ExecutorDo::Carry(order))),
            Err(broken) => self.halt(broken),
        }
    }

    /// Counted from the own delivery of the intent (CLUSTER.md section 6, *Closing*).
    fn intent_stands(&mut self, now: Instant, node: NodeId) {
        let token = self.timings().token;
        let deadline = self
            .state
            .as_ref()
            .and_then(|s| s.intents.get(&node))
            .map(|open| open.intent.deadline)
            .unwrap_or_default();
        let passes = now + deadline + token;
        let late = self.late.entry(node).or_insert(passes);
        *late = (*late).max(passes);
        if let Some(installed) = &mut self.installed {
            installed.fence_due.insert(node, passes + hardware::ANSWER_MARGIN);
        }
    }

    fn evicted(&mut self, now: Instant, node: NodeId) {
        let token = self.timings().token;
        let passes = now + token;
        let late = self.late.entry(node).or_insert(passes);
        *late = (*late).max(passes);
        let member = self.installed.as_ref().is_some_and(|i| i.configuration.contains(node));
        if member {
            self.reform = true;
        }
    }

    /// The command of a durable intent, with the devices of its level.
    fn command(&mut self, now: Instant, intent: &Intent, incident: Incident) {
        let goal = if intent.read_only { PowerGoal::Read } else { PowerGoal::Off };
        let Some((state, installed)) = self.state.as_ref().zip(self.installed.as_ref()) else {
            return;
        };
        // Void if evidence stands: looked at again right before it goes out (CLUSTER.md section 6).
        let stands = state.intents.get(&incident.node).is_some_and(|o| o.intent == *intent);
        if !stands || state.evidence.contains_key(&incident.node) {
            return;
        }
        if let Err(broken) = safety::may_fence(state, installed.quorate(), incident.node) {
            return self.halt(broken);
        }
        let (Some(epoch), Some(revision)) = (installed.epoch(), &state.revision) else { return };
        let levels = hardware::levels(state, revision, incident.node);
        let Some(devices) = level_of(&levels, intent.attempt).cloned() else { return };
        let deadline = if broken(Rule::NoDeadline) {
            core::time::Duration::from_secs(3600)
        } else {
            intent.deadline
        };
        let command = FenceCommand { incident, epoch, goal, devices, deadline };
        if goal == PowerGoal::Off {
            let until = now + intent.deadline + self.timings().token;
            self.commands.given(incident.node, until);
        }
        let text = format!("attempt {}: {goal:?}", intent.attempt.saturating_add(1));
        self.record(Phase::Fence, Some(incident), text);
        self.carry(now, Output::Fencer(FencerDo::Carry(command)));
    }

    fn power_on(&mut self, now: Instant, incident: Incident) {
        let Some((state, installed)) = self.state.as_ref().zip(self.installed.as_ref()) else {
            return;
        };
        let (Some(epoch), Some(revision)) = (installed.epoch(), &state.revision) else { return };
        let levels = hardware::levels(state, revision, incident.node);
        let Some(devices) = levels.first().cloned() else { return };
        let deadline = hardware::command_deadline(revision, &devices);
        let goal = PowerGoal::On;
        let command = FenceCommand { incident, epoch, goal, devices, deadline };
        self.carry(now, Output::Fencer(FencerDo::Carry(command)));
    }

    // ---- fencer

    pub(crate) fn fencer(&mut self, says: FencerSays) {
        match says {
            FencerSays::Started { .. } => {}
            FencerSays::Watchdog { timeout } => {
                // what it said before it heard of the suspension is over
                self.watchdog = timeout.filter(|_| !self.suspension.told());
                if self.era_open() {
                    let timeout = self.watchdog;
                    self.say(&Message::Watchdog { timeout });
                }
            }
            FencerSays::Ended(result) => self.fenced(&result),
        }
    }

    fn fenced(&mut self, result: &FenceResult) {
        let FenceResult { incident, commanded, .. } = *result;
        self.commands.ended(result);
        match (result.goal, &result.outcome) {
            (PowerGoal::On, outcome) => {
                let failure = outcome.as_ref().err().map(|e| wire::short(&format!("{e}")));
                if self.era_open() {
                    self.say(&Message::PowerOnEnded { incident, failure });
                }
            }
            (PowerGoal::Off | PowerGoal::Read, Ok(PowerState::Off)) => {
                // A fact from here on, whatever becomes of the configuration.
                self.keep_fact(Fact::Off { incident, commanded });
                if self.era_open() {
                    let kind = Kind::VerifiedOff { incident, commanded };
                    self.say(&Message::Evidence(Evidence { node: incident.node, kind }));
                }
            }
            (goal, outcome) => {
                let reason = match outcome {
                    Ok(_) => String::from("the machine is on"),
                    Err(error) => format!("{error}"),
                };
                let attempt = self.own_attempt(incident);
                let same = self.installed.as_ref().and_then(|i| i.epoch()) == Some(result.epoch);
                if let (Some(attempt), true, true) = (attempt, same, self.era_open()) {
                    let commanded = commanded && goal == PowerGoal::Off;
                    let seen_on = outcome.is_ok();
                    let reason = wire::short(&reason);
                    self.say(&Message::FenceFailed {
                        incident,
                        attempt,
                        commanded,
                        seen_on,
                        reason,
                    });
                }
            }
        }
    }

    /// Facts about members of the era, or about debts that are paid, have done their work.
    pub(crate) fn drop_old_facts(&mut self) {
        let Some(state) = &self.state else { return };
        self.facts.retain(|fact| state.matches_debt(&fact.evidence()));
    }

    pub(crate) fn settings(&mut self) {
        let settings = hardware::settings(self.revision());
        self.out.push_back(Output::Executor(ExecutorDo::Settings(settings)));
    }

    /// The attempt that this member carries out. A fencer that answers late, when another member was asked already, must
    /// not end that one's: two would command one device at once.
    fn own_attempt(&self, incident: Incident) -> Option<u32> {
        let Intent { executor, incident: of, attempt, .. } =
            self.state.as_ref()?.intents.get(&incident.node)?.intent;
        (of == incident && executor == self.config.me).then_some(attempt)
    }

    // ---- people

    pub(crate) fn asked(&mut self, now: Instant, id: RequestId, kind: RequestKind) {
        if let Err(why) = self.ask(now, id, kind) {
            self.out.push_back(Output::Answer { id, result: Err(Refused(why)) });
        }
    }

    fn ask(&mut self, now: Instant, id: RequestId, mut kind: RequestKind) -> Result<(), String> {
        if let RequestKind::Fence { who, .. }
        | RequestKind::ConfirmOff { who, .. }
        | RequestKind::AcceptStateLoss { who } = &mut kind
        {
            *who = wire::short(who);
        }
        let open = self.era_open();
        if self.suspension.stopped && matches!(kind, RequestKind::Suspend) {
            self.out.push_back(Output::Answer { id, result: Ok(()) });
            return Ok(());
        }
        if self.suspension.stopped {
            return Err(
                "the cluster is suspended and its ring has stopped; start the agents of all members again, or run `palisade                  resume` on each machine"
                    .into(),
            );
        }
        match &kind {
            RequestKind::AcceptStateLoss { .. } if self.acts_in_ring() => {}
            RequestKind::Leave if !open => {
                self.leaving = Leaving::Draining;
                self.out.push_back(Output::Answer { id, result: Ok(()) });
                return Ok(());
            }
            RequestKind::ConfirmOff { node, .. } if self.is_heard(now, *node) => {
                return Err(format!(
                    "node {node} is still heard from: it is not off; power it off, or fence it with `palisade node \
                     fence {node}`"
                ));
            }
            _ if !open => {
                return Err(
                    "there is no open era here: no quorum, or it is just being agreed; see `palisade status`, then \
                     try again"
                        .into(),
                );
            }
            _ => {}
        }
        if self.asks.len() >= ASKS_MAX {
            return Err("too many requests wait already; try again in a moment".into());
        }
        if matches!(kind, RequestKind::Detach(_)) {
            // announced anew: the word that the one before is void would come after this one
            self.away_until = None;
        }
        let wall = self.wall_now(now);
        self.asks.insert(id, kind.clone());
        self.say(&Message::Request { id, kind, wall });
        Ok(())
    }

    fn answered(&mut self, now: Instant, id: RequestId, result: Result<(), String>) {
        if result.is_ok() && matches!(self.asks.get(&id), Some(RequestKind::Suspend)) {
            // when it is durable on all and carried out
            return;
        }
        let Some(kind) = self.asks.remove(&id) else { return };
        if result.is_ok() {
            match kind {
                RequestKind::Leave => self.leaving = Leaving::Draining,
                RequestKind::Detach(lasts) => {
                    let lasts = lasts.min(crate::requests::DETACH_MAX);
                    self.carry(now, Output::Executor(ExecutorDo::Detach(lasts)));
                    self.away_until = Some(now + lasts);
                }
                _ => {}
            }
        }
        self.out.push_back(Output::Answer { id, result: result.map_err(Refused) });
    }

    /// An announced absence whose time has passed without it is void, or nothing would be started here as long as the
    /// configuration lasts, and a later loss of this member would be waited for all that time (SAFETY.md#L10).
    pub(crate) fn take_back_absence(&mut self, now: Instant) {
        if self.away_until.is_some_and(|until| now >= until) {
            self.away_until = None;
            self.say(&Message::Stayed);
        }
    }

    pub(crate) fn fail_asks(&mut self, why: &str) {
        for id in core::mem::take(&mut self.asks).into_keys() {
            self.out.push_back(Output::Answer { id, result: Err(Refused(why.into())) });
        }
    }

    // ---- revisions

    /// Proposes what this member has from the API, if the state wants it (CLUSTER.md section 7).
    pub(crate) fn offer(&mut self) {
        if !self.era_open() || self.gap > 0 || self.leaving != Leaving::No {
            return;
        }
        let (Some(state), Some(offered)) = (&self.state, &self.offered) else { return };
        let regressed = state
            .revision
            .as_ref()
            .is_some_and(|accepted| offered.regressed_from(accepted).is_some());
        let place = state.position.era;
        // Once in an era and for each offer: what was refused is not proposed for ever, and two members that see
        // different versions of the API do not take turns.
        let said = self.proposed == Some(place);
        if regressed || said || !state.wants(offered) {
            return;
        }
        let bytes = wire::encode(offered.as_ref());
        self.proposed = Some(place);
        if bytes.len() > REVISION_MAX {
            return;
        }
        for chunk in crate::transfer::split(1, &bytes) {
            self.say(&Message::Revision(chunk));
        }
    }

    // ---- silence

    pub(crate) fn silent(&mut self, now: Instant, node: NodeId) {
        if node != self.config.me {
            self.silent_member(now, node);
        }
    }

    pub(crate) fn silent_member(&mut self, now: Instant, node: NodeId) {
        if self.met.contains(&node) && self.silence.lost(now, node) {
            self.record(Phase::Detect, None, format!("node {node} is silent"));
            self.out.push_back(Output::Probe { node });
        }
    }

    pub(crate) fn heard_outside(&mut self, now: Instant, node: NodeId, standing: &[u8]) {
        let member = self.installed.as_ref().is_some_and(|i| i.configuration.contains(node));
        if member || (self.heard.len() >= HEARD_MAX && !self.heard.contains_key(&node)) {
            return;
        }
        let standing = wire::decode_standing(standing).unwrap_or_default();
        self.heard.insert(node, (now, standing.wiped));
        let Some(boot) = standing.boot else { return };
        let new = self.state.as_ref().is_some_and(|s| s.boot_changed(node, boot));
        if new && self.era_open() && self.booted_said != Some((node, boot)) {
            self.booted_said = Some((node, boot));
            self.say(&Message::Booted { node, boot });
        }
    }

    fn is_heard(&self, now: Instant, node: NodeId) -> bool {
        let member = self
            .installed
            .as_ref()
            .is_some_and(|i| !i.transitional && i.configuration.contains(node));
        let joins =
            self.heard.get(&node).is_some_and(|(at, _)| now.since(*at) < hardware::HEARD_FOR);
        member || joins
    }
}

/// Attempts go through the levels in turn.
pub(crate) fn level_of<T>(levels: &[T], attempt: u32) -> Option<&T> {
    if levels.is_empty() {
        return None;
    }
    levels.get(attempt as usize % levels.len())
}

impl crate::state::State {
    fn boot_changed(&self, node: NodeId, now: base::BootId) -> bool {
        matches!(
            self.voters.get(&node).map(|v| v.debt),
            Some(crate::state::Debt::Owed { boot: Some(boot), .. }) if boot != now
        ) && !self.evidence.contains_key(&node)
    }

    /// Whether the operation in flight is one that the machine must be able to end.
    pub(crate) fn overdue_on(&self, id: u64) -> Option<(NodeId, Operation)> {
        self.pending.get(&lifecycle::OrderId(id)).map(|p| (p.node, p.operation))
    }

    /// Machines to be powered on again.
    pub(crate) fn to_power_on(&self) -> Option<Incident> {
        self.operations
            .iter()
            .find(|(i, r)| {
                r.power_on == PowerOn::Wanted
                    && r.evidence.is_some()
                    && !self.members.contains_key(&i.node)
            })
            .map(|(i, _)| *i)
    }
}
