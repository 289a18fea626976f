//! One row of the executor's table.

use alloc::{collections::VecDeque, vec::Vec};
use core::time::Duration;

use base::{Epoch, Instant, ResourceId, ResourceKind};

use crate::{
    CallId, InstanceReport, Operation, Order, OrderId, Outcome, Phase, PhaseEvent, Wake,
    effect::earlier,
};

/// Orders that may wait for one instance; a coordinator gives the next step only when the one before ended, so that
/// two are plenty.
pub const ORDERS_WAITING_MAX: usize = 4;

/// Recurring monitors of one instance, one per interval.
pub const MONITORS_MAX: usize = 4;

/// Promotion scores that one machine may say: with ids at their longest they fit into one message.
pub const SCORES_MAX: usize = 128;

/// An order that has not begun.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) order: Order,
    /// On this machine's clock: delivery plus the order's deadline.
    pub(crate) late_at: Instant,
}

/// A driver call that has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) call: CallId,
    pub(crate) operation: Operation,
    pub(crate) give_up_at: Instant,
    pub(crate) purpose: Purpose,
    /// The order was voided since, even if the same epoch was given again: its end is told as a change.
    pub(crate) void: bool,
}

/// Who asked for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A coordinator.
    Order { epoch: Epoch, id: OrderId },
    /// A recurring monitor, named by its interval.
    Monitor { interval: Duration },
    /// The executor itself, without quorum.
    Own,
    /// The executor itself, after its own start.
    StartUp,
}

/// A recurring monitor.
#[derive(Clone, Debug)]
pub(crate) struct Monitor {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) next_at: Instant,
    pub(crate) last: Option<Outcome>,
    /// The order that asked for it, until its first run has ended.
    pub(crate) asked_by: Option<(Epoch, OrderId)>,
}

/// One instance on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) resource: ResourceId,
    pub(crate) kind: ResourceKind,
    exclusive: bool,
    /// It is promoted, or may be: seen so or made so, and neither seen otherwise nor stopped since.
    perhaps_promoted: bool,
    pub(crate) promotable: bool,
    pub(crate) phase: Phase,
    pub(crate) failed: Option<Outcome>,
    pub(crate) run: u64,
    /// By its own word.
    pub(crate) score: Option<i32>,
    pub(crate) flight: Option<Flight>,
    pub(crate) waiting: VecDeque<Waiting>,
    pub(crate) monitors: Vec<Monitor>,
}

impl Instance {
    pub(crate) fn new(resource: ResourceId, kind: ResourceKind, exclusive: bool) -> Self {
        Self {
            resource,
            kind,
            exclusive,
            perhaps_promoted: false,
            promotable: false,
            phase: Phase::Unknown,
            failed: None,
            run: 0,
            score: None,
            flight: None,
            waiting: VecDeque::new(),
            monitors: Vec::new(),
        }
    }

    /// It is started as that.
    pub(crate) const fn begin_as(&mut self, exclusive: bool) {
        self.exclusive = exclusive;
    }

    /// A copy that anybody may run beside it is no such copy any more once it is promoted (CLUSTER.md section 3.5).
    pub(crate) const fn is_exclusive(&self) -> bool {
        self.exclusive || self.perhaps_promoted
    }

    /// One way to a new phase.
    pub(crate) fn apply(&mut self, event: PhaseEvent) {
        self.phase = event.apply(self.phase).unwrap_or(self.phase);
        match self.phase {
            Phase::Promoting | Phase::Promoted => self.perhaps_promoted = true,
            Phase::Running | Phase::Stopped => self.perhaps_promoted = false,
            _ => {}
        }
    }

    pub(crate) fn report(&self) -> InstanceReport {
        InstanceReport {
            resource: self.resource.clone(),
            kind: self.kind.clone(),
            role: self.phase.role(self.promotable),
            stop_failed: self.phase == Phase::StopFailed,
            failed: self.failed.clone(),
            run: self.run,
        }
    }

    /// Whether an operation is in flight that others must wait for. Monitors give way.
    pub(crate) fn is_busy(&self) -> bool {
        self.flight.as_ref().is_some_and(|f| f.operation != Operation::Monitor)
    }

    /// Whether nothing is in flight, waits or recurs.
    pub(crate) fn is_idle(&self) -> bool {
        self.flight.is_none() && self.waiting.is_empty() && self.monitors.is_empty()
    }

    /// The recurring monitor that is due first.
    pub(crate) fn next_monitor(&self) -> Option<&Monitor> {
        self.monitors.iter().min_by_key(|m| (m.next_at, m.interval))
    }

    pub(crate) fn monitor_mut(&mut self, interval: Duration) -> Option<&mut Monitor> {
        self.monitors.iter_mut().find(|m| m.interval == interval)
    }

    pub(crate) fn wake(&self) -> Option<(Instant, Wake)> {
        let call = self.flight.as_ref().map(|f| (f.give_up_at, Wake::CallTimeout));
        let late = self.waiting.iter().map(|w| w.late_at).min().map(|at| (at, Wake::OrderLate));
        let due = match self.flight {
            Some(_) => None,
            None => self.next_monitor().map(|m| (m.next_at, Wake::MonitorDue)),
        };
        earlier(call, earlier(late, due))
    }
}
