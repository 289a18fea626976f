//! A turn of the executor: calls out of time, loss of the ring, what may begin now, what ended, lifetimes renewed.
//!
//! Invariant: whatever begins here asks `may_begin` at this moment, not when its order arrived (CLUSTER.md section 4).

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use base::{
    Instant, ResourceId, ResourceKind,
    faulty::{Rule, broken},
};

use super::{Executor, Leaving, Standing};
use crate::{
    Answer, Call, CallId, NoQuorumPolicy, Operation, OrderEnd, Outcome, Output, Phase, PhaseEvent,
    PromotionScore, Refusal, SCORES_MAX, SelfFence, Wish,
    instance::{Flight, Instance, Purpose, Waiting},
    loss::Loss,
    phase::{beginning, ending},
};

/// Renewals of one address are at least this far apart: lifetimes are counted in whole seconds.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// How much of a driver's text is kept.
const REASON_CHARS_MAX: usize = 200;

impl Executor {
    /// Everything that follows from the time and the state. Idempotent.
    pub(super) fn turn(&mut self, now: Instant) {
        if self.loss == Loss::Fenced {
            return;
        }
        self.time_out_calls(now);
        self.turn_loss(now);
        let resources: Vec<ResourceId> = self.instances.keys().cloned().collect();
        for resource in &resources {
            self.dispatch(now, resource);
        }
        let stopped = |i: &Instance| i.phase == Phase::Stopped && i.flight.is_none();
        if self.leaving == Leaving::Releasing && self.instances.values().all(stopped) {
            self.leaving = Leaving::Released;
            self.outputs.push_back(Output::Released);
        }
        self.settle();
    }

    fn time_out_calls(&mut self, now: Instant) {
        let over: Vec<(ResourceId, CallId)> = self
            .instances
            .values()
            .filter_map(|i| {
                let flight = i.flight.as_ref().filter(|f| f.give_up_at <= now)?;
                Some((i.resource.clone(), flight.call))
            })
            .collect();
        for (resource, call) in over {
            self.outputs.push_back(Output::Cancel(call));
            self.end(now, &resource, Answer::new(Outcome::TimedOut, 0));
        }
    }

    fn turn_loss(&mut self, now: Instant) {
        if self.loss == Loss::Held {
            let stale_at = self.patience.ends(self.token_at, self.settings.agent_restart_grace);
            if let Some(at) = stale_at.filter(|at| *at <= now) {
                self.lose(at);
            }
        }
        if let Loss::Lost { stop_at } = self.loss
            && stop_at <= now
            && self.settings.no_quorum == NoQuorumPolicy::Stop
        {
            self.loss = Loss::Stopping { give_up_at: now + self.settings.t_stop };
            self.begin_own_stops(now, Instance::is_exclusive);
        }
        if let Loss::Stopping { give_up_at } = self.loss {
            let left =
                self.instances.values().find(|i| i.is_exclusive() && i.phase != Phase::Stopped);
            match left.map(|i| i.resource.clone()) {
                None => self.loss = Loss::Clean,
                Some(resource) if give_up_at <= now => {
                    self.fence_self(SelfFence::StopHangs(resource));
                }
                Some(_) => {}
            }
        }
    }

    pub(super) fn begin_own_stops(&mut self, now: Instant, which: fn(&Instance) -> bool) {
        let resources: Vec<ResourceId> = self
            .instances
            .values()
            .filter(|i| which(i) && !matches!(i.phase, Phase::Stopped | Phase::Stopping))
            .map(|i| i.resource.clone())
            .collect();
        for resource in resources {
            self.begin(now, &resource, Operation::Stop, self.settings.t_stop, Purpose::Own);
        }
    }

    pub(super) fn fence_self(&mut self, reason: SelfFence) {
        self.loss = Loss::Fenced;
        self.void();
        self.outputs.push_back(Output::SelfFence(reason));
    }

    /// Begins what may begin on one instance.
    pub(super) fn dispatch(&mut self, now: Instant, resource: &ResourceId) {
        while let Some(instance) = self.instances.get_mut(resource) {
            if instance.is_busy() {
                // what waits behind an operation may become late meanwhile
                while let Some(at) = instance.waiting.iter().position(|w| w.late_at <= now) {
                    let Some(waiting) = instance.waiting.remove(at) else { break };
                    let (epoch, id) = (waiting.order.epoch, waiting.order.id);
                    let end = OrderEnd::Refused(Refusal::Late);
                    self.outputs.push_back(Output::OrderEnd { epoch, id, end });
                }
                return;
            }
            let Some(waiting) = instance.waiting.front() else { break };
            let operation = waiting.order.operation;
            let (given, late) = (waiting.order.epoch, waiting.late_at <= now);
            if self.epoch().is_none() && broken(Rule::LateOrders) {
                break; // faulty rule: an order waits for its moment, through configurations too
            }
            let refusal = if self.epoch().is_none_or(|e| !self.is_epoch(e, given)) {
                Refusal::StaleEpoch
            } else if late {
                Refusal::Late
            } else if now.since(self.token_at) > self.settings.fresh() {
                break; // until the next token, or until it is late
            } else if !self.may_begin(now, operation) {
                Refusal::Inquorate
            } else {
                self.begin_order(now, resource);
                continue;
            };
            if let Some(waiting) =
                self.instances.get_mut(resource).and_then(|i| i.waiting.pop_front())
            {
                self.refuse(&waiting.order, refusal);
            }
        }
        self.run_monitor(now, resource);
    }

    fn begin_order(&mut self, now: Instant, resource: &ResourceId) {
        let Some(instance) = self.instances.get_mut(resource) else { return };
        let Some(Waiting { order, .. }) = instance.waiting.pop_front() else { return };
        let legal = beginning(order.operation, instance.phase)
            .is_none_or(|event| event.apply(instance.phase).is_some());
        if !legal {
            let reason = alloc::format!("cannot {:?} from {:?}", order.operation, instance.phase);
            let end = OrderEnd::Done(Outcome::Failed { code: 1, reason });
            self.outputs.push_back(Output::OrderEnd { epoch: order.epoch, id: order.id, end });
            return;
        }
        if order.operation == Operation::Start {
            instance.kind = order.kind;
            instance.begin_as(order.exclusive);
        }
        instance.promotable |= matches!(order.operation, Operation::Promote | Operation::Demote);
        let purpose = Purpose::Order { epoch: order.epoch, id: order.id };
        self.begin(now, resource, order.operation, order.timeout, purpose);
    }

    fn run_monitor(&mut self, now: Instant, resource: &ResourceId) {
        let Some(instance) = self.instances.get(resource) else { return };
        if instance.flight.is_some() {
            return;
        }
        if let Some(monitor) = instance.next_monitor().filter(|m| m.next_at <= now) {
            let (interval, timeout) = (monitor.interval, monitor.timeout);
            self.begin(now, resource, Operation::Monitor, timeout, Purpose::Monitor { interval });
        }
    }

    /// Calls the driver. What is in flight on the instance gives way: a monitor always, an operation only to an own stop.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        resource: &ResourceId,
        operation: Operation,
        timeout: Duration,
        purpose: Purpose,
    ) {
        let lifetime = self.settings.address_lifetime();
        let Some(instance) = self.instances.get_mut(resource) else { return };
        if let Some(flight) = instance.flight.take() {
            self.outputs.push_back(Output::Cancel(flight.call));
            if let Purpose::Monitor { interval } = flight.purpose
                && let Some(monitor) = instance.monitor_mut(interval)
            {
                monitor.next_at = now + interval;
            }
        }
        if operation == Operation::Stop {
            for (epoch, id) in instance.monitors.drain(..).filter_map(|m| m.asked_by) {
                let end = OrderEnd::Refused(Refusal::Cancelled);
                self.outputs.push_back(Output::OrderEnd { epoch, id, end });
            }
        }
        let event = match purpose {
            Purpose::Own => Some(PhaseEvent::break_off),
            _ => beginning(operation, instance.phase),
        };
        if let Some(event) = event {
            instance.apply(event);
        }
        let call = CallId(self.next_call);
        self.next_call += 1;
        let give_up_at = now + timeout;
        instance.flight = Some(Flight { call, operation, give_up_at, purpose, void: false });
        self.outputs.push_back(Output::Call(Call {
            id: call,
            resource: resource.clone(),
            kind: instance.kind.clone(),
            operation,
            interval: match purpose {
                Purpose::Monitor { interval } => Some(interval),
                Purpose::Order { .. } | Purpose::Own | Purpose::StartUp => None,
            },
            timeout,
            lifetime,
            order: match purpose {
                Purpose::Order { epoch, id } => Some((epoch, id)),
                Purpose::Monitor { .. } | Purpose::Own | Purpose::StartUp => None,
            },
        }));
    }

    /// A start that is not permitted any more has not failed, whatever its driver says: it was broken off. What it left
    /// behind is not known, and is said as what a look has found.
    fn is_given_up(&self, now: Instant, resource: &ResourceId, outcome: &Outcome) -> bool {
        let flight = self.instances.get(resource).and_then(|i| i.flight.as_ref());
        flight.is_some_and(|flight| {
            matches!(outcome, Outcome::Failed { .. })
                && matches!(flight.operation, Operation::Start | Operation::Promote)
                && !self.permits(now, flight.call)
        })
    }

    /// A driver call ended.
    pub(super) fn end(&mut self, now: Instant, resource: &ResourceId, answer: Answer) {
        let given_up = self.is_given_up(now, resource, &answer.outcome);
        let Some(instance) = self.instances.get_mut(resource) else { return };
        let Some(flight) = instance.flight.take() else { return };
        let outcome = match flight.operation {
            // faulty rule: a stop that failed is taken for one that ended
            Operation::Stop if broken(Rule::FailedStopIsStopped) => Outcome::Ok,
            _ => cut(answer.outcome),
        };
        if let Some(event) = ending(flight.operation, &outcome) {
            instance.apply(event);
        }
        match instance.phase {
            Phase::Stopped => instance.run = 0,
            _ if answer.run != 0 => instance.run = answer.run,
            _ => {}
        }
        let score = match (instance.phase, answer.wish) {
            (Phase::Stopped, _) | (_, Wish::None) => None,
            (_, Wish::Unheard) => instance.score,
            (_, Wish::Score(score)) => Some(score),
        };
        let told = core::mem::replace(&mut instance.score, score) == score;
        let healthy = match flight.operation {
            Operation::Stop | Operation::Probe => {
                matches!(outcome, Outcome::Ok | Outcome::NotRunning | Outcome::RunningPromoted)
            }
            _ => outcome.is_running(),
        };
        let degraded = matches!(outcome, Outcome::Degraded { .. });
        instance.failed = (!given_up && (!healthy || degraded)).then(|| outcome.clone());
        let stop_failed =
            flight.operation == Operation::Stop && !healthy && instance.is_exclusive();
        let changed = Output::Changed {
            operation: if given_up { Operation::Probe } else { flight.operation },
            outcome: outcome.clone(),
            instance: instance.report(),
        };
        let epoch_now = match self.standing {
            Standing::Acting { epoch, .. } => Some(epoch),
            _ => None,
        };
        if !told {
            // before the end of the operation, so that whoever plans after it knows both
            self.say_scores();
        }
        let Some(instance) = self.instances.get_mut(resource) else { return };
        let end = OrderEnd::Done(outcome.clone());
        match flight.purpose {
            Purpose::Order { epoch, id } if Some(epoch) == epoch_now && !flight.void => {
                if given_up {
                    let end = OrderEnd::Refused(Refusal::NotActing);
                    self.outputs.extend([Output::OrderEnd { epoch, id, end }, changed]);
                } else {
                    self.outputs.push_back(Output::OrderEnd { epoch, id, end });
                }
            }
            Purpose::Order { .. } | Purpose::Own => self.outputs.push_back(changed),
            Purpose::StartUp => {}
            Purpose::Monitor { interval } => {
                if let Some(monitor) = instance.monitor_mut(interval) {
                    monitor.next_at = now + interval;
                    let known = monitor.last.replace(outcome.clone());
                    let asked_by = monitor.asked_by.take();
                    if let Some((epoch, id)) = asked_by {
                        self.outputs.push_back(Output::OrderEnd { epoch, id, end });
                    }
                    // nobody waits for the end of a recurring monitor's order: a first look that finds the resource
                    // gone is a change like any later one
                    let told = asked_by.is_some() && healthy && !degraded;
                    if known.as_ref() != Some(&outcome) && !told {
                        self.outputs.push_back(changed);
                    }
                }
            }
        }
        if stop_failed && matches!(self.loss, Loss::Stopping { .. }) {
            self.fence_self(SelfFence::StopFailed(resource.clone()));
        }
    }

    /// The first report waits until everything found at the start is probed or stopped.
    pub(super) fn settle(&mut self) {
        self.settled |= self
            .instances
            .values()
            .all(|i| i.flight.as_ref().is_none_or(|f| f.purpose != Purpose::StartUp));
        if !self.settled {
            return;
        }
        if let Standing::Acting { epoch, reported, .. } = &mut self.standing
            && !core::mem::replace(reported, true)
        {
            let epoch = *epoch;
            if self.instances.values().any(|i| i.score.is_some()) {
                self.say_scores();
            }
            let report = self.report();
            self.outputs.push_back(Output::Report { epoch, report });
        }
    }

    /// Not before the report: until then nothing that was said here counts (CLUSTER.md section 3.5).
    fn say_scores(&mut self) {
        let Standing::Acting { epoch, reported: true, .. } = self.standing else { return };
        let said =
            |i: &Instance| Some(PromotionScore { resource: i.resource.clone(), score: i.score? });
        let scores = self.instances.values().filter_map(said).take(SCORES_MAX).collect();
        self.outputs.push_back(Output::Scores { epoch, scores });
    }

    pub(super) fn renew(&mut self, now: Instant) {
        if self.renewed_at.is_none_or(|at| now.since(at) >= RENEW_EVERY) {
            self.renewed_at = Some(now);
            self.renew_all(Some(self.settings.address_lifetime()));
        }
    }

    /// Only of addresses that are wanted: one whose stop failed is left to the kernel.
    pub(super) fn renew_all(&mut self, lifetime: Option<Duration>) {
        for instance in self.instances.values() {
            let wanted = matches!(instance.phase, Phase::Running | Phase::Promoted);
            if wanted && matches!(instance.kind, ResourceKind::Address { .. }) {
                self.outputs.push_back(Output::RenewAddress {
                    resource: instance.resource.clone(),
                    kind: instance.kind.clone(),
                    lifetime,
                });
            }
        }
    }
}

/// Keeps a driver's text within its limit.
fn cut(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed { code, reason } => {
            let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
            Outcome::Failed { code, reason }
        }
        Outcome::Degraded { promoted, reason } => {
            let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
            Outcome::Degraded { promoted, reason }
        }
        other => other,
    }
}
