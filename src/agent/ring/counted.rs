//! What the engine's view, the ring and the parts count as in the metrics.

use std::collections::BTreeMap;

use base::{NodeId, Role};
use cluster::{Status as View, status::InstanceStatus};
use fencing::FenceResult;
use lifecycle::{Operation, OrderEnd, Outcome};
use policy::revision::Revision;
use totem::RingCounters;

use super::view::standing;
use crate::{
    kubernetes::is_of,
    metrics::{Done, Metrics, NodeState, Outcome as Ended, Reason, Resource, Said, unix_now},
};

/// Resources that have series of their own. More are in the objects' status, which holds as many as the API does.
const RESOURCES_MAX: usize = 1000;

/// What the engine may say of an object and what an alert asks for: there from the start.
const ENGINE_SAYS: [&str; 9] = [
    "Blocked",
    "Evicted",
    "FencingDisabled",
    "FencingRefused",
    "FencingSuspended",
    "Owes",
    "PlanRefused",
    "StateLost",
    "Suspended",
];

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Everything that follows from the view.
pub(super) fn view(metrics: &Metrics, view: &View, revision: &Revision) {
    metrics.ring.quorate.set(view.quorate.into());
    let cluster = &metrics.cluster;
    cluster.era_open.set(view.era.is_some().into());
    if let Some(era) = view.era {
        let sequence = i64::try_from(era.seq).unwrap_or(i64::MAX);
        if cluster.era_sequence.set(sequence) != sequence {
            cluster.era_changes.inc();
        }
    }
    cluster.coordinator.set((view.coordinator.is_some() && view.coordinator == view.me).into());
    cluster.debts.set(gauge(view.nodes.iter().filter(|n| n.owes.is_some()).count()));
    let named = |node: &cluster::status::NodeStatus| {
        let known = node.name.clone().or_else(|| Some(revision.voter(node.node)?.name.clone()));
        known.map_or_else(|| format!("node {}", node.node), String::from)
    };
    let states = view.nodes.iter().map(|n| (NodeState { node: named(n), state: standing(n).0 }, 1));
    cluster.nodes.replace(states.collect());
    let zero = |kind: &str| (Said { condition: kind.to_owned() }, 0);
    let mut said: BTreeMap<Said, i64> = ENGINE_SAYS.into_iter().map(zero).collect();
    for condition in &view.conditions {
        *said.entry(Said { condition: condition.kind.clone() }).or_default() += 1;
    }
    cluster.conditions.replace(said);
    let open = || view.operations.iter().filter(|o| o.evidence.is_none() && !o.closed);
    metrics.fencing.open.set(gauge(open().count()));
    metrics.fencing.failing.set(gauge(open().filter(|o| o.failure.is_some()).count()));
    resources(metrics, view, revision);
}

/// Everything that follows from the accepted revision.
pub(super) fn revision(metrics: &Metrics, revision: &Revision) {
    metrics.cluster.voters.set(gauge(revision.voters.len()));
    metrics.fencing.enabled.set(revision.fencing.enabled.into());
    metrics.fencing.gaps.set(gauge(compile::gaps(revision).len()));
}

fn resources(metrics: &Metrics, view: &View, revision: &Revision) {
    let active = |i: &&InstanceStatus| i.role.is_some_and(Role::is_active);
    let here = view.instances.iter().filter(active).filter(|i| Some(i.node) == view.me).count();
    let ours = &metrics.resources;
    ours.here.set(gauge(here));
    let mut running = BTreeMap::new();
    let mut failures = BTreeMap::new();
    let mut stop_failed = BTreeMap::new();
    let mut blocked = BTreeMap::new();
    if view.coordinator.is_some() && view.coordinator == view.me && view.era.is_some() {
        for (placement, primitive) in revision.primitives().take(RESOURCES_MAX) {
            let id = primitive.id.as_str();
            let label = || Resource { resource: id.to_owned() };
            let of = |i: &&InstanceStatus| is_of(i.resource.as_str(), id);
            let all = || view.instances.iter().filter(of);
            let stopped = [primitive.meta.target_role, placement.meta.target_role];
            if !stopped.contains(&Some(Role::Stopped)) && !placement.retained {
                running.insert(label(), gauge(all().filter(active).count()));
            }
            let failed: u32 = all().map(|i| i.failures).sum();
            failures.insert(label(), failed.into());
            stop_failed.insert(label(), gauge(all().filter(|i| i.stop_failed).count()));
            let waits = view.conditions.iter().any(|c| {
                let about = c.object.strip_prefix("resource ");
                c.kind == "Blocked" && about.is_some_and(|about| is_of(about, id))
            });
            blocked.insert(label(), waits.into());
        }
    }
    ours.running.replace(running);
    ours.failures.replace(failures);
    ours.stop_failed.replace(stop_failed);
    ours.blocked.replace(blocked);
}

/// What the ring counted since the last look.
pub(super) fn ring(metrics: &Metrics, before: RingCounters, now: RingCounters) {
    let ring = &metrics.ring;
    ring.tokens_lost.inc_by(now.tokens_lost.saturating_sub(before.tokens_lost));
    ring.tokens_resent.inc_by(now.tokens_resent.saturating_sub(before.tokens_resent));
    ring.messages_resent.inc_by(now.resent.saturating_sub(before.resent));
    let refused = [
        ("unknown_sender", before.unknown_sender, now.unknown_sender),
        ("stale", before.stale, now.stale),
        ("impossible", before.impossible, now.impossible),
        ("shunned", before.shunned, now.shunned),
        ("malformed", before.malformed, now.malformed),
    ];
    for (reason, before, now) in refused {
        let count = ring.messages_refused.get_or_create(&Reason { reason });
        count.inc_by(now.saturating_sub(before));
    }
}

/// A fencing command of this member ended.
pub(super) fn fenced(metrics: &Metrics, result: &FenceResult) {
    let outcome = if result.outcome.is_ok() { "ok" } else { "failed" };
    let fencing = &metrics.fencing;
    fencing.commands.get_or_create(&Ended { outcome }).inc();
    let seconds = fencing.seconds.get_or_create(&Ended { outcome });
    seconds.observe(result.took.as_secs_f64());
    if result.outcome.is_ok() {
        fencing.last_success.set(unix_now());
    }
}

/// An order to the executor of this machine ended.
pub(super) fn operation(
    metrics: &Metrics,
    operation: Operation,
    end: &OrderEnd,
    took: std::time::Duration,
) {
    let operation = match operation {
        Operation::Demote => "demote",
        Operation::Monitor => "monitor",
        Operation::Probe => "probe",
        Operation::Promote => "promote",
        Operation::Start => "start",
        Operation::Stop => "stop",
    };
    let outcome = match end {
        OrderEnd::Done(Outcome::Ok | Outcome::RunningPromoted) => "ok",
        OrderEnd::Done(Outcome::Degraded { .. }) => "degraded",
        OrderEnd::Done(Outcome::NotRunning) => "not_running",
        OrderEnd::Done(Outcome::TimedOut) => "timed_out",
        OrderEnd::Done(Outcome::Failed { .. }) => "failed",
        OrderEnd::Refused(_) => "refused",
    };
    let seconds = metrics.resources.operation_seconds.get_or_create(&Done { operation, outcome });
    seconds.observe(took.as_secs_f64());
}

/// Name of a member for a label.
pub(super) fn peer(revision: &Revision, node: NodeId) -> String {
    revision.voter(node).map_or_else(|| format!("node {node}"), |voter| voter.name.to_string())
}
