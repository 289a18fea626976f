//! Ends of operations and changes by themselves: what they say of an instance, and which of them count as failures.
//!
//! Invariants: each failure counts exactly once (SAFETY.md#S32); a failed stop leaves the resource where it is; what a
//! failed start, promotion or demotion left behind is not known until a stop has ended.

use alloc::{format, string::String};

use base::{NodeId, Role};
use lifecycle::{Operation, OrderEnd, OrderId, Outcome};

use crate::{
    faulty::{Rule, broken},
    state::{Ended, Failures, INSTANCES_MAX, REASONS_MAX, State},
    wire::{Change, short},
};

impl State {
    /// An order of this era ended at `from`.
    pub(crate) fn ended(&mut self, from: NodeId, id: OrderId, end: &OrderEnd) {
        if self.pending.get(&id).is_none_or(|p| p.node != from) {
            return;
        }
        let Some(pending) = self.pending.remove(&id) else { return };
        let OrderEnd::Done(outcome) = end else { return };
        let key = (pending.resource.clone(), from);
        let clock = self.clock;
        let promotable = self.is_promotable(&pending.resource);
        self.explain(&key, outcome);
        let Some(instance) = self.instances.get_mut(&key) else { return };
        let code = exit_code(outcome);
        instance.last =
            Some(Ended { operation: pending.operation, code, interval_ms: 0, wall: clock });
        let ok = matches!(outcome, Outcome::Ok | Outcome::Degraded { .. })
            && pending.operation != Operation::Stop
            || matches!(outcome, Outcome::Ok)
            || (matches!(outcome, Outcome::NotRunning) && pending.operation == Operation::Stop);
        match (pending.operation, ok) {
            (Operation::Start, true) if promotable => instance.role = Some(Role::Unpromoted),
            (Operation::Start, true) => instance.role = Some(Role::Started),
            (Operation::Stop, true) => {
                instance.role = Some(Role::Stopped);
                instance.stop_failed = false;
                instance.monitors.clear();
            }
            (Operation::Promote, true) => {
                instance.role = Some(Role::Promoted);
                instance.monitors.clear();
            }
            (Operation::Demote, true) => {
                instance.role = Some(Role::Unpromoted);
                instance.monitors.clear();
            }
            (Operation::Probe | Operation::Monitor, _) => {
                instance.role = match outcome {
                    Outcome::Ok if promotable => Some(Role::Unpromoted),
                    Outcome::Degraded { promoted: true, .. } => Some(Role::Promoted),
                    Outcome::Degraded { .. } if promotable => Some(Role::Unpromoted),
                    Outcome::Ok | Outcome::Degraded { .. } => Some(Role::Started),
                    Outcome::RunningPromoted => Some(Role::Promoted),
                    Outcome::NotRunning => Some(Role::Stopped),
                    Outcome::TimedOut | Outcome::Failed { .. } => None,
                };
            }
            // A failed stop leaves the resource where it is (CLUSTER.md section 6).
            (Operation::Stop, false) => instance.stop_failed = true,
            // What a failed start, promotion or demotion left behind is not known: a stop comes first.
            (_, false) => instance.role = None,
        }
        if !ok && !matches!(pending.operation, Operation::Probe | Operation::Monitor) {
            self.count(&key, pending.operation, 0, code, clock);
        }
        self.settle_restarts();
    }

    /// A restart that was asked for has had its stop: what it held down may come up.
    fn settle_restarts(&mut self) {
        let mut asked = core::mem::take(&mut self.overrides.restarts);
        asked.retain(|name| {
            let whole = self.whole(name);
            let mut of = self.instances.iter().filter(|((resource, _), _)| {
                whole.iter().any(|m| m.as_str() == resource.primitive())
            });
            of.any(|(_, i)| i.role.is_none_or(Role::is_active))
        });
        self.overrides.restarts = asked;
    }

    /// Changes that no order of this era asked for.
    pub(crate) fn changes(&mut self, from: NodeId, changes: &[Change]) {
        let Some(member) = self.members.get(&from) else { return };
        let incarnation = member.incarnation;
        let reported = member.reported && !member.left;
        for change in changes {
            let newest = match self.counted.get(&from) {
                Some((of, number)) if *of == incarnation => Some(*number),
                _ => None,
            };
            // Exactly once, whoever said it again and however often (SAFETY.md#S32).
            if newest.is_some_and(|n| change.number <= n) {
                continue;
            }
            self.counted.insert(from, (incarnation, change.number));
            self.clock = self.clock.max(change.wall);
            self.change_at(from, change, reported);
        }
    }

    fn change_at(&mut self, from: NodeId, change: &Change, reported: bool) {
        let key = (change.instance.resource.clone(), from);
        let code = exit_code(&change.outcome);
        let clock = self.clock;
        let old = self.instances.get(&key);
        let monitors = old.map(|i| i.monitors.clone()).unwrap_or_default();
        let interval_ms = if change.operation == Operation::Monitor {
            monitors.first().copied().unwrap_or(10_000)
        } else {
            0
        };
        let busy = self.pending.values().any(|p| p.node == from && p.resource == key.0);
        // The end of an operation in flight says more than what was seen meanwhile; before the report it says all.
        if reported && !busy && (old.is_some() || self.instances.len() < INSTANCES_MAX) {
            self.saw(from, &change.instance);
            if let Some(instance) = self.instances.get_mut(&key) {
                instance.monitors = monitors;
                if let Some(failed) = &change.instance.failed {
                    let code = exit_code(failed);
                    let operation = change.operation;
                    instance.last = Some(Ended { operation, code, interval_ms, wall: clock });
                }
            }
        }
        let failed = match change.operation {
            Operation::Stop | Operation::Probe => {
                !matches!(change.outcome, Outcome::Ok | Outcome::NotRunning)
                    && change.operation == Operation::Stop
            }
            _ => !change.outcome.is_running(),
        };
        self.explain(&key, &change.outcome);
        if failed {
            self.count(&key, change.operation, interval_ms, code, clock);
        }
    }

    /// Keeps a driver's words as long as there is something to explain.
    pub(crate) fn explain(&mut self, key: &(base::ResourceId, NodeId), outcome: &Outcome) {
        let room = self.reasons.len() < REASONS_MAX || self.reasons.contains_key(key);
        match outcome {
            // as members of the version before may say it again, and as it was cut: what is known is better
            Outcome::Failed { reason, .. } | Outcome::Degraded { reason, .. }
                if reason.is_empty() => {}
            Outcome::Failed { reason, .. } if room => {
                self.reasons.insert(key.clone(), short(reason));
            }
            // the first words as long as it lasts: those of the next look may only count on
            Outcome::Degraded { reason, .. } if room => {
                self.reasons.entry(key.clone()).or_insert_with(|| short(reason));
            }
            Outcome::TimedOut => drop(self.reasons.remove(key)),
            Outcome::Failed { .. } | Outcome::Degraded { .. } => {}
            Outcome::Ok | Outcome::RunningPromoted | Outcome::NotRunning => {
                if !self.failures.contains_key(key) {
                    self.reasons.remove(key);
                }
            }
        }
    }

    /// For people: what failed last and why.
    pub(crate) fn why(&self, key: &(base::ResourceId, NodeId)) -> Option<String> {
        let words = self.reasons.get(key);
        let Some(Failures { operation, code, .. }) = self.failures.get(key) else {
            return words.cloned();
        };
        Some(match (words, *code) {
            (_, NOT_RUNNING) => format!("{operation}: it was not running"),
            (_, TIMED_OUT) => format!("{operation} took too long"),
            (Some(words), _) => format!("{operation} failed: {words}"),
            (None, code) => format!("{operation} failed with code {code}"),
        })
    }

    /// What explains nothing any more goes.
    pub(crate) fn forget_reasons(&mut self) {
        let (failures, instances) = (&self.failures, &self.instances);
        let degraded = |key: &_| {
            instances.get(key).and_then(|i| i.last.as_ref()).is_some_and(|l| is_degraded(l.code))
        };
        self.reasons.retain(|key, _| failures.contains_key(key) || degraded(key));
    }

    fn count(
        &mut self,
        key: &(base::ResourceId, NodeId),
        operation: Operation,
        interval_ms: u64,
        code: u8,
        clock: i64,
    ) {
        if self.failures.len() >= INSTANCES_MAX && !self.failures.contains_key(key) {
            return;
        }
        let entry: &mut Failures = self.failures.entry(key.clone()).or_default();
        let by = if broken(Rule::FailureCountedTwice) { 2 } else { 1 };
        entry.count = entry.count.saturating_add(by);
        entry.last = clock;
        entry.operation = operation_name(operation).into();
        entry.interval_ms = interval_ms;
        entry.code = code;
    }
}

/// Cleanly.
const NOT_RUNNING: u8 = 7;
/// Ours: agents have no code for it.
const TIMED_OUT: u8 = 198;
/// Running, but not well.
const DEGRADED: u8 = 190;
/// Promoted, but not well.
const DEGRADED_PROMOTED: u8 = 191;

/// Whether an exit code says that it runs, but not well.
pub(crate) const fn is_degraded(code: u8) -> bool {
    matches!(code, DEGRADED | DEGRADED_PROMOTED)
}

/// The exit code that operation history knows.
pub(crate) fn exit_code(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Ok => 0,
        Outcome::NotRunning => NOT_RUNNING,
        Outcome::RunningPromoted => 8,
        Outcome::TimedOut => TIMED_OUT,
        Outcome::Degraded { promoted: false, .. } => DEGRADED,
        Outcome::Degraded { promoted: true, .. } => DEGRADED_PROMOTED,
        Outcome::Failed { code, .. } => (*code).max(1),
    }
}

/// The name that operation history knows.
pub(crate) const fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Probe | Operation::Monitor => "monitor",
        Operation::Start => "start",
        Operation::Stop => "stop",
        Operation::Promote => "promote",
        Operation::Demote => "demote",
    }
}
