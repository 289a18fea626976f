//! Live migration and placement strategies, said by hand: what migrates, what must not, and what history tells of it.

use policy::{
    Model, Plan,
    check::check,
    explain,
    model::{INFINITY, Location, Node, Order, Resource, ResourceHistory, ResourceKind},
    plan::Task,
    schedule,
};

fn vm(id: &str) -> Resource {
    Resource::primitive(id, "ocf", "heartbeat", "VirtualDomain").with_meta("allow-migrate", "true")
}

fn runs(id: &str) -> ResourceHistory {
    ResourceHistory::of(id, "ocf", "heartbeat", "VirtualDomain").with_done("start", 0, 0)
}

fn absent(id: &str) -> ResourceHistory {
    ResourceHistory::of(id, "ocf", "heartbeat", "VirtualDomain").with_done("monitor", 0, 7)
}

fn half(mut history: ResourceHistory, operation: &str, code: i32) -> ResourceHistory {
    history = history.with_done(operation, 0, code);
    if let Some(op) = history.operations.last_mut() {
        op.migrate_source = Some("a".to_owned());
        op.migrate_target = Some("b".to_owned());
        op.expected_code = Some(0);
        op.last_change = Some(50);
    }
    history
}

/// Two nodes without fencing; the resources run on a.
fn cluster(resources: &[Resource]) -> Model {
    let (mut a, mut b) = (Node::online("a"), Node::online("b"));
    for resource in resources {
        a = a.with_history(runs(&resource.id));
        b = b.with_history(absent(&resource.id));
    }
    let mut model = Model::at(100).with_node(a).with_node(b);
    model.properties.set("fencing-enabled", "false");
    model.resources = resources.to_vec().into();
    model
}

/// As above, with what is recorded of one resource on both nodes.
fn recorded(on_a: ResourceHistory, on_b: ResourceHistory) -> Model {
    let mut model = Model::at(100)
        .with_node(Node::online("a").with_history(on_a))
        .with_node(Node::online("b").with_history(on_b))
        .with_resource(vm("vm"));
    model.properties.set("fencing-enabled", "false");
    model
}

fn ban(mut model: Model, resource: &str, node: &str) -> Model {
    let ban = Location::on_node(&format!("ban-{resource}"), resource, node, -INFINITY);
    model.constraints.locations.push(ban);
    model
}

/// What is carried out, in an order in which it may be.
fn steps(model: &Model) -> Vec<String> {
    let plan: Plan = schedule(model).expect("a model that can be planned");
    assert_eq!(check(model, &plan), []);
    let mut left: Vec<usize> = (0..plan.actions.len()).collect();
    let mut told = Vec::new();
    while let Some(at) = left.iter().position(|at| {
        !plan.order.iter().any(|(a, b)| b.0 as usize == *at && left.contains(&(a.0 as usize)))
    }) {
        let action = &plan.actions[left.remove(at)];
        let changes = matches!(
            action.task,
            Task::Start | Task::Stop | Task::MigrateTo { .. } | Task::MigrateFrom { .. }
        );
        if let (true, false, Some(id), Some(node)) =
            (changes, action.implied, &action.resource, &action.node)
        {
            told.push(format!("{} {id} {node}", action.task.operation()));
        }
    }
    told
}

#[test]
fn what_may_migrate_leaves_its_node_without_a_break() {
    let model = ban(cluster(&[vm("vm")]), "vm", "a");
    assert_eq!(steps(&model), ["migrate_to vm a", "migrate_from vm b", "stop vm a"]);
    let plan = explain(&model).expect("planned");
    assert_eq!(plan.explanations["vm"].summary, "vm migrates from a to b");
    let plain = vm("vm").with_meta("allow-migrate", "false");
    assert_eq!(steps(&ban(cluster(&[plain]), "vm", "a")), ["stop vm a", "start vm b"]);
}

#[test]
fn what_depends_on_something_that_restarts_elsewhere_cannot_migrate() {
    let store = vm("store").with_meta("allow-migrate", "false");
    let mut model = cluster(&[store, vm("vm")]);
    model.constraints.orders.push(Order::pair("store-vm", ("store", "start"), ("vm", "start")));
    let model = ban(ban(model, "store", "a"), "vm", "a");
    assert_eq!(steps(&model), ["stop vm a", "stop store a", "start store b", "start vm b"]);
}

#[test]
fn who_comes_after_something_that_migrates_goes_on() {
    let mut model = cluster(&[vm("store"), vm("vm")]);
    model.constraints.orders.push(Order::pair("store-vm", ("store", "start"), ("vm", "start")));
    let model = ban(model, "store", "a");
    assert_eq!(steps(&model), ["migrate_to store a", "migrate_from store b", "stop store a"]);
}

#[test]
fn half_a_migration_is_finished_where_it_was_going_to_and_undone_elsewhere() {
    let model = recorded(half(runs("vm"), "migrate_to", 0), absent_before("vm"));
    let finished = ban(model.clone(), "vm", "a");
    assert_eq!(steps(&finished), ["migrate_from vm b", "stop vm a"]);
    let mut undone = steps(&ban(model, "vm", "b"));
    undone.sort();
    assert_eq!(undone, ["start vm a", "stop vm a", "stop vm b"]);
}

/// Looked for before the migration began.
fn absent_before(id: &str) -> ResourceHistory {
    let mut history = absent(id);
    history.operations[0].last_change = Some(10);
    history
}

#[test]
fn a_migration_that_arrived_lacks_only_its_stop() {
    let arrived =
        half(ResourceHistory::of("vm", "ocf", "heartbeat", "VirtualDomain"), "migrate_from", 0);
    let model = recorded(half(runs("vm"), "migrate_to", 0), arrived);
    assert_eq!(steps(&model), ["stop vm a"]);
}

#[test]
fn a_migration_that_failed_ends_on_both_sides_and_is_a_start() {
    let model = recorded(half(runs("vm"), "migrate_to", 1), absent_before("vm"));
    let mut all = steps(&ban(model, "vm", "a"));
    all.sort();
    assert_eq!(all, ["start vm b", "stop vm a", "stop vm b"]);
}

fn takes(mut resource: Resource, memory: &str) -> Resource {
    if let ResourceKind::Primitive(primitive) = &mut resource.kind {
        primitive.utilization.set("memory", memory);
    }
    resource
}

/// Nothing runs; a has room for 4, b for 8.
fn fresh(strategy: &str, resources: &[Resource]) -> Model {
    let (mut a, mut b) = (Node::online("a"), Node::online("b"));
    for resource in resources {
        a = a.with_history(absent(&resource.id));
        b = b.with_history(absent(&resource.id));
    }
    a.utilization.set("memory", "4");
    b.utilization.set("memory", "8");
    let mut model = Model::at(100).with_node(a).with_node(b);
    model.properties.set("fencing-enabled", "false");
    model.properties.set("placement-strategy", strategy);
    model.resources = resources.to_vec().into();
    model
}

#[test]
fn each_strategy_spreads_load_in_its_way() {
    let three = ["x", "y", "z"].map(|id| takes(vm(id), "2"));
    let at = |strategy: &str| {
        let plan = schedule(&fresh(strategy, &three)).expect("planned");
        let node =
            |id: &str| plan.placements[id].first().map_or("", |at| at.node.as_str()).to_owned();
        ["x", "y", "z"].map(|id| node(id)).concat()
    };
    assert_eq!(at("default"), "aba");
    assert_eq!(at("utilization"), "aba");
    assert_eq!(at("minimal"), "aab");
    assert_eq!(at("balanced"), "bba");
}

#[test]
fn what_finds_no_room_stays_down_and_is_told_why() {
    let model = fresh("utilization", &[takes(vm("large"), "9"), takes(vm("small"), "1")]);
    assert_eq!(steps(&model), ["start small a"]);
    let plan = explain(&model).expect("planned");
    let large = &plan.explanations["large"];
    let told = |text: &String| text.contains("utilization");
    assert!(large.remedies.iter().any(told), "{large:#?}");
}

#[test]
fn what_runs_together_is_given_room_together() {
    let group = Resource::group("g", vec![takes(vm("first"), "3"), takes(vm("second"), "3")]);
    let mut model = fresh("utilization", &[]);
    model.resources.push(group);
    for node in &mut model.nodes {
        node.history.push(absent("first"));
        node.history.push(absent("second"));
    }
    assert_eq!(steps(&model), ["start first b", "start second b"]);
}
