//! From a revision to the engine's model: the configured half. Who is there and what ran is added by whoever knows.
//!
//! Invariants: a function of the revision alone; ids of placements stay what they are, except that a clone's own id is
//! `ID-clone` and its primitive or group keeps `ID`, as people know it from `pcs`; constraints that name `ID` then mean
//! the clone.

use alloc::{
    format,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};
use core::time::Duration;

use base::{ResourceId, ResourceKind as Kind};

use super::{
    Action, AttributeExpression, AttributeOperator, CloneOptions, Constraint, ConstraintRule,
    Discovery, FenceAction, LocationRule, Meta, Monitor, NoQuorumPolicy, OnFail, OrderKind,
    Placement, Primitive, ResourceSet, Revision, Shape,
};
use crate::model::{
    BooleanOp, Colocation, ColocationSet, Comparison, Expression, FencingLevel, FencingTarget,
    Location, LocationTarget, Model, Node, Order, OrderKind as ModelOrderKind, OrderSet, Pattern,
    Resource, Role, Rule, RuleScore, ValueKind, ValueSource,
};

/// Class and provider of everything that a revision can run.
const CLASS: (&str, &str) = ("ocf", "palisade");

impl Revision {
    /// The configured half of a model: properties, nodes without state, resources, constraints, levels of devices.
    /// `now` is seconds since 1970. Quorate until somebody says otherwise.
    #[must_use]
    pub fn model(&self, now: i64) -> Model {
        let mut model = Model::at(now);
        let fencing = &self.fencing;
        let action = match fencing.action {
            FenceAction::Off => "off",
            FenceAction::Reboot => "reboot",
        };
        let policy = match self.no_quorum_policy {
            NoQuorumPolicy::Demote => "demote",
            NoQuorumPolicy::Freeze => "freeze",
            NoQuorumPolicy::Ignore => "ignore",
            NoQuorumPolicy::Stop => "stop",
            NoQuorumPolicy::Suicide => "suicide",
        };
        model.properties.set("no-quorum-policy", policy);
        model.properties.set("fencing-enabled", yes_no(fencing.enabled));
        model.properties.set("fencing-action", action);
        model.nodes = self.nodes.iter().map(node).collect();
        model.resources = self.placements.iter().map(resource).collect::<Vec<_>>().into();
        model.fencing_levels = self.levels();
        let clones = Clones(&self.placements);
        for constraint in &self.constraints {
            clones.add(constraint, &mut model);
        }
        model
    }

    /// The resource of the model that a placement, or a member of it, is known by in constraints: the clone where
    /// there is one.
    #[must_use]
    pub fn model_id(&self, id: &ResourceId) -> String {
        Clones(&self.placements).outer(id)
    }

    fn levels(&self) -> Vec<FencingLevel> {
        let mut levels: Vec<FencingLevel> = Vec::new();
        let mut devices: Vec<_> = self.devices.iter().map(|d| &d.device).collect();
        devices.sort_by(|a, b| (a.level, &a.name).cmp(&(b.level, &b.name)));
        for voter in &self.voters {
            for device in devices.iter().filter(|d| d.targets.contains(&voter.id)) {
                let id = format!("{}-level-{}", voter.name, device.level);
                match levels.iter_mut().find(|l| l.id == id) {
                    Some(level) => level.devices.push(device.name.to_string()),
                    None => levels.push(FencingLevel {
                        id,
                        index: device.level.into(),
                        target: FencingTarget::Node(voter.name.to_string()),
                        devices: vec![device.name.to_string()],
                    }),
                }
            }
        }
        levels
    }
}

fn node(intent: &super::NodeIntent) -> Node {
    let mut node =
        Node { id: intent.name.to_string(), name: intent.name.to_string(), ..Node::default() };
    for (name, value) in &intent.attributes {
        node.attributes.set(name, value);
    }
    for (name, value) in [("standby", intent.standby), ("maintenance", intent.maintenance)] {
        if value {
            node.attributes.set(name, "true");
        }
    }
    node
}

fn resource(placement: &Placement) -> Resource {
    let id = placement.id.as_str();
    let child = match (&placement.shape, placement.members.as_slice()) {
        (Shape::Group, members) | (_, members @ ([] | [_, _, ..])) => {
            Resource::group(id, members.iter().map(primitive).collect())
        }
        (_, [only]) => primitive(only),
    };
    match placement.shape {
        Shape::Single | Shape::Group => with_meta(child, &placement.meta),
        Shape::Clone(options) => {
            let clone = Resource::cloned(&clone_id(id), child);
            with_meta(with_clone_options(clone, options), &placement.meta)
        }
        Shape::Promotable(options, promoted) => {
            let clone = Resource::promotable(&clone_id(id), child)
                .with_meta("promoted-max", &promoted.max.to_string())
                .with_meta("promoted-node-max", &promoted.node_max.to_string());
            with_meta(with_clone_options(clone, options), &placement.meta)
        }
    }
}

fn with_clone_options(clone: Resource, options: CloneOptions) -> Resource {
    let clone = match options.max {
        Some(max) => clone.with_meta("clone-max", &max.to_string()),
        None => clone,
    };
    clone
        .with_meta("clone-node-max", &options.node_max.to_string())
        .with_meta("clone-min", &options.min.to_string())
        .with_meta("interleave", yes_no(options.interleave))
        .with_meta("ordered", yes_no(options.ordered))
        .with_meta("globally-unique", yes_no(options.unique))
        .with_meta("notify", yes_no(options.notify))
}

fn primitive(primitive: &Primitive) -> Resource {
    let (class, provider) = CLASS;
    let mut out = match &primitive.kind {
        Kind::Address { address, prefix, network } => {
            Resource::primitive(primitive.id.as_str(), class, provider, "Address")
                .with_parameter("address", &address.to_string())
                .with_parameter("prefix", &prefix.to_string())
                .with_parameter("network", network.as_str())
        }
        // What it balances comes into force without a restart: nothing of it is a parameter that a plan compares.
        Kind::LoadBalancer(_) => {
            Resource::primitive(primitive.id.as_str(), class, provider, "LoadBalancer")
        }
        // A change of it is seen by whoever knows what runs (`ResourceKind::turns_into`), and is no secret's way into a plan.
        Kind::Ocf(_) => Resource::primitive(primitive.id.as_str(), class, provider, "Ocf"),
        Kind::Process { template } => {
            Resource::primitive(primitive.id.as_str(), class, provider, "Process")
                .with_parameter("template", template.as_str())
        }
    };
    let timeouts = &primitive.timeouts;
    for (name, timeout) in [
        ("start", timeouts.start),
        ("stop", timeouts.stop),
        ("promote", timeouts.promote),
        ("demote", timeouts.demote),
        ("monitor", timeouts.probe),
    ] {
        out = out.with_operation(name, 0, &[("timeout", &ms(timeout))]);
    }
    for monitor in &primitive.monitors {
        out = with_monitor(out, monitor);
    }
    with_meta(out, &primitive.meta)
}

fn with_monitor(resource: Resource, monitor: &Monitor) -> Resource {
    let on_fail = match monitor.on_fail {
        OnFail::Block => "block",
        OnFail::Demote => "demote",
        OnFail::Fence => "fence",
        OnFail::Ignore => "ignore",
        OnFail::Restart => "restart",
        OnFail::Standby => "standby",
        OnFail::Stop => "stop",
    };
    let timeout = ms(monitor.timeout);
    let interval = u64::try_from(monitor.interval.as_millis()).unwrap_or(u64::MAX);
    let role = monitor.role.map(|r| role(r).as_str());
    let mut meta = vec![("timeout", timeout.as_str()), ("on-fail", on_fail)];
    meta.extend(role.map(|r| ("role", r)));
    resource.with_operation("monitor", interval, &meta)
}

fn with_meta(mut resource: Resource, meta: &Meta) -> Resource {
    let seconds = |d: Duration| ms(d);
    let values = [
        ("priority", meta.priority.map(|v| v.to_string())),
        ("resource-stickiness", meta.stickiness.map(|v| v.to_string())),
        ("migration-threshold", meta.migration_threshold.map(|v| v.to_string())),
        ("failure-timeout", meta.failure_timeout.map(seconds)),
        ("target-role", meta.target_role.map(|r| role(r).as_str().to_string())),
        ("is-managed", meta.managed.map(|v| yes_no(v).to_string())),
        ("maintenance", meta.maintenance.map(|v| yes_no(v).to_string())),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            resource.meta.set(name, &value);
        }
    }
    resource
}

/// Which ids mean a clone.
struct Clones<'a>(&'a [Placement]);

impl Clones<'_> {
    fn outer(&self, id: &ResourceId) -> String {
        let cloned = |p: &&Placement| {
            matches!(p.shape, Shape::Clone(_) | Shape::Promotable(..)) && p.id == *id
        };
        match self.0.iter().find(cloned) {
            Some(placement) => clone_id(placement.id.as_str()),
            None => id.to_string(),
        }
    }

    fn add(&self, constraint: &Constraint, model: &mut Model) {
        let id = constraint.id.as_str();
        match &constraint.rule {
            ConstraintRule::Colocation { dependent, on, score } => {
                let mut pair = Colocation::pair(
                    id,
                    &self.outer(&dependent.resource),
                    &self.outer(&on.resource),
                    *score,
                );
                for (set, of) in pair.sets.iter_mut().zip([dependent, on]) {
                    set.role = of.role.map(role);
                }
                model.constraints.colocations.push(pair);
            }
            ConstraintRule::ColocationSets { sets, score } => {
                model.constraints.colocations.push(Colocation {
                    id: id.into(),
                    score: *score,
                    node_attribute: String::new(),
                    influence: None,
                    sets: sets.iter().map(|s| self.colocation_set(s)).collect(),
                    from_sets: true,
                });
            }
            ConstraintRule::Location { .. } => self.location(id, &constraint.rule, model),
            ConstraintRule::Order { first, then, kind, symmetric } => {
                let (a, b) = (self.outer(&first.resource), self.outer(&then.resource));
                let mut pair =
                    Order::pair(id, (&a, action(first.action)), (&b, action(then.action)));
                pair.kind = order_kind(*kind);
                pair.symmetrical = Some(*symmetric);
                model.constraints.orders.push(pair);
            }
            ConstraintRule::OrderSets { sets, kind, symmetric } => {
                model.constraints.orders.push(Order {
                    id: id.into(),
                    kind: order_kind(*kind),
                    symmetrical: Some(*symmetric),
                    require_all: true,
                    sets: sets.iter().map(|s| self.order_set(s)).collect(),
                    from_sets: true,
                });
            }
        }
    }

    fn location(&self, id: &str, rule: &ConstraintRule, model: &mut Model) {
        let ConstraintRule::Location { resources, role: only, nodes, rules, discovery } = rule
        else {
            return;
        };
        let location = |id: String, target| Location {
            id,
            resources: resources.iter().map(|r| Pattern::Id(self.outer(r))).collect(),
            role: only.map(role),
            target,
            discovery: match discovery {
                Discovery::Always => String::new(),
                Discovery::Exclusive => "exclusive".into(),
                Discovery::Never => "never".into(),
            },
        };
        // one name for the whole where there is one part, so that explanations cite the object as people know it
        let alone = nodes.len() + usize::from(!rules.is_empty()) == 1;
        for (node, score) in nodes {
            let name = if alone { id.into() } else { format!("{id}/{node}") };
            let target = LocationTarget::Node { node: node.to_string(), score: *score };
            model.constraints.locations.push(location(name, target));
        }
        if !rules.is_empty() {
            let name = if alone { id.into() } else { format!("{id}/rules") };
            let rules = rules.iter().enumerate().map(|(i, r)| self::rule(id, i, r)).collect();
            model.constraints.locations.push(location(name, LocationTarget::Rules(rules)));
        }
    }

    fn colocation_set(&self, set: &ResourceSet) -> ColocationSet {
        ColocationSet {
            resources: set.resources.iter().map(|r| self.outer(r)).collect(),
            role: set.role.map(role),
            sequential: set.sequential,
            listed: true,
            ..ColocationSet::default()
        }
    }

    fn order_set(&self, set: &ResourceSet) -> OrderSet {
        OrderSet {
            resources: set.resources.iter().map(|r| self.outer(r)).collect(),
            action: action(set.action.unwrap_or(Action::Start)).into(),
            sequential: set.sequential,
            require_all: set.require_all,
            kind: None,
            symmetrical: None,
        }
    }
}

fn rule(id: &str, index: usize, rule: &LocationRule) -> Rule {
    Rule {
        id: format!("{id}/rule-{index}"),
        op: BooleanOp::And,
        role: None,
        score: RuleScore::Fixed(rule.score),
        expressions: rule.expressions.iter().map(expression).collect(),
    }
}

fn expression(e: &AttributeExpression) -> Expression {
    let compare = |comparison, value: Option<&String>| Expression::Attribute {
        attribute: e.attribute.clone(),
        comparison,
        kind: match comparison {
            Comparison::Gt | Comparison::Lt => ValueKind::Number,
            _ => ValueKind::String,
        },
        value: value.cloned(),
        source: ValueSource::Literal,
    };
    let any_of = |op, comparison| {
        Expression::Rule(Rule {
            op,
            expressions: e.values.iter().map(|v| compare(comparison, Some(v))).collect(),
            ..Rule::default()
        })
    };
    match e.operator {
        AttributeOperator::Absent => compare(Comparison::NotDefined, None),
        AttributeOperator::Present => compare(Comparison::Defined, None),
        AttributeOperator::GreaterThan => compare(Comparison::Gt, e.values.first()),
        AttributeOperator::LessThan => compare(Comparison::Lt, e.values.first()),
        AttributeOperator::In => any_of(BooleanOp::Or, Comparison::Eq),
        AttributeOperator::NotIn => Expression::Rule(Rule {
            op: BooleanOp::And,
            expressions: vec![
                compare(Comparison::Defined, None),
                any_of(BooleanOp::And, Comparison::Ne),
            ],
            ..Rule::default()
        }),
    }
}

const fn role(role: base::Role) -> Role {
    match role {
        base::Role::Stopped => Role::Stopped,
        base::Role::Started => Role::Started,
        base::Role::Unpromoted => Role::Unpromoted,
        base::Role::Promoted => Role::Promoted,
    }
}

const fn action(action: Action) -> &'static str {
    match action {
        Action::Demote => "demote",
        Action::Promote => "promote",
        Action::Start => "start",
        Action::Stop => "stop",
    }
}

const fn order_kind(kind: OrderKind) -> ModelOrderKind {
    match kind {
        OrderKind::Mandatory => ModelOrderKind::Mandatory,
        OrderKind::Optional => ModelOrderKind::Optional,
        OrderKind::Serialize => ModelOrderKind::Serialize,
    }
}

const fn yes_no(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn ms(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

fn clone_id(id: &str) -> String {
    format!("{id}-clone")
}
