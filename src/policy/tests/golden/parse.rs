//! The notation of the cases. A mistake in a case panics with its line.

use policy::{
    Model,
    model::{
        Colocation, JoinPhase, Location, Node, OperationRecord, OperationStatus, Order, OrderKind,
        Resource, ResourceHistory, ResourceKind, Role, parse_score,
    },
};

/// When every case happens.
const NOW: i64 = 1_700_000_000;

pub(crate) fn model(text: &str) -> Model {
    let mut model = Model::at(NOW);
    model.had_quorum = true;
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if statement(&mut model, line).is_none() {
            panic!("cannot read this line of a case: {line}");
        }
    }
    model
}

fn statement(model: &mut Model, line: &str) -> Option<()> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (verb, rest) = words.split_first()?;
    match *verb {
        "nodes" => model.nodes.extend(rest.iter().map(|name| Node::online(name))),
        "node" => node(model, rest)?,
        "property" => pairs(rest).for_each(|(k, v)| model.properties.set(k, v)),
        "default" => pairs(rest).for_each(|(k, v)| model.resource_defaults.set(k, v)),
        "inquorate" => model.quorate = false,
        "device" => {
            model.resources.push(Resource::primitive(
                rest.first()?,
                "stonith",
                "",
                "fence_ipmilan",
            ));
        }
        "primitive" | "group" | "clone" | "promotable" => {
            let resource = resource(&words)?;
            model.resources.push(resource);
        }
        "operation" => {
            let interval: u64 = rest.get(2)?.parse().ok()?;
            let meta: Vec<(&str, &str)> = pairs(rest).collect();
            let found = model.resources.iter_mut().find_map(|r| find(r, rest[0]))?;
            *found = found.clone().with_operation(rest[1], interval * 1000, &meta);
        }
        "location" => {
            let mut location =
                Location::on_node(rest.first()?, rest[1], rest.get(2)?, parse_score(rest.get(3)?)?);
            location.role = rest.get(4).and_then(|role| Role::parse(role));
            model.constraints.locations.push(location);
        }
        "colocation" => {
            let (id, dependent, primary, score) =
                (rest.first()?, rest.get(1)?, rest.get(3)?, parse_score(rest.get(4)?)?);
            let ((d, d_role), (p, p_role)) = (dotted(dependent), dotted(primary));
            let mut pair = Colocation::pair(id, d, p, score);
            pair.sets[0].role = d_role.and_then(Role::parse);
            pair.sets[1].role = p_role.and_then(Role::parse);
            if let Some((_, attribute)) = pairs(rest).find(|(key, _)| *key == "by") {
                attribute.clone_into(&mut pair.node_attribute);
            }
            model.constraints.colocations.push(pair);
        }
        "order" => {
            let ((first, a), (then, b)) = (dotted(rest.get(1)?), dotted(rest.get(3)?));
            let (a, b) = (a.unwrap_or("start"), b.unwrap_or("start"));
            let mut pair = Order::pair(rest[0], (first, a), (then, b));
            for word in &rest[4..] {
                match *word {
                    "Optional" => pair.kind = OrderKind::Optional,
                    "Serialize" => pair.kind = OrderKind::Serialize,
                    "one-way" => pair.symmetrical = Some(false),
                    _ => return None,
                }
            }
            model.constraints.orders.push(pair);
        }
        "ran" | "promoted" | "stopped" | "failed" | "pending" => history(model, verb, rest)?,
        _ => return None,
    }
    Some(())
}

fn pairs<'a>(words: &[&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    words.iter().filter_map(|word| word.split_once('='))
}

fn dotted(word: &str) -> (&str, Option<&str>) {
    word.split_once('.').map_or((word, None), |(name, rest)| (name, Some(rest)))
}

fn node(model: &mut Model, words: &[&str]) -> Option<()> {
    let name = words.first()?;
    let position = model.nodes.iter().position(|n| n.name == *name).unwrap_or_else(|| {
        model.nodes.push(Node::online(name));
        model.nodes.len() - 1
    });
    let node = &mut model.nodes[position];
    for word in &words[1..] {
        match (*word, word.split_once('=')) {
            (_, Some((key, value))) => match key.strip_prefix('~') {
                Some(key) => drop(node.transient.insert(key.to_owned(), value.to_owned())),
                None => node.attributes.set(key, value),
            },
            ("lost", _) => node.state = Node::lost(name).state,
            ("offline", _) => node.state = Node::offline(name).state,
            ("joining", _) => node.state.as_mut()?.join = JoinPhase::Pending,
            _ => return None,
        }
    }
    Some(())
}

fn resource(words: &[&str]) -> Option<Resource> {
    let (kind, rest) = words.split_first()?;
    let plain = |id: &str| {
        Resource::primitive(id, "ocf", "heartbeat", "Dummy").with_operation("monitor", 10_000, &[])
    };
    let (named, options): (Vec<&str>, Vec<&str>) = rest.iter().partition(|w| !w.contains('='));
    let id = named.first()?.trim_end_matches(':');
    let mut inner = named[1..].iter();
    let made = match *kind {
        "primitive" => plain(id),
        "group" => Resource::group(id, inner.map(|m| plain(m)).collect()),
        _ => {
            let first = inner.next()?;
            let child = match first.strip_suffix(':') {
                Some(group) => Resource::group(group, inner.map(|m| plain(m)).collect()),
                None if *kind == "promotable" => {
                    plain(first).with_operation("monitor", 11_000, &[("role", "Promoted")])
                }
                None => plain(first),
            };
            if *kind == "promotable" {
                Resource::promotable(id, child)
            } else {
                Resource::cloned(id, child)
            }
        }
    };
    Some(pairs(&options).fold(made, |made, (key, value)| made.with_meta(key, value)))
}

fn find<'a>(resource: &'a mut Resource, id: &str) -> Option<&'a mut Resource> {
    if resource.id == id {
        return Some(resource);
    }
    match &mut resource.kind {
        ResourceKind::Group(members) => members.iter_mut().find_map(|m| find(m, id)),
        ResourceKind::Clone(spec) => find(&mut spec.child, id),
        _ => None,
    }
}

fn history(model: &mut Model, verb: &str, words: &[&str]) -> Option<()> {
    let resource = *words.first()?;
    let several = matches!(verb, "ran" | "promoted" | "stopped");
    let names = if several { &words[1..] } else { &words[1..2] };
    let device = model.resources.iter().any(|r| {
        r.id == resource && matches!(&r.kind, ResourceKind::Primitive(p) if p.class == "stonith")
    });
    let agent =
        if device { ("stonith", "", "fence_ipmilan") } else { ("ocf", "heartbeat", "Dummy") };
    for name in names {
        let node = model.nodes.iter_mut().find(|n| n.name == *name)?;
        let at = node.history.iter().position(|h| h.resource == resource).unwrap_or_else(|| {
            node.history.push(ResourceHistory::of(resource, agent.0, agent.1, agent.2));
            node.history.len() - 1
        });
        let mut history = node.history[at].clone();
        history = match verb {
            "ran" if device => history.with_done("start", 0, 0),
            "ran" => history.with_done("start", 0, 0).with_done("monitor", 10_000, 0),
            "promoted" => history
                .with_done("start", 0, 0)
                .with_done("promote", 0, 0)
                .with_done("monitor", 11_000, 8),
            "stopped" => history.with_done("monitor", 0, 7),
            "pending" => {
                history.operations.push(OperationRecord {
                    id: format!("{resource}_{}_0", words.get(2)?),
                    operation: (*words.get(2)?).to_owned(),
                    call_id: -1,
                    status: OperationStatus::Pending,
                    ..OperationRecord::default()
                });
                history
            }
            _ => {
                let interval_ms = words.get(3)?.parse::<u64>().ok()? * 1000;
                let call_id = history.operations.iter().map(|op| op.call_id).max().unwrap_or(0) + 1;
                history.operations.push(OperationRecord {
                    id: format!("{resource}_last_failure_0"),
                    operation: words[2].to_owned(),
                    interval_ms,
                    call_id,
                    exit_code: 1,
                    expected_code: Some(0),
                    last_change: Some(NOW - 60),
                    ..OperationRecord::default()
                });
                let count = if words[2] == "monitor" { "1" } else { "INFINITY" };
                let of = format!("{resource}#{}_{interval_ms}", words[2]);
                node.transient.insert(format!("fail-count-{of}"), count.to_owned());
                node.transient.insert(format!("last-failure-{of}"), (NOW - 60).to_string());
                history
            }
        };
        node.history[at] = history;
    }
    Some(())
}
