use alloc::{string::ToString as _, vec};
use std::collections::BTreeMap;

use super::*;
use crate::{
    model::{Colocation, Location, Node, Order, Role},
    plan::{FenceAction, Intent, Placement},
};

fn action(task: Task, resource: Option<&str>, node: &str) -> Action {
    Action {
        task,
        resource: resource.map(str::to_string),
        instance: resource.map(str::to_string),
        node: Some(node.to_string()),
        intent: Intent::Move,
        implied: false,
        notifies: None,
        digest: String::new(),
    }
}

fn at(node: &str, role: Role) -> Vec<Placement> {
    vec![Placement { node: node.to_string(), role }]
}

fn model() -> Model {
    Model::at(0)
        .with_node(Node::online("a"))
        .with_node(Node::online("b"))
        .with_resource(Resource::primitive("db", "ocf", "heartbeat", "Dummy"))
}

/// db moves from a to b, in order.
fn sound_move() -> Plan {
    Plan {
        current: BTreeMap::from([("db".to_string(), at("a", Role::Started))]),
        placements: BTreeMap::from([("db".to_string(), at("b", Role::Started))]),
        actions: vec![action(Task::Stop, Some("db"), "a"), action(Task::Start, Some("db"), "b")],
        order: vec![(ActionId(0), ActionId(1))],
        ..Plan::default()
    }
}

fn rules(model: &Model, plan: &Plan) -> Vec<&'static str> {
    check(model, plan).into_iter().map(|v| v.rule).collect()
}

#[test]
fn a_sound_move_and_an_empty_plan_pass() {
    assert_eq!(check(&model(), &sound_move()), []);
    assert_eq!(check(&model(), &Plan::default()), []);
}

#[test]
fn a_start_before_the_stop_elsewhere_is_seen() {
    let plan = Plan { order: vec![], ..sound_move() };
    assert_eq!(rules(&model(), &plan), ["stop-before-start"]);
}

#[test]
fn a_start_without_any_stop_elsewhere_is_seen() {
    let mut plan = sound_move();
    plan.actions.remove(0);
    plan.order.clear();
    assert_eq!(rules(&model(), &plan), ["stop-before-start", "actions-lead-to-placements"]);
}

#[test]
fn circles_and_loose_edges_are_seen() {
    let mut plan = sound_move();
    plan.order.push((ActionId(1), ActionId(0)));
    assert_eq!(rules(&model(), &plan), ["acyclic"]);
    plan.order = vec![(ActionId(0), ActionId(9))];
    assert_eq!(rules(&model(), &plan), ["edges-lead-somewhere"]);
}

#[test]
fn recovery_before_the_fencing_is_seen() {
    let mut plan = sound_move();
    plan.fenced = vec!["a".to_string()];
    let fence = Task::Fence { action: FenceAction::Reboot, delay_ms: 0 };
    plan.actions[0] = action(fence, None, "a");
    assert_eq!(check(&model(), &plan), []);
    plan.order.clear();
    assert_eq!(rules(&model(), &plan), ["fence-before-start"]);
}

#[test]
fn a_restart_and_a_promotion_keep_their_steps() {
    let mut plan = sound_move();
    plan.placements = plan.current.clone();
    plan.actions[1].node = Some("a".to_string());
    assert_eq!(check(&model(), &plan), []);
    plan.order = vec![(ActionId(1), ActionId(0))];
    assert_eq!(rules(&model(), &plan), ["demote-stop-start-promote"]);
}

#[test]
fn bans_standby_absence_and_maintenance_are_seen() {
    let mut banned = model();
    banned.constraints.locations.push(Location::on_node("no-b", "db", "b", -1_000_000));
    assert_eq!(rules(&banned, &sound_move()), ["bans"]);
    let mut standby = model();
    standby.nodes[1].attributes.set("standby", "on");
    assert_eq!(rules(&standby, &sound_move()), ["standby"]);
    let mut away = model();
    away.nodes[1] = Node::offline("b");
    assert_eq!(rules(&away, &sound_move()), ["online"]);
    let maintained = model().with_property("maintenance-mode", "true");
    assert_eq!(rules(&maintained, &sound_move()), ["maintenance", "maintenance"]);
}

#[test]
fn more_copies_than_allowed_are_seen() {
    let clone = Resource::promotable("dbs", Resource::primitive("db", "ocf", "heartbeat", "Dummy"));
    let model = Model { resources: vec![clone].into(), ..model() };
    let both = |role| vec![at("a", role).remove(0), at("b", role).remove(0)];
    let plan = Plan {
        current: BTreeMap::from([("db".to_string(), both(Role::Unpromoted))]),
        placements: BTreeMap::from([("db".to_string(), both(Role::Promoted))]),
        actions: vec![
            action(Task::Promote, Some("db"), "a"),
            action(Task::Promote, Some("db"), "b"),
        ],
        ..Plan::default()
    };
    assert_eq!(rules(&model, &plan), ["clone-limits"]);
}

#[test]
fn fencing_that_was_switched_off_is_seen() {
    let model = model().with_property("stonith-enabled", "false");
    let plan = Plan { fenced: vec!["a".to_string()], ..Plan::default() };
    assert_eq!(rules(&model, &plan), ["fencing-enabled"]);
}

/// web starts on b, where db comes to as well, after it.
fn both_start() -> (Model, Plan) {
    let mut model = model().with_resource(Resource::primitive("web", "ocf", "heartbeat", "Dummy"));
    model.constraints.colocations.push(Colocation::mandatory("with", "web", "db"));
    model.constraints.orders.push(Order::pair("after", ("db", "start"), ("web", "start")));
    let mut plan = sound_move();
    plan.placements.insert("web".to_string(), at("b", Role::Started));
    plan.actions.push(action(Task::Start, Some("web"), "b"));
    plan.order.push((ActionId(1), ActionId(2)));
    (model, plan)
}

#[test]
fn a_start_before_what_it_waits_for_is_seen() {
    let (model, mut plan) = both_start();
    assert_eq!(check(&model, &plan), []);
    plan.order.pop();
    assert_eq!(rules(&model, &plan), ["mandatory-order"]);
}

#[test]
fn a_start_without_what_it_waits_for_is_seen() {
    let (model, mut plan) = both_start();
    plan.actions.remove(1);
    plan.order.clear();
    plan.placements.insert("db".to_string(), vec![]);
    assert_eq!(rules(&model, &plan), ["colocation", "mandatory-order"]);
}

#[test]
fn what_must_run_apart_is_seen_together() {
    let (mut model, plan) = both_start();
    model.constraints.colocations[0].score = -1_000_000;
    assert_eq!(rules(&model, &plan), ["colocation"]);
}

#[test]
fn a_shutdown_before_the_stops_is_seen() {
    let mut plan = sound_move();
    plan.actions.push(action(Task::Shutdown, None, "a"));
    assert_eq!(rules(&model(), &plan), ["stop-before-shutdown"]);
    plan.order.push((ActionId(0), ActionId(2)));
    assert_eq!(check(&model(), &plan), []);
}

#[test]
fn a_device_may_start_before_the_fencing_that_needs_it() {
    let mut plan = sound_move();
    plan.fenced = vec!["a".to_string()];
    let fence = Task::Fence { action: FenceAction::Reboot, delay_ms: 0 };
    plan.actions[0] = action(fence, None, "a");
    plan.order.clear();
    let mut model = model();
    model.resources = vec![Resource::primitive("db", "stonith", "", "fence_xvm")].into();
    assert_eq!(check(&model, &plan), []);
}

#[test]
fn orders_that_contradict_each_other_are_not_held_against_a_plan() {
    let (mut model, mut plan) = both_start();
    plan.order.pop();
    model.constraints.orders.push(Order::pair("before", ("web", "start"), ("db", "start")));
    assert_eq!(check(&model, &plan), []);
}

#[test]
fn a_start_on_a_node_that_is_fenced_is_seen() {
    let plan = Plan { fenced: vec!["b".to_string()], ..sound_move() };
    let found = rules(&model(), &plan);
    assert!(found.contains(&"nothing-on-a-fenced-node"), "{found:?}");
}

/// A clone of db, of which these many copies run on a before and after.
fn copies_on_a(before: usize, after: usize) -> (Model, Plan) {
    let clone = Resource::cloned("dbs", Resource::primitive("db", "ocf", "heartbeat", "Dummy"));
    let model = Model { resources: vec![clone].into(), ..model() };
    let there = |count| (0..count).map(|_| at("a", Role::Started).remove(0)).collect();
    let plan = Plan {
        current: BTreeMap::from([("db".to_string(), there(before))]),
        placements: BTreeMap::from([("db".to_string(), there(after))]),
        actions: vec![action(Task::Start, Some("db"), "a")],
        ..Plan::default()
    };
    (model, plan)
}

#[test]
fn a_second_copy_on_a_node_is_seen_and_one_that_was_there_is_not() {
    let (model, plan) = copies_on_a(1, 2);
    assert_eq!(rules(&model, &plan), ["clone-limits"]);
    let (model, plan) = copies_on_a(2, 2);
    assert_eq!(check(&model, &plan), []);
}

#[test]
fn what_is_apart_and_together_by_way_of_another_is_not_held_against_a_plan() {
    let (mut model, mut plan) = both_start();
    model.constraints.orders.clear();
    model.constraints.colocations[0].score = -1_000_000;
    assert_eq!(rules(&model, &plan), ["colocation"]);
    let third = Resource::primitive("log", "ocf", "heartbeat", "Dummy");
    model = model.with_resource(third);
    model.constraints.colocations.push(Colocation::mandatory("l-db", "log", "db"));
    assert_eq!(rules(&model, &plan), ["colocation"]);
    model.constraints.colocations.push(Colocation::mandatory("web-l", "web", "log"));
    plan.actions.retain(|a| a.resource.as_deref() != Some("log"));
    assert_eq!(check(&model, &plan), []);
    // a contradiction elsewhere among those that run with web excuses nothing about web and db
    model.constraints.colocations.retain(|c| c.id != "l-db");
    model.constraints.colocations.push(Colocation::pair("no-log", "log", "web", -1_000_000));
    assert_eq!(rules(&model, &plan), ["colocation"]);
}

#[test]
fn a_start_under_way_goes_on_under_an_order_that_is_not_symmetrical() {
    let (mut model, mut plan) = both_start();
    model.constraints.colocations.clear();
    model.constraints.orders[0].symmetrical = Some(false);
    plan.actions.remove(1);
    plan.order.clear();
    plan.placements.insert("db".to_string(), vec![]);
    assert_eq!(rules(&model, &plan), ["mandatory-order"]);
    plan.current.insert("web".to_string(), at("b", Role::Started));
    assert_eq!(check(&model, &plan), []);
}

/// db starts on the remote node r, whose connection starts on a.
fn remote_start() -> (Model, Plan) {
    let node = Node { kind: crate::model::NodeKind::Remote, ..Node::offline("r") };
    let connection = Resource::primitive("r", "ocf", "pacemaker", "remote");
    let model = model().with_node(node).with_resource(connection);
    let placements = BTreeMap::from([
        ("db".to_string(), at("r", Role::Started)),
        ("r".to_string(), at("a", Role::Started)),
    ]);
    let current = BTreeMap::from([("db".to_string(), vec![]), ("r".to_string(), vec![])]);
    let actions = vec![action(Task::Start, Some("r"), "a"), action(Task::Start, Some("db"), "r")];
    let order = vec![(ActionId(0), ActionId(1))];
    (model, Plan { current, placements, actions, order, ..Plan::default() })
}

#[test]
fn what_begins_on_a_remote_node_without_its_connection_is_seen() {
    let (model, sound) = remote_start();
    assert_eq!(check(&model, &sound), []);
    let beside = Plan { order: vec![], ..sound.clone() };
    assert_eq!(rules(&model, &beside), ["connection-first"]);
    let alone = Plan {
        actions: vec![sound.actions[1].clone()],
        order: vec![],
        placements: BTreeMap::from([
            ("db".to_string(), at("r", Role::Started)),
            ("r".to_string(), vec![]),
        ]),
        ..sound.clone()
    };
    assert_eq!(rules(&model, &alone), ["connection-first"]);
    let closed = Plan {
        current: BTreeMap::from([
            ("db".to_string(), vec![]),
            ("r".to_string(), at("a", Role::Started)),
        ]),
        actions: vec![action(Task::Stop, Some("r"), "a"), sound.actions[1].clone()],
        order: vec![],
        placements: BTreeMap::from([
            ("db".to_string(), at("r", Role::Started)),
            ("r".to_string(), vec![]),
        ]),
        ..sound
    };
    assert_eq!(rules(&model, &closed), ["connection-first"]);
}

/// db migrates from a to b: both halves, then the stop; the start is implied.
fn sound_migration() -> Plan {
    let to = Task::MigrateTo { target: "b".to_string() };
    let from = Task::MigrateFrom { source: "a".to_string() };
    let mut start = action(Task::Start, Some("db"), "b");
    start.implied = true;
    let stop = action(Task::Stop, Some("db"), "a");
    Plan {
        actions: vec![action(to, Some("db"), "a"), action(from, Some("db"), "b"), stop, start],
        order: [(0, 1), (1, 2), (2, 3)].map(|(a, b)| (ActionId(a), ActionId(b))).to_vec(),
        ..sound_move()
    }
}

#[test]
fn a_migration_has_two_halves_and_a_stop_and_starts_nothing() {
    assert_eq!(check(&model(), &sound_migration()), []);
    let broken = |change: fn(&mut Plan)| {
        let mut plan = sound_migration();
        change(&mut plan);
        rules(&model(), &plan)
    };
    let rule = "migrate-to-from-stop";
    assert!(broken(|plan| plan.order[0] = (ActionId(1), ActionId(0))).contains(&rule));
    assert!(broken(|plan| plan.order[1] = (ActionId(2), ActionId(1))).contains(&rule));
    assert!(broken(|plan| plan.actions[3].implied = false).contains(&rule));
    assert!(broken(|plan| plan.actions[1].task = Task::Notify).contains(&rule));
    assert!(broken(|plan| plan.current.clear()).contains(&rule));
}

#[test]
fn a_start_on_a_node_without_room_is_seen() {
    let mut model = model();
    model.properties.set("placement-strategy", "balanced");
    if let ResourceKind::Primitive(primitive) = &mut model.resources[0].kind {
        primitive.utilization.set("memory", "10");
    }
    assert_eq!(rules(&model, &sound_move()), ["room"]);
    model.nodes[1].utilization.set("memory", "10");
    assert_eq!(check(&model, &sound_move()), []);
}
