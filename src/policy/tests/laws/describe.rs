//! A model in few lines, for the messages of failing laws.

use std::fmt::Write as _;

use policy::{
    Model,
    model::{LocationTarget, Options, Pattern, Resource, ResourceKind},
};

pub(crate) fn describe(model: &Model) -> String {
    let mut out = format!("quorate={} had={} properties", model.quorate, model.had_quorum);
    options(&mut out, &model.properties);
    out.push_str(" defaults");
    options(&mut out, &model.resource_defaults);
    out.push('\n');
    model.resources.iter().for_each(|r| resource(&mut out, r, 0));
    for l in &model.constraints.locations {
        let Pattern::Id(id) = &l.resources[0] else { continue };
        let target = match &l.target {
            LocationTarget::Node { node, score } => format!("{node} {score}"),
            LocationTarget::Rules(rules) => format!("rules {:?}", rules[0]),
        };
        let _ = writeln!(out, "location {} {id} {:?} {target}", l.id, l.role);
    }
    for c in &model.constraints.colocations {
        let side = |at: usize| format!("{:?}:{:?}", c.sets[at].resources, c.sets[at].role);
        let _ = writeln!(out, "colocate {} {} with {} {}", c.id, side(0), side(1), c.score);
    }
    for o in &model.constraints.orders {
        let side = |at: usize| format!("{} {:?}", o.sets[at].action, o.sets[at].resources);
        let _ = writeln!(
            out,
            "order {} {} then {} {:?} symmetrical={:?}",
            o.id,
            side(0),
            side(1),
            o.kind,
            o.symmetrical
        );
    }
    for node in &model.nodes {
        let state = node.state.as_ref();
        let _ = write!(
            out,
            "node {} {:?}",
            node.name,
            state.map(|s| (s.member, s.online, s.join, s.expected))
        );
        options(&mut out, &node.attributes);
        let _ = writeln!(out, " {:?}", node.transient);
        for history in &node.history {
            let _ = write!(out, "  {}:", history.resource);
            for op in &history.operations {
                let _ = write!(
                    out,
                    " {}/{}={}{}#{}",
                    op.operation,
                    op.interval_ms / 1000,
                    op.exit_code,
                    if op.call_id < 0 { " pending" } else { "" },
                    op.call_id
                );
            }
            out.push('\n');
        }
    }
    out
}

fn resource(out: &mut String, resource: &Resource, depth: usize) {
    let indent = "  ".repeat(depth);
    let (kind, children): (&str, Vec<&Resource>) = match &resource.kind {
        ResourceKind::Primitive(_) => ("primitive", Vec::new()),
        ResourceKind::Group(members) => ("group", members.iter().collect()),
        ResourceKind::Clone(c) if c.promotable => ("promotable", vec![&c.child]),
        ResourceKind::Clone(c) => ("clone", vec![&c.child]),
        ResourceKind::Bundle(_) => ("bundle", Vec::new()),
    };
    let _ = write!(out, "{indent}{kind} {}", resource.id);
    options(out, &resource.meta);
    if let ResourceKind::Primitive(primitive) = &resource.kind {
        for op in &primitive.operations {
            let _ = write!(out, " op {}/{}", op.name, op.interval_ms / 1000);
            options(out, &op.meta);
        }
    }
    out.push('\n');
    children.iter().for_each(|child| self::resource(out, child, depth + 1));
}

fn options(out: &mut String, options: &Options) {
    for (name, value) in options.sets.iter().flat_map(|set| &set.pairs) {
        let _ = write!(out, " {name}={value}");
    }
}
