//! The state as a model of the policy engine, and its revision as what executors and fencers need.
//!
//! Invariants: a function of the state (time is the state's clock); nodes outside the era are clean and down for the
//! engine, because what a debt blocks is decided here and not there (`allowed`); an operation in flight stands as not
//! yet done, so the next plan names it again and nothing that depends on it goes ahead of it.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use core::time::Duration;

use base::{NodeId, ResourceId, ResourceKind as Kind, Role};
use policy::{
    Model,
    model::{
        CloneSpec, Colocation, ColocationSet, Comparison, Constraints, Expression, Location,
        LocationTarget, Node, Operation, OperationRecord, OperationStatus, Options, Order,
        OrderKind, OrderSet, Pattern, Primitive, Resource, ResourceHistory, ResourceKind,
        Role as PlanRole, Rule,
    },
    revision::{self as rev, Revision},
};

use crate::state::{Instance, State};

/// The model of the state; empty without an accepted revision.
pub(crate) fn model(state: &State) -> Model {
    let mut model = Model::at(state.clock);
    let Some(revision) = &state.revision else { return model };
    model = model
        .with_property("fencing-enabled", flag(revision.fencing.enabled))
        .with_property("no-quorum-policy", no_quorum(revision.no_quorum_policy));
    for voter in &revision.voters {
        model.nodes.push(node(state, revision, voter));
    }
    for placement in &revision.placements {
        model.resources.push(resource(state, placement));
    }
    model.constraints = constraints(state, revision);
    model
}

const fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

const fn no_quorum(policy: rev::NoQuorumPolicy) -> &'static str {
    match policy {
        rev::NoQuorumPolicy::Demote => "demote",
        rev::NoQuorumPolicy::Freeze => "freeze",
        rev::NoQuorumPolicy::Ignore => "ignore",
        rev::NoQuorumPolicy::Stop => "stop",
        rev::NoQuorumPolicy::Suicide => "suicide",
    }
}

fn node(state: &State, revision: &Revision, voter: &rev::Voter) -> Node {
    let name = voter.name.as_str();
    let member = state.members.get(&voter.id).filter(|m| m.reported && !m.left);
    let mut node = if member.is_some() { Node::online(name) } else { Node::offline(name) };
    let intent = revision.nodes.iter().find(|n| n.name == voter.name);
    if let Some(intent) = intent {
        for (key, value) in &intent.attributes {
            node.attributes.set(key, value);
        }
    }
    let said = state.overrides.nodes.get(&voter.id);
    let standby = intent.is_some_and(|i| i.standby) || said.is_some_and(|o| o.standby);
    let leaving = state.evicted.contains_key(&voter.id) || member.is_some_and(|m| m.leaving);
    if standby || leaving {
        node.attributes.set("standby", "on");
    }
    if intent.is_some_and(|i| i.maintenance) || said.is_some_and(|o| o.maintenance) {
        node.attributes.set("maintenance", "true");
    }
    if member.is_none() {
        return node;
    }
    for (placement, primitive) in revision.primitives() {
        let _ = placement;
        let key = (primitive.id.clone(), voter.id);
        let instance = state.instances.get(&key);
        node.history.push(history(&primitive.id, &primitive.kind, instance));
        if let Some(failures) = state.failures.get(&key) {
            let of = format!("{}#{}_{}", primitive.id, failures.operation, failures.interval_ms);
            node.transient.insert(format!("fail-count-{of}"), failures.count.to_string());
            node.transient.insert(format!("last-failure-{of}"), failures.last.to_string());
        }
    }
    node
}

/// What happened to one instance, as operation history tells it.
fn history(id: &ResourceId, kind: &Kind, instance: Option<&Instance>) -> ResourceHistory {
    let mut history = ResourceHistory::of(id.as_str(), "ocf", "palisade", kind_name(kind));
    let Some(instance) = instance else {
        return history.with_done("monitor", 0, 7);
    };
    let failed_start =
        |i: &Instance| i.last.as_ref().is_some_and(|l| l.operation == lifecycle::Operation::Start);
    history = match instance.role {
        Some(Role::Stopped) => history.with_done("monitor", 0, 7),
        Some(Role::Started | Role::Unpromoted) => history.with_done("start", 0, 0),
        Some(Role::Promoted) => history.with_done("start", 0, 0).with_done("promote", 0, 0),
        None if failed_start(instance) => history,
        None => history.with_done("start", 0, 0),
    };
    for interval in &instance.monitors {
        let code = if instance.role == Some(Role::Promoted) { 8 } else { 0 };
        history = history.with_done("monitor", *interval, code);
    }
    if instance.stop_failed {
        return history.with_done("stop", 0, 1);
    }
    if let Some(last) = instance.last.as_ref().filter(|l| l.code != 0) {
        let name = crate::apply::operation_name(last.operation);
        history = history.with_done(name, last.interval_ms, i32::from(last.code));
        if let Some(op) = history.operations.last_mut() {
            op.last_run = Some(last.wall);
            op.last_change = Some(last.wall);
            if last.code == 198 {
                op.status = OperationStatus::TimedOut;
                op.exit_code = 1;
            }
        }
        keep_as_last_failure(&mut history);
    } else if instance.role.is_none() {
        history = history.with_done("monitor", 0, 1);
    }
    history
}

/// A failure is kept beside the last result of its operation, as the engine's contract says.
fn keep_as_last_failure(history: &mut ResourceHistory) {
    if let Some(last) = history.operations.last().cloned() {
        history
            .operations
            .push(OperationRecord { id: format!("{}_last_failure_0", history.resource), ..last });
    }
}

fn resource(state: &State, placement: &rev::Placement) -> Resource {
    let member = |m: &rev::Primitive| {
        let mut meta = options(&m.meta);
        down_for_restart(state, &m.id, &mut meta);
        Resource { id: m.id.to_string(), meta, kind: ResourceKind::Primitive(primitive(m)) }
    };
    let mut meta = options(&placement.meta);
    down_for_restart(state, &placement.id, &mut meta);
    let single = |outer: Options| {
        let mut only = placement.members.first().map(&member);
        if let Some(only) = &mut only {
            for set in outer.sets {
                for (key, value) in set.pairs {
                    if !only.meta.sets.iter().any(|s| s.pairs.iter().any(|(k, _)| *k == key)) {
                        only.meta.set(&key, &value);
                    }
                }
            }
        }
        only
    };
    let group = |meta: Options, id: String| Resource {
        id,
        meta,
        kind: ResourceKind::Group(placement.members.iter().map(&member).collect()),
    };
    let empty = || Resource {
        id: placement.id.to_string(),
        meta: Options::default(),
        kind: ResourceKind::Group(Vec::new()),
    };
    match placement.shape {
        rev::Shape::Single => single(meta).unwrap_or_else(empty),
        rev::Shape::Group => group(meta, placement.id.to_string()),
        rev::Shape::Clone(copies) => {
            clone_options(&mut meta, &copies);
            clone(placement, meta, false, single(Options::default()), &group)
        }
        rev::Shape::Promotable(copies, promoted) => {
            clone_options(&mut meta, &copies);
            meta.set("promotable", "true");
            meta.set("promoted-max", &promoted.max.to_string());
            meta.set("promoted-node-max", &promoted.node_max.to_string());
            clone(placement, meta, true, single(Options::default()), &group)
        }
    }
}

fn clone(
    placement: &rev::Placement,
    meta: Options,
    promotable: bool,
    single: Option<Resource>,
    group: &dyn Fn(Options, String) -> Resource,
) -> Resource {
    let child = match single {
        Some(only) if placement.members.len() == 1 => only,
        _ => group(Options::default(), format!("{}-group", placement.id)),
    };
    let spec = CloneSpec { promotable, child: child.into() };
    // A clone and its only member may not share a name.
    let id = if placement.members.iter().any(|m| m.id == placement.id) {
        format!("{}-clone", placement.id)
    } else {
        placement.id.to_string()
    };
    Resource { id, meta, kind: ResourceKind::Clone(spec) }
}

fn down_for_restart(state: &State, id: &ResourceId, meta: &mut Options) {
    if state.overrides.restarts.contains(id) {
        meta.set("target-role", "Stopped");
    }
}

fn clone_options(meta: &mut Options, copies: &rev::CloneOptions) {
    if let Some(max) = copies.max {
        meta.set("clone-max", &max.to_string());
    }
    meta.set("clone-node-max", &copies.node_max.to_string());
    meta.set("clone-min", &copies.min.to_string());
    meta.set("interleave", flag(copies.interleave));
    meta.set("ordered", flag(copies.ordered));
    meta.set("globally-unique", flag(copies.unique));
    meta.set("notify", flag(copies.notify));
}

fn options(meta: &rev::Meta) -> Options {
    let mut out = Options::default();
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            out.set(name, &value);
        }
    };
    set("priority", meta.priority.map(|v| v.to_string()));
    set("resource-stickiness", meta.stickiness.map(|v| v.to_string()));
    set("migration-threshold", meta.migration_threshold.map(|v| v.to_string()));
    set("failure-timeout", meta.failure_timeout.map(|v| format!("{}ms", v.as_millis())));
    set("target-role", meta.target_role.map(|r| role(r).as_str().to_string()));
    set("is-managed", meta.managed.map(|v| flag(v).to_string()));
    set("maintenance", meta.maintenance.map(|v| flag(v).to_string()));
    out
}

/// Name of the type, as objects say it.
const fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Address { .. } => "Address",
        Kind::Process { .. } => "Process",
    }
}

const fn role(role: Role) -> PlanRole {
    match role {
        Role::Promoted => PlanRole::Promoted,
        Role::Started => PlanRole::Started,
        Role::Stopped => PlanRole::Stopped,
        Role::Unpromoted => PlanRole::Unpromoted,
    }
}

fn primitive(primitive: &rev::Primitive) -> Primitive {
    let parameters = match &primitive.kind {
        Kind::Address { address, prefix, network } => Options::from_pairs(&[
            ("address", &address.to_string()),
            ("prefix", &prefix.to_string()),
            ("network", network.as_str()),
        ]),
        Kind::Process { template } => Options::from_pairs(&[("template", template.as_str())]),
    };
    let mut operations = Vec::new();
    let mut operation = |name: &str, interval: Duration, timeout: Duration, meta: Options| {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let mut meta = meta;
        meta.set("timeout", &format!("{}ms", timeout.as_millis()));
        let id = format!("{}-{name}-{interval_ms}", primitive.id);
        operations.push(Operation { id, name: name.into(), interval_ms, meta });
    };
    let t = primitive.timeouts;
    operation("start", Duration::ZERO, t.start, Options::default());
    operation("stop", Duration::ZERO, t.stop, Options::default());
    for monitor in &primitive.monitors {
        let mut meta = Options::default();
        if let Some(of) = monitor.role {
            meta.set("role", role(of).as_str());
        }
        meta.set("on-fail", on_fail(monitor.on_fail));
        operation("monitor", monitor.interval, monitor.timeout, meta);
    }
    Primitive {
        class: "ocf".into(),
        provider: "palisade".into(),
        agent: kind_name(&primitive.kind).into(),
        parameters,
        operations,
        ..Primitive::default()
    }
}

const fn on_fail(on_fail: rev::OnFail) -> &'static str {
    match on_fail {
        rev::OnFail::Block => "block",
        rev::OnFail::Demote => "demote",
        rev::OnFail::Fence => "fence",
        rev::OnFail::Ignore => "ignore",
        rev::OnFail::Restart => "restart",
        rev::OnFail::Standby => "standby",
        rev::OnFail::Stop => "stop",
    }
}

fn constraints(state: &State, revision: &Revision) -> Constraints {
    let mut out = Constraints::default();
    for constraint in &revision.constraints {
        let id = constraint.id.as_str();
        match &constraint.rule {
            rev::ConstraintRule::Location { resources, role: of, nodes, rules, discovery } => {
                locations(&mut out, id, resources, *of, nodes, rules, *discovery);
            }
            rev::ConstraintRule::Colocation { dependent, on, score } => {
                let mut pair =
                    Colocation::pair(id, dependent.resource.as_str(), on.resource.as_str(), *score);
                if let [first, second] = pair.sets.as_mut_slice() {
                    first.role = dependent.role.map(role);
                    second.role = on.role.map(role);
                }
                out.colocations.push(pair);
            }
            rev::ConstraintRule::ColocationSets { sets, score } => {
                out.colocations.push(Colocation {
                    sets: sets.iter().map(colocation_set).collect(),
                    from_sets: true,
                    ..Colocation::pair(id, "", "", *score)
                });
            }
            rev::ConstraintRule::Order { first, then, kind, symmetric } => {
                let mut pair = Order::pair(
                    id,
                    (first.resource.as_str(), action(first.action)),
                    (then.resource.as_str(), action(then.action)),
                );
                pair.kind = order_kind(*kind);
                pair.symmetrical = Some(*symmetric);
                out.orders.push(pair);
            }
            rev::ConstraintRule::OrderSets { sets, kind, symmetric } => {
                out.orders.push(Order {
                    kind: order_kind(*kind),
                    symmetrical: Some(*symmetric),
                    sets: sets.iter().map(order_set).collect(),
                    from_sets: true,
                    ..Order::pair(id, ("", "start"), ("", "start"))
                });
            }
        }
    }
    for ((resource, node), location) in &state.overrides.locations {
        if let Some(voter) = revision.voter(*node) {
            let id = format!("cli-{resource}-{}", voter.name);
            let at = (resource.as_str(), voter.name.as_str());
            out.locations.push(Location::on_node(&id, at.0, at.1, location.score));
        }
    }
    out
}

fn locations(
    out: &mut Constraints,
    id: &str,
    resources: &[ResourceId],
    of: Option<Role>,
    nodes: &BTreeMap<base::NodeName, i32>,
    rules: &[rev::LocationRule],
    discovery: rev::Discovery,
) {
    let discovery = match discovery {
        rev::Discovery::Always => "always",
        rev::Discovery::Exclusive => "exclusive",
        rev::Discovery::Never => "never",
    };
    let patterns: Vec<Pattern> = resources.iter().map(|r| Pattern::Id(r.as_str().into())).collect();
    let mut push = |target| {
        out.locations.push(Location {
            id: id.into(),
            resources: patterns.clone(),
            role: of.map(role),
            target,
            discovery: discovery.into(),
        });
    };
    for (node, score) in nodes {
        push(LocationTarget::Node { node: node.as_str().into(), score: *score });
    }
    let rules: Vec<Rule> = rules.iter().map(|r| location_rule(id, r)).collect();
    if !rules.is_empty() {
        push(LocationTarget::Rules(rules));
    }
}

fn colocation_set(set: &rev::ResourceSet) -> ColocationSet {
    ColocationSet {
        resources: set.resources.iter().map(|r| r.as_str().into()).collect(),
        role: set.role.map(role),
        sequential: set.sequential,
        score: None,
        listed: false,
    }
}

fn order_set(set: &rev::ResourceSet) -> OrderSet {
    OrderSet {
        resources: set.resources.iter().map(|r| r.as_str().into()).collect(),
        action: set.action.map_or_else(String::new, |a| action(a).into()),
        sequential: set.sequential,
        require_all: set.require_all,
        kind: None,
        symmetrical: None,
    }
}

const fn action(action: rev::Action) -> &'static str {
    match action {
        rev::Action::Demote => "demote",
        rev::Action::Promote => "promote",
        rev::Action::Start => "start",
        rev::Action::Stop => "stop",
    }
}

const fn order_kind(kind: rev::OrderKind) -> OrderKind {
    match kind {
        rev::OrderKind::Mandatory => OrderKind::Mandatory,
        rev::OrderKind::Optional => OrderKind::Optional,
        rev::OrderKind::Serialize => OrderKind::Serialize,
    }
}

fn location_rule(id: &str, rule: &rev::LocationRule) -> Rule {
    let mut expressions = Vec::new();
    for e in &rule.expressions {
        let one = |comparison, value: Option<&String>| Expression::Attribute {
            attribute: e.attribute.clone(),
            comparison,
            kind: policy::model::ValueKind::Auto,
            value: value.cloned(),
            source: policy::model::ValueSource::Literal,
        };
        let each = |comparison| e.values.iter().map(move |v| one(comparison, Some(v)));
        match e.operator {
            rev::AttributeOperator::Absent => expressions.push(one(Comparison::NotDefined, None)),
            rev::AttributeOperator::Present => expressions.push(one(Comparison::Defined, None)),
            rev::AttributeOperator::GreaterThan => expressions.extend(each(Comparison::Gt)),
            rev::AttributeOperator::LessThan => expressions.extend(each(Comparison::Lt)),
            rev::AttributeOperator::NotIn => {
                expressions.push(one(Comparison::Defined, None));
                expressions.extend(each(Comparison::Ne));
            }
            rev::AttributeOperator::In => expressions.push(Expression::Rule(Rule {
                op: policy::model::BooleanOp::Or,
                expressions: each(Comparison::Eq).collect(),
                ..Rule::default()
            })),
        }
    }
    let score = policy::model::RuleScore::Fixed(rule.score);
    Rule { id: format!("{id}-rule"), score, expressions, ..Rule::default() }
}

/// The node that a plan names.
pub(crate) fn node_named(revision: &Revision, name: &str) -> Option<NodeId> {
    revision.voters.iter().find(|v| v.name.as_str() == name).map(|v| v.id)
}
