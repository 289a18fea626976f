//! What comes over the wire, or from a disk, may hold any number: nobody ends of it (SAFETY.md#S29).

use core::time::Duration;

use base::{Epoch, Incarnation, Role};
use lifecycle::{InstanceReport, Operation, Outcome};
use policy::{Plan, revision as rev};

use super::{
    specimen::{process, revision, single},
    unit::{era, ring},
    world::{World, id, web},
};
use crate::{
    ExecutorSays, Input, coordinator,
    dispatch::dispatch,
    hardware,
    state::Instance,
    wire::{Change, Message},
};

const S: Duration = Duration::from_secs(1);

#[test]
fn a_position_at_its_end_stays_there_and_its_hash_goes_on() {
    let mut state = era();
    state.position.index = u64::MAX;
    let before = state.position.hash;
    state.advance(id(0), b"said");
    assert_eq!(state.position.index, u64::MAX);
    assert_ne!(state.position.hash, before);
}

#[test]
fn the_number_of_acceptances_ends_nobody() {
    let mut state = era();
    state.accepted = u64::MAX;
    let mut newer = revision(3);
    newer.objects[0].generation += 1;
    state.accept(&newer, &mut std::vec::Vec::new());
    assert_eq!((state.accepted, state.held), (u64::MAX, None));
}

#[test]
fn orders_are_given_whatever_number_the_last_one_had() {
    let mut state = era();
    state.next_order = u64::MAX;
    if let Some(revision) = &mut state.revision {
        revision.placements.clear();
    }
    for (name, node) in [("a", id(0)), ("b", id(1))] {
        let instance = Instance {
            kind: process(),
            role: Some(Role::Started),
            stop_failed: false,
            monitors: alloc::collections::BTreeSet::new(),
            last: None,
        };
        state.instances.insert((name.parse().expect("valid"), node), instance);
    }
    let coordinator = Incarnation { counter: 1, random: 1 };
    let epoch = Epoch { ring: ring(4), coordinator };
    let given = dispatch(&state, &Plan::default(), epoch).expect("a plan");
    assert_eq!(given.orders.len(), 2, "what has no object any more is stopped");
}

fn forgets_after_a_minute() -> rev::Placement {
    let mut placement = single("web");
    placement.members[0].meta.failure_timeout = Some(S * 60);
    placement
}

fn failed(wall: i64) -> Change {
    let instance = InstanceReport {
        resource: web(),
        kind: process(),
        role: Some(Role::Stopped),
        stop_failed: false,
        failed: Some(Outcome::NotRunning),
        run: 0,
    };
    let (operation, outcome) = (Operation::Monitor, Outcome::NotRunning);
    Change { number: 1, operation, outcome, instance, wall }
}

#[test]
fn a_failure_at_the_end_of_time_is_not_forgotten_and_ends_nobody() {
    let mut state = era();
    if let Some(revision) = &mut state.revision {
        revision.placements = std::vec![forgets_after_a_minute()];
    }
    let said = Message::Changes(std::vec![failed(i64::MAX)]);
    state.apply(id(1), &said, &mut std::vec::Vec::new());
    let (over, next) = coordinator::forget(&state, -1);
    assert!(over.is_empty());
    assert_eq!(next, Some(i64::MAX));
}

#[test]
fn a_cluster_serves_after_somebody_has_shown_the_end_of_time() {
    let mut revision = revision(3);
    revision.placements = std::vec![forgets_after_a_minute()];
    let mut world = World::with(revision, policy::Scheduler::schedule);
    world.join_all(S * 5);
    let holder = world.holders()[0] - 1;
    world.give(holder, Input::Wall(i64::MAX));
    world.nodes[holder].exec.running.clear();
    let Change { operation, outcome, instance, .. } = failed(0);
    let says = ExecutorSays::Changed { operation, outcome, instance };
    world.give(holder, Input::Executor(says));
    world.settle(S * 5);
    assert_eq!(world.holders().len(), 1);
}

#[test]
fn times_at_their_end_end_nobody() {
    let most = Duration::MAX;
    let mut revision = revision(3);
    revision.timings = rev::Timings {
        token: most,
        consensus: most,
        join: most,
        merge: most,
        agent_restart_grace: most,
        stall_tolerance: most,
        report_timeout: most,
        startup_wait: most,
    };
    for device in &mut revision.devices {
        (device.timeout, device.device.delay) = (most, most);
    }
    revision.placements[0].members[0].timeouts.stop = most;
    assert_eq!(
        hardware::t_assume(&revision, most),
        most,
        "a watchdog's time is said over the ring"
    );
    let level = [revision.devices[0].device.clone(), revision.devices[1].device.clone()];
    assert_eq!(hardware::command_deadline(&revision, &level), most);
    assert_eq!(hardware::settings(&revision).address_lifetime(), Duration::from_secs(u64::MAX));
}
