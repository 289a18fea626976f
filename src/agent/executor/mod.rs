//! The executor part: `lifecycle`'s core around the drivers of resources.
//!
//! Invariants (CLUSTER.md section 8): when the ring's port closes nothing is accepted, what is queued is dropped and what
//! runs goes on; no effect begins on a token older than half of the token timeout (the core looks right before each
//! call); an executor that fences its machine answers no ping any more.

mod addresses;
mod announce;
mod outside;
mod real;
mod record;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base::{BootId, Epoch, Instant, ResourceId, Role};
use cluster::{ExecutorDo, ExecutorSays};
use drivers::power::Permit;
use lifecycle::{
    Answer, Call, CallId, Executor, NoQuorumPolicy, Operation, Outcome, Output, Quorum, SelfFence,
    Settings, Token,
};
use tokio::{sync::mpsc, task::JoinHandle};

pub use addresses::AddressesBy;
pub use outside::Outside;
pub use real::{RealOutside, RealSetup};
use record::Record;
pub use record::restate as restate_record;

use crate::{
    clock,
    ipc::Port,
    messages::{FromExecutor, Ping, Pong, ToExecutor},
    metrics::Health,
    state::random_u128,
};

/// What the core lives by until the ring part says what the revision says: generous, because nothing may begin anyway.
const DEFAULTS: Settings = Settings {
    token: Duration::from_millis(500),
    agent_restart_grace: Duration::from_secs(5),
    t_mem: Duration::from_secs(2),
    t_stop: Duration::from_secs(20),
    no_quorum: NoQuorumPolicy::Stop,
};
/// A turn at least so often, so that who asks for our health sees one.
const BEAT: Duration = Duration::from_secs(2);
/// Connections of fencers that ask whether we answer.
const ASKERS_MAX: usize = 4;

/// What an executor is given at its start.
pub struct Setup {
    /// Folder of the record of this boot; must not survive a reboot.
    pub run_dir: PathBuf,
    /// This boot: a record of another one is not believed.
    pub boot_id: BootId,
    /// The drivers.
    pub outside: Arc<dyn Outside>,
    /// Connections of the ring part; the newest counts.
    pub rings: mpsc::Receiver<Port<FromExecutor, ToExecutor>>,
    /// Connections of the fencer.
    pub askers: mpsc::Receiver<Port<Pong, Ping>>,
    /// Word of announcements, to be given on.
    pub news: mpsc::Receiver<FromExecutor>,
    /// Hears of each turn of the loop.
    pub health: Arc<Health>,
}

/// Runs until both kinds of connections are over for good.
pub async fn run(setup: Setup) {
    let Setup { run_dir, boot_id, outside, mut rings, mut askers, mut news, health } = setup;
    let mut beat = tokio::time::interval(BEAT);
    let (answers, mut answered) = mpsc::channel(64);
    let (pings, mut pinged) = mpsc::channel(ASKERS_MAX);
    let (suspended, mut permanent) = mpsc::channel(4);
    let mut record = Record::load(&run_dir, boot_id);
    let found = record.found(outside.survivors().await);
    let mut part = ExecutorPart {
        core: Arc::new(Mutex::new(Executor::new(clock::now(), DEFAULTS, found))),
        settings: DEFAULTS,
        outside,
        life: random_u128(),
        ring: None,
        epoch: None,
        quorum: None,
        exclusive: BTreeMap::new(),
        calls: BTreeMap::new(),
        last_work: BTreeMap::new(),
        answers,
        renewals: Vec::new(),
        suspended,
        record,
    };
    if part.record.is_suspended() {
        // an earlier life was told; until the ring part says otherwise its silence stops nothing
        part.core().handle_suspend(clock::now());
    }
    loop {
        health.turn(clock::now());
        health.set_ready(part.ring.is_some());
        part.core().handle_timeout(clock::now());
        part.pump();
        let wake = part.core().poll_timeout().map(|(at, _)| at);
        tokio::select! {
            biased;
            port = rings.recv() => match port {
                Some(port) => part.connected(port),
                None => return,
            },
            message = received(&mut part.ring) => match message {
                Some(message) => part.told(message),
                None => part.ring_closed(),
            },
            Some((call, answer)) = answered.recv() => {
                if let Some((call, _)) = part.calls.remove(&call) {
                    part.looked(&call, &answer);
                }
                part.core().handle_answer(clock::now(), call, answer);
            }
            Some(()) = permanent.recv() => part.say(ExecutorSays::Suspended),
            Some(word) = news.recv() => {
                if let Some(port) = &part.ring {
                    // Nobody waits for it: it may be lost.
                    let _ = port.send(word);
                }
            }
            Some(port) = askers.recv() => { drop(tokio::spawn(listen(port, pings.clone()))); }
            Some(reply) = pinged.recv() => {
                // While the machine is being fenced by itself, silence lets the watchdog bite.
                if part.core().answers_watchdog() {
                    let _ = reply.send(Pong).await;
                }
            }
            () = sleep_until(wake) => {}
            _ = beat.tick() => {}
        }
    }
}

/// Waits for the next message of an optional port; for ever without one.
async fn received<Out, In>(port: &mut Option<Port<Out, In>>) -> Option<In> {
    match port {
        Some(port) => port.rx.recv().await,
        None => std::future::pending().await,
    }
}

pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep(at.since(clock::now())).await,
        None => std::future::pending().await,
    }
}

/// Gives each ping of one fencer to the loop, so that an answer proves a turn of it.
async fn listen(mut port: Port<Pong, Ping>, pings: mpsc::Sender<mpsc::Sender<Pong>>) {
    while let Some(Ping) = port.rx.recv().await {
        if pings.send(port.tx.clone()).await.is_err() {
            return;
        }
    }
}

struct ExecutorPart {
    /// Shared with the permits of calls under way, on this same thread.
    core: Arc<Mutex<Executor>>,
    settings: Settings,
    outside: Arc<dyn Outside>,
    life: u128,
    ring: Option<Port<FromExecutor, ToExecutor>>,
    /// Installed, as the engine said it.
    epoch: Option<Epoch>,
    quorum: Option<Quorum>,
    /// From the orders: the record needs it for the next life.
    exclusive: BTreeMap<ResourceId, bool>,
    calls: BTreeMap<CallId, (Call, JoinHandle<()>)>,
    /// Ends when everything that was begun for a resource has ended or was broken off.
    last_work: BTreeMap<ResourceId, JoinHandle<()>>,
    answers: mpsc::Sender<(CallId, Answer)>,
    /// Those that make addresses permanent, until all of them have ended.
    renewals: Vec<JoinHandle<()>>,
    suspended: mpsc::Sender<()>,
    record: Record,
}

impl ExecutorPart {
    fn core(&self) -> MutexGuard<'_, Executor> {
        // A panic under the lock ends the process; in tests the other user of the lock still wants an answer.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connected(&mut self, port: Port<FromExecutor, ToExecutor>) {
        self.ring_closed();
        tracing::info!("the ring part is connected");
        if port.send(FromExecutor::Hello { life: self.life }) {
            self.ring = Some(port);
        }
    }

    fn ring_closed(&mut self) {
        if self.ring.take().is_some() {
            tracing::warn!("the ring part is gone: nothing is accepted, what runs goes on");
            self.epoch = None;
            self.quorum = None;
            self.core().handle_ring_closed(clock::now());
        }
    }

    fn told(&mut self, message: ToExecutor) {
        let now = clock::now();
        match message {
            ToExecutor::Do(what, at) => self.carry(now, what, at),
            ToExecutor::Gone(machines) => self.outside.set_gone(machines),
            ToExecutor::Networks(networks) => self.outside.set_networks(networks),
            ToExecutor::Token { ring, seen_at } => {
                let open = self.epoch.is_some_and(|epoch| epoch.ring == ring);
                let era_open = open && self.quorum == Some(Quorum::Quorate);
                self.core().handle_token(now, Token { seen_at, era_open });
            }
        }
    }

    fn carry(&mut self, now: Instant, what: ExecutorDo, at: Instant) {
        match what {
            ExecutorDo::Detach(span) => self.core().handle_detach(now, span),
            ExecutorDo::Settings(settings) => {
                self.settings = settings;
                self.core().handle_settings(now, settings);
            }
            ExecutorDo::Suspend => {
                tracing::warn!(
                    "suspended: addresses stay for ever, and nothing is stopped for want of quorum"
                );
                self.record.suspend(true);
                self.core().handle_suspend(now);
            }
            ExecutorDo::Resume => {
                self.record.suspend(false);
                self.core().handle_resume(now);
            }
            ExecutorDo::TakeEpoch { epoch, quorum } => {
                crate::log::era((quorum == Quorum::Quorate).then_some(epoch.ring));
                self.epoch = Some(epoch);
                self.quorum = Some(quorum);
                self.core().handle_epoch(now, epoch, quorum);
            }
            ExecutorDo::Void { ring: _, quorum } => {
                crate::log::era(None);
                self.epoch = None;
                self.quorum = None;
                self.core().handle_configuration(now, quorum);
            }
            ExecutorDo::Carry(mut order) => {
                order.deadline = order.deadline.saturating_sub(now.since(at));
                self.exclusive.insert(order.resource.clone(), order.exclusive);
                self.core().handle_order(now, order);
            }
            ExecutorDo::Leave => self.core().handle_leave(now),
            ExecutorDo::LookFor { resource, kind, station } => {
                self.outside.look_for(&resource, &kind, station);
            }
            ExecutorDo::SeenAt { resource, station } => self.outside.seen_at(&resource, station),
        }
    }

    /// Carries out what the core wants.
    fn pump(&mut self) {
        loop {
            let Some(output) = self.core().poll_output() else { return };
            match output {
                Output::Call(call) => self.call(call),
                Output::Cancel(id) => self.cancel(id),
                Output::OrderEnd { epoch, id, end } => {
                    self.keep_record();
                    self.say(ExecutorSays::Ended { epoch, id, end });
                }
                Output::Changed { operation, outcome, instance } => {
                    self.keep_record();
                    tell_failure(&instance.resource, operation, &outcome);
                    self.say(ExecutorSays::Changed { operation, outcome, instance });
                }
                Output::Report { epoch, report } => {
                    self.keep_record();
                    self.say(ExecutorSays::Report { epoch, report });
                }
                Output::Scores { epoch, scores } => {
                    self.say(ExecutorSays::Scores { epoch, scores });
                }
                Output::RenewAddress { resource, kind, lifetime } => {
                    let renewal = self.outside.renew(&resource, &kind, lifetime);
                    if lifetime.is_none() {
                        self.renewals.extend(renewal);
                    }
                }
                Output::Regained => self.say(ExecutorSays::Regained),
                Output::Suspended => {
                    let (renewals, done) =
                        (std::mem::take(&mut self.renewals), self.suspended.clone());
                    tokio::spawn(async move {
                        for renewal in renewals {
                            let _ = renewal.await;
                        }
                        let _ = done.send(()).await;
                    });
                }
                Output::Released => {
                    self.keep_record();
                    self.say(ExecutorSays::Released);
                }
                Output::SelfFence(reason) => self.fence_self(&reason),
            }
        }
    }

    fn say(&mut self, what: ExecutorSays) {
        if let Some(port) = &self.ring
            && !port.send(FromExecutor::Says(what))
        {
            // A ring part that does not listen is a ring part that is gone.
            self.ring_closed();
        }
    }

    /// What a first look finds running, whoever started it, is held by this machine from now on: the next executor must not
    /// leave it out of its first report.
    fn looked(&mut self, call: &Call, answer: &Answer) {
        if call.operation == Operation::Probe && answer.outcome.is_running() {
            let exclusive = self.exclusive.get(&call.resource).copied().unwrap_or(true);
            self.record.begin(&call.resource, &call.kind, exclusive);
        }
    }

    fn call(&mut self, call: Call) {
        if matches!(call.operation, Operation::Start | Operation::Promote) {
            let exclusive = self.exclusive.get(&call.resource).copied().unwrap_or(true);
            self.record.begin(&call.resource, &call.kind, exclusive);
        } else if call.operation == Operation::Monitor {
            self.record.turned_into(&call.resource, &call.kind);
        }
        let id = call.id;
        let before = self.last_work.remove(&call.resource);
        let (outside, answers) = (Arc::clone(&self.outside), self.answers.clone());
        let core = Arc::clone(&self.core);
        let permit = Permit::new(move || {
            core.lock().unwrap_or_else(PoisonError::into_inner).permits(clock::now(), id)
        });
        let (finished, finish) = tokio::sync::oneshot::channel::<()>();
        let todo = call.clone();
        let work = tokio::spawn(async move {
            // Dropped with this task, however it ends: whoever comes next waits for that.
            let _finished = finished;
            if let Some(before) = before {
                let _ = before.await;
            }
            let answer = outside.carry_out(&todo, permit).await;
            if !matches!(todo.operation, Operation::Probe | Operation::Monitor) {
                tell_failure(&todo.resource, todo.operation, &answer.outcome);
            }
            let _ = answers.send((id, answer)).await;
        });
        let done = tokio::spawn(async move { drop(finish.await) });
        self.last_work.insert(call.resource.clone(), done);
        self.calls.insert(id, (call, work));
    }

    fn cancel(&mut self, id: CallId) {
        let Some((call, work)) = self.calls.remove(&id) else { return };
        work.abort();
        if !matches!(call.operation, Operation::Start | Operation::Promote) {
            return;
        }
        // What was being started must not come up afterwards: it is taken down before anything else is done with it.
        let before = self.last_work.remove(&call.resource);
        let outside = Arc::clone(&self.outside);
        let resource = call.resource.clone();
        let undo = Call { operation: Operation::Stop, timeout: self.settings.t_stop, ..call };
        let undone = tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            outside.carry_out(&undo, Permit::new(|| true)).await;
        });
        self.last_work.insert(resource, undone);
    }

    /// What may run goes on record, what is known to be stopped leaves it.
    fn keep_record(&mut self) {
        let report = self.core().report();
        for instance in report.instances {
            if instance.role == Some(Role::Stopped) {
                self.record.end(&instance.resource);
                self.exclusive.remove(&instance.resource);
                self.last_work.retain(|_, work| !work.is_finished());
            }
        }
    }

    fn fence_self(&mut self, reason: &SelfFence) {
        tracing::error!(%reason, "this machine fences itself");
        self.say(ExecutorSays::SelfFencing { reason: reason.to_string() });
        self.outside.fence_self();
    }
}

#[cfg(test)]
mod tests;

/// Each of them, and at once: the ring and the objects have the last one only.
fn tell_failure(resource: &ResourceId, operation: Operation, outcome: &Outcome) {
    match outcome {
        Outcome::Failed { code, reason } => {
            tracing::warn!(%resource, ?operation, code, %reason, "an operation failed");
        }
        Outcome::TimedOut => tracing::warn!(%resource, ?operation, "an operation took too long"),
        Outcome::Degraded { reason, .. } => {
            tracing::warn!(%resource, ?operation, %reason, "it runs, but not well");
        }
        _ => {}
    }
}
