//! Copies with numbers of their own (`unique`), with the engine of `policy`: `db:0` is not `db:1`.

use core::time::Duration;
use std::{collections::BTreeMap, string::String, vec, vec::Vec};

use lifecycle::{InstanceReport, Operation, Outcome};
use policy::revision as rev;

use super::{
    specimen::{revision, single},
    world::{World, id},
};
use crate::{ExecutorSays, Input, RequestKind};
use base::Role;

const S: Duration = Duration::from_secs(1);
const COPIES: [&str; 4] = ["db:0", "db:1", "db:2", "db:3"];

/// So many copies, two on one machine at most.
fn numbered(max: u16) -> rev::Shape {
    rev::Shape::Clone(rev::CloneOptions {
        max: Some(max),
        node_max: 2,
        min: 0,
        interleave: true,
        ordered: false,
        unique: true,
        notify: false,
    })
}

/// Four copies on three machines.
fn world() -> World {
    let mut db = single("db");
    db.shape = numbered(4);
    let mut revision = revision(3);
    revision.placements = vec![db];
    let mut world = World::with(revision, policy::Scheduler::schedule);
    world.join_all(S * 5);
    world.settle(S * 5);
    world
}

/// Machines of each copy.
fn places(world: &World) -> BTreeMap<&'static str, Vec<usize>> {
    COPIES.into_iter().map(|copy| (copy, world.in_role(copy, Role::Started))).collect()
}

/// Each copy runs once, and no machine has more than two.
fn whole(world: &World) {
    let places = places(world);
    assert!(places.values().all(|on| on.len() == 1), "{places:?}");
    for machine in 1..=3 {
        let here = places.values().filter(|on| on.contains(&machine)).count();
        assert!(here <= 2, "{places:?}");
    }
}

#[test]
fn each_copy_is_started_once_and_left_alone() {
    let mut world = world();
    whole(&world);
    assert_eq!(world.starts, 4);
    let before = places(&world);
    world.settle(S * 120);
    assert_eq!((places(&world), world.starts), (before, 4));
}

#[test]
fn copies_of_a_lost_machine_are_started_elsewhere_and_the_others_stay() {
    let mut world = world();
    let before = places(&world);
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 10);
    whole(&world);
    for (copy, on) in places(&world) {
        assert!(before[copy] == on || before[copy] == [1], "{copy} moved from {:?}", before[copy]);
    }
}

#[test]
fn copies_leave_a_machine_in_standby() {
    let mut world = world();
    world.request(1, RequestKind::Standby(id(0)));
    world.settle(S * 10);
    whole(&world);
    assert!(places(&world).values().all(|on| *on != [1]), "{:?}", places(&world));
}

#[test]
fn a_copy_that_fails_is_counted_by_itself_and_restarted() {
    let mut world = world();
    let on = places(&world)["db:2"][0] - 1;
    let (name, (kind, _)) = world.nodes[on]
        .exec
        .running
        .iter()
        .find(|(name, _)| name.as_str() == "db:2")
        .map(|(name, what)| (name.clone(), what.clone()))
        .expect("it runs there");
    world.nodes[on].exec.running.remove(&name);
    let instance = InstanceReport {
        resource: name.clone(),
        kind,
        role: Some(Role::Stopped),
        stop_failed: false,
        failed: Some(Outcome::NotRunning),
        run: 0,
    };
    let (operation, outcome) = (Operation::Monitor, Outcome::NotRunning);
    let says = ExecutorSays::Changed { operation, outcome, instance };
    world.give(on, Input::Executor(says));
    world.settle(S * 10);
    whole(&world);
    assert_eq!(world.starts, 5);
    let failed: Vec<(String, u32)> = world
        .member(0)
        .status()
        .instances
        .iter()
        .filter(|i| i.failures > 0)
        .map(|i| (i.resource.as_str().into(), i.failures))
        .collect();
    assert_eq!(failed, [("db:2".into(), 1)]);
}

#[test]
fn a_person_restarts_all_copies_by_the_name_of_the_resource() {
    let mut world = world();
    world.request(1, RequestKind::Restart("db".parse().expect("valid")));
    world.settle(S * 20);
    whole(&world);
    assert_eq!(world.starts, 8);
}

#[test]
fn copies_beyond_a_smaller_number_are_stopped() {
    let mut world = world();
    let mut revision = world.revision.clone();
    revision.objects[0].generation += 1;
    revision.placements[0].shape = numbered(2);
    world.give(1, Input::Revision(revision.into()));
    world.settle(S * 20);
    let running = places(&world).values().filter(|on| !on.is_empty()).count();
    assert_eq!((running, world.starts), (2, 4));
}

/// Whoever gives copies numbers, or takes them away, has them stopped as what no revision has any more: and that comes first.
#[test]
fn numbers_given_or_taken_away_never_leave_two_of_one_name() {
    let mut world = world();
    for unique in [false, true, false] {
        let mut revision = world.member(1).revision().clone();
        revision.objects[0].generation += 1;
        revision.placements[0].shape = match unique {
            true => numbered(3),
            false => rev::Shape::Single,
        };
        world.give(1, Input::Revision(revision.into()));
        for _ in 0..400 {
            world.round();
            world.tick(S / 100);
            let plain = !world.in_role("db", Role::Started).is_empty();
            let copies: usize = places(&world).values().map(Vec::len).sum();
            assert!(!plain || copies == 0, "db beside {:?}", places(&world));
        }
        world.settle(S * 5);
        let plain = world.in_role("db", Role::Started).len();
        let copies: usize = places(&world).values().map(Vec::len).sum();
        assert_eq!((plain, copies), if unique { (0, 3) } else { (1, 0) });
    }
}

#[test]
fn a_person_restarts_a_group_whole() {
    let mut group = single("a");
    group.id = "stack".parse().expect("valid");
    group.members.extend(single("b").members);
    group.shape = rev::Shape::Group;
    let mut revision = revision(3);
    revision.placements = vec![group];
    let mut world = World::with(revision, policy::Scheduler::schedule);
    world.join_all(S * 5);
    world.settle(S * 5);
    assert_eq!(world.starts, 2);
    world.request(1, RequestKind::Restart("stack".parse().expect("valid")));
    world.settle(S * 20);
    assert_eq!(world.starts, 4);
    for member in ["a", "b"] {
        assert_eq!(world.in_role(member, Role::Started).len(), 1);
    }
}
