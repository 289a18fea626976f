//! The loop of the ring part: one thread, one runtime, one turn after the other.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use base::{
    Instant, NodeId, NodeName,
    faulty::{Rule, broken},
};
use cluster::{ExecutorSays, FencerSays, Input, RequestId, RequestKind, Status as View, Verdict};
use policy::revision::Revision;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, watch};
use totem::RingCounters;

use self::alone::Alone;
use super::{
    core::Core,
    counted,
    outlet::{Outlet, tokens_every},
    parts::Part,
    requests,
    setup::{Ended, Feed, Setup, Stop},
    start::{addresses, core, fencer_settings, interfaces, shape},
    view::{Beside, status},
};
use crate::{
    clock::{self, GapMeter},
    conditions,
    executor::sleep_until,
    links,
    local::{Call, Reply, Request},
    messages::{FromExecutor, FromFencer, ToExecutor, ToFencer},
    state::{FileKind, Persisted, Persister, WriteToken},
    transport::{Addresses, DATAGRAM_BYTES_MAX, Transport},
};

/// After a failed bind or connect of the sockets.
const BIND_AGAIN: Duration = Duration::from_secs(1);
/// For the ring to take up the announcement of an absence.
const DETACH_PATIENCE: Duration = Duration::from_millis(1500);
/// Requests of the local socket that wait for the ring.
const REPLIES_MAX: usize = 64;
/// Requests of our own have numbers above those of people.
const OWN_REQUEST: RequestId = RequestId(u64::MAX);

mod alone;
mod house;

struct Loop {
    core: Core,
    outlet: Outlet,
    meter: GapMeter,
    buffer: Vec<u8>,
    revision: Revision,
    node_name: NodeName,
    own_networks: BTreeMap<String, String>,
    addresses: Addresses,
    bind_at: Option<Instant>,
    next_request: u64,
    /// The sockets had more when we turned to other things.
    more: bool,
    house_at: Instant,
    wall_at: Instant,
    stopping: Option<(Instant, Ended)>,
    reconfigure_at: Option<Instant>,
    dropped: BTreeMap<&'static str, u64>,
    accepted: u64,
    shown: Option<Arc<View>>,
    /// What the ring had counted at the last look.
    ring_counted: RingCounters,
    /// What came from each address of a peer.
    links: BTreeMap<IpAddr, Counter>,
    /// A watchdog is configured; since when it is not armed.
    watchdog: bool,
    /// The newest gap that is still shown.
    gap_at: Option<Instant>,
    unarmed_since: Option<Instant>,
    alone: Alone,
    lonely: watch::Sender<Option<String>>,
}

/// What woke the loop.
enum Woken {
    Call(Call),
    Datagrams,
    Executor(Option<FromExecutor>),
    Feed(Feed),
    Fencer(Option<FromFencer>),
    Persisted(Persisted),
    Probed(NodeId, Verdict),
    Stop(Stop),
    Timer,
}

/// Runs one life of the member. Must be called inside a current-thread runtime of its own.
pub async fn run(setup: Setup) -> io::Result<Ended> {
    let (answer, mut persisted) = mpsc::unbounded_channel();
    let (probed_tx, mut probed) = mpsc::channel(64);
    // One answer at most for each write that waits, and those are bounded.
    let answer = Arc::new(move |said| drop(answer.send(said)));
    let persister = Persister::start(setup.state_dir.files(), answer)?;
    let Setup {
        node_name,
        state_dir: _lock,
        loaded,
        revision,
        keys,
        boot_id,
        system_uuid,
        networks,
        bound,
        executor,
        fencer,
        prober,
        mut calls,
        mut feed,
        views,
        mut stop,
        metrics,
        watchdog,
        conditions,
        lonely,
    } = setup;
    let now = clock::now();
    let me = loaded.identity.node;
    let addresses = addresses(me, &revision, &bound)?;
    let core = core(now, me, &revision, keys, loaded, boot_id, system_uuid)?;
    metrics.own.watchdog_configured.set(watchdog.into());
    counted::revision(&metrics, &revision);
    let links = house::link_counters(&metrics.ring.links, &addresses, &revision);
    let outlet = Outlet {
        transport: None,
        persister,
        executor: Part::start("executor", executor),
        fencer: Part::start("fencer", fencer),
        executor_settings: None,
        networks: interfaces(me, &revision, &networks),
        install: None,
        suspension: None,
        fencer_settings: fencer_settings(&revision),
        prober,
        addresses: addresses.peers.clone(),
        port: addresses.port,
        tokens_every: tokens_every(revision.timings.token),
        probed: probed_tx,
        replies: BTreeMap::new(),
        answered: VecDeque::new(),
        timeline: super::timeline::Timeline::default(),
        incidents: super::incidents::Incidents::default(),
        conditions: BTreeMap::new(),
        orders: BTreeMap::new(),
        metrics,
        members: Vec::new(),
        gone: std::collections::BTreeSet::new(),
        configurations: 0,
        left: None,
        changed: true,
        token: None,
        told_at: Instant::ZERO,
        passed_at: Instant::ZERO,
        now,
    };
    let mut this = Loop {
        core,
        outlet,
        meter: GapMeter::new(now, revision.timings.token / 2),
        buffer: vec![0; DATAGRAM_BYTES_MAX],
        node_name,
        own_networks: networks,
        addresses,
        bind_at: Some(now),
        next_request: 1,
        more: false,
        house_at: now,
        wall_at: now,
        stopping: None,
        reconfigure_at: None,
        dropped: BTreeMap::new(),
        accepted: 0,
        shown: None,
        ring_counted: RingCounters::default(),
        links,
        watchdog,
        gap_at: None,
        unarmed_since: Some(now),
        alone: Alone::default(),
        lonely,
        revision,
    };
    for (kind, text) in conditions {
        this.outlet.condition(kind, Some(text));
    }
    this.outlet.timeline.add(now, "agent", "the ring part has started");
    loop {
        if let Some(ended) = this.turn(&views) {
            // The others hear what was said last before their connections close.
            tokio::time::sleep(Duration::from_millis(20)).await;
            this.outlet.persister.finish();
            return Ok(ended);
        }
        let wake = this.wake();
        let transport = &this.outlet.transport;
        let datagrams = std::future::poll_fn(|context| match transport {
            Some(transport) => transport.poll_ready(context),
            None => std::task::Poll::Pending,
        });
        let woken = tokio::select! {
            biased;
            () = datagrams => Woken::Datagrams,
            Some(said) = persisted.recv() => Woken::Persisted(said),
            said = this.outlet.executor.next() => Woken::Executor(said),
            said = this.outlet.fencer.next() => Woken::Fencer(said),
            Some((node, verdict)) = probed.recv() => Woken::Probed(node, verdict),
            Some(call) = calls.recv() => Woken::Call(call),
            Some(news) = feed.recv() => Woken::Feed(news),
            Some(how) = stop.recv() => Woken::Stop(how),
            () = sleep_until(wake) => Woken::Timer,
        };
        this.begin();
        this.woken(woken);
    }
}

impl Loop {
    /// The begin of a turn: the gap is said first, then the queued datagrams come.
    fn begin(&mut self) {
        let now = clock::now();
        self.outlet.now = now;
        self.outlet.pass(now);
        if let Some(gap) = self.meter.turn_begins(now) {
            self.gap(now, gap);
        }
        self.drain();
    }

    fn gap(&mut self, now: Instant, gap: Duration) {
        self.outlet.metrics.own.gaps.inc();
        self.outlet.metrics.own.gap_seconds.observe(gap.as_secs_f64());
        let text = format!("this member was not run for {} ms", gap.as_millis());
        // the first of a series: it would be written anew with each
        if self.gap_at.replace(now).is_none() {
            let why = format!(
                "{text}, longer than half of the token timeout: nothing was carried out until the ring had proven itself again; look at load, memory and processor limits of this machine, or choose a longer token timeout"
            );
            self.outlet.condition(conditions::GAP, Some(why));
        }
        tracing::warn!(gap_ms = gap.as_millis(), "{text}");
        self.outlet.timeline.add(now, "agent", &text);
        self.core.handle_gap(now, gap);
    }

    fn drain(&mut self) {
        let Self { core, outlet, buffer, more, links, .. } = self;
        let Some(transport) = &mut outlet.transport else { return };
        // One reading of the clock for the batch: it takes microseconds, and the core wants time that never goes back.
        let now = clock::now();
        *more = transport.drain(buffer, |source, datagram| {
            if let Some(count) = links.get(&source) {
                count.inc();
            }
            core.handle_datagram(now, source, datagram);
        });
        while let Some(node) = transport.poll_closed() {
            core.handle_unreachable(now, node);
        }
    }

    /// Timers and effects, after everything that came. Some: it is over.
    fn turn(&mut self, views: &watch::Sender<Option<Arc<View>>>) -> Option<Ended> {
        let now = clock::now();
        self.outlet.now = now;
        self.core.handle_timeout(now);
        self.core.pump(now, &mut self.outlet);
        if self.outlet.changed {
            self.tell_gone();
        }
        if self.bind_at.is_some_and(|at| at <= now) {
            self.bind(now);
        }
        if self.house_at <= now {
            self.keep_house(now, views);
        }
        if let Some(reason) = self.outlet.left.take() {
            let clean = self.core.member().has_left();
            return Some(if clean { Ended::Left(reason) } else { Ended::Gone(reason) });
        }
        if self.reconfigure_at.is_some_and(|at| at <= now) {
            self.reconfigure_at = None;
            self.detach(now, Duration::from_secs(10), Ended::Reconfigured);
        }
        let announced = self.outlet.answered.drain(..).any(|(id, _)| id == OWN_REQUEST);
        if let Some((until, ended)) = &self.stopping
            && (announced || *until <= now)
        {
            let ended = ended.clone();
            if !announced {
                tracing::warn!(
                    "the ring has not taken up the announcement of this absence in time"
                );
            }
            // The others form their ring at once instead of waiting for our token.
            self.core.leave_ring(now);
            self.core.pump(now, &mut self.outlet);
            return Some(ended);
        }
        let now = clock::now();
        if let Some(busy) = self.meter.turn_ends(now, self.wake().unwrap_or(now)) {
            self.gap(now, busy);
        }
        None
    }

    /// What ran on a machine that is proven dead gets no connections any more, at once and not when checks find out.
    fn tell_gone(&mut self) {
        let gone = self.core.member().gone();
        if gone != self.outlet.gone && !broken(Rule::DeadNotTold) {
            self.outlet.executor.say(ToExecutor::Gone(gone.clone()));
            self.outlet.gone = gone;
        }
    }

    fn wake(&self) -> Option<Instant> {
        if self.more {
            return Some(self.outlet.now);
        }
        let stopping = self.stopping.as_ref().map(|(at, _)| *at);
        let wishes = [self.core.poll_timeout(), self.bind_at, stopping, Some(self.house_at)];
        wishes.into_iter().flatten().min()
    }

    fn woken(&mut self, woken: Woken) {
        let now = clock::now();
        match woken {
            Woken::Datagrams | Woken::Timer => {}
            Woken::Call(call) => self.call(now, call),
            Woken::Executor(said) => self.executor(now, said),
            Woken::Feed(news) => self.feed(now, news),
            Woken::Fencer(said) => self.fencer(now, said),
            Woken::Persisted(said) => self.persisted(now, said),
            Woken::Probed(node, verdict) => {
                let text = format!("probe of node {node}: {verdict:?}");
                self.outlet.timeline.add(now, "ring", &text);
                tracing::info!(member_id = node.as_u16(), "{text}");
                self.core.handle(now, Input::Probed { node, verdict });
            }
            Woken::Stop(Stop::Detach(span)) => self.detach(now, span, Ended::Detached),
        }
    }

    fn persisted(&mut self, now: Instant, said: Persisted) {
        match said {
            Persisted::Durable { kind, tokens, took } => {
                self.outlet.metrics.own.persist_seconds.observe(took.as_secs_f64());
                self.outlet.condition(conditions::STATE_DIR, None);
                self.core.handle_persisted(now, kind, &tokens);
            }
            Persisted::Failing { kind, error } => {
                self.outlet.metrics.own.persist_failures.inc();
                let text = format!(
                    "{error}: this member's {} is not durable, and nothing that needs it goes on; free space or repair the disk",
                    kind.file_name()
                );
                self.outlet.condition(conditions::STATE_DIR, Some(text));
            }
        }
    }

    fn executor(&mut self, now: Instant, said: Option<FromExecutor>) {
        match said {
            None if self.outlet.executor.connected() => self.outlet.greet_executor(),
            None => {
                let text =
                    "the executor does not answer: nothing starts or stops here until it is back";
                self.outlet.condition(conditions::EXECUTOR_AWAY, Some(text.into()));
            }
            // What it runs is unknown until it has reported; the engine gives the epoch again.
            Some(FromExecutor::Hello { life: _ }) => {
                self.core.handle(now, Input::Executor(ExecutorSays::Restarted));
            }
            Some(FromExecutor::Says(says)) => {
                self.outlet.executor_said(&says);
                self.core.handle(now, Input::Executor(says));
            }
            Some(FromExecutor::Announced { resource, took, seen }) => {
                let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                let text = if seen {
                    format!("{resource} was seen here by a peer after {took_ms} ms")
                } else {
                    format!(
                        "{resource} was announced for {took_ms} ms, and no peer on its network has said that it sees it"
                    )
                };
                self.outlet.timeline.add(now, "executor", &text);
            }
        }
    }

    fn fencer(&mut self, now: Instant, said: Option<FromFencer>) {
        match said {
            None if self.outlet.fencer.connected() => self.outlet.greet_fencer(),
            None => {
                self.fencer_is_away();
                let text = "the fencer does not answer: this member cannot power others off";
                self.outlet.condition(conditions::FENCER_AWAY, Some(text.into()));
            }
            Some(FromFencer::Hello { life }) => self.fencer_is_here(life),
            Some(FromFencer::Looked(findings)) => self.fencer_looked(findings),
            Some(FromFencer::Says(says)) => {
                if let FencerSays::Watchdog { timeout } = &says {
                    self.watchdog(now, *timeout);
                }
                if let FencerSays::Started { .. } = &says {
                    self.outlet.metrics.fencing.attempts.inc();
                }
                if let FencerSays::Ended(result) = &says {
                    counted::fenced(&self.outlet.metrics, result);
                    self.outlet.incidents.fenced(result);
                    let text = format!(
                        "{:?} of node {} ended after {} ms: {:?}",
                        result.goal,
                        result.incident.node,
                        result.took.as_millis(),
                        result.outcome
                    );
                    self.outlet.timeline.add(now, "fencing", &text);
                }
                self.core.handle(now, Input::Fencer(says));
            }
        }
    }

    fn call(&mut self, now: Instant, call: Call) {
        let reply = match &call.request {
            Request::Status {} => Reply::Status(Box::new(self.status())),
            Request::Timeline { limit } => Reply::Timeline(self.outlet.timeline.last(*limit)),
            Request::Resume {} if self.core.member().ring_stopped() => {
                // a new life of this part knows nothing of a ring that was stopped
                self.stopping = Some((now, Ended::Reconfigured));
                self.outlet.answered.push_back((OWN_REQUEST, true));
                Reply::Done(
                    "this member seeks its ring again; the suspension ends when all members have done so".into(),
                )
            }
            request => match requests::kind(request, &self.revision) {
                Ok(kind) if self.outlet.replies.len() < REPLIES_MAX => {
                    let id = RequestId(self.next_request);
                    self.next_request += 1;
                    self.outlet.timeline.add(now, "request", &format!("{request:?}"));
                    self.outlet.replies.insert(id, call.reply);
                    self.core.handle_request(now, id, kind);
                    self.outlet.replies.retain(|_, reply| !reply.is_closed());
                    return;
                }
                Ok(_) => {
                    Reply::Refused("too many requests wait for the ring: try again later".into())
                }
                Err(reason) => Reply::Refused(reason),
            },
        };
        let _ = call.reply.send(reply);
    }

    fn status(&self) -> crate::status::Status {
        status(
            &self.core.member().status(),
            &Beside {
                revision: &self.revision,
                node: self.node_name.as_str(),
                state: self.core.ring_state(),
                members: &self.outlet.members,
                configurations: self.outlet.configurations,
                dropped: self.dropped.values().sum(),
                incidents: &self.outlet.incidents,
                conditions: &self.outlet.conditions,
            },
        )
    }

    fn feed(&mut self, now: Instant, news: Feed) {
        match news {
            Feed::Api(reached) => self.outlet.condition(conditions::API_UNREACHABLE, reached.err()),
            Feed::Era(_) => {}
            Feed::KeysWrong(why) => self.key_secret(why),
            Feed::Keys(keys) => {
                // Another key under an id that is in use is not kept either: after a restart this member would be alone with it.
                if self.compare_keys(&keys) {
                    let text = keys.to_text();
                    let _ = self.outlet.persister.write(
                        FileKind::RingKeys,
                        text.as_bytes().to_vec(),
                        WriteToken(0),
                    );
                }
                self.core.set_keys(now, &keys);
            }
            Feed::Revision(revision) => {
                if *revision == self.revision {
                    return;
                }
                let content = postcard::to_allocvec(&*revision).unwrap_or_default();
                let _ = self.outlet.persister.write(FileKind::Revision, content, WriteToken(0));
                let me = self.core.me();
                if shape(&revision) != shape(&self.revision) && self.reconfigure_at.is_none() {
                    // One member after the other, so that the others go on.
                    let place = revision.voters.iter().position(|v| v.id == me).unwrap_or(0);
                    let place = u32::try_from(place).unwrap_or(0);
                    let wait = Duration::from_secs(3) + Duration::from_secs(8) * place;
                    tracing::info!(
                        wait_s = wait.as_secs(),
                        "members, addresses or times of the ring changed: this part starts again"
                    );
                    self.reconfigure_at = Some(now + wait);
                }
                self.outlet.networks = interfaces(me, &revision, &self.own_networks);
                self.outlet.executor.say(ToExecutor::Networks(self.outlet.networks.clone()));
                self.outlet.fencer_settings = fencer_settings(&revision);
                self.outlet.fencer.say(ToFencer::Settings(self.outlet.fencer_settings.clone()));
                self.revision = (*revision).clone();
                counted::revision(&self.outlet.metrics, &self.revision);
                self.outlet.changed = true;
                self.core.handle(now, Input::Revision(revision));
            }
        }
    }

    fn detach(&mut self, now: Instant, span: Duration, ended: Ended) {
        if self.stopping.is_some() {
            return;
        }
        self.outlet.fencer.say(ToFencer::Detach(span));
        self.outlet.timeline.add(
            now,
            "agent",
            &format!("stops, back in at most {} s", span.as_secs()),
        );
        self.stopping = Some((now + DETACH_PATIENCE, ended));
        self.core.handle_request(now, OWN_REQUEST, RequestKind::Detach(span));
    }

    fn bind(&mut self, now: Instant) {
        match Transport::bind(&self.addresses) {
            Ok(transport) => {
                self.outlet.transport = Some(transport);
                self.bind_at = None;
                self.outlet.condition(conditions::LINK, None);
                let alike = links::judge(&self.addresses.own, &links::held());
                self.outlet.condition(conditions::LINKS, alike);
                tracing::info!(port = self.addresses.port, "the ring's sockets are bound");
            }
            Err(error) => {
                self.bind_at = Some(now + BIND_AGAIN);
                let text = format!(
                    "{error}: the ring's sockets are not bound; check the addresses in the cluster's members and the machine's network"
                );
                self.outlet.condition(conditions::LINK, Some(text));
            }
        }
    }
}
