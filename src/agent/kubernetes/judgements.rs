//! What the coordinator's view means as conditions: `Quorate`, `Degraded`, `Progressing`, `Ready`, with reason and message.
//!
//! Invariants: each judgement is a function of the view and the revision alone, so that every coordinator says the same; a
//! condition that is not as specified has a reason that `names::reason` lists, and texts have a limit.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    condition::Judgement,
    names::{SAID_OF_DEVICES, condition as types, reason},
};
use base::{FenceDevice, NodeId, Role};
use cluster::{
    Status as View,
    status::{DeviceSaid, InstanceStatus, NodeStatus},
};
use policy::revision::{Placement, Revision};

/// Without fencing a lost machine's exclusive resources stay lost (SPEC-ERRORS.md row 22).
const UNFENCED: &str = "spec.fencing.mode: without fencing a lost node's resources are never recovered (requires manual \
                        confirmation)";

/// Of the whole cluster.
pub(super) fn of_cluster(
    view: &View,
    revision: &Revision,
    strangers: Option<String>,
) -> Vec<Judgement> {
    let unfenced =
        !revision.fencing.enabled && revision.placements.iter().any(Placement::exclusive);
    let mut said: Vec<String> = view
        .conditions
        .iter()
        .filter(|c| c.kind != "Agreeing")
        .map(|c| {
            if c.object == "cluster" { c.text.clone() } else { format!("{}: {}", c.object, c.text) }
        })
        .collect();
    if unfenced {
        said.push(UNFENCED.into());
    }
    let ailing = degrading(view, revision);
    said.extend(ailing.iter().flat_map(|(_, texts)| texts.clone()));
    let unknown = strangers.is_some();
    said.extend(strangers);
    let missing: Vec<&NodeStatus> = view.nodes.iter().filter(|n| !n.member).collect();
    let owing = view.nodes.iter().any(|n| n.owes.is_some() || n.evicted);
    let has = |kind: &str| view.conditions.iter().any(|c| c.kind == kind);
    let degraded = if view.suspended {
        Some(reason::SUSPENDED)
    } else if has("StateLost") {
        Some(reason::STATE_LOST)
    } else if has("SpecRegressed") {
        Some(reason::SPEC_REGRESSED)
    } else if has("FencingSuspended") {
        Some(reason::FENCING_SUSPENDED)
    } else if owing {
        Some(reason::FENCING)
    } else if !missing.is_empty() {
        Some(reason::MEMBERS_MISSING)
    } else if let Some((why, _)) = ailing {
        Some(why)
    } else if unfenced {
        Some(reason::UNFENCED)
    } else if unknown {
        Some(reason::NODE_NOT_FOUND)
    } else if !said.is_empty() {
        Some(reason::INVALID)
    } else {
        None
    };
    let here = view.nodes.len() - missing.len();
    let count = format!("{here} of {} voters are here", view.nodes.len());
    let quorate = view.quorate && view.era.is_some();
    let why = if quorate { reason::MAJORITY } else { reason::NO_QUORUM };
    let all_reported = view.nodes.iter().filter(|n| n.member).all(|n| n.reported);
    let moving = view.instances.iter().any(|i| i.pending.is_some()) || (quorate && !all_reported);
    let text = if said.is_empty() { count.clone() } else { said.join("; ") };
    vec![
        Judgement::new(types::QUORATE, quorate, why, count),
        Judgement::new(
            types::DEGRADED,
            degraded.is_some(),
            degraded.unwrap_or(reason::AS_SPECIFIED),
            if degraded.is_some() { text.clone() } else { String::new() },
        ),
        Judgement::new(
            types::PROGRESSING,
            moving || owing,
            if moving || owing { reason::PENDING } else { reason::AS_SPECIFIED },
            "",
        ),
        Judgement::new(
            types::READY,
            quorate && !view.suspended,
            match (quorate, view.suspended) {
                (true, true) => reason::SUSPENDED,
                (true, false) => reason::AS_SPECIFIED,
                (false, _) => reason::NO_QUORUM,
            },
            if quorate && !view.suspended { String::new() } else { text },
        ),
    ]
}

/// Of one member; `why` is what its state says when the view has nothing to add.
pub(super) fn of_node(view: &View, node: &NodeStatus, why: &str) -> Vec<Judgement> {
    let said = said_of(view, &format!("node {}", node.node));
    let text = if said.is_empty() { why.to_owned() } else { said };
    let ready = node.member && node.reported && !node.evicted;
    let cause = match (ready, node.owes.is_some() || node.evicted) {
        (true, _) => reason::AS_SPECIFIED,
        (false, true) => reason::FENCING,
        (false, false) => reason::MEMBERS_MISSING,
    };
    let mut judged = vec![Judgement::new(types::READY, ready, cause, text)];
    judged.extend(said_by_member(view, node.node));
    judged
}

/// Of a placement and its instances that were found.
pub(super) fn of_placement(
    view: &View,
    placement: &Placement,
    found: &[&InstanceStatus],
) -> Vec<Judgement> {
    let active = |i: &&&InstanceStatus| i.role.is_some_and(Role::is_active);
    let idle: Vec<&str> = placement
        .members
        .iter()
        .filter(|m| !found.iter().filter(active).any(|i| is_instance_of(i, m.id.as_str())))
        .map(|m| m.id.as_str())
        .collect();
    let stopped = placement.meta.target_role == Some(Role::Stopped)
        || placement.members.iter().all(|m| m.meta.target_role == Some(Role::Stopped));
    let pending: Vec<String> = found
        .iter()
        .filter_map(|i| i.pending.as_ref().map(|p| format!("{p} of {}", i.resource)))
        .collect();
    let failed: Vec<String> = found
        .iter()
        .filter(|i| i.failures > 0 || i.stop_failed || i.degraded)
        .map(|i| {
            if i.degraded && i.failures == 0 {
                let why = i.why.as_deref().unwrap_or("see the log there");
                return format!("{} does not run well on node {}: {why}", i.resource, i.node);
            }
            let stop = if i.stop_failed { ", its stop failed" } else { "" };
            let why = i.why.iter().map(|why| format!(": {why}")).collect::<String>();
            format!("{} failed {} times on node {}{stop}{why}", i.resource, i.failures, i.node)
        })
        .collect();
    let ready = if stopped { !found.iter().any(|i| active(&i)) } else { idle.is_empty() };
    let blocked = said_of_placement(view, placement);
    let text = match (ready, blocked.is_empty()) {
        (true, _) if stopped => "stopped, as targetRole says".into(),
        (true, _) => String::new(),
        (false, false) => blocked,
        (false, true) if stopped => "still running, although targetRole is Stopped".into(),
        (false, true) if view.nodes.iter().any(|n| n.owes.is_some()) => {
            format!("{} waits until it is proven that a lost member is off", idle.join(", "))
        }
        (false, true) => format!("{} runs nowhere: see palisade explain", idle.join(", ")),
    };
    let cause = match (ready, pending.is_empty()) {
        (true, _) => reason::AS_SPECIFIED,
        (false, false) => reason::PENDING,
        (false, true) => reason::UNPLACEABLE,
    };
    let moving = !pending.is_empty();
    vec![
        Judgement::new(types::READY, ready, cause, text),
        Judgement::new(
            types::PROGRESSING,
            moving,
            if moving { reason::PENDING } else { reason::AS_SPECIFIED },
            pending.join(", "),
        ),
        Judgement::new(
            types::DEGRADED,
            !failed.is_empty(),
            if failed.is_empty() { reason::AS_SPECIFIED } else { reason::INVALID },
            cut(&failed.join("; "), 1000),
        ),
    ]
}

/// What the view says of the instances of a placement, in one line: the engine speaks of `resource db:0`.
fn said_of_placement(view: &View, placement: &Placement) -> String {
    let about = |object: &str| {
        let instance = object.strip_prefix("resource ");
        instance.is_some_and(|i| placement.members.iter().any(|m| is_of(i, m.id.as_str())))
    };
    let said = view.conditions.iter().filter(|c| about(&c.object));
    let texts: BTreeSet<&str> = said.map(|c| c.text.as_str()).collect();
    cut(&texts.into_iter().collect::<Vec<_>>().join("; "), 500)
}

/// What members say of themselves, as types of conditions of their `HANode`.
pub(super) const SAID_BY_MEMBERS: [&str; 12] = [
    types::API_UNREACHABLE,
    types::EXECUTION_GAP,
    types::EXECUTOR_AWAY,
    types::FENCER_AWAY,
    types::KEY_INVALID,
    types::LINKS_NOT_REDUNDANT,
    types::PRIVILEGE_REFUSED,
    types::SECRETS_UNSEALED,
    types::STAND_IN,
    types::STATE_DIRECTORY_FAILING,
    types::STATE_SET_ASIDE,
    types::WATCHDOG_NOT_ARMED,
];

/// Of these, what makes the whole cluster less than it should be, the worst first: `Degraded`.
const DEGRADING: [(&str, &str); 2] = [
    (types::KEY_INVALID, reason::KEY_INVALID),
    (types::LINKS_NOT_REDUNDANT, reason::LINKS_NOT_REDUNDANT),
];

/// Those of them that are said now: the worst reason, and each text once, with who says it.
fn degrading(view: &View, revision: &Revision) -> Option<(&'static str, Vec<String>)> {
    let mut worst = None;
    let mut texts: BTreeMap<(usize, &str), Vec<String>> = BTreeMap::new();
    for (rank, (kind, why)) in DEGRADING.into_iter().enumerate() {
        for said in view.ails.iter().filter(|c| c.kind == kind) {
            worst = worst.or(Some(why));
            let node = view.nodes.iter().find(|n| said.object == format!("node {}", n.node));
            let name = node.map(|n| super::mirror::node_name(view, revision, n.node));
            texts.entry((rank, &said.text)).or_default().extend(name);
        }
    }
    let texts = texts.into_iter().map(|((_, text), who)| format!("{}: {text}", who.join(", ")));
    Some((worst?, texts.collect()))
}

/// Whether a device can be used: by one who may have to is enough, and those who cannot are named. `None` while it is not
/// known: nobody has looked yet, or one who has not may be the one who can.
pub(super) fn of_device(
    view: &View,
    revision: &Revision,
    device: &FenceDevice,
) -> Option<Judgement> {
    let may = |node: NodeId| device.targets != [node];
    let said: Vec<&DeviceSaid> =
        view.devices.iter().filter(|s| s.finding.device == device.name && may(s.node)).collect();
    let mut faults: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for s in said.iter().filter(|s| !s.finding.reason.is_empty()) {
        let name = super::mirror::node_name(view, revision, s.node);
        faults.entry(&s.finding.text).or_default().push(name);
    }
    let usable = said.iter().any(|s| s.finding.reason.is_empty());
    let asked = view.nodes.iter().filter(|n| n.member && may(n.node));
    let all = asked.clone().all(|n| said.iter().any(|s| s.node == n.node));
    if said.is_empty() || (!usable && !all) {
        return None;
    }
    // What all say needs no names.
    let by_all = faults.len() == 1 && !usable;
    let texts = faults.iter().map(|(text, who)| match by_all {
        true => (*text).to_owned(),
        false => format!("{}: {text}", who.join(", ")),
    });
    let text = texts.collect::<Vec<_>>().join("; ");
    let known =
        |s: &&DeviceSaid| SAID_OF_DEVICES.into_iter().find(|word| *word == s.finding.reason);
    let why = match (usable, faults.is_empty()) {
        (true, true) => reason::AS_SPECIFIED,
        (true, false) => reason::NOT_FROM_ALL,
        (false, _) => said.iter().find_map(known).unwrap_or(reason::INVALID),
    };
    Some(Judgement::new(types::READY, usable, why, text))
}

/// What the member says is wrong with itself; what is over is gone.
fn said_by_member(view: &View, node: NodeId) -> impl Iterator<Item = Judgement> {
    let about = format!("node {node}");
    SAID_BY_MEMBERS.into_iter().filter_map(move |kind| {
        let said = view.ails.iter().find(|c| c.object == about && c.kind == kind)?;
        Some(Judgement::new(kind, true, reason::SAID_BY_MEMBER, said.text.clone()))
    })
}

/// What the view says of one object, in one line.
pub(super) fn said_of(view: &View, object: &str) -> String {
    let texts: Vec<&str> =
        view.conditions.iter().filter(|c| c.object == object).map(|c| c.text.as_str()).collect();
    cut(&texts.join("; "), 500)
}

/// `db:0` is an instance of `db`.
pub(super) fn is_instance_of(instance: &InstanceStatus, id: &str) -> bool {
    is_of(instance.resource.as_str(), id)
}

pub(crate) fn is_of(instance: &str, id: &str) -> bool {
    instance.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// The first so many characters.
pub(super) fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}
