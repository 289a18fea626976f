//! `ResourcePlacement` into placements.

use std::time::Duration;

use api::{
    ResourcePlacement,
    cluster::ResourceDefaults,
    names::reason,
    placement::{Clones, Meta, Monitor, OnFail, Resource, ResourceType, Role, Timeouts},
};
use base::ResourceKind;
use kube::ResourceExt;
use policy::revision::{self as r, ObjectKind, Revision};

use crate::{
    Objects, Problem, Verdicts, agents, balancers, devices::deletion, parse::Faults, version,
    version_in,
};

/// Of operations when the object does not say (Pacemaker's, which operators know).
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two checks when the object does not say.
const MONITOR_INTERVAL: Duration = Duration::from_secs(10);
/// What staying costs nothing and moving costs somebody (POLICY.md section 4: least disruption).
const STICKINESS: i32 = 100;

pub(crate) fn compile(
    objects: &Objects,
    previous: Option<&Revision>,
    revision: &mut Revision,
    verdicts: &mut Verdicts,
) {
    let defaults = objects.cluster.as_ref().map(|c| c.spec.resource_defaults.clone());
    let defaults = defaults.unwrap_or_default();
    let mut all: Vec<(&ResourcePlacement, Faults, Option<r::Placement>)> = objects
        .placements
        .iter()
        .map(|object| {
            let mut faults = Faults::default();
            let placement = placement(object, &defaults, revision, &mut faults);
            (object, faults, placement)
        })
        .collect();
    // What is in force keeps its ids and addresses, whoever wants them now; among those that are new the older object does.
    all.sort_by_cached_key(|(object, _, placement)| {
        let wants = placement.as_ref().is_some_and(|p| wants_more(p, previous));
        (wants, object.creation_timestamp(), object.name_any())
    });
    for (object, mut faults, placement) in all {
        let name = object.name_any();
        let placement = placement.filter(|p| {
            faults.0.extend(clashes(p, revision));
            faults.0.extend(agents::too_much(p, revision));
            !faults.0.iter().any(|p| p.fatal)
        });
        match placement {
            Some(placement) => {
                let kind = ObjectKind::ResourcePlacement;
                revision.objects.push(version(kind, object, &object.spec));
                revision.placements.push(placement);
            }
            None => keep(&name, previous, revision),
        }
        verdicts.say("ResourcePlacement", &name, faults.0);
    }
    revision.placements.sort_by(|a, b| a.id.cmp(&b.id));
}

/// The new spec cannot be understood: what was accepted last stays, unless that now clashes with another one.
fn keep(name: &str, previous: Option<&Revision>, revision: &mut Revision) {
    let last = previous.and_then(|p| p.placements.iter().find(|p| p.id.as_str() == name));
    if let Some(last) =
        last.filter(|l| clashes(l, revision).is_empty() && agents::too_much(l, revision).is_none())
    {
        revision.placements.push(last.clone());
        revision.objects.extend(version_in(previous, ObjectKind::ResourcePlacement, name));
    }
}

fn placement(
    object: &ResourcePlacement,
    defaults: &ResourceDefaults,
    revision: &Revision,
    faults: &mut Faults,
) -> Option<r::Placement> {
    let spec = &object.spec;
    let name = object.name_any();
    let parts: Vec<(String, String, &Resource)> = match (&spec.resource, &spec.group) {
        (Some(resource), None) => vec![(name.clone(), "spec.resource".into(), resource)],
        (None, Some(group)) => group
            .members
            .iter()
            .enumerate()
            .map(|(i, m)| {
                (m.name.0.clone(), format!("spec.group.members[{i}].resource"), &m.resource)
            })
            .collect(),
        _ => {
            faults.add("spec", "write resource or group, and only one of them");
            Vec::new()
        }
    };
    let mut members: Vec<_> = parts
        .iter()
        .filter_map(|(id, at, part)| primitive(id, at, part, revision, faults))
        .collect();
    let shape = shape(spec.clone.as_ref(), spec.group.is_some(), faults)?;
    if !matches!(shape, r::Shape::Single | r::Shape::Group)
        && members.iter().any(|m| matches!(m.kind, ResourceKind::Address { .. }))
    {
        faults.add("spec.clone", "an Address cannot be cloned, it would be on two machines");
    }
    for member in &mut members {
        agents::tell_copies(member, &shape, revision.voters.len());
    }
    let id = faults.id("metadata.name", &name)?;
    if members.len() != parts.len() || members.is_empty() {
        return None;
    }
    let mut meta = meta("spec.meta", &spec.meta, faults);
    let defaults_meta = Meta {
        stickiness: defaults.stickiness,
        migration_threshold: defaults.migration_threshold,
        failure_timeout: defaults.failure_timeout.clone(),
        ..Meta::default()
    };
    let outer = self::meta("resourceDefaults", &defaults_meta, faults);
    meta.stickiness = meta.stickiness.or(outer.stickiness).or(Some(STICKINESS));
    meta.migration_threshold = meta.migration_threshold.or(outer.migration_threshold);
    meta.failure_timeout = meta.failure_timeout.or(outer.failure_timeout);
    let deletion = deletion(spec.deletion_policy);
    Some(r::Placement { id, shape, members, meta, deletion, retained: false })
}

fn shape(clones: Option<&Clones>, group: bool, faults: &mut Faults) -> Option<r::Shape> {
    let Some(clones) = clones else {
        return Some(if group { r::Shape::Group } else { r::Shape::Single });
    };
    let at = |field: &str| format!("spec.clone.{field}");
    let max = match clones.max {
        Some(max) => Some(faults.number(&at("max"), max)?),
        None => None,
    };
    let options = r::CloneOptions {
        max,
        node_max: faults.number(&at("nodeMax"), clones.node_max)?,
        min: faults.number(&at("min"), clones.min)?,
        interleave: clones.interleave,
        ordered: clones.ordered,
        unique: clones.unique,
        notify: clones.notify,
    };
    Some(match &clones.promoted {
        None => r::Shape::Clone(options),
        Some(promoted) => {
            let max = faults.number(&at("promoted.max"), promoted.max)?;
            let node_max = faults.number(&at("promoted.nodeMax"), promoted.node_max)?;
            r::Shape::Promotable(options, r::PromotedOptions { max, node_max })
        }
    })
}

fn primitive(
    id: &str,
    at: &str,
    resource: &Resource,
    revision: &Revision,
    faults: &mut Faults,
) -> Option<r::Primitive> {
    let kind = kind(at, resource, revision, faults);
    let timeouts = timeouts(at, &resource.timeouts, faults);
    let monitors = monitors(at, resource.monitors.as_deref(), faults);
    let meta = meta(&format!("{at}.meta"), &resource.meta, faults);
    let id = faults.id(at, id)?;
    Some(r::Primitive { id, kind: kind?, timeouts, monitors, meta })
}

fn kind(
    at: &str,
    resource: &Resource,
    revision: &Revision,
    faults: &mut Faults,
) -> Option<ResourceKind> {
    let given = (&resource.address, &resource.process, &resource.load_balancer, &resource.ocf);
    match (resource.type_, given) {
        (ResourceType::Address, (Some(a), None, None, None)) => {
            let path = |field: &str| format!("{at}.address.{field}");
            let address = faults.address(&path("address"), &a.address)?;
            let prefix: u8 = faults.number(&path("prefix"), a.prefix)?;
            if prefix == 0 || prefix > if address.is_ipv4() { 32 } else { 128 } {
                faults.add(&path("prefix"), format!("{prefix} is out of range for {address}"));
            }
            let network = faults.id(&path("network"), a.network.as_str())?;
            if let Some(without) =
                revision.voters.iter().find(|v| !v.interfaces.contains_key(&network))
            {
                let known: Vec<&str> = without.interfaces.keys().map(base::Label::as_str).collect();
                faults.0.push(Problem::fatal(
                    reason::UNKNOWN_REFERENCE,
                    format!(
                        "{}: network {:?} is not in HACluster {:?} (it has {}): add it to spec.networks there",
                        path("network"),
                        network.as_str(),
                        revision.cluster.name,
                        if known.is_empty() { "none".into() } else { known.join(", ") }
                    ),
                ));
            }
            Some(ResourceKind::Address { address, prefix, network })
        }
        (ResourceType::Process, (None, Some(p), None, None)) => {
            let template = faults.id(&format!("{at}.process.template"), p.template.as_str())?;
            Some(ResourceKind::Process { template })
        }
        (ResourceType::LoadBalancer, (None, None, Some(parameters), None)) => {
            let at = format!("{at}.loadBalancer");
            balancers::parameters_in(&at, parameters, faults).map(ResourceKind::LoadBalancer)
        }
        (ResourceType::Ocf, (None, None, None, Some(parameters))) => {
            agents::parameters_in(&format!("{at}.ocf"), parameters, faults)
                .map(|agent| ResourceKind::Ocf(Box::new(agent)))
        }
        (type_, _) => {
            faults.add(
                at,
                format!("type {type_:?} needs the parameters of the same name, and no others"),
            );
            None
        }
    }
}

fn timeouts(at: &str, t: &Timeouts, faults: &mut Faults) -> r::Timeouts {
    let mut of = |field: &str, text: Option<&api::text::Span>| {
        let path = format!("{at}.timeouts.{field}");
        faults.maybe_span(&path, text).unwrap_or(OPERATION_TIMEOUT)
    };
    r::Timeouts {
        start: of("start", t.start.as_ref()),
        stop: of("stop", t.stop.as_ref()),
        promote: of("promote", t.promote.as_ref()),
        demote: of("demote", t.demote.as_ref()),
        probe: of("probe", t.probe.as_ref()),
    }
}

fn monitors(at: &str, monitors: Option<&[Monitor]>, faults: &mut Faults) -> Vec<r::Monitor> {
    let of = |interval: Duration, timeout: Option<Duration>, role, on_fail| r::Monitor {
        interval,
        timeout: timeout.unwrap_or_else(|| OPERATION_TIMEOUT.min(interval * 4 / 5)),
        role,
        on_fail,
    };
    let Some(monitors) = monitors else {
        return vec![of(MONITOR_INTERVAL, None, None, r::OnFail::Restart)];
    };
    monitors
        .iter()
        .enumerate()
        .map(|(i, m)| {
            let interval = faults.span(&format!("{at}.monitors[{i}].interval"), &m.interval);
            let timeout =
                faults.maybe_span(&format!("{at}.monitors[{i}].timeout"), m.timeout.as_ref());
            if timeout.is_some_and(|t| t >= interval) {
                faults.add(&format!("{at}.monitors[{i}].interval"), "must be > timeout");
            }
            of(interval, timeout, m.role.map(role), on_fail(m.on_fail))
        })
        .collect()
}

fn meta(at: &str, meta: &Meta, faults: &mut Faults) -> r::Meta {
    r::Meta {
        priority: meta.priority,
        stickiness: meta.stickiness,
        migration_threshold: meta.migration_threshold.map(i32::unsigned_abs),
        failure_timeout: faults
            .maybe_span(&format!("{at}.failureTimeout"), meta.failure_timeout.as_ref()),
        target_role: meta.target_role.map(role),
        managed: meta.managed,
        maintenance: meta.maintenance,
    }
}

pub(crate) fn role(role: Role) -> base::Role {
    match role {
        Role::Promoted => base::Role::Promoted,
        Role::Started => base::Role::Started,
        Role::Stopped => base::Role::Stopped,
        Role::Unpromoted => base::Role::Unpromoted,
    }
}

fn on_fail(on_fail: OnFail) -> r::OnFail {
    match on_fail {
        OnFail::Block => r::OnFail::Block,
        OnFail::Demote => r::OnFail::Demote,
        OnFail::Fence => r::OnFail::Fence,
        OnFail::Ignore => r::OnFail::Ignore,
        OnFail::Restart => r::OnFail::Restart,
        OnFail::Standby => r::OnFail::Standby,
        OnFail::Stop => r::OnFail::Stop,
    }
}

/// What only one placement can have.
struct Claims {
    ids: Vec<String>,
    addresses: Vec<std::net::IpAddr>,
}

fn claims(p: &r::Placement) -> Claims {
    let mut ids: Vec<String> = p.members.iter().map(|m| m.id.to_string()).collect();
    ids.push(p.id.to_string());
    match p.shape {
        r::Shape::Clone(_) | r::Shape::Promotable(..) => ids.push(format!("{}-clone", p.id)),
        r::Shape::Group | r::Shape::Single => {}
    }
    ids.sort();
    ids.dedup();
    let address = |m: &r::Primitive| match m.kind {
        ResourceKind::Address { address, .. } => Some(address),
        ResourceKind::LoadBalancer(_) | ResourceKind::Ocf(_) | ResourceKind::Process { .. } => None,
    };
    Claims { ids, addresses: p.members.iter().filter_map(address).collect() }
}

/// It claims something that it does not have in the revision in force.
fn wants_more(new: &r::Placement, previous: Option<&Revision>) -> bool {
    let Some(previous) = previous else { return false };
    let had = previous.placements.iter().find(|p| p.id == new.id).map(claims);
    let wanted = claims(new);
    had.is_none_or(|had| {
        wanted.ids.iter().any(|id| !had.ids.contains(id))
            || wanted.addresses.iter().any(|address| !had.addresses.contains(address))
    })
}

/// Ids and addresses that another placement has already.
fn clashes(new: &r::Placement, revision: &Revision) -> Vec<Problem> {
    let mut out = Vec::new();
    let mut say = |what: String, other: &r::Placement| {
        let why =
            format!("{what} is used by ResourcePlacement {:?} too: change one", other.id.as_str());
        out.push(Problem::fatal(reason::DUPLICATE, why));
    };
    let own = claims(new);
    for other in &revision.placements {
        let theirs = claims(other);
        if let Some(id) = theirs.ids.iter().find(|id| own.ids.contains(id)) {
            say(format!("resource id {id:?}"), other);
        }
        if let Some(address) = theirs.addresses.iter().find(|a| own.addresses.contains(a)) {
            say(format!("address {address}"), other);
        }
    }
    out
}
