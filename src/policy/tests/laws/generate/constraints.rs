//! What people demand of the placement. Rings of colocations and orders are made too: the engine has to live with them.

use policy::{
    Model,
    model::{
        Colocation, Comparison, Expression, INFINITY, Location, LocationTarget, Order, OrderKind,
        Resource, ResourceKind, Role, Rule, RuleScore, ValueKind, ValueSource,
    },
};

use super::{Mood, bytes::Bytes};

pub(super) fn add(model: &mut Model, bytes: &mut Bytes<'_>, mood: Mood) {
    let names: Vec<String> = names(model);
    let (tops, nodes) = (model.resources.len(), model.nodes.len());
    for number in 0..bytes.below(5) {
        let resource = &names[bytes.below(names.len())];
        let node = format!("n{}", 1 + bytes.below(nodes));
        let score = bytes.pick(&[50, -INFINITY, 100, INFINITY, -10]);
        let mut location = Location::on_node(&format!("loc{number}"), resource, &node, score);
        if bytes.chance(30) {
            location.role = Some(Role::Promoted);
        }
        if bytes.chance(50) {
            location.target = LocationTarget::Rules(vec![zone_rule(bytes, score)]);
        }
        model.constraints.locations.push(location);
    }
    let kinds: Vec<Kind> = model.resources.iter().map(kind).collect();
    let pair = |bytes: &mut Bytes<'_>| {
        let (a, b) = (bytes.below(tops), bytes.below(tops));
        // calm people think in one direction, and only of what can be done
        if mood == Mood::Calm { (a.min(b), a.max(b)) } else { (a, b) }
    };
    let id = |at: usize| model.resources[at].id.as_str();
    let mut colocations = Vec::new();
    for number in 0..bytes.below(4) {
        let (primary, dependent) = pair(bytes);
        let score = bytes.pick(&[INFINITY, -INFINITY, 100, -100]);
        let name = format!("col{number}");
        let mut colocation = Colocation::pair(&name, id(dependent), id(primary), score);
        for (set, at) in colocation.sets.iter_mut().zip([dependent, primary]) {
            if bytes.chance(60) && (mood == Mood::Wild || kinds[at] == Kind::Promotable) {
                set.role = Some(Role::Promoted);
            }
        }
        if dependent != primary {
            colocations.push(colocation);
        }
    }
    let mut orders = Vec::new();
    for number in 0..bytes.below(4) {
        let (first, then) = pair(bytes);
        let sensible = |at: usize, action: &'static str| match action {
            "promote" if mood == Mood::Calm && kinds[at] != Kind::Promotable => "start",
            "stop" if mood == Mood::Calm => "start",
            other => other,
        };
        let actions = bytes.pick(&[
            ("start", "start"),
            ("start", "start"),
            ("promote", "start"),
            ("promote", "promote"),
            ("stop", "start"),
        ]);
        let actions = (sensible(first, actions.0), sensible(then, actions.1));
        let name = format!("ord{number}");
        let mut order = Order::pair(&name, (id(first), actions.0), (id(then), actions.1));
        order.kind = bytes.pick(&[
            OrderKind::Mandatory,
            OrderKind::Mandatory,
            OrderKind::Optional,
            OrderKind::Serialize,
        ]);
        if bytes.chance(30) {
            order.symmetrical = Some(false);
        }
        if first != then {
            orders.push(order);
        }
    }
    model.constraints.colocations = colocations;
    model.constraints.orders = orders;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Clone,
    Promotable,
}

fn kind(resource: &Resource) -> Kind {
    match &resource.kind {
        ResourceKind::Clone(spec) if spec.promotable => Kind::Promotable,
        ResourceKind::Clone(_) => Kind::Clone,
        _ => Kind::Single,
    }
}

/// Top-level resources and members of groups.
fn names(model: &Model) -> Vec<String> {
    let mut names = Vec::new();
    for resource in &model.resources {
        names.push(resource.id.clone());
        if let ResourceKind::Group(members) = &resource.kind {
            names.extend(members.iter().map(|m: &Resource| m.id.clone()));
        }
    }
    names
}

fn zone_rule(bytes: &mut Bytes<'_>, score: i32) -> Rule {
    let zone = Expression::Attribute {
        attribute: "zone".to_owned(),
        comparison: bytes.pick(&[Comparison::Eq, Comparison::Ne]),
        kind: ValueKind::Auto,
        value: Some("east".to_owned()),
        source: ValueSource::Literal,
    };
    Rule { score: RuleScore::Fixed(score), expressions: vec![zone], ..Rule::default() }
}
