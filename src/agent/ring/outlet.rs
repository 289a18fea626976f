//! Where the cores' effects go: sockets, the disk's thread, the other parts, people.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use base::{
    Instant, NodeId, NodeName, ResourceId, RingId,
    faulty::{Rule, broken},
};
use cluster::{ExecutorDo, ExecutorSays, FencerDo, Phase, Record, Refused, RequestId, Verdict};
use lifecycle::{Operation, OrderId, Quorum};
use tokio::sync::{mpsc, oneshot};

use super::{
    core::{RingNews, World},
    counted,
    incidents::Incidents,
    parts::Part,
    setup::Prober,
    timeline::Timeline,
};
use crate::{
    clock, conditions,
    local::Reply,
    messages::{FromExecutor, FromFencer, ToExecutor, ToFencer},
    metrics::{Condition, Metrics},
    state::{FileKind, Persister, WriteToken},
    transport::Transport,
};

/// An idle ring's token rests for a tenth of its timeout, and nothing begins on one that is older than half of it: passed
/// on to the other parts once in a quarter it never gets that old, and they are woken half as often as by each token.
pub(super) fn tokens_every(token: Duration) -> Duration {
    token / 4
}

/// Tokens of the ring's loop for the watchdog.
const PASSES_EVERY: Duration = Duration::from_millis(250);
/// Orders in flight whose time is measured.
const ORDERS_MAX: usize = 4096;

pub(super) struct Outlet {
    pub(super) transport: Option<Transport>,
    pub(super) persister: Persister,
    pub(super) executor: Part<ToExecutor, FromExecutor>,
    pub(super) fencer: Part<ToFencer, FromFencer>,
    /// Said again on each connection of the executor.
    pub(super) executor_settings: Option<ExecutorDo>,
    pub(super) networks: BTreeMap<String, String>,
    /// Said again on each connection of the fencer, after its settings.
    pub(super) install: Option<FencerDo>,
    /// As is whether the cluster is suspended, before that.
    pub(super) suspension: Option<FencerDo>,
    pub(super) fencer_settings: crate::messages::FencerSettings,
    pub(super) prober: Arc<dyn Prober>,
    pub(super) addresses: BTreeMap<NodeId, Vec<IpAddr>>,
    pub(super) port: u16,
    /// Between two tokens that the other parts hear of.
    pub(super) tokens_every: Duration,
    pub(super) probed: mpsc::Sender<(NodeId, Verdict)>,
    pub(super) replies: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    /// Answers that nobody outside waits for: the announced absence.
    pub(super) answered: VecDeque<(RequestId, bool)>,
    pub(super) timeline: Timeline,
    pub(super) incidents: Incidents,
    pub(super) conditions: BTreeMap<&'static str, String>,
    /// Orders of the executor that have not ended, and when they were given.
    pub(super) orders: BTreeMap<OrderId, (Operation, ResourceId, Instant)>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) members: Vec<NodeId>,
    /// Members of which it is known that nothing runs there, as the executor was told.
    pub(super) gone: BTreeSet<NodeName>,
    pub(super) configurations: u64,
    pub(super) left: Option<String>,
    /// Something changed that `status` shows.
    pub(super) changed: bool,
    /// The newest token, and the newest that the parts know of.
    pub(super) token: Option<(RingId, Instant)>,
    pub(super) told_at: Instant,
    pub(super) passed_at: Instant,
    pub(super) now: Instant,
}

impl Outlet {
    /// A condition of this member came or went.
    pub(super) fn condition(&mut self, kind: &'static str, text: Option<String>) {
        let gauge = self.metrics.own.conditions.get_or_create(&Condition { condition: kind });
        gauge.set(i64::from(text.is_some()));
        drop(gauge);
        match text {
            Some(text) => {
                if self.conditions.get(kind) != Some(&text) {
                    tracing::warn!(condition = kind, "{text}");
                    self.conditions.insert(kind, text);
                    self.changed = true;
                }
            }
            None => {
                if self.conditions.remove(kind).is_some() {
                    tracing::info!(condition = kind, "is over");
                    self.changed = true;
                }
            }
        }
    }

    /// On a new connection of the executor, before its engine hears of it.
    pub(super) fn greet_executor(&mut self) {
        self.executor.say(ToExecutor::Networks(self.networks.clone()));
        self.executor.say(ToExecutor::Gone(self.gone.clone()));
        if let Some(settings) = self.executor_settings.clone() {
            self.executor.say(ToExecutor::Do(settings, self.now));
        }
        self.condition(conditions::EXECUTOR_AWAY, None);
    }

    /// On a new connection of the fencer.
    pub(super) fn greet_fencer(&mut self) {
        self.fencer.say(ToFencer::Settings(self.fencer_settings.clone()));
        for what in self.suspension.iter().chain(&self.install) {
            self.fencer.say(ToFencer::Do(what.clone(), self.now));
        }
        self.tell_token(true);
        self.condition(conditions::FENCER_AWAY, None);
    }

    /// Passes the newest token on; `at_once` before something that needs it.
    pub(super) fn tell_token(&mut self, at_once: bool) {
        let Some((ring, seen_at)) = self.token else { return };
        if seen_at > self.told_at && (at_once || seen_at.since(self.told_at) >= self.tokens_every) {
            self.told_at = seen_at;
            self.executor.say(ToExecutor::Token { ring, seen_at });
            self.fencer.say(ToFencer::Token(seen_at));
        }
    }

    /// Faulty rule: without the API nothing is ordered.
    fn waits_for_the_api(&self) -> bool {
        broken(Rule::ApiDecides) && self.conditions.contains_key(conditions::API_UNREACHABLE)
    }

    /// Counts it. Orders of an older epoch are void and never end.
    pub(super) fn executor_said(&mut self, says: &ExecutorSays) {
        match says {
            ExecutorSays::Ended { id, end, .. } => {
                if let Some((operation, resource, at)) = self.orders.remove(id) {
                    tracing::info!(%resource, ?operation, ?end, "an order ended");
                    counted::operation(&self.metrics, operation, end, clock::now().since(at));
                }
            }
            ExecutorSays::Changed { .. } => {
                self.metrics.resources.changes.inc();
            }
            ExecutorSays::Report { .. } | ExecutorSays::Restarted => self.orders.clear(),
            ExecutorSays::SelfFencing { .. } => {
                self.metrics.own.self_fencings.inc();
            }
            ExecutorSays::Announcing { .. }
            | ExecutorSays::Regained
            | ExecutorSays::Released
            | ExecutorSays::Scores { .. }
            | ExecutorSays::Sees { .. }
            | ExecutorSays::Suspended => {}
        }
    }

    /// A turn of the loop began.
    pub(super) fn pass(&mut self, now: Instant) {
        self.metrics.health.turn(now);
        if now.since(self.passed_at) >= PASSES_EVERY {
            self.passed_at = now;
            self.fencer.say(ToFencer::Pass(now));
        }
    }
}

impl World for Outlet {
    fn send(&mut self, to: NodeId, datagram: &[u8]) {
        if let Some(transport) = &mut self.transport {
            transport.send(to, datagram);
            self.metrics.ring.sent.inc();
        }
    }

    fn persist(&mut self, kind: FileKind, content: Vec<u8>, token: WriteToken) {
        if !self.persister.write(kind, content, token) {
            let text = "the disk has taken nothing for a thousand writes: this member cannot promise anything; look at the disk";
            self.condition(conditions::STATE_DIR, Some(text.into()));
        }
    }

    fn executor(&mut self, what: ExecutorDo) {
        if matches!(what, ExecutorDo::Carry(_)) && self.waits_for_the_api() {
            return;
        }
        match &what {
            ExecutorDo::TakeEpoch { epoch, quorum } => {
                crate::log::era((*quorum == Quorum::Quorate).then_some(epoch.ring));
            }
            ExecutorDo::Void { .. } => crate::log::era(None),
            _ => {}
        }
        if let ExecutorDo::Settings(_) = what {
            self.executor_settings = Some(what.clone());
        }
        if let ExecutorDo::Carry(order) = &what {
            if order.interval.is_none() && self.orders.len() < ORDERS_MAX {
                let given = (order.operation, order.resource.clone(), self.now);
                self.orders.insert(order.id, given);
            }
            let text = format!("{:?} {} here", order.operation, order.resource);
            if order.interval.is_none() {
                tracing::info!(resource = %order.resource, operation = ?order.operation, "ordered here");
            }
            self.timeline.add(self.now, "order", &text);
            self.tell_token(true);
        }
        self.changed = true;
        self.executor.say(ToExecutor::Do(what, self.now));
    }

    fn fencer(&mut self, what: FencerDo) {
        if matches!(what, FencerDo::Carry(_)) && self.waits_for_the_api() {
            return;
        }
        match &what {
            FencerDo::Install { .. } => self.install = Some(what.clone()),
            FencerDo::AbortAll => self.install = None,
            FencerDo::Suspend | FencerDo::Resume => self.suspension = Some(what.clone()),
            FencerDo::Drop(_) => {}
            FencerDo::Carry(command) => {
                let text = format!(
                    "{:?} node {} for incident {}",
                    command.goal, command.incident.node, command.incident.ring
                );
                self.timeline.add(self.now, "fencing", &text);
                self.tell_token(true);
            }
        }
        self.changed = true;
        self.fencer.say(ToFencer::Do(what, self.now));
    }

    fn probe(&mut self, node: NodeId) {
        let addresses = self.addresses.get(&node).cloned().unwrap_or_default();
        let look = self.prober.probe(addresses, self.port);
        let probed = self.probed.clone();
        tokio::spawn(async move {
            let verdict = look.await;
            let _ = probed.send((node, verdict)).await;
        });
    }

    fn answer(&mut self, id: RequestId, result: Result<(), Refused>) {
        match self.replies.remove(&id) {
            Some(reply) => {
                let _ = reply.send(match result {
                    Ok(()) => Reply::Done("taken up by the ring".into()),
                    Err(Refused(reason)) => Reply::Refused(reason),
                });
            }
            None => self.answered.push_back((id, result.is_ok())),
        }
        self.changed = true;
    }

    fn record(&mut self, record: Record) {
        self.incidents.record(self.now, clock::wall_ms(), &record);
        let kind = match record.phase {
            Phase::Detect | Phase::Agree => "ring",
            Phase::Fence | Phase::Verify => "fencing",
            Phase::Plan | Phase::Recover | Phase::Announce | Phase::Seen | Phase::Recovered => {
                "plan"
            }
            Phase::Note => "note",
        };
        let text = match record.incident {
            Some(incident) => format!(
                "{:?}: {} (node {}, incident {})",
                record.phase, record.text, incident.node, incident.ring
            ),
            None => record.text,
        };
        let incident = record.incident.map(|incident| tracing::field::display(incident.ring));
        let member_id = record.incident.map(|incident| incident.node.as_u16());
        tracing::info!(kind, incident, member_id, "{text}");
        self.timeline.add(self.now, kind, &text);
        self.changed = true;
    }

    fn ring(&mut self, news: RingNews<'_>) {
        match news {
            RingNews::Broken(ring) => {
                self.incidents.ring_broken(ring, self.now);
                self.timeline.add(self.now, "ring", &format!("ring {ring} is broken"));
                tracing::warn!(%ring, "the ring is broken");
            }
            RingNews::Installed(configuration) => {
                self.configurations += 1;
                self.members = configuration.members.iter().map(|m| m.node).collect();
                self.metrics.ring.configurations.inc();
                let members = i64::try_from(self.members.len()).unwrap_or(i64::MAX);
                self.metrics.ring.members.set(members);
                let nodes: Vec<String> = self.members.iter().map(ToString::to_string).collect();
                let text = format!("ring {} of {}", configuration.ring, nodes.join(", "));
                tracing::info!(ring = %configuration.ring, members = ?nodes, "a ring is installed");
                self.timeline.add(self.now, "ring", &text);
                self.changed = true;
            }
            RingNews::Token(ring, at) => {
                self.incidents.token(at);
                if let Some((before, last)) = self.token
                    && before == ring
                {
                    self.metrics.ring.rotation_seconds.observe(at.since(last).as_secs_f64());
                }
                self.token = Some((ring, at));
                self.tell_token(false);
            }
        }
    }

    fn left(&mut self, reason: String) {
        tracing::info!(%reason, "this member leaves the ring");
        self.left = Some(reason);
    }

    fn safe_state(&mut self, invariant: &'static str, detail: String) {
        tracing::error!(invariant, %detail, "an assertion failed: everything that runs here is released");
        self.timeline.add(self.now, "agent", &format!("{invariant} failed: {detail}"));
        self.executor.say(ToExecutor::Do(ExecutorDo::Leave, self.now));
    }
}
