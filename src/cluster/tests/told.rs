//! What is told of a failure on its way (DESIGN.md section 3), and by whom.

use core::time::Duration;
use std::{string::String, vec, vec::Vec};

use fencing::{DeviceError, FenceResult};

use super::{
    scenarios::three,
    world::{World, id},
};
use crate::{Ails, DeviceFinding, ExecutorSays, FencerSays, Input, status::DeviceSaid};

const S: Duration = Duration::from_secs(1);

#[test]
fn the_coordinator_tells_when_an_address_of_what_was_lost_is_announced_and_seen() {
    use crate::Phase::{Announce, Recovered, Seen};
    let mut world = three();
    let (station, resource) = ([2, 0, 0, 0, 0, 7], || "vip".parse().expect("valid"));
    let announcing = || ExecutorSays::Announcing {
        resource: resource(),
        kind: super::specimen::process(),
        station,
    };
    let sees = || ExecutorSays::Sees { resource: resource(), station };
    let told = |world: &World, phase| {
        let all = world.nodes.iter().flat_map(|node| &node.told);
        all.filter(|(p, node)| *p == phase && *node == id(0)).count()
    };
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    let mut begun = false;
    for _ in 0..200 {
        world.settle(S / 20);
        if told(&world, Recovered) == 1 {
            begun = true;
            break;
        }
    }
    assert!(begun, "what it ran runs again");
    let target = world.holders()[0] - 1;
    let peer = 3 - target;
    world.give(target, Input::Executor(announcing()));
    world.settle(S / 20);
    assert_eq!((told(&world, Announce), told(&world, Seen)), (1, 0));
    // asked again: a message may be lost with its configuration
    world.give(target, Input::Executor(announcing()));
    world.give(peer, Input::Executor(sees()));
    world.settle(S / 20);
    assert_eq!((told(&world, Announce), told(&world, Seen)), (1, 1), "by the coordinator, once");
    world.settle(S * 10);
    // much later an address moves for another reason
    world.give(target, Input::Executor(announcing()));
    world.give(peer, Input::Executor(sees()));
    world.settle(S);
    assert_eq!((told(&world, Announce), told(&world, Seen)), (1, 1), "no part of that failure");
}

#[test]
fn a_fencer_that_answers_late_does_not_end_the_attempt_of_another_member() {
    let mut world = three();
    world.slow_bmc.insert(0);
    world.freeze(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 2);
    let asked = |world: &World, i: usize| world.nodes[i].fencer.commands.first().cloned();
    let executor = (1..3).find(|i| asked(&world, *i).is_some()).expect("one is asked");
    let (_, command, _) = asked(&world, executor).expect("asked");
    let operation = |world: &World| world.member(executor).status().operations[0].clone();
    let before = operation(&world);
    let result = FenceResult {
        incident: command.incident,
        epoch: command.epoch,
        goal: command.goal,
        outcome: Err(DeviceError::NotSent("the deadline has passed".into())),
        commanded: false,
        took: S,
        verify: Duration::ZERO,
    };
    world.give(3 - executor, Input::Fencer(FencerSays::Ended(result)));
    world.settle(S / 100);
    assert_eq!(operation(&world), before);
    world.slow_bmc.remove(&0);
    world.settle(S * 5);
    assert_eq!((world.holders(), world.shots), (vec![2], 1));
}

#[test]
fn what_a_member_says_is_wrong_with_itself_is_seen_by_all_in_each_era_until_it_is_over() {
    let mut world = three();
    let device = DeviceFinding {
        device: "bmc-1".parse().expect("valid"),
        reason: "Unreachable".into(),
        text: "no answer".into(),
    };
    let ails = Ails {
        own: vec![(String::from("WatchdogNotArmed"), String::from("look at the device"))],
        devices: vec![device.clone()],
    };
    let of_device = |world: &World, at: usize| world.member(at).status().devices;
    let seen = |world: &World, at: usize| {
        let all = world.member(at).status().ails;
        all.into_iter().map(|c| (c.kind, c.object)).collect::<Vec<_>>()
    };
    let said = [(String::from("WatchdogNotArmed"), String::from("node 3"))];
    world.give(2, Input::Ails(ails.clone()));
    while world.round() {}
    let heard = world.member(0).heard();
    assert_eq!(heard, 1, "whoever shows it is told");
    assert!((0..3).all(|at| seen(&world, at) == said));
    let told = DeviceSaid { node: id(2), finding: device };
    assert!((0..3).all(|at| of_device(&world, at) == [told.clone()]));
    let before = world.member(0).position();
    world.give(2, Input::Ails(ails));
    while world.round() {}
    assert_eq!(world.member(0).position(), before, "said once");
    assert_eq!(world.member(0).heard(), heard);
    world.change(&[0, 1, 0], true);
    world.settle(Duration::from_secs(1));
    assert!([0, 2].iter().all(|at| seen(&world, *at) == said), "and again in the next era");
    assert!([0, 2].iter().all(|at| of_device(&world, *at) == [told.clone()]));
    world.give(2, Input::Ails(Ails::default()));
    while world.round() {}
    assert_eq!(seen(&world, 0), []);
    assert_eq!(of_device(&world, 0), []);
}
