//! The laws themselves, as functions of bytes.

use std::collections::{BTreeMap, BTreeSet};

use policy::{
    Model, Plan, Scheduler,
    check::check,
    model::{
        INFINITY, LocationTarget, Node, OperationRecord, Pattern, Resource, ResourceKind, RuleScore,
    },
    plan::Task,
    schedule,
};

use crate::{
    apply::apply,
    describe::describe,
    generate::{self, Mood, NOW},
};

type Verdict = Result<(), String>;

fn planned(model: &Model) -> Result<Plan, String> {
    let plan = schedule(model).map_err(|error| format!("no plan: {error}"))?;
    if std::env::var_os("PALISADE_LAW_BYTES").is_some() {
        eprintln!("{}{}{}", describe(model), told(&plan), reasons(model));
    }
    Ok(plan)
}

/// Resource actions and node actions, in words.
fn told(plan: &Plan) -> String {
    let mut out = String::new();
    for action in &plan.actions {
        if !matches!(action.task, Task::Sync(_)) {
            let (resource, node) = (action.instance.as_deref(), action.node.as_deref());
            let implied = if action.implied { " (implied)" } else { "" };
            let (resource, node) = (resource.unwrap_or("-"), node.unwrap_or("-"));
            out.push_str(&format!("{} {resource} {node}{implied}\n", action.task.operation()));
        }
    }
    out
}

/// Why each action is taken or refused.
fn reasons(model: &Model) -> String {
    let mut out = String::new();
    let plan = policy::explain(model).unwrap_or_default();
    for (id, explanation) in &plan.explanations {
        for action in &explanation.actions {
            let refused = if action.taken { "" } else { "not " };
            let (operation, why) = (&action.operation, &action.why);
            out.push_str(&format!("  {refused}{operation} {id} {}: {why}\n", action.node));
        }
    }
    out
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, a: &T, b: &T) -> Verdict {
    if a == b { Ok(()) } else { Err(format!("{what} differ:\n{a:#?}\n{b:#?}")) }
}

fn either(bytes: &[u8]) -> Model {
    let mood = if bytes.first().is_some_and(|b| b % 4 == 0) { Mood::Calm } else { Mood::Wild };
    generate::model(bytes.get(1..).unwrap_or_default(), mood)
}

/// Whatever changes what runs, without what only watches.
fn changes(plan: &Plan) -> BTreeSet<(String, String, String)> {
    plan.actions
        .iter()
        .filter(|a| {
            matches!(
                a.task,
                Task::Start
                    | Task::Stop
                    | Task::Promote
                    | Task::Demote
                    | Task::Fence { .. }
                    | Task::Shutdown
            )
        })
        .map(|a| {
            let text = |t: &Option<String>| t.clone().unwrap_or_default();
            (a.task.operation().to_owned(), text(&a.resource), text(&a.node))
        })
        .collect()
}

pub(crate) fn deterministic(bytes: &[u8]) -> Verdict {
    let model = either(bytes);
    let write = |plan: &Plan| serde_json::to_string(plan).expect("plain data");
    same("plans", &write(&planned(&model)?), &write(&planned(&model.clone())?))
}

/// Records of history are said to be in any order; locations and options of one set add up whatever their order.
pub(crate) fn order_of_facts_is_irrelevant(bytes: &[u8]) -> Verdict {
    let model = either(bytes);
    let mut turned = model.clone();
    for node in &mut turned.nodes {
        for history in &mut node.history {
            history.operations.reverse();
        }
    }
    turned.constraints.locations.reverse();
    for set in turned.properties.sets.iter_mut() {
        set.pairs.reverse();
    }
    for resource in &mut turned.resources {
        resource.meta.sets.iter_mut().for_each(|set| set.pairs.reverse());
    }
    let (a, b) = (planned(&model)?, planned(&turned)?);
    same("placements", &a.placements, &b.placements)?;
    same("actions", &a.actions, &b.actions)?;
    same("orders", &a.order, &b.order)
}

pub(crate) fn checker_is_content(bytes: &[u8]) -> Verdict {
    let model = either(bytes);
    let plan = planned(&model)?;
    let found = check(&model, &plan);
    if found.is_empty() {
        return Ok(());
    }
    Err(format!("{found:#?}\n{}", told(&plan)))
}

/// An infinite negative score keeps a resource away from a node, unless it is there and cannot be moved.
pub(crate) fn bans_hold(bytes: &[u8]) -> Verdict {
    let model = either(bytes);
    let plan = planned(&model)?;
    for location in &model.constraints.locations {
        let (Pattern::Id(id), LocationTarget::Node { node, score }, None) =
            (&location.resources[0], &location.target, location.role)
        else {
            continue;
        };
        if *score > -INFINITY {
            continue;
        }
        let here = |places: &BTreeMap<String, Vec<policy::plan::Placement>>| {
            places.get(id).is_some_and(|l| l.iter().any(|p| p.node == *node && p.role.is_active()))
        };
        if here(&plan.placements) && !here(&plan.current) {
            return Err(format!("{id} comes to {node} against {}\n{}", location.id, told(&plan)));
        }
    }
    Ok(())
}

/// Plans and applies until nothing changes.
fn at_rest(mut model: Model, rounds: usize) -> Result<Model, String> {
    for _ in 0..rounds {
        let plan = planned(&model)?;
        if changes(&plan).is_empty() {
            // probes and monitors that are still to be made
            return Ok(apply(&model, &plan));
        }
        model = apply(&model, &plan);
    }
    let plan = planned(&model)?;
    if changes(&plan).is_empty() {
        return Ok(apply(&model, &plan));
    }
    Err(format!("no rest after {rounds} plans, still to do:\n{}", told(&plan)))
}

/// Where nothing disturbs, one plan is enough; a second one where the first changed what scores depend on.
pub(crate) fn calm_comes_to_rest(bytes: &[u8]) -> Verdict {
    let mut model = generate::model(bytes, Mood::Calm);
    never_torn(&mut model);
    let model = at_rest(model, 2)?;
    let plan = planned(&model)?;
    if plan.actions.is_empty() {
        return Ok(());
    }
    let points = plan.actions.iter().filter(|a| matches!(a.task, Task::Sync(_))).count();
    Err(format!("still to do ({points} ordering points):\n{}", told(&plan)))
}

/// Fencing hides what ran on the node, and failures are forgotten step by step, so a few plans may follow.
pub(crate) fn wild_comes_to_rest(bytes: &[u8]) -> Verdict {
    let mut model = generate::model(bytes, Mood::Wild);
    never_torn(&mut model);
    at_rest(model, 5).map(|_| ())
}

/// Together and apart at once cannot be had, and the search for it never ends.
fn never_torn(model: &mut Model) {
    let pair = |c: &policy::model::Colocation| -> BTreeSet<String> {
        c.sets.iter().flat_map(|s| &s.resources).cloned().collect()
    };
    let colocations = &model.constraints.colocations;
    let together: Vec<_> = colocations.iter().filter(|c| c.score > 0).map(pair).collect();
    model.constraints.colocations.retain(|c| c.score > 0 || !together.contains(&pair(c)));
}

fn clones(model: &Model) -> BTreeSet<String> {
    let clones = model.resources.iter().filter(|r| matches!(r.kind, ResourceKind::Clone(_)));
    clones.map(|r| r.id.clone()).collect()
}

/// Ids of the top-level resources that constraints tie to each other, by the smallest of each bunch.
fn bunches(model: &Model) -> BTreeMap<String, usize> {
    let mut bunch: BTreeMap<String, usize> =
        model.resources.iter().enumerate().map(|(at, r)| (r.id.clone(), at)).collect();
    let mut join = |names: Vec<&String>| {
        let Some(least) = names.iter().filter_map(|n| bunch.get(*n)).min().copied() else { return };
        let old: BTreeSet<usize> = names.iter().filter_map(|n| bunch.get(*n)).copied().collect();
        bunch.values_mut().filter(|b| old.contains(b)).for_each(|b| *b = least);
    };
    for colocation in &model.constraints.colocations {
        join(colocation.sets.iter().flat_map(|s| &s.resources).collect());
    }
    for order in &model.constraints.orders {
        join(order.sets.iter().flat_map(|s| &s.resources).collect());
    }
    bunch
}

fn primitives(resource: &Resource, out: &mut Vec<String>) {
    match &resource.kind {
        ResourceKind::Primitive(_) => out.push(resource.id.clone()),
        ResourceKind::Group(members) => members.iter().for_each(|m| primitives(m, out)),
        ResourceKind::Clone(spec) => primitives(&spec.child, out),
        ResourceKind::Bundle(_) => {}
    }
}

/// The bunch of every primitive; instances without their number.
fn bunch_of(model: &Model) -> BTreeMap<String, usize> {
    let tops = bunches(model);
    let mut all = BTreeMap::new();
    for resource in &model.resources {
        let mut names = Vec::new();
        primitives(resource, &mut names);
        all.extend(names.into_iter().map(|n| (n, tops[&resource.id])));
    }
    all
}

fn base(instance: &str) -> &str {
    instance.split(':').next().unwrap_or(instance)
}

/// `plan` stops or demotes nothing outside the bunches in `touched`.
fn only_touches(model: &Model, plan: &Plan, touched: &BTreeSet<usize>) -> Verdict {
    let bunch = bunch_of(model);
    for (operation, resource, node) in changes(plan) {
        let harms = operation == "stop" || operation == "demote";
        if harms && bunch.get(base(&resource)).is_some_and(|b| !touched.contains(b)) {
            return Err(format!("{operation} {resource} on {node} without cause:\n{}", told(plan)));
        }
    }
    Ok(())
}

/// A calm cluster whose resources like to stay more than any finite score of the generator pulls them away.
fn calm_at_rest(bytes: &[u8]) -> Result<Model, String> {
    let mut model = generate::model(bytes, Mood::Calm);
    model.resource_defaults.set("resource-stickiness", "10000");
    for location in &mut model.constraints.locations {
        // "must run there" is more than a preference: it can push others away
        match &mut location.target {
            LocationTarget::Node { score, .. } => *score = (*score).min(100),
            LocationTarget::Rules(rules) => rules.iter_mut().for_each(|r| {
                if r.score == RuleScore::Fixed(INFINITY) {
                    r.score = RuleScore::Fixed(100);
                }
            }),
        }
    }
    at_rest(model, 6)
}

/// Whoever ran on the lost node, and whoever constraints tie to them, may be stopped elsewhere. Nobody else, except who
/// is tied to something that should run and does not: that looks for a place anew, and takes it although its start still
/// has to wait (as in Pacemaker, where an order has no say in placing).
pub(crate) fn a_lost_node_disturbs_only_its_own(bytes: &[u8]) -> Verdict {
    let mut model = calm_at_rest(bytes)?;
    let at = bytes.last().map_or(0, |b| usize::from(*b) % model.nodes.len());
    let name = model.nodes[at].name.clone();
    let bunch = bunch_of(&model);
    let before = planned(&model)?;
    let touched: BTreeSet<usize> = before
        .current
        .iter()
        .filter(|(_, places)| places.iter().any(|p| p.node == name))
        .filter_map(|(id, _)| bunch.get(base(id)).copied())
        .chain(waiting(&before, &bunch))
        .collect();
    let lost = Node::lost(&name);
    model.nodes[at].state = lost.state;
    only_touches(&model, &planned(&model)?, &touched)
}

/// The bunches of what runs nowhere.
fn waiting(plan: &Plan, bunch: &BTreeMap<String, usize>) -> BTreeSet<usize> {
    let runs = |id: &str| {
        let mut places = plan.placements.iter().filter(|(name, _)| base(name) == id);
        places.any(|(_, list)| list.iter().any(|p| p.role.is_active()))
    };
    bunch.iter().filter(|(id, _)| !runs(id)).map(|(_, bunch)| *bunch).collect()
}

pub(crate) fn a_failure_disturbs_only_its_own(bytes: &[u8]) -> Verdict {
    let mut model = calm_at_rest(bytes)?;
    let plan = planned(&model)?;
    let running: Vec<(String, String)> = plan
        .current
        .iter()
        .flat_map(|(id, places)| places.iter().map(|p| (id.clone(), p.node.clone())))
        .collect();
    if running.is_empty() {
        return Ok(());
    }
    let (id, node) = &running[bytes.last().map_or(0, |b| usize::from(*b)) % running.len()];
    let at = model.nodes.iter().position(|n| n.name == *node).expect("it runs there");
    let node = &mut model.nodes[at];
    let history = node.history.iter_mut().find(|h| base(&h.resource) == base(id));
    let Some(history) = history else { return Ok(()) };
    let interval_ms = if base(id) == "fence" { 60_000 } else { 10_000 };
    history.operations.push(OperationRecord {
        id: format!("{}_last_failure_0", history.resource),
        operation: "monitor".to_owned(),
        interval_ms,
        call_id: 1000,
        exit_code: 1,
        expected_code: Some(0),
        last_change: Some(NOW - 10),
        ..OperationRecord::default()
    });
    let count = format!("fail-count-{}#monitor_{interval_ms}", base(id));
    node.transient.insert(count, "1".to_owned());
    let bunch = bunch_of(&model);
    let touched = bunch.get(base(id)).copied().into_iter().collect();
    only_touches(&model, &planned(&model)?, &touched)
}

/// With stickiness, what runs stays. Excepted is who waits for a clone (a new copy starts, and Pacemaker restarts those
/// that come after all copies), who is tied to something that had no place until now, and what people want promoted
/// by location: stickiness keeps a copy where it runs, promotion goes by promotion scores and such wishes alone.
pub(crate) fn a_new_node_stops_nothing(bytes: &[u8]) -> Verdict {
    let mut model = calm_at_rest(bytes)?;
    let (clones, tops, bunch) = (clones(&model), bunches(&model), bunch_of(&model));
    let constraints = &model.constraints;
    let ordered = constraints.orders.iter().flat_map(|o| o.sets.iter().flat_map(|s| &s.resources));
    let colocated =
        constraints.colocations.iter().flat_map(|c| c.sets.iter().flat_map(|s| &s.resources));
    let tied_clones = ordered.chain(colocated).filter(|id| clones.contains(*id));
    let mut excepted: BTreeSet<usize> =
        tied_clones.filter_map(|id| tops.get(id).copied()).collect();
    for location in constraints.locations.iter().filter(|l| l.role.is_some()) {
        let Pattern::Id(id) = &location.resources[0] else { continue };
        excepted.extend(tops.get(id));
    }
    let before = planned(&model)?;
    excepted.extend(waiting(&before, &bunch));
    model.nodes.push(Node::online("n9"));
    only_touches(&model, &planned(&model)?, &excepted)
}

pub(crate) fn a_new_resource_disturbs_nothing(bytes: &[u8]) -> Verdict {
    let mut model = calm_at_rest(bytes)?;
    model.resources.push(Resource::primitive("extra", "ocf", "heartbeat", "Dummy").with_operation(
        "monitor",
        10_000,
        &[],
    ));
    only_touches(&model, &planned(&model)?, &BTreeSet::new())
}

/// Where nothing repels (a resource that gets more room could take it from one that may go nowhere else), each ban,
/// mandatory colocation and order only takes possibilities away. Preferences are not judged: one that outweighs a
/// negative score makes a resource runnable. Nor is a tie of the promoted role, which speaks for a promotion that nothing
/// else asks for. Nor is who depends on somebody with two mandatory primaries: each of these chooses by itself, as in
/// Pacemaker, and whatever moves one of them may part them.
pub(crate) fn fewer_constraints_run_no_less(bytes: &[u8]) -> Verdict {
    let mut model = generate::model(bytes, Mood::Calm);
    model.constraints.colocations.retain(|c| c.score >= INFINITY && c.sets[0].role.is_none());
    model.constraints.locations.retain(|l| {
        l.role.is_none()
            && matches!(l.target, LocationTarget::Node { score, .. } if score <= -INFINITY)
    });
    let before = planned(&model)?;
    let runs = |plan: &Plan| -> BTreeSet<String> {
        let active = plan.placements.iter().filter(|(_, l)| l.iter().any(|p| p.role.is_active()));
        active.map(|(id, _)| base(id).to_owned()).collect()
    };
    let torn = torn_between_two(&model);
    let constraints = &model.constraints;
    let (locations, colocations, orders) =
        (constraints.locations.len(), constraints.colocations.len(), constraints.orders.len());
    for at in 0..locations + colocations + orders {
        let mut fewer = model.clone();
        let id = if at < locations {
            fewer.constraints.locations.remove(at).id
        } else if at < locations + colocations {
            fewer.constraints.colocations.remove(at - locations).id
        } else {
            fewer.constraints.orders.remove(at - locations - colocations).id
        };
        let after = planned(&fewer)?;
        let (ran, runs) = (runs(&before), runs(&after));
        let lost: Vec<&String> = ran.difference(&runs).filter(|r| !torn.contains(*r)).collect();
        if !lost.is_empty() {
            return Err(format!("without {id}, {lost:?} can no longer run"));
        }
    }
    Ok(())
}

/// Primitives whose place or start depends on something that must stand beside two others.
fn torn_between_two(model: &Model) -> BTreeSet<String> {
    let (tops, bunch) = (bunches(model), bunch_of(model));
    let mut primaries: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for colocation in &model.constraints.colocations {
        let (dependent, primary) = (&colocation.sets[0], &colocation.sets[1]);
        primaries.entry(&dependent.resources[0]).or_default().extend(&primary.resources);
    }
    let torn = primaries.into_iter().filter(|(_, primaries)| primaries.len() > 1);
    let torn: BTreeSet<usize> = torn.filter_map(|(id, _)| tops.get(id).copied()).collect();
    bunch.into_iter().filter(|(_, bunch)| torn.contains(bunch)).map(|(id, _)| id).collect()
}

/// A scheduler that has seen a long story gives the plan that one without memory gives, after each event of it.
pub(crate) fn memory_changes_nothing(bytes: &[u8]) -> Verdict {
    let (story, bytes) = bytes.split_at(bytes.len().min(6));
    let mut model = either(bytes);
    let mut scheduler = Scheduler::default();
    // the very first, the same again without a change, then one event after the other
    for event in [0, 0].iter().chain(story) {
        let plan = schedule(&model);
        same("plans with and without memory", &scheduler.schedule(&model), &plan)?;
        let Ok(plan) = plan else { return Ok(()) };
        happen(&mut model, &plan, *event);
    }
    Ok(())
}

fn monitored(resource: &str, exit_code: i32) -> OperationRecord {
    let kind = if exit_code == 0 { "monitor_10000" } else { "last_failure_0" };
    OperationRecord {
        id: format!("{resource}_{kind}"),
        operation: "monitor".to_owned(),
        interval_ms: 10_000,
        call_id: 900,
        exit_code,
        expected_code: Some(0),
        ..OperationRecord::default()
    }
}

/// One event: the plan is carried out, a node goes or comes, something fails or is found well, an attribute changes, time
/// passes, somebody changes the configuration.
fn happen(model: &mut Model, plan: &Plan, event: u8) {
    let pick = |count: usize| usize::from(event / 12) % count.max(1);
    let nodes = model.nodes.len();
    match event % 12 {
        0 => {}
        1 | 2 => *model = apply(model, plan),
        3 => {
            if let Some(node) = model.nodes.get_mut(pick(nodes)) {
                node.state = Node::lost("").state;
            }
        }
        4 => {
            if let Some(node) = model.nodes.get_mut(pick(nodes)) {
                node.state = Node::online("").state;
            }
        }
        5 => {
            let Some(node) = model.nodes.get_mut(pick(nodes)) else { return };
            let records = node.history.len();
            let Some(history) = node.history.get_mut(pick(records)) else { return };
            history.operations.push(monitored(&history.resource, 1));
        }
        8 => {
            // the same record as before, or another one that says that all is well
            let Some(node) = model.nodes.get_mut(pick(nodes)) else { return };
            for history in &mut node.history {
                history.operations.push(monitored(&history.resource, 0));
                if event & 64 == 0 {
                    history.operations.pop();
                }
            }
        }
        9 => {
            let Some(node) = model.nodes.get_mut(pick(nodes)) else { return };
            let (name, value) = [("standby", "on"), ("standby", "off"), ("rack", "r9")][pick(3)];
            node.attributes.set(name, value);
            node.transient.insert("master-r0".to_owned(), event.to_string());
        }
        10 => {
            if event & 64 == 0 {
                model.constraints.colocations.pop();
                model.constraints.orders.pop();
            } else {
                model.constraints.locations.pop();
            }
        }
        11 => {
            model.now += 1000 * i64::from(event);
            model.quorate = event & 64 == 0;
        }
        6 => {
            let count = model.resources.len();
            if let Some(resource) = model.resources.get_mut(pick(count)) {
                resource
                    .meta
                    .set("target-role", if event & 64 == 0 { "Stopped" } else { "Started" });
            }
        }
        _ => {
            let count = model.resources.len();
            let at = pick(count);
            if event & 64 == 0 && at < count {
                model.resources.remove(at);
            } else {
                let id = format!("new{event}");
                model.resources.insert(0, Resource::primitive(&id, "ocf", "heartbeat", "Dummy"));
            }
        }
    }
}
