//! What runs where nobody can stop it: no second promoted copy, no surplus copy, no neighbour on its node.

use policy::{
    Model, Plan,
    check::check,
    model::{
        Colocation, INFINITY, JoinPhase, Location, Node, Options, Order, Resource, ResourceHistory,
        Role,
    },
    plan::{Action, Task},
    schedule,
};

fn copy() -> ResourceHistory {
    ResourceHistory::of("db", "ocf", "heartbeat", "Dummy").with_done("start", 0, 0)
}

fn promoted() -> ResourceHistory {
    copy().with_done("promote", 0, 0)
}

fn db() -> Resource {
    Resource::primitive("db", "ocf", "heartbeat", "Dummy")
}

/// A joining node: its processes are there, its state is not merged yet.
fn joining(name: &str) -> Node {
    let mut node = Node::online(name);
    node.state.as_mut().expect("it has one").join = JoinPhase::Pending;
    node
}

fn device() -> Resource {
    Resource::primitive("fence", "stonith", "", "fence_ipmilan")
}

fn planned(model: &Model) -> Plan {
    let plan = schedule(model).expect("a model that can be planned");
    assert_eq!(check(model, &plan), []);
    plan
}

fn count(plan: &Plan, task: &Task) -> usize {
    plan.actions.iter().filter(|a| a.task == *task && a.resource.as_deref() == Some("db")).count()
}

/// db is promoted on `first`; n2 would like to be.
fn promoted_on(first: Node) -> Model {
    Model::at(0)
        .with_node(first.with_history(promoted()))
        .with_node(Node::online("n2").with_history(copy()).with_transient("master-db", "10"))
        .with_resource(Resource::promotable("dbs", db()))
}

#[test]
fn no_second_copy_is_promoted_beside_one_that_no_fencing_settles() {
    let mut model = promoted_on(Node::lost("n1"));
    model.quorate = true;
    let plan = planned(&model);
    assert_eq!(count(&plan, &Task::Promote), 0, "{:?}", plan.actions);
    // with a device the fencing settles it, and the promotion follows
    let plan = planned(&model.with_resource(device()));
    assert_eq!((plan.fenced.as_slice(), count(&plan, &Task::Promote)), (&["n1".to_owned()][..], 1));
}

#[test]
fn no_second_copy_is_promoted_beside_one_on_a_joining_node() {
    let mut model = promoted_on(joining("n1")).with_resource(device());
    model.quorate = true;
    let plan = planned(&model);
    assert_eq!(count(&plan, &Task::Promote), 0, "{:?}", plan.actions);
    // once it has joined, the one that is promoted stays it
    model.nodes[0].state = Node::online("n1").state;
    let at: Vec<_> = planned(&model).placements["db"].clone();
    assert_eq!(at.iter().filter(|p| p.role == Role::Promoted).count(), 1);
}

#[test]
fn promotions_that_fit_beside_the_held_one_are_made() {
    let mut model = promoted_on(Node::lost("n1"));
    model.quorate = true;
    model.resources[0] = Resource::promotable("dbs", db()).with_meta("promoted-max", "2");
    assert_eq!(count(&planned(&model), &Task::Promote), 1);
}

#[test]
fn a_copy_that_nobody_can_stop_counts_against_the_limit() {
    let mut model = Model::at(0)
        .with_node(joining("n1").with_history(copy()))
        .with_node(Node::online("n2").with_history(copy()))
        .with_node(Node::online("n3"))
        .with_resource(Resource::cloned("dbs", db()).with_meta("clone-max", "2"));
    model.quorate = true;
    assert_eq!(count(&planned(&model), &Task::Start), 0);
    // once n1 is gone for good the other may start
    model.nodes[0] = Node::offline("n1");
    assert_eq!(count(&planned(&model), &Task::Start), 1);
}

#[test]
fn nothing_is_started_beside_a_blocked_copy() {
    let blocked = copy().with_done("monitor", 10_000, 0).with_done("stop", 0, 1);
    let mut model = Model::at(0).with_property("fencing-enabled", "false");
    for name in ["n1", "n2", "n3"] {
        let history = if name == "n3" { blocked.clone() } else { copy() };
        model = model.with_node(Node::online(name).with_history(history));
    }
    model = model
        .with_node(Node::lost("n4").with_history(copy()))
        .with_resource(Resource::cloned("dbs", db()));
    model.quorate = true;
    let plan = planned(&model);
    assert_eq!(count(&plan, &Task::Start), 0, "{:?}", plan.actions);
    assert_eq!(plan.placements["db"].len(), 3);
}

#[test]
fn what_must_not_run_is_not_waited_for_by_who_depends_on_it() {
    // nothing is known of db yet: its target role holds all the same
    let mut model = Model::at(0)
        .with_node(Node::online("n1"))
        .with_resource(db().with_meta("target-role", "Stopped"))
        .with_resource(Resource::primitive("web", "ocf", "heartbeat", "Dummy"))
        .with_property("fencing-enabled", "false");
    model.quorate = true;
    model.constraints.colocations.push(Colocation::mandatory("with", "web", "db"));
    let plan = planned(&model);
    assert!(plan.actions.iter().all(|a| a.task != Task::Start), "{:?}", plan.actions);
}

/// web comes after db, which nobody manages.
fn web_after_unmanaged_db(node: Node) -> Model {
    let web = ResourceHistory::of("web", "ocf", "heartbeat", "Dummy");
    let mut model = Model::at(0)
        .with_node(node)
        .with_node(Node::online("n2").with_history(web.with_done("start", 0, 0)))
        .with_resource(db().with_meta("is-managed", "false"))
        .with_resource(Resource::primitive("web", "ocf", "heartbeat", "Dummy"))
        .with_property("fencing-enabled", "false");
    model.quorate = true;
    model.constraints.orders.push(Order::pair("after", ("db", "start"), ("web", "start")));
    model
}

#[test]
fn what_ends_with_its_node_is_not_waited_for() {
    let model = web_after_unmanaged_db(Node::online("n1").with_history(copy()));
    assert_eq!(planned(&model).placements["web"].len(), 1);
    let leaving = Node::online("n1").with_history(copy()).with_transient("shutdown", "1");
    let plan = planned(&web_after_unmanaged_db(leaving));
    // db is gone with n1 and nobody starts it again, so web may not go on
    assert!(plan.placements["db"].is_empty() && plan.placements["web"].is_empty());
}

#[test]
fn what_failed_and_is_not_managed_restarts_nobody() {
    let failed = copy().with_done("monitor", 10_000, 1);
    let plan = planned(&web_after_unmanaged_db(Node::online("n1").with_history(failed)));
    let harmed = |a: &Action| a.resource.as_deref() == Some("web") && a.task == Task::Stop;
    assert!(!plan.actions.iter().any(harmed), "{:?}", plan.actions);
}

#[test]
fn a_stop_that_nobody_can_carry_out_restarts_nobody() {
    let mut model = web_after_unmanaged_db(joining("n1").with_history(copy()));
    model.properties = Options::default();
    model.resources[0] = db().with_meta("target-role", "Stopped");
    model.constraints.orders = vec![Order::pair("after", ("db", "stop"), ("web", "start"))];
    let plan = planned(&model);
    assert!(
        plan.actions.iter().all(|a| a.resource.as_deref() != Some("web") || a.task != Task::Stop),
        "{:?}",
        plan.actions
    );
}

/// Copies of db, interleaved, must not stand beside those of web, which run everywhere but on the last node.
#[test]
fn copies_that_must_stay_apart_keep_away_from_every_copy() {
    let web = || ResourceHistory::of("web", "ocf", "heartbeat", "Dummy");
    let mut model = Model::at(0)
        .with_resource(
            Resource::cloned("webs", Resource::primitive("web", "ocf", "heartbeat", "Dummy"))
                .with_meta("clone-max", "2"),
        )
        .with_resource(Resource::cloned("dbs", db()).with_meta("interleave", "true"))
        .with_property("fencing-enabled", "false");
    for name in ["n1", "n2", "n3"] {
        let web = if name == "n3" { web() } else { web().with_done("start", 0, 0) };
        model = model.with_node(Node::online(name).with_history(web).with_history(copy()));
    }
    model.quorate = true;
    model.constraints.colocations.push(Colocation::pair("apart", "dbs", "webs", -INFINITY));
    let plan = planned(&model);
    let places: Vec<&str> = plan.placements["db"].iter().map(|p| p.node.as_str()).collect();
    assert_eq!((places.as_slice(), count(&plan, &Task::Stop)), (&["n3"][..], 2));
    assert_eq!(count(&plan, &Task::Start), 0, "nothing moves: {:?}", plan.actions);
}

/// Copies of what was ordered, not symmetrically, after copies of web, none of which comes up.
fn after_web_that_is_off(then: Resource) -> Model {
    let web = Resource::primitive("web", "ocf", "heartbeat", "Dummy");
    let mut model = Model::at(0)
        .with_resource(Resource::cloned("webs", web).with_meta("target-role", "Stopped"))
        .with_resource(Resource::cloned("dbs", then).with_meta("interleave", "true"))
        .with_property("fencing-enabled", "false");
    model.quorate = true;
    let mut order = Order::pair("one-way", ("webs", "start"), ("dbs", "start"));
    order.symmetrical = Some(false);
    model.constraints.orders.push(order);
    model
}

#[test]
fn what_of_a_copy_is_still_to_begin_waits_although_the_rest_of_it_runs() {
    let log = || Resource::primitive("log", "ocf", "heartbeat", "Dummy");
    let logs = |done| ResourceHistory::of("log", "ocf", "heartbeat", "Dummy").with_done(done, 0, 0);
    let starts = |model: &Model| {
        let starts = planned(model).actions.into_iter().filter(|a| a.task == Task::Start);
        starts.filter_map(|a| a.resource).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    for members in [vec![log(), db()], vec![db(), log()]] {
        let model = after_web_that_is_off(Resource::group("g", members));
        // the other member runs already
        let half = Node::online("n1").with_history(copy()).with_history(logs("stop"));
        assert_eq!(starts(&model.clone().with_node(half)), none);
        // all of it runs, and goes on
        let whole = Node::online("n1").with_history(copy()).with_history(logs("start"));
        let model = model.with_node(whole);
        assert_eq!(starts(&model), none);
        assert_eq!(planned(&model).actions.iter().filter(|a| a.task == Task::Stop).count(), 0);
    }
}

#[test]
fn a_copy_that_failed_does_not_begin_again_without_what_it_needs() {
    let model = after_web_that_is_off(db());
    let failed = copy().with_done("monitor", 10_000, 1);
    let plan = planned(&model.with_node(Node::online("n1").with_history(failed)));
    assert_eq!((count(&plan, &Task::Stop), count(&plan, &Task::Start)), (1, 0));
}

/// web must be on n1 and apart from what runs there, which nobody manages and which must be apart from web.
fn drawn_beside(held: Resource, tied: &str) -> Model {
    let mut model = Model::at(0)
        .with_node(Node::online("n1").with_history(copy()))
        .with_node(Node::online("n2"))
        .with_resource(held.with_meta("is-managed", "false"))
        .with_resource(Resource::primitive("web", "ocf", "heartbeat", "Dummy"))
        .with_property("symmetric-cluster", "false")
        .with_property("fencing-enabled", "false");
    model.quorate = true;
    let constraints = &mut model.constraints;
    constraints.locations.push(Location::on_node("there", "web", "n1", INFINITY));
    constraints.colocations.push(Colocation::pair("apart", "web", tied, -INFINITY));
    constraints.colocations.push(Colocation::pair("too", tied, "web", -INFINITY));
    model
}

#[test]
fn in_a_ring_of_colocations_the_place_of_what_is_not_managed_is_known() {
    let starts = |model: &Model| {
        let starts = planned(model).actions.into_iter().filter(|a| a.task == Task::Start);
        starts.filter_map(|a| a.resource).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(starts(&drawn_beside(db(), "db")), none);
    assert_eq!(starts(&drawn_beside(Resource::group("g", vec![db()]), "g")), none);
    // where it may go elsewhere it does
    let mut model = drawn_beside(db(), "db");
    model.constraints.locations.push(Location::on_node("or", "web", "n2", 0));
    assert_eq!(starts(&model), ["web"]);
}

/// `stop A then start B` read backwards says in which order B stops and A starts where both are due, and no more.
#[test]
fn who_starts_after_a_stop_goes_on_when_what_has_stopped_starts_again() {
    let log = || Resource::primitive("log", "ocf", "heartbeat", "Dummy");
    let kinds = [
        db(),
        Resource::group("db", vec![Resource::primitive("a", "ocf", "heartbeat", "Dummy"), log()]),
        Resource::cloned("db", log()),
        Resource::cloned("db", Resource::group("g", vec![log()])),
    ];
    for first in kinds {
        let web = ResourceHistory::of("web", "ocf", "heartbeat", "Dummy");
        let mut model = Model::at(0)
            .with_node(Node::online("n1").with_history(web.with_done("start", 0, 0)))
            .with_resource(first)
            .with_resource(Resource::primitive("web", "ocf", "heartbeat", "Dummy"))
            .with_property("fencing-enabled", "false");
        model.quorate = true;
        model.constraints.orders.push(Order::pair("after", ("db", "stop"), ("web", "start")));
        let plan = planned(&model);
        let tasks = |task: Task| {
            let actions = plan.actions.iter().filter(move |a| a.task == task);
            actions.filter_map(|a| a.resource.as_deref()).collect::<Vec<_>>()
        };
        assert!(tasks(Task::Stop).is_empty(), "{:?}", plan.actions);
        assert!(!tasks(Task::Start).is_empty() && !tasks(Task::Start).contains(&"web"));
    }
}
