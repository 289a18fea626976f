//! `suspend` (CLUSTER.md section 5): durable on all before it is answered, survived by restarts in any order, ended by all.

use core::time::Duration;
use std::{string::String, vec, vec::Vec};

use super::{scenarios::three, world::World};
use crate::{ExecutorSays, FencerSays, Input, RequestId, RequestKind};

const S: Duration = Duration::from_secs(1);
const HALF: Duration = Duration::from_millis(500);

fn answer(world: &World, i: usize, request: RequestId) -> Option<Result<(), String>> {
    world.nodes[i].answers.get(&request).map(|a| a.clone().map_err(|e| e.0))
}

fn suspended(world: &World) -> Vec<bool> {
    (0..world.n()).map(|i| world.nodes[i].exec.suspended).collect()
}

/// All have agreed and their rings have stopped.
fn asleep() -> World {
    let mut world = three();
    let request = world.request(1, RequestKind::Suspend);
    world.settle(HALF);
    assert_eq!(answer(&world, 1, request), Some(Ok(())));
    assert_eq!(suspended(&world), [true; 3]);
    assert!(world.nodes.iter().all(|node| node.fencer.disarmed));
    let again = world.request(2, RequestKind::Suspend);
    world.settle(HALF);
    assert_eq!(answer(&world, 2, again), Some(Ok(())), "it is");
    world.settle(S * 5);
    assert!((0..3).all(|i| world.nodes[i].member.is_none()), "the rings have stopped");
    assert_eq!(world.holders(), [1], "and what runs goes on");
    world
}

#[test]
fn it_neither_fences_nor_recovers_and_ends_with_the_last_that_comes_back() {
    let mut world = asleep();
    world.start_process(1);
    world.change(&[0, 1, 2], true);
    world.settle(S * 60);
    assert_eq!((world.holders(), world.shots), (vec![1], 0), "alone: it stops nothing");
    assert!(world.nodes[1].exec.suspended);
    world.start_process(2);
    world.change(&[0, 1, 1], true);
    world.settle(S * 60);
    assert_eq!((world.holders(), world.shots), (vec![1], 0), "two: they do not shoot the third");
    assert!(world.member(1).status().suspended && world.member(1).era_open());
    world.start_process(0);
    world.join_all(S * 10);
    assert!((0..3).all(|i| !world.member(i).status().suspended));
    assert_eq!(suspended(&world), [false; 3]);
    assert!(world.nodes.iter().all(|node| !node.fencer.disarmed));
    assert_eq!((world.holders(), world.shots), (vec![1], 0));
    world.kill_process(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 12);
    assert_eq!(
        (world.holders(), world.shots),
        (vec![2], 1),
        "from here on it is a cluster like any other"
    );
}

#[test]
fn a_person_may_end_it_without_the_third() {
    let mut world = asleep();
    world.start_process(1);
    world.start_process(2);
    world.change(&[0, 1, 1], true);
    world.settle(S * 30);
    let request = world.request(2, RequestKind::Resume);
    world.settle(S * 30);
    assert_eq!(answer(&world, 2, request), Some(Ok(())));
    assert_eq!((world.holders(), world.shots), (vec![2], 1), "who is away owes as always");
    assert_eq!(suspended(&world), [false, false, false], "the first was shot, the others told");
}

#[test]
fn it_is_refused_while_a_member_is_away() {
    let mut world = three();
    world.kill_process(0);
    world.change(&[0, 1, 1], true);
    world.settle(HALF);
    let request = world.request(1, RequestKind::Suspend);
    world.settle(HALF);
    let Some(Err(why)) = answer(&world, 1, request) else { panic!("it was not refused") };
    assert!(why.contains("node 1 is not in the cluster") && why.contains("spec.members"), "{why}");
    assert!(!world.member(1).status().suspended);
    assert_eq!(suspended(&world), [false; 3]);
}

#[test]
fn it_is_answered_when_the_last_disk_holds_it_and_the_last_executor_has_done_it() {
    let mut world = three();
    let request = world.request(1, RequestKind::Suspend);
    for _ in 0..20 {
        world.round_but(Some(2));
    }
    assert_eq!(answer(&world, 1, request), None, "one disk does not hold it");
    assert_eq!(suspended(&world), [false; 3], "and so nobody does it");
    world.nodes[0].exec.mute = true;
    world.settle(S * 3);
    assert_eq!(suspended(&world), [true; 3]);
    assert_eq!(answer(&world, 1, request), None, "one executor has not carried it out");
    world.nodes[0].exec.mute = false;
    while world.round() {}
    assert_eq!(answer(&world, 1, request), Some(Ok(())));
}

#[test]
fn no_bound_of_a_watchdog_counts_from_its_delivery() {
    let mut world = three();
    for i in 0..3 {
        world.give(i, Input::Fencer(FencerSays::Watchdog { timeout: Some(S * 10) }));
    }
    while world.round() {}
    let armed = |world: &World| {
        world.member(1).status().nodes.iter().map(|n| n.watchdog).collect::<Vec<_>>()
    };
    assert_eq!(armed(&world), [true; 3]);
    world.request(1, RequestKind::Suspend);
    for _ in 0..20 {
        world.round_but(Some(2));
    }
    assert_eq!(armed(&world), [false; 3], "before any of them is disarmed");
    world.give(0, Input::Fencer(FencerSays::Watchdog { timeout: Some(S * 10) }));
    for _ in 0..20 {
        world.round_but(Some(2));
    }
    assert_eq!(armed(&world), [false; 3], "said before it was told");
    let request = world.request(0, RequestKind::Resume);
    while world.round() {}
    assert_eq!(answer(&world, 0, request), Some(Ok(())));
    assert_eq!(armed(&world), [true; 3], "none was disarmed: they count again");
}

#[test]
fn one_that_not_all_disks_hold_blocks_until_all_are_here_and_is_void_then() {
    let mut world = three();
    world.request(1, RequestKind::Suspend);
    for _ in 0..20 {
        world.round_but(Some(2));
    }
    world.power_off(2);
    world.change(&[0, 0, 1], true);
    world.settle(S * 60);
    assert_eq!((world.holders(), world.shots), (vec![1], 0), "the third may hold it");
    assert_eq!(
        suspended(&world),
        [false; 3],
        "nobody knows that it does: addresses keep their lifetimes"
    );
    assert!(world.member(0).status().suspended && world.member(0).era_open());
    world.power_on(2);
    world.join_all(S * 10);
    assert!((0..3).all(|i| !world.member(i).status().suspended));
    assert!((0..3).all(|i| world.nodes[i].member.is_some()), "and no ring has stopped");
}

#[test]
fn an_executor_that_starts_alone_hears_of_it() {
    let mut world = three();
    world.request(1, RequestKind::Suspend);
    world.settle(HALF);
    world.nodes[0].exec = super::parts::Exec::default();
    world.give(0, Input::Executor(ExecutorSays::Restarted));
    assert!(world.nodes[0].exec.suspended, "missing tokens mean nothing to it");
}

#[test]
fn nobody_leaves_or_is_shot_meanwhile() {
    let mut world = asleep();
    for i in 0..2 {
        world.start_process(i);
    }
    world.change(&[0, 0, 1], true);
    world.settle(S);
    for kind in [
        RequestKind::Leave,
        RequestKind::Fence { node: super::world::id(2), who: "a test".into() },
        RequestKind::Suspend,
    ] {
        let request = world.request(0, kind);
        world.settle(S * 2);
        assert!(answer(&world, 0, request).is_some_and(|a| a.is_err()));
    }
    assert_eq!((world.holders(), world.shots), (vec![1], 0));
}
