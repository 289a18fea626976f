//! The executor: five verbs over a table of instances.

mod turn;

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::time::Duration;

use base::{
    Epoch, Instant, ResourceId, ResourceKind,
    faulty::{Rule, broken},
};

use crate::{
    Answer, CallId, MONITORS_MAX, NoQuorumPolicy, ORDERS_WAITING_MAX, Operation, Order, OrderEnd,
    Output, Phase, Quorum, Refusal, Report, Settings, Token, Wake,
    effect::earlier,
    instance::{Instance, Monitor, Purpose, Waiting},
    loss::{Loss, Patience},
    settings::{DETACH_MAX, whole_seconds},
};

/// Instances that one machine may carry.
pub const INSTANCES_MAX: usize = 1024;

/// Something managed that was found on the machine when the executor started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which instance.
    pub resource: ResourceId,
    /// What it is.
    pub kind: ResourceKind,
    /// See [`Order::exclusive`].
    pub exclusive: bool,
    /// Whether the executor's own record of this boot says that it is ours to keep: it is probed and adopted. What is
    /// not is stopped before the first report (SAFETY.md#S31).
    pub recorded: bool,
}

/// Which orders count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// No ring part, or it has no configuration.
    Away,
    /// A configuration without an open era.
    Configured,
    /// An epoch is installed. `regained`: it was asked for again.
    Acting { epoch: Epoch, quorum: Quorum, reported: bool, regained: bool },
}

/// Whether everything is being released for a clean leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// No.
    No,
    /// Stops are under way.
    Releasing,
    /// Said.
    Released,
}

/// The table of what runs on one machine, and the rules by which it may change.
///
/// Call a `handle_*`, then [`Self::poll_output`] until `None`, then [`Self::poll_timeout`]. Extra calls do nothing.
/// After a pause call [`Self::handle_timeout`] before anything that waited meanwhile is handed in.
#[derive(Debug)]
pub struct Executor {
    settings: Settings,
    standing: Standing,
    loss: Loss,
    patience: Patience,
    /// Newest token; the start of the executor before there was any.
    token_at: Instant,
    /// Whether what was found at the start has been probed or stopped.
    settled: bool,
    instances: BTreeMap<ResourceId, Instance>,
    renewed_at: Option<Instant>,
    leaving: Leaving,
    next_call: u64,
    outputs: VecDeque<Output>,
}

impl Executor {
    /// An executor that has just started on a machine where `found` is what drivers and the own record of this boot
    /// name. Everything is probed or stopped before the first report; nothing is accepted until then.
    pub fn new(now: Instant, settings: Settings, found: Vec<Found>) -> Self {
        let mut executor = Self {
            settings,
            standing: Standing::Away,
            loss: Loss::Held,
            patience: Patience::Usual,
            token_at: now,
            settled: false,
            instances: BTreeMap::new(),
            renewed_at: None,
            leaving: Leaving::No,
            next_call: 1,
            outputs: VecDeque::new(),
        };
        for found in found.into_iter().take(INSTANCES_MAX) {
            let instance = Instance::new(found.resource.clone(), found.kind, found.exclusive);
            executor.instances.insert(found.resource.clone(), instance);
            let keep = found.recorded || leftovers_kept();
            if !found.recorded && keep {
                executor.instances.remove(&found.resource);
                continue;
            }
            let operation = if keep { Operation::Probe } else { Operation::Stop };
            executor.begin(now, &found.resource, operation, settings.t_stop, Purpose::StartUp);
        }
        executor.turn(now);
        executor
    }

    /// The ring part installed a regular configuration: nothing of an older one counts any more, and nothing counts
    /// until [`Self::handle_epoch`].
    pub fn handle_configuration(&mut self, now: Instant, quorum: Quorum) {
        self.void();
        self.standing = Standing::Configured;
        self.note_quorum(now, quorum);
        self.turn(now);
    }

    /// The era of the configuration is open, or it has no quorum and its ring id stands for the era. Voids all older
    /// orders; the report follows as soon as it is known what runs.
    pub fn handle_epoch(&mut self, now: Instant, epoch: Epoch, quorum: Quorum) {
        self.void();
        self.standing = Standing::Acting { epoch, quorum, reported: false, regained: false };
        self.note_quorum(now, quorum);
        self.turn(now);
    }

    /// The ring part's socket closed: nothing is accepted, what waits is dropped, what runs is kept.
    pub fn handle_ring_closed(&mut self, now: Instant) {
        self.void();
        self.standing = Standing::Away;
        self.turn(now);
    }

    /// The ring part saw a token.
    pub fn handle_token(&mut self, now: Instant, token: Token) {
        self.token_at = self.token_at.max(token.seen_at.min(now));
        let fresh = now.since(token.seen_at) <= self.settings.fresh();
        let detached = matches!(self.patience, Patience::Detached { .. });
        if detached && fresh && self.epoch().is_some() {
            // whoever announced an absence is back
            self.patience = Patience::Usual;
        }
        if fresh && token.era_open && !self.is_suspended() {
            self.regain();
            if self.may_begin(now, Operation::Start) {
                self.renew(now);
            }
        }
        self.turn(now);
    }

    /// The era went on while this executor heard nothing of it and took itself for inquorate. What it stopped meanwhile, and
    /// which orders it let pass, the era is told by a new report, as after a restart of its own (CLUSTER.md section 8): fresh
    /// tokens alone end nothing.
    fn regain(&mut self) {
        if let (Standing::Acting { quorum: Quorum::Quorate, regained, .. }, false) =
            (&mut self.standing, matches!(self.loss, Loss::Held | Loss::Fenced))
            && !core::mem::replace(regained, true)
        {
            self.outputs.push_back(Output::Regained);
        }
    }

    /// The ring part says that it goes away on purpose, and for how long (at most [`DETACH_MAX`]).
    pub fn handle_detach(&mut self, now: Instant, span: Duration) {
        if self.is_suspended() {
            return;
        }
        let span = span.min(DETACH_MAX);
        self.patience = Patience::Detached { until: now + span };
        if self.loss == Loss::Held {
            self.renew_all(Some(whole_seconds(
                self.settings.address_lifetime().saturating_add(span),
            )));
        }
        self.turn(now);
    }

    /// The cluster is suspended (CLUSTER.md section 5): missing tokens and lost quorum mean nothing and addresses become
    /// permanent, until [`Self::handle_resume`]. The watchdog gets no answer meanwhile, so its bound proves nothing. What
    /// began to stop before goes on to its end.
    pub fn handle_suspend(&mut self, now: Instant) {
        if !self.is_suspended() {
            let lost = self.loss != Loss::Held;
            let quorum = if lost { Quorum::Inquorate } else { Quorum::Quorate };
            self.patience = Patience::Suspended { quorum };
            if let Loss::Lost { .. } = self.loss {
                self.loss = Loss::Held;
            }
        }
        if self.loss == Loss::Held {
            self.renew_all(None);
        }
        self.outputs.push_back(Output::Suspended);
        self.turn(now);
    }

    /// The suspension is over: what the ring part last said of quorum counts again, and so do missing tokens, after the
    /// usual grace.
    pub fn handle_resume(&mut self, now: Instant) {
        if let Patience::Suspended { quorum } = self.patience {
            self.patience = Patience::Detached { until: now + self.settings.agent_restart_grace };
            self.renewed_at = None;
            self.note_quorum(now, quorum);
        }
        self.turn(now);
    }

    /// This member leaves cleanly: everything is stopped, nothing is accepted any more, in this life of the executor.
    /// [`Output::Released`] follows only if every stop succeeds.
    pub fn handle_leave(&mut self, now: Instant) {
        if self.leaving == Leaving::No && self.loss != Loss::Fenced {
            self.void();
            self.leaving = Leaving::Releasing;
            self.begin_own_stops(now, |_| true);
        }
        self.turn(now);
    }

    /// The model changed.
    pub fn handle_settings(&mut self, now: Instant, settings: Settings) {
        self.settings = settings;
        self.turn(now);
    }

    /// An order was delivered. Its deadline counts from here.
    pub fn handle_order(&mut self, now: Instant, order: Order) {
        if self.loss == Loss::Fenced {
            return;
        }
        if let Err(refusal) = self.admit(&order) {
            self.refuse(&order, refusal);
        } else if let (Operation::Monitor, Some(interval)) = (order.operation, order.interval) {
            self.watch(now, &order, interval);
        } else {
            let late_at = if broken(Rule::LateOrders) {
                now + Duration::from_secs(3600)
            } else {
                now + order.deadline
            };
            let instance = self.instances.entry(order.resource.clone()).or_insert_with(|| {
                Instance::new(order.resource.clone(), order.kind.clone(), order.exclusive)
            });
            instance.waiting.push_back(Waiting { order, late_at });
        }
        self.turn(now);
    }

    /// A driver answered. Answers to calls that were cancelled are ignored.
    pub fn handle_answer(&mut self, now: Instant, call: CallId, answer: Answer) {
        let resource = self.instances.values().find_map(|i| {
            i.flight.as_ref().is_some_and(|f| f.call == call).then(|| i.resource.clone())
        });
        if let Some(resource) = resource {
            self.end(now, &resource, answer);
        }
        self.turn(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.turn(now);
    }

    /// The next effect.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Wake)> {
        let loss = match self.loss {
            Loss::Fenced => return None,
            Loss::Held => self
                .patience
                .ends(self.token_at, self.settings.agent_restart_grace)
                .map(|at| (at, Wake::TokenStale)),
            Loss::Lost { stop_at } if self.settings.no_quorum == NoQuorumPolicy::Stop => {
                Some((stop_at, Wake::OwnStops))
            }
            Loss::Lost { .. } | Loss::Clean => None,
            Loss::Stopping { give_up_at } => Some((give_up_at, Wake::OwnStopsBound)),
        };
        self.instances.values().map(Instance::wake).fold(loss, earlier)
    }

    /// Whether a start or promotion of this call may take effect now. Drivers ask right before the system call that
    /// does it, because a probe of the network or the spawning of a process may have taken long (CLUSTER.md section 4).
    /// Everything that releases or only looks is permitted as long as its answer is awaited.
    #[must_use]
    pub fn permits(&self, now: Instant, call: CallId) -> bool {
        let flight = self
            .instances
            .values()
            .find_map(|i| i.flight.as_ref().filter(|flight| flight.call == call));
        flight.is_some_and(|flight| match (flight.operation, flight.purpose) {
            (Operation::Start | Operation::Promote, Purpose::Order { epoch, .. }) => {
                !flight.void
                    && self.epoch().is_some_and(|installed| self.is_epoch(installed, epoch))
                    && self.may_begin(now, flight.operation)
            }
            _ => true,
        })
    }

    /// The installed epoch.
    pub fn epoch(&self) -> Option<Epoch> {
        match self.standing {
            Standing::Acting { epoch, .. } => Some(epoch),
            Standing::Away | Standing::Configured => None,
        }
    }

    /// Whether the watchdog may be fed: not while this machine is being fenced, nor while it is suspended: a machine that
    /// stops nothing by itself must not look like one that would.
    pub fn answers_watchdog(&self) -> bool {
        self.loss != Loss::Fenced && !self.is_suspended()
    }

    /// Between [`Self::handle_suspend`] and [`Self::handle_resume`].
    pub const fn is_suspended(&self) -> bool {
        matches!(self.patience, Patience::Suspended { .. })
    }

    /// Whether this executor takes itself for part of a quorate component.
    pub fn is_quorate(&self) -> bool {
        self.loss == Loss::Held
    }

    /// What a report would say now.
    pub fn report(&self) -> Report {
        Report { instances: self.instances.values().map(Instance::report).collect() }
    }

    /// Whether an order is accepted into the table at all.
    fn admit(&mut self, order: &Order) -> Result<(), Refusal> {
        let Standing::Acting { epoch, quorum, reported, .. } = self.standing else {
            return Err(Refusal::StaleEpoch);
        };
        if !self.is_epoch(epoch, order.epoch) {
            return Err(Refusal::StaleEpoch);
        }
        if !reported || self.leaving != Leaving::No {
            return Err(Refusal::NotActing);
        }
        if quorum == Quorum::Inquorate && !order.operation.is_release() {
            return Err(Refusal::Inquorate);
        }
        match self.instances.get(&order.resource) {
            Some(instance) if instance.waiting.len() >= ORDERS_WAITING_MAX => Err(Refusal::Busy),
            Some(_) => Ok(()),
            None if self.instances.len() < INSTANCES_MAX => Ok(()),
            None => {
                // rows of what was stopped long ago make room
                self.instances.retain(|_, i| i.phase != Phase::Stopped || !i.is_idle());
                if self.instances.len() < INSTANCES_MAX { Ok(()) } else { Err(Refusal::Busy) }
            }
        }
    }

    /// Equality, never age (CLUSTER.md section 4, SAFETY.md#S9).
    fn is_epoch(&self, installed: Epoch, given: Epoch) -> bool {
        if by_age() {
            return given.ring <= installed.ring;
        }
        installed == given
    }

    /// Whether an operation may begin now: asked again after every wait, right before the driver is called.
    fn may_begin(&self, now: Instant, operation: Operation) -> bool {
        let quorate = matches!(self.standing, Standing::Acting { quorum: Quorum::Quorate, .. })
            && self.loss == Loss::Held;
        now.since(self.token_at) <= self.settings.fresh()
            && (operation.is_release() || quorate)
            && self.loss != Loss::Fenced
    }

    fn refuse(&mut self, order: &Order, refusal: Refusal) {
        let end = OrderEnd::Refused(refusal);
        self.outputs.push_back(Output::OrderEnd { epoch: order.epoch, id: order.id, end });
    }

    /// Orders of an older epoch that have not begun never do. What is in flight goes on, and the report says so.
    fn void(&mut self) {
        if by_age() {
            return;
        }
        for instance in self.instances.values_mut() {
            instance.waiting.clear();
            if let Some(flight) = &mut instance.flight {
                flight.void = true;
            }
            for monitor in &mut instance.monitors {
                monitor.asked_by = None;
            }
        }
    }

    fn note_quorum(&mut self, now: Instant, quorum: Quorum) {
        if let Patience::Suspended { quorum: last } = &mut self.patience {
            *last = quorum;
        }
        match (quorum, self.loss) {
            (_, Loss::Fenced) => {}
            (Quorum::Quorate, _) => self.loss = Loss::Held,
            (Quorum::Inquorate, Loss::Held) if !self.is_suspended() => self.lose(now),
            (Quorum::Inquorate, _) => {}
        }
    }

    fn lose(&mut self, since: Instant) {
        self.loss = Loss::Lost { stop_at: since + self.settings.t_stop };
    }

    /// A recurring monitor is put into the table; its first run is at once.
    fn watch(&mut self, now: Instant, order: &Order, interval: Duration) {
        let asked_by = Some((order.epoch, order.id));
        let monitor =
            Monitor { interval, timeout: order.timeout, next_at: now, last: None, asked_by };
        let Some(instance) = self.instances.get_mut(&order.resource) else {
            return self.refuse(order, Refusal::Cancelled);
        };
        if instance.kind.turns_into(&order.kind) {
            instance.kind = order.kind.clone();
        }
        if let Some(old) = instance.monitor_mut(interval) {
            let last = old.last.take();
            *old = Monitor { last, ..monitor };
        } else if instance.monitors.len() < MONITORS_MAX {
            instance.monitors.push(monitor);
        } else {
            self.refuse(order, Refusal::Busy);
        }
    }
}

/// Faulty rule: epochs are compared for age.
fn by_age() -> bool {
    cfg!(feature = "sabotage-epoch-by-age") || broken(Rule::EpochByAge)
}

/// Faulty rule: what an older life left behind stays.
fn leftovers_kept() -> bool {
    cfg!(feature = "sabotage-leftovers-kept") || broken(Rule::LeftoversKept)
}
