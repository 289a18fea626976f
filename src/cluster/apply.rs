//! One message of an open era, applied: the replicas' half of every rule.
//!
//! Invariants: the same message on the same state gives the same state everywhere; what a coordinator checked when it
//! proposed is checked again here, when it is delivered; a repetition changes nothing.

use alloc::{format, string::String, vec::Vec};

use base::{NodeId, Role};
use fencing::Incident;
use lifecycle::Operation;

use crate::{
    RequestId,
    allowed::{Blocked, allowed},
    debt::open_record,
    evidence::{Evidence, Kind},
    faulty::{Rule, broken},
    results::exit_code,
    state::{
        Debt, Ended, Eviction, INSTANCES_MAX, Instance, OpenEvidence, OpenIntent, Pending, PowerOn,
        State,
    },
    wire::{Decision, Directive, Intent, Message, short},
};

/// Times of power-offs that are kept of each node: as many as the largest budget counts.
const SPENT_MAX: usize = u8::MAX as usize;

/// What a replica's member has to do because of a message. Local, never part of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The order is to be carried out on its node.
    Carry(Directive),
    /// Make the state durable, then say that the intent is held.
    HoldIntent { node: NodeId, attempt: u32 },
    /// A majority holds the intent: its executor may act.
    IntentDurable(Intent),
    /// Make the state durable, then say that the evidence is held.
    HoldEvidence(Incident),
    /// Evidence was delivered: a command for this incident that is under way is dropped.
    DropCommand(Incident),
    /// A debt is paid.
    Paid { incident: Incident, kind: &'static str },
    /// The target is to be kept out from now on.
    Evicted { node: NodeId },
    /// The target may come back.
    Closed { node: NodeId },
    /// This machine is to be powered on by its executor.
    PowerOn { incident: Incident, executor: NodeId },
    /// Make the state durable, then say that the change of voters is held.
    HoldVoters { accepted: u64 },
    /// The state is worth writing soon.
    Changed,
    /// A member said its last word.
    Left { node: NodeId },
    /// The request was carried into the state, or not.
    Answer { asker: NodeId, id: RequestId, result: Result<(), String> },
    /// An order was not let through.
    Withheld { directive: Directive, why: Blocked },
    /// Make the state durable, then say that the suspension is held.
    Suspended,
    /// The suspension is over.
    Resumed,
    /// For the timeline.
    Note { incident: Option<Incident>, text: String },
}

impl State {
    /// Applies one message of the era. The position has been moved already.
    pub(crate) fn apply(&mut self, from: NodeId, body: &Message, out: &mut Vec<Effect>) {
        match body {
            Message::Promised => self.promised(from),
            Message::Report(report) => self.report(from, report, out),
            Message::Unreported => self.unreported(from),
            Message::Decision(decision) => self.decision(from, decision, out),
            Message::Ended { id, end } => self.ended(from, *id, end),
            Message::Changes(changes) => self.changes(from, changes),
            Message::Intent(intent) => self.intent(from, intent, out),
            Message::IntentHeld { node, attempt } => self.intent_held(from, *node, *attempt, out),
            Message::FenceFailed { incident, attempt, commanded, seen_on, reason } => {
                if self.fence_failed(*incident, *attempt, *commanded, reason)
                    && let Some(record) = self.operations.get_mut(incident)
                {
                    record.seen_on |= *seen_on;
                }
            }
            Message::Evidence(evidence) => self.evidence(evidence, out),
            Message::EvidenceHeld { incident } => self.evidence_held(from, *incident, out),
            Message::Evict { node, reason } => self.evict(from, *node, reason, out),
            Message::Close { node } => self.close(from, *node, out),
            Message::CommandsOver { node } => self.commands_over(from, *node, out),
            Message::PowerOn { incident, executor } => {
                self.power_on(from, *incident, *executor, out);
            }
            Message::PowerOnEnded { incident, failure } => {
                if let Some(record) = self.operations.get_mut(incident) {
                    record.power_on = PowerOn::Ended;
                    record.failure = failure.as_deref().map(short);
                }
            }
            Message::Leave { incarnation } => self.leave(from, *incarnation, out),
            Message::Request { id, kind, wall } => {
                self.clock = self.clock.max(*wall);
                let result = self.request(from, kind, out);
                out.push(Effect::Answer { asker: from, id: *id, result });
            }
            Message::Watchdog { timeout } => {
                if let Some(voter) = self.voters.get_mut(&from) {
                    // one that is about to be disarmed proves nothing
                    voter.watchdog = timeout.filter(|_| !self.suspended);
                }
            }
            Message::Booted { node, boot } => self.booted(*node, *boot, out),
            Message::Stayed => {
                if let Some(member) = self.members.get_mut(&from) {
                    member.detached = None;
                    out.push(Effect::Changed);
                }
            }
            Message::Scores(scores) => self.scored(from, scores),
            Message::VotersHeld { accepted } => self.voters_held(from, *accepted, out),
            // Those of a configuration, not of the state; chunks are assembled outside (`revision`, `snapshot`, `report`).
            Message::Hello(_)
            | Message::Propose
            | Message::Snapshot(_)
            | Message::Revision(_)
            | Message::ReportPart(_) => {}
            // For the executors of the others; counted outside (`suspend`).
            Message::Announcing { .. }
            | Message::Sees { .. }
            | Message::Ails(_)
            | Message::SuspendHeld
            | Message::SuspendDone => {}
        }
    }

    fn promised(&mut self, from: NodeId) {
        let era = self.position.era;
        if let Some(voter) = self.voters.get_mut(&from) {
            voter.promised = voter.promised.max(Some(era));
        }
    }

    fn report(&mut self, from: NodeId, report: &lifecycle::Report, out: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(&from) else { return };
        if member.left {
            return;
        }
        member.reported = true;
        self.instances.retain(|(_, node), _| *node != from);
        for seen in &report.instances {
            if self.instances.len() >= INSTANCES_MAX {
                break;
            }
            self.saw(from, seen);
        }
        self.forget_reasons();
        self.resume_when_all_are_back(out);
    }

    fn unreported(&mut self, from: NodeId) {
        let Some(member) = self.members.get_mut(&from) else { return };
        member.reported = false;
        for ((_, node), instance) in &mut self.instances {
            if *node == from {
                instance.role = None;
            }
        }
        self.scores.forget(from);
        self.pending.retain(|_, p| p.node != from);
    }

    /// Whether the resource has a promoted role.
    pub(crate) fn is_promotable(&self, resource: &base::ResourceId) -> bool {
        let of = self.revision.as_ref().and_then(|r| r.primitive(resource));
        of.is_some_and(|(p, _)| matches!(p.shape, policy::revision::Shape::Promotable(..)))
    }

    /// Takes what an executor says of one instance.
    pub(crate) fn saw(&mut self, from: NodeId, seen: &lifecycle::InstanceReport) {
        if seen.role.is_some_and(Role::is_active) {
            self.known.insert((seen.resource.clone(), false));
        }
        if seen.role == Some(Role::Promoted) {
            self.known.insert((seen.resource.clone(), true));
        }
        let instance = Instance {
            kind: seen.kind.clone(),
            role: seen.role,
            stop_failed: seen.stop_failed,
            monitors: alloc::collections::BTreeSet::new(),
            last: seen.failed.as_ref().map(|failed| Ended {
                operation: Operation::Monitor,
                code: exit_code(failed),
                interval_ms: 0,
                wall: self.clock,
            }),
        };
        let key = (seen.resource.clone(), from);
        self.explain(&key, seen.failed.as_ref().unwrap_or(&lifecycle::Outcome::Ok));
        self.instances.insert(key, instance);
    }

    fn decision(&mut self, from: NodeId, decision: &Decision, out: &mut Vec<Effect>) {
        // Only the coordinator of this era decides (SAFETY.md#S9), and once from one input (SAFETY.md#S14).
        let incarnation = self.members.get(&from).map(|m| m.incarnation);
        let in_force = from == self.coordinator
            && decision.epoch.ring == self.position.era
            && incarnation == Some(decision.epoch.coordinator)
            && self.decided.is_none_or(|last| decision.input > last);
        if !in_force {
            return;
        }
        self.decided = Some(decision.input);
        self.clock = self.clock.max(decision.wall);
        for key in &decision.forgotten {
            self.failures.remove(key);
        }
        if !decision.forgotten.is_empty() {
            self.forget_reasons();
        }
        for directive in &decision.orders {
            match allowed(self, directive) {
                Ok(()) => self.dispatch(directive, out),
                Err(why) => out.push(Effect::Withheld { directive: directive.clone(), why }),
            }
        }
    }

    fn dispatch(&mut self, directive: &Directive, out: &mut Vec<Effect>) {
        let Directive { node, order } = directive;
        self.next_order = self.next_order.max(order.id.0.saturating_add(1));
        let key = (order.resource.clone(), *node);
        if let Some(interval) = order.interval {
            if let Some(instance) = self.instances.get_mut(&key) {
                if instance.kind.turns_into(&order.kind) {
                    instance.kind = order.kind.clone();
                }
                instance.monitors.insert(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX));
            }
        } else {
            self.pending.insert(
                order.id,
                Pending {
                    node: *node,
                    resource: order.resource.clone(),
                    operation: order.operation,
                    exclusive: order.exclusive,
                },
            );
            self.instances.entry(key).or_insert_with(|| Instance {
                kind: order.kind.clone(),
                role: Some(Role::Stopped),
                stop_failed: false,
                monitors: alloc::collections::BTreeSet::new(),
                last: None,
            });
        }
        out.push(Effect::Carry(directive.clone()));
    }

    fn intent(&mut self, from: NodeId, intent: &Intent, out: &mut Vec<Effect>) {
        let node = intent.incident.node;
        self.clock = self.clock.max(intent.wall);
        let owes = matches!(
            self.voters.get(&node).map(|v| v.debt),
            Some(Debt::Owed { incident, .. }) if incident == intent.incident.ring
        );
        // Void if evidence stands when it is delivered; never against a member (CLUSTER.md section 6).
        let void = from != self.coordinator
            || self.members.contains_key(&node)
            || !owes
            || self.evidence.contains_key(&node)
            || self.suspended
            || !self.quorate_without(node);
        if void || self.intents.get(&node).is_some_and(|i| i.intent.attempt >= intent.attempt) {
            return;
        }
        if !intent.read_only {
            // In the same way as an eviction: no late command meets a member that came back.
            let since = self.position.era;
            let executor = self.members.get(&intent.executor).map(|m| m.incarnation);
            if !self.evicted.contains_key(&node) {
                self.commanded.begin(node);
            }
            self.commanded.by(node, intent.executor, executor);
            let eviction = self.evicted.entry(node).or_insert_with(|| Eviction {
                since,
                deadline: intent.deadline,
                reason: String::from("power-off"),
            });
            eviction.deadline = eviction.deadline.max(intent.deadline);
            let spent = self.spent.entry(node).or_default();
            spent.push(self.clock);
            let excess = spent.len().saturating_sub(SPENT_MAX);
            spent.drain(..excess);
        }
        open_record(self, intent.incident);
        if let Some(record) = self.operations.get_mut(&intent.incident) {
            record.executor = Some(intent.executor);
            record.attempts = record.attempts.max(intent.attempt.saturating_add(1));
            if !intent.read_only {
                self.commanded.ordered(intent.incident);
            }
        }
        let open = OpenIntent { intent: intent.clone(), held: alloc::collections::BTreeSet::new() };
        self.intents.insert(node, open);
        out.push(Effect::HoldIntent { node, attempt: intent.attempt });
        if !intent.read_only {
            out.push(Effect::Evicted { node });
        }
    }

    fn intent_held(&mut self, from: NodeId, node: NodeId, attempt: u32, out: &mut Vec<Effect>) {
        let majority = self.majority();
        if !self.voters.contains_key(&from) {
            return;
        }
        let Some(open) = self.intents.get_mut(&node) else { return };
        if open.intent.attempt != attempt || !open.held.insert(from) || open.held.len() != majority
        {
            return;
        }
        out.push(Effect::IntentDurable(open.intent.clone()));
    }

    fn fence_failed(
        &mut self,
        incident: Incident,
        attempt: u32,
        commanded: bool,
        reason: &str,
    ) -> bool {
        let open = self.intents.get(&incident.node);
        let Some(intent) = open.map(|o| o.intent.clone()) else { return false };
        if intent.incident != incident || intent.attempt != attempt {
            return false;
        }
        self.intents.remove(&incident.node);
        if !commanded && !intent.read_only {
            // Nothing was sent: the budget counts power-offs, not wrong passwords.
            if let Some(spent) = self.spent.get_mut(&incident.node) {
                spent.pop();
            }
        }
        if let Some(record) = self.operations.get_mut(&incident) {
            record.failure = Some(short(reason));
            if !commanded && !intent.read_only {
                self.commanded.not_sent(incident);
            }
        }
        true
    }

    fn evidence(&mut self, evidence: &Evidence, out: &mut Vec<Effect>) {
        let node = evidence.node;
        if self.members.contains_key(&node)
            || !self.matches_debt(evidence)
            // A repetition changes nothing: it must not reset acknowledgements (CLUSTER.md section 3.6).
            || self.evidence.contains_key(&node)
        {
            return;
        }
        let Some(voter) = self.voters.get(&node) else { return };
        let Debt::Owed { incident, .. } = voter.debt else { return };
        let held = alloc::collections::BTreeSet::new();
        self.evidence.insert(node, OpenEvidence { evidence: evidence.clone(), held });
        let incident = Incident { node, ring: incident };
        open_record(self, incident);
        out.push(Effect::DropCommand(incident));
        if broken(Rule::EvidenceNotDurable) {
            self.pay(incident, out);
        } else {
            out.push(Effect::HoldEvidence(incident));
        }
    }

    fn evidence_held(&mut self, from: NodeId, incident: Incident, out: &mut Vec<Effect>) {
        let majority = self.majority();
        let debt = self.voters.get(&incident.node).map(|v| v.debt);
        let same = matches!(debt, Some(Debt::Owed { incident: i, .. }) if i == incident.ring);
        if !same || !self.voters.contains_key(&from) {
            return;
        }
        let Some(open) = self.evidence.get_mut(&incident.node) else { return };
        if open.held.insert(from) && open.held.len() >= majority {
            self.pay(incident, out);
        }
    }

    fn pay(&mut self, incident: Incident, out: &mut Vec<Effect>) {
        let node = incident.node;
        let Some(open) = self.evidence.remove(&node) else { return };
        if let Some(voter) = self.voters.get_mut(&node) {
            voter.debt = Debt::Paid;
            voter.detached = None;
        }
        self.intents.remove(&node);
        self.asked.remove(&node);
        let kind = open.evidence.kind.name();
        let reboot = self
            .revision
            .as_ref()
            .is_some_and(|r| matches!(r.fencing.action, policy::revision::FenceAction::Reboot));
        if let Kind::VerifiedOff { commanded: true, .. } = open.evidence.kind {
            self.commanded.proven(node);
        }
        let evicted = self.evicted.contains_key(&node);
        if let Some(record) = self.operations.get_mut(&incident) {
            record.evidence = Some(kind.into());
            record.failure = None;
            let commands = self.commanded.commands(incident);
            let wanted = reboot && power_on_after(&open.evidence.kind, commands);
            // What is on its way to a machine that was on may overtake an `on` that is sent before the eviction is closed.
            let later = evicted && !matches!(open.evidence.kind, Kind::VerifiedOff { .. });
            record.power_on = if wanted && !later { PowerOn::Wanted } else { PowerOn::NotWanted };
            self.commanded.switch_on_later(incident, wanted && later);
            record.closed = !evicted;
        }
        out.push(Effect::Paid { incident, kind });
        out.push(Effect::Changed);
    }

    fn evict(&mut self, from: NodeId, node: NodeId, reason: &str, out: &mut Vec<Effect>) {
        // Refused again by everybody at delivery where the rest would not be quorate (SAFETY.md#S6).
        let refused = from != self.coordinator
            || !self.members.contains_key(&node)
            || self.evicted.contains_key(&node)
            || self.suspended
            || !self.quorate_without(node);
        if refused {
            return;
        }
        let eviction = Eviction {
            since: self.position.era,
            deadline: core::time::Duration::ZERO,
            reason: short(reason),
        };
        self.commanded.begin(node);
        self.evicted.insert(node, eviction);
        out.push(Effect::Note {
            incident: None,
            text: format!("node {node} is evicted: {}", short(reason)),
        });
        out.push(Effect::Evicted { node });
        out.push(Effect::Changed);
    }

    fn close(&mut self, from: NodeId, node: NodeId, out: &mut Vec<Effect>) {
        let paid = matches!(self.voters.get(&node).map(|v| v.debt), Some(Debt::Paid) | None);
        if from != self.coordinator || !paid || !self.let_in(node) {
            return;
        }
        for (incident, record) in &mut self.operations {
            if incident.node == node && record.evidence.is_some() {
                record.closed = true;
                if self.commanded.switch_on_later(*incident, false) {
                    record.power_on = PowerOn::Wanted;
                }
            }
        }
        out.push(Effect::Closed { node });
        out.push(Effect::Changed);
    }

    /// None of its commands against the target can take effect any more (CLUSTER.md section 6, *Closing*). The debt is paid, so
    /// in this configuration no other is ordered that this word would speak for.
    fn commands_over(&mut self, from: NodeId, node: NodeId, out: &mut Vec<Effect>) {
        let paid = matches!(self.voters.get(&node).map(|v| v.debt), Some(Debt::Paid) | None);
        let life = self.members.get(&from).map(|member| member.incarnation);
        if let (Some(life), true) = (life, paid) {
            self.commanded.over(node, (from, life));
            out.push(Effect::Changed);
        }
    }

    fn power_on(
        &mut self,
        from: NodeId,
        incident: Incident,
        executor: NodeId,
        out: &mut Vec<Effect>,
    ) {
        let member = self.members.contains_key(&incident.node);
        if from != self.coordinator || member {
            return;
        }
        let Some(record) = self.operations.get_mut(&incident) else { return };
        if record.evidence.is_some() && record.power_on == PowerOn::Wanted {
            record.power_on = PowerOn::Ordered(executor);
            out.push(Effect::PowerOn { incident, executor });
        }
    }

    fn leave(&mut self, from: NodeId, incarnation: base::Incarnation, out: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(&from) else { return };
        if member.incarnation != incarnation {
            return;
        }
        member.left = true;
        self.instances.retain(|(_, node), _| *node != from);
        self.pending.retain(|_, p| p.node != from);
        out.push(Effect::Left { node: from });
        out.push(Effect::Changed);
    }

    fn booted(&mut self, node: NodeId, boot: base::BootId, out: &mut Vec<Effect>) {
        let Some(Debt::Owed { incident, .. }) = self.voters.get(&node).map(|v| v.debt) else {
            return;
        };
        let incident = Incident { node, ring: incident };
        self.evidence(&Evidence { node, kind: Kind::ChangedBoot { incident, boot } }, out);
    }
}

/// Only what was switched off by us is switched on (SAFETY.md 1.8: left off by default), also where that was done by a command
/// whose end nobody heard.
const fn power_on_after(evidence: &Kind, commands: u32) -> bool {
    match evidence {
        Kind::VerifiedOff { commanded, .. } => {
            // This one found it off; an earlier one may have brought that about.
            *commanded || commands > 1
        }
        // It was on, and what is on its way to it may still switch it off.
        Kind::ChangedBoot { .. } | Kind::CleanLeave { .. } | Kind::SelfFencingBound { .. } => {
            commands > 0
        }
        // A person who confirmed it off stands before it.
        Kind::Confirmation { .. } => false,
    }
}
