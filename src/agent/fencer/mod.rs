//! The fencer part: `fencing`'s core around power devices, and the holder of the watchdog.
//!
//! Invariants (CLUSTER.md sections 6 and 8): when the ring's port closes every session is closed; right before each
//! transmission of a command the core is asked again; credentials are known here only, without `Debug`; the watchdog
//! is fed only after a fresh pass of the ring's loop *and* an answer of the executor.

mod check;
mod credentials;
mod devices;
mod watch;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base::{Instant, NodeId};
use cluster::{DeviceFinding, FencerDo, FencerSays};
use drivers::power::{Permit, PowerError, carry_out};
use fencing::{Answer, CallId, DeviceCall, DeviceError, Fencer, Output, Settings};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
};

pub use credentials::{Credential, Credentials, FetchCredentials, Fetched};
pub use devices::{Devices, RealDevices};
pub use watch::{Watch, Watched};

use self::check::{LOOK_TIME_MAX, Look, LookError, Looks};
use crate::{
    clock,
    executor::sleep_until,
    ipc::Port,
    messages::{FencerSettings, FromFencer, Ping, Pong, ToFencer, life},
    metrics::Health,
    state::random_u128,
};

/// Until the ring part says what the revision says; nothing may be sent before anyway.
const DEFAULTS: Settings = Settings { token: Duration::from_millis(500) };
/// A turn at least so often, so that who asks for our health sees one.
const BEAT: Duration = Duration::from_secs(2);
/// Credentials are looked up again this often: a new password is in use within 30 s (SAFETY.md 3.3, O13).
const FETCH_EVERY: Duration = Duration::from_secs(25);

/// What a fencer is given at its start.
pub struct Setup {
    /// Its own folder: the cache of credentials for the time without the API.
    pub dir: PathBuf,
    /// Makes devices from their description.
    pub devices: Arc<dyn Devices>,
    /// Reads Secrets.
    pub fetch: Arc<dyn FetchCredentials>,
    /// The machine's watchdog.
    pub dog: Option<Watched>,
    /// Connections of the ring part; the newest counts.
    pub rings: mpsc::Receiver<Port<FromFencer, ToFencer>>,
    /// The executor, asked for each feed of the watchdog. Connected anew when it is lost.
    pub executors: mpsc::Receiver<Port<Ping, Pong>>,
    /// To be told when that connection is lost.
    pub executor_lost: Arc<Notify>,
    /// Hears of each turn of the loop.
    pub health: Arc<Health>,
}

/// Runs until it is told to stop or the ring's connections are over for good; the watchdog is disarmed then.
pub async fn run(setup: Setup, mut stop: oneshot::Receiver<()>) {
    let Setup { dir, devices, fetch, dog, mut rings, executors, executor_lost, health } = setup;
    let mut beat = tokio::time::interval(BEAT);
    let (answers, mut answered) = mpsc::channel(64);
    let (fetched, mut fetches) = mpsc::channel::<Fetched>(1);
    let (looked, mut looks) = mpsc::channel(64);
    let mut part = FencerPart {
        core: Arc::new(Mutex::new(Fencer::new(DEFAULTS))),
        credentials: Credentials::load(&dir),
        settings: None,
        devices,
        life: life(random_u128()),
        ring: None,
        calls: BTreeMap::new(),
        answers,
        watch: Watch::start(dog, executors, executor_lost),
        fetch_at: None,
        looks: Looks::default(),
        logged: Vec::new(),
        looking: BTreeMap::new(),
        looked,
    };
    loop {
        health.turn(clock::now());
        health.set_ready(part.ring.is_some());
        part.core().handle_timeout(clock::now());
        part.pump();
        part.look();
        let wake = part.core().poll_timeout().map(|(at, _)| at);
        let wake = [wake, part.looks.poll_timeout()].into_iter().flatten().min();
        tokio::select! {
            biased;
            _ = &mut stop => break,
            port = rings.recv() => match port {
                Some(port) => part.connected(port),
                None => break,
            },
            message = received(&mut part.ring) => match message {
                Some(message) => part.told(message),
                None => part.ring_closed(),
            },
            Some((call, answer)) = answered.recv() => {
                part.calls.remove(&call);
                part.core().handle_answer(clock::now(), call, answer);
            }
            Some(timeout) = part.watch.changed() => part.say(FencerSays::Watchdog { timeout }),
            Some(found) = fetches.recv() => {
                let Fetched { found, wrong, asked } = found;
                let new = part.credentials.take(found);
                if new {
                    part.credentials.store(&dir);
                }
                // An API that is away says nothing new of a Secret, but what is in the cache can be tried.
                let wrong = if asked { wrong } else { part.looks.wrong_secrets() };
                part.looks.secrets(clock::now(), wrong, new);
            }
            Some((number, found)) = looks.recv() => {
                part.looking.remove(&number);
                if part.looks.handle_found(clock::now(), number, found) {
                    part.tell();
                }
            }
            () = sleep_until(part.fetch_at) => {
                part.fetch_at = Some(clock::now() + FETCH_EVERY);
                if let Some(settings) = &part.settings {
                    let (fetch, secrets) = (Arc::clone(&fetch), settings.secrets.clone());
                    let fetched = fetched.clone();
                    tokio::spawn(async move {
                        let found = fetch.fetch(secrets).await;
                        let _ = fetched.send(found).await;
                    });
                }
            }
            () = sleep_until(wake) => {}
            _ = beat.tick() => {}
        }
    }
    part.watch.finish().await;
}

async fn received<Out, In>(port: &mut Option<Port<Out, In>>) -> Option<In> {
    match port {
        Some(port) => port.rx.recv().await,
        None => std::future::pending().await,
    }
}

struct FencerPart {
    /// Shared with the permits of commands under way, on this same thread.
    core: Arc<Mutex<Fencer>>,
    credentials: Credentials,
    settings: Option<FencerSettings>,
    devices: Arc<dyn Devices>,
    life: u128,
    ring: Option<Port<FromFencer, ToFencer>>,
    calls: BTreeMap<CallId, JoinHandle<()>>,
    answers: mpsc::Sender<(CallId, Result<Answer, DeviceError>)>,
    watch: Watch,
    fetch_at: Option<Instant>,
    looks: Looks,
    logged: Vec<DeviceFinding>,
    looking: BTreeMap<u64, JoinHandle<()>>,
    looked: mpsc::Sender<(u64, check::Found)>,
}

impl FencerPart {
    fn core(&self) -> MutexGuard<'_, Fencer> {
        // A panic under the lock ends the process; in tests the other user of the lock still wants an answer.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connected(&mut self, port: Port<FromFencer, ToFencer>) {
        self.ring_closed();
        tracing::info!("the ring part is connected");
        if port.send(FromFencer::Hello { life: self.life }) {
            self.ring = Some(port);
            self.say(FencerSays::Watchdog { timeout: self.watch.armed() });
        }
    }

    fn ring_closed(&mut self) {
        if self.ring.take().is_some() {
            tracing::warn!("the ring part is gone: every session with a device is closed");
            self.core().handle_ring_closed(clock::now());
        }
    }

    fn told(&mut self, message: ToFencer) {
        let now = clock::now();
        match message {
            ToFencer::Detach(span) => self.watch.detach(span),
            ToFencer::Do(FencerDo::Install { epoch, quorate, members, evicted }, _) => {
                crate::log::era(quorate.then_some(epoch.ring));
                let present: Vec<NodeId> =
                    members.into_iter().filter(|member| !evicted.contains(member)).collect();
                let mut core = self.core();
                if core.epoch() != Some(epoch) {
                    core.handle_configuration(now, present);
                    if quorate {
                        core.handle_epoch(now, epoch);
                    }
                } else {
                    core.handle_members(now, present);
                }
            }
            ToFencer::Do(FencerDo::Carry(mut command), at) => {
                command.deadline = command.deadline.saturating_sub(now.since(at));
                let (incident, epoch) = (command.incident, command.epoch);
                tracing::info!(incident = %incident.ring, member_id = incident.node.as_u16(), goal = ?command.goal, "a power command came");
                self.core().handle_command(now, command);
                self.say(FencerSays::Started { incident, epoch });
            }
            ToFencer::Do(FencerDo::Drop(incident), _) => {
                self.core().handle_evidence(now, incident);
            }
            ToFencer::Do(FencerDo::Suspend, _) => self.watch.suspend(true),
            ToFencer::Do(FencerDo::Resume, _) => self.watch.suspend(false),
            ToFencer::Do(FencerDo::AbortAll, _) => self.core().handle_ring_closed(now),
            ToFencer::Pass(at) => self.watch.ring_passed(at),
            ToFencer::Settings(settings) => {
                self.core().handle_settings(now, Settings { token: settings.token });
                if self.settings.as_ref().map(|s| &s.secrets) != Some(&settings.secrets) {
                    self.fetch_at = Some(now);
                }
                self.settings = Some(settings);
            }
            ToFencer::Token(seen_at) => self.core().handle_token(now, seen_at),
            ToFencer::Devices(devices) => {
                self.looks.devices(now, devices);
                // also where nothing changes: this ring part may be new
                self.tell();
            }
        }
    }

    fn pump(&mut self) {
        loop {
            let Some(output) = self.core().poll_output() else { return };
            match output {
                Output::Call(call) => self.call(call),
                Output::Abort(id) => {
                    if let Some(work) = self.calls.remove(&id) {
                        work.abort();
                    }
                }
                Output::Result(result) => {
                    let incident = result.incident;
                    tracing::info!(incident = %incident.ring, member_id = incident.node.as_u16(), goal = ?result.goal, outcome = ?result.outcome, took_ms = result.took.as_millis(), "a power command ended");
                    if matches!(result.outcome, Err(DeviceError::Authentication)) {
                        self.fetch_at = Some(clock::now());
                    }
                    self.say(FencerSays::Ended(result));
                }
            }
        }
    }

    fn say(&mut self, what: FencerSays) {
        if let Some(port) = &self.ring
            && !port.send(FromFencer::Says(what))
        {
            self.ring_closed();
        }
    }

    /// Begins the looks that are due.
    fn look(&mut self) {
        let now = clock::now();
        if self.looks.settle(now) {
            self.tell();
        }
        while let Some(Look { number, device }) = self.looks.poll_look(now) {
            let credential = self.credentials.get(&device.credentials);
            let opened = self.devices.open(&device, credential);
            let looked = self.looked.clone();
            let work = tokio::spawn(async move {
                let found = match opened {
                    Ok(open) => {
                        let ended =
                            tokio::time::timeout(LOOK_TIME_MAX, open.identity(LOOK_TIME_MAX)).await;
                        let late = PowerError::Timeout("a look at it");
                        ended.unwrap_or(Err(late)).map_err(LookError::Power)
                    }
                    Err(error) => Err(LookError::NotOpened(error)),
                };
                let _ = looked.send((number, found)).await;
            });
            self.looking.insert(number, work);
        }
    }

    /// Tells the ring part what is known of the devices.
    fn tell(&mut self) {
        let findings = self.looks.findings();
        for said in findings.iter().filter(|said| !self.logged.contains(said)) {
            if said.reason.is_empty() {
                tracing::info!(device = %said.device, "the fence device can be used");
            } else {
                tracing::warn!(device = %said.device, reason = said.reason, "{}", said.text);
            }
        }
        self.logged.clone_from(&findings);
        if let Some(port) = &self.ring
            && !port.send(FromFencer::Looked(findings))
        {
            self.ring_closed();
        }
    }

    fn call(&mut self, call: DeviceCall) {
        let id = call.id;
        // Some boards have one session to give.
        let under_way = self.looks.give_way(clock::now(), &call.device.name);
        if let Some(work) = under_way.and_then(|number| self.looking.remove(&number)) {
            work.abort();
        }
        let credential = self.credentials.get(&call.device.credentials);
        let device = self.devices.open(&call.device, credential);
        let answers = self.answers.clone();
        let core = Arc::clone(&self.core);
        let permit = Permit::new(move || {
            core.lock().unwrap_or_else(PoisonError::into_inner).permits(clock::now(), id)
        });
        let work = tokio::spawn(async move {
            let answer = match device {
                Ok(device) => {
                    let work = carry_out(device.as_ref(), &call, permit);
                    let ended = tokio::time::timeout(call.within, work).await;
                    ended.unwrap_or(Err(DeviceError::Unreachable))
                }
                Err(error) => Err(error),
            };
            let _ = answers.send((id, answer)).await;
        });
        self.calls.insert(id, work);
    }
}
