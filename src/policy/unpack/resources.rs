//! Resources: instances of clones, effective options, what starting needs.

use alloc::{
    borrow::ToOwned as _,
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};

use crate::{
    model::{
        INFINITY, INSTANCES_MAX, Operation, Resource, ResourceKind, Role, parse_bool,
        parse_interval_ms, parse_score,
    },
    world::{Cell, MultipleActive, NodeSet, Requires, Res, ResIx, Source, Variant, World},
};

use super::{
    properties::{QuorumPolicy, Strategy},
    rules::{Context, amounts, fill},
};

/// What a failure does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OnFail {
    Ignore,
    Demote,
    Restart,
    ResetRemote,
    RestartContainer,
    Block,
    Stop,
    Ban,
    Standby,
    Fence,
}

pub(crate) fn read(world: &mut World<'_>) {
    let model = world.model;
    find_devices(world, &model.resources);
    world.res.reserve(2 * model.resources.len());
    for resource in &model.resources {
        let r = add(world, resource, None, 0);
        world.top.push(r);
    }
    // the most important is placed first; of equals the one declared first
    let mut top = core::mem::take(&mut world.top);
    top.sort_by_key(|r| core::cmp::Reverse(world[*r].priority));
    world.top = top;
    world.index_names();
}

/// Unfencing and fencing devices change what other resources require, so they are found first.
fn find_devices(world: &mut World<'_>, resources: &[Resource]) {
    for resource in resources {
        let says = |wanted: &str| {
            let pairs = resource.meta.sets.iter().flat_map(|set| &set.pairs);
            pairs.into_iter().any(|(name, value)| name == wanted && value == "unfencing")
        };
        // who asks for unfencing enables it as much as who offers it
        world.unfencing_enabled |= world.opts.fencing && says("requires");
        match &resource.kind {
            ResourceKind::Primitive(primitive) if primitive.class == "stonith" => {
                world.has_fencing_device = true;
                world.unfencing_enabled |= says("provides");
            }
            ResourceKind::Primitive(_) | ResourceKind::Bundle(_) => {}
            ResourceKind::Group(members) => find_devices(world, members),
            ResourceKind::Clone(spec) => find_devices(world, core::slice::from_ref(&spec.child)),
        }
    }
}

fn add<'m>(
    world: &mut World<'m>,
    resource: &'m Resource,
    parent: Option<ResIx>,
    number: u32,
) -> ResIx {
    let r = ResIx::at(world.res.len());
    let numbered = parent.is_some_and(|p| world[world.top_of(p)].is_clone() && !world[p].is_bundle);
    let id = if numbered { format!("{}:{number}", resource.id) } else { resource.id.clone() };
    let fresh = prepare(world, resource, parent, number, id);
    world.res.push(fresh);
    if let Some(parent) = parent {
        world[parent].children.push(r);
    }
    // what a person allows at most holds before anything is known of it
    if let Some(role) = super::history::target_role(world, r) {
        world[r].next_role = role;
    }
    match &resource.kind {
        ResourceKind::Primitive(_) => {}
        ResourceKind::Bundle(bundle) => {
            for (number, replica) in (0..).zip(&bundle.parts) {
                add(world, &replica.container, Some(r), number);
            }
        }
        ResourceKind::Group(members) => {
            for member in members {
                add(world, member, Some(r), number);
            }
        }
        ResourceKind::Clone(spec) => {
            // without any instance there is still one to hang removed history on
            let count = world[r].instances_max;
            for number in 0..count.max(1) {
                let instance = add(world, &spec.child, Some(r), number);
                if count == 0 {
                    mark_removed(world, instance);
                }
            }
        }
    }
    r
}

/// One more instance of a clone, beyond those wanted, to stand for what history says.
pub(crate) fn add_surplus(world: &mut World<'_>, clone: ResIx) -> ResIx {
    let model = world.model;
    let base = world[clone].base;
    let number = u32::try_from(world.child_count(clone)).unwrap_or(u32::MAX);
    let spec = model.resources.iter().find(|resource| resource.id == base);
    let Some(ResourceKind::Clone(spec)) = spec.map(|resource| &resource.kind) else { return clone };
    let instance = add(world, &spec.child, Some(clone), number);
    mark_removed(world, instance);
    for at in instance.ix()..world.res.len() {
        let r = ResIx::at(at);
        world.add_name(world[r].id.clone(), r);
    }
    instance
}

fn mark_removed(world: &mut World<'_>, r: ResIx) {
    world[r].removed = true;
    for at in 0..world.child_count(r) {
        let child = world.child(r, at);
        mark_removed(world, child);
    }
}

/// A resource that only history knows.
pub(crate) fn add_removed<'m>(
    world: &mut World<'m>,
    history: &'m crate::model::ResourceHistory,
) -> ResIx {
    let r = ResIx::at(world.res.len());
    let mut fresh = empty(world, &history.resource, history.resource.clone());
    fresh.class = &history.class;
    fresh.fencing_device = fresh.class == "stonith";
    fresh.removed = true;
    fresh.unique = true;
    fresh.managed = world.opts.stop_removed && !world.opts.maintenance;
    fresh.maintenance = world.opts.maintenance;
    fresh.requires = default_requirement(world, fresh.fencing_device);
    world.add_name(history.resource.clone(), r);
    world.res.push(fresh);
    world.top.push(r);
    if world.opts.stop_removed {
        world.add_location(r, None, -INFINITY, Source::Removed);
    }
    r
}

fn empty<'m>(world: &World<'m>, base: &'m str, id: String) -> Res<'m> {
    let mut allowed = vec![Cell::default(); world.nodes.len()];
    if world.opts.symmetric {
        for (cell, node) in allowed.iter_mut().zip(&world.nodes) {
            *cell = Cell { present: true, score: node.score, ..Cell::default() };
        }
    }
    Res {
        id,
        base,
        number: 0,
        variant: Variant::Primitive,
        primitive: None,
        class: "",
        parent: None,
        children: Vec::new(),
        meta: BTreeMap::new(),
        history_name: None,
        target_role: None,
        priority: 0,
        stickiness: 0,
        migration_threshold: INFINITY,
        failure_timeout: 0,
        requires: Requires::Nothing,
        allow_migrate: false,
        utilization: BTreeMap::new(),
        multiple_active: MultipleActive::StopStart,
        managed: true,
        critical: true,
        maintenance: false,
        removed: false,
        fencing_device: false,
        unfencing_device: false,
        is_connection: false,
        connects: None,
        reconnects_later: false,
        container: None,
        fillers: Vec::new(),
        bundle: None,
        replicas: Vec::new(),
        inner_clone: None,
        is_bundle: false,
        promotable: false,
        unique: false,
        notify: false,
        ordered: false,
        interleave: false,
        instances_max: 0,
        instances_per_node: 1,
        promoted_max: 0,
        promoted_per_node: 0,
        promotion_scores_added: false,
        role: Role::Stopped,
        next_role: Role::Unknown,
        running_on: Vec::new(),
        known_on: NodeSet::default(),
        other_agent_on: NodeSet::default(),
        failed: false,
        stop_if_failed: false,
        failure_ignored: false,
        forgiven_on: Vec::new(),
        blocked: false,
        start_pending: false,
        absent_on: NodeSet::default(),
        histories: Vec::new(),
        ticket_missing: false,
        pending_on: None,
        partial: None,
        dangling_on: Vec::new(),
        locked_to: None,
        lock_time: 0,
        allowed,
        exclusive_discovery: false,
        locations: Vec::new(),
        this_with: Vec::new(),
        with_this: Vec::new(),
        unplaced: true,
        placing: false,
        merging: false,
        node: None,
        promotion_order: 0,
        promotion_sorted: false,
        reasons: Vec::new(),
        acts: Vec::new(),
        inner: BTreeMap::new(),
        restarting: false,
        stop_unexpected: false,
    }
}

/// Effective meta attributes: the resource's own, then its parents', then the defaults.
fn meta<'m>(
    world: &World<'m>,
    resource: &'m Resource,
    parent: Option<ResIx>,
) -> BTreeMap<&'m str, &'m str> {
    let mut context = Context::cluster(world.model);
    if let ResourceKind::Primitive(primitive) = &resource.kind {
        context.agent = Some((&primitive.class, &primitive.provider, &primitive.agent));
    }
    let mut values = BTreeMap::new();
    fill(&resource.meta, &context, &mut values);
    if let Some(parent) = parent {
        for (name, value) in &world[parent].meta {
            values.entry(*name).or_insert(*value);
        }
    }
    fill(&world.model.resource_defaults, &context, &mut values);
    values
}

fn prepare<'m>(
    world: &World<'m>,
    resource: &'m Resource,
    parent: Option<ResIx>,
    number: u32,
    id: String,
) -> Res<'m> {
    let mut res = empty(world, &resource.id, id);
    res.number = number;
    res.parent = parent;
    res.meta = meta(world, resource, parent);
    res.target_role = res.meta("target-role").and_then(Role::parse);
    match &resource.kind {
        ResourceKind::Primitive(primitive) => {
            res.variant = Variant::Primitive;
            res.primitive = Some(primitive);
            res.class = &primitive.class;
            res.fencing_device = primitive.class == "stonith";
            res.is_connection = primitive.is_connection();
            if world.opts.strategy != Strategy::Default {
                let context = Context::cluster(world.model);
                res.utilization = amounts(&primitive.utilization, &context);
            }
            res.unfencing_device = res.fencing_device && res.meta("provides") == Some("unfencing");
        }
        ResourceKind::Group(_) => {
            res.variant = Variant::Group;
            // said of the group itself: for a clone around it the word means another thing
            let own = super::rules::resolve(&resource.meta, &Context::cluster(world.model));
            res.ordered = own.get("ordered").copied().and_then(parse_bool).unwrap_or(true);
        }
        ResourceKind::Clone(spec) => {
            res.variant = Variant::Clone;
            clone_options(world, &mut res, spec.promotable);
        }
        ResourceKind::Bundle(bundle) => {
            res.variant = Variant::Clone;
            res.is_bundle = true;
            res.unique = true;
            res.instances_max = u32::try_from(bundle.parts.len()).unwrap_or(u32::MAX);
            res.instances_per_node = bundle.replicas_per_host;
            res.interleave = res.meta_bool("interleave").unwrap_or(false);
        }
    }
    let number = |text: Option<&str>, default: i32| text.and_then(parse_score).unwrap_or(default);
    res.priority = number(res.meta("priority"), 0);
    // nothing is driven away from where it runs
    res.stickiness = number(res.meta("resource-stickiness"), 0).max(0);
    res.migration_threshold = number(res.meta("migration-threshold"), INFINITY).max(0);
    res.failure_timeout = res
        .meta("failure-timeout")
        .and_then(parse_interval_ms)
        .and_then(|ms| i64::try_from(ms / 1000).ok())
        .unwrap_or(0);
    // a connection moves without those on the other end noticing
    res.allow_migrate = res.meta_bool("allow-migrate").unwrap_or(res.is_connection);
    res.critical = res.meta_bool("critical").unwrap_or(true);
    res.maintenance = world.opts.maintenance || res.meta_bool("maintenance").unwrap_or(false);
    res.managed = res.meta_bool("is-managed").unwrap_or(true) && !res.maintenance;
    res.multiple_active = match res.meta("multiple-active") {
        Some("stop_only") => MultipleActive::StopOnly,
        Some("block") => MultipleActive::Block,
        Some("stop_unexpected") => MultipleActive::StopUnexpected,
        _ => MultipleActive::StopStart,
    };
    res.requires = match res.meta("requires") {
        Some("nothing") => Requires::Nothing,
        Some("quorum") => Requires::Quorum,
        Some("fencing") => Requires::Fencing,
        Some("unfencing") if res.fencing_device || !world.opts.fencing => Requires::Quorum,
        Some("unfencing") => Requires::Unfencing,
        _ => default_requirement(world, res.fencing_device || res.is_connection),
    };
    match parent {
        Some(parent) => {
            let parent = &world[parent];
            res.unique = parent.unique;
            res.notify = parent.notify;
        }
        // only instances of an anonymous clone are interchangeable
        None if !res.is_clone() || res.is_bundle => res.unique = true,
        None => {}
    }
    res
}

fn default_requirement(world: &World<'_>, fencing_device: bool) -> Requires {
    if fencing_device {
        Requires::Quorum
    } else if world.unfencing_enabled && world.opts.fencing {
        Requires::Unfencing
    } else if world.opts.fencing {
        Requires::Fencing
    } else if world.opts.quorum_policy == QuorumPolicy::Ignore {
        Requires::Nothing
    } else {
        Requires::Quorum
    }
}

fn clone_options(world: &World<'_>, res: &mut Res<'_>, promotable: bool) {
    // old names of options are still written
    let count = |res: &Res<'_>, names: [&str; 2], default: u32| {
        names
            .iter()
            .find_map(|name| res.meta(name))
            .and_then(parse_score)
            .map_or(default, |value| u32::try_from(value.max(0)).unwrap_or(0).min(INSTANCES_MAX))
    };
    let nodes = u32::try_from(world.nodes.len()).unwrap_or(1).max(1);
    res.promotable = promotable || res.meta_bool("promotable").unwrap_or(false);
    res.instances_max = count(res, ["clone-max", "clone-max"], nodes);
    res.instances_per_node = count(res, ["clone-node-max", "clone-node-max"], 1);
    res.unique = res.meta_bool("globally-unique").unwrap_or(false);
    if !res.unique && res.instances_per_node > 1 {
        res.instances_per_node = 1;
    }
    if res.promotable {
        res.promoted_max = count(res, ["promoted-max", "master-max"], 1);
        res.promoted_per_node = count(res, ["promoted-node-max", "master-node-max"], 1);
    }
    res.notify = res.meta_bool("notify").unwrap_or(false);
    res.ordered = res.meta_bool("ordered").unwrap_or(false);
    res.interleave = res.meta_bool("interleave").unwrap_or(false);
    // instances do not wander without a reason
    res.meta.entry("resource-stickiness").or_insert("1");
}

/// Effective options of a configured operation.
pub(crate) fn operation_meta<'m>(
    world: &World<'m>,
    r: ResIx,
    operation: &'m Operation,
) -> BTreeMap<&'m str, &'m str> {
    let mut context = Context::cluster(world.model);
    if let Some(primitive) = world[r].primitive {
        context.agent = Some((&primitive.class, &primitive.provider, &primitive.agent));
    }
    context.operation = Some((&operation.name, operation.interval_ms));
    let mut values = BTreeMap::new();
    fill(&operation.meta, &context, &mut values);
    fill(&world.model.operation_defaults, &context, &mut values);
    values
}

/// The configured operation of that name and interval, unless it is disabled.
pub(crate) fn find_operation<'m>(
    world: &World<'m>,
    r: ResIx,
    name: &str,
    interval_ms: u64,
) -> Option<&'m Operation> {
    world[r].primitive?.operations.iter().find(|operation| {
        operation.name == name
            && operation.interval_ms == interval_ms
            && operation_meta(world, r, operation).get("enabled").copied().and_then(parse_bool)
                != Some(false)
    })
}

/// What a failure of an operation does, and the role that it leaves.
pub(crate) fn on_fail(
    world: &World<'_>,
    r: ResIx,
    name: &str,
    interval_ms: u64,
) -> (OnFail, Option<Role>) {
    let configured = find_operation(world, r, name, interval_ms);
    let mut value = match configured {
        Some(operation) => {
            operation_meta(world, r, operation).get("on-fail").map(|v| (*v).to_owned())
        }
        None => {
            let mut values = BTreeMap::new();
            let mut context = Context::cluster(world.model);
            context.operation = Some((name, interval_ms));
            fill(&world.model.operation_defaults, &context, &mut values);
            values.get("on-fail").map(|value| (*value).to_owned())
        }
    };
    if name == "demote" && value.is_none() {
        value = promoted_monitor_policy(world, r);
    }
    if value.as_deref() == Some("demote") {
        let monitors_promoted = configured.is_some_and(|operation| {
            operation_meta(world, r, operation).get("role").copied().and_then(Role::parse)
                == Some(Role::Promoted)
        });
        if name != "promote" && !(name == "monitor" && interval_ms > 0 && monitors_promoted) {
            value = None;
        }
    }
    let failed_stop = name == "stop";
    if let Some(lost) = connection_policy(world, r, name, interval_ms, value.is_some()) {
        return lost;
    }
    let policy = match value.as_deref() {
        Some("ignore" | "nothing") => OnFail::Ignore,
        Some("block") => OnFail::Block,
        Some("fence") if world.opts.fencing => OnFail::Fence,
        Some("fence" | "stop") => OnFail::Stop,
        // nothing leaves a node on which it cannot be stopped
        Some("standby") if !failed_stop => OnFail::Standby,
        Some("migrate") => OnFail::Ban,
        Some("restart") if !failed_stop => OnFail::Restart,
        Some("restart-container") if world[r].container.is_some() => OnFail::RestartContainer,
        Some("demote") => OnFail::Demote,
        None if world[r].container.is_some() => OnFail::RestartContainer,
        _ if failed_stop && world.opts.fencing => OnFail::Fence,
        _ if failed_stop => OnFail::Block,
        _ => OnFail::Restart,
    };
    // a failed stop must not be answered by another stop
    let policy = if failed_stop && matches!(policy, OnFail::Stop | OnFail::Demote) {
        if world.opts.fencing { OnFail::Fence } else { OnFail::Block }
    } else {
        policy
    };
    let role = match policy {
        OnFail::Stop => Some(Role::Stopped),
        _ if name == "promote" => Some(Role::Unpromoted),
        _ => None,
    };
    (policy, role)
}

/// The loss of a connection that was up makes its remote node unknown; that it could not be made, or was not found, says
/// nothing of the node.
fn connection_policy(
    world: &World<'_>,
    r: ResIx,
    name: &str,
    interval_ms: u64,
    configured: bool,
) -> Option<(OnFail, Option<Role>)> {
    let res = &world[r];
    let harmless = name == "start" || (name == "monitor" && interval_ms == 0);
    if res.connects.is_none() || res.container.is_some() || harmless {
        return None;
    }
    if !res.managed {
        return Some((OnFail::Stop, Some(Role::Stopped)));
    }
    let role = res.reconnects_later.then_some(Role::Stopped);
    (!configured).then_some((OnFail::ResetRemote, role))
}

/// A failed demotion is judged like a failure while promoted, if that has a policy.
fn promoted_monitor_policy(world: &World<'_>, r: ResIx) -> Option<String> {
    world[r].primitive?.operations.iter().find_map(|operation| {
        if operation.name != "monitor" || operation.interval_ms == 0 {
            return None;
        }
        let meta = operation_meta(world, r, operation);
        let enabled = meta.get("enabled").copied().and_then(parse_bool) != Some(false);
        let promoted = meta.get("role").copied().and_then(Role::parse) == Some(Role::Promoted);
        let policy = meta.get("on-fail").copied()?;
        (enabled && promoted && policy != "demote").then(|| policy.to_string())
    })
}
