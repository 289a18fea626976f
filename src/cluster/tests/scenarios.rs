//! The cases that CLUSTER.md section 3 names, each by its name.

use core::time::Duration;
use std::vec::Vec;

use super::world::{World, id, web};
use crate::{Input, RequestKind, admission::Standing, encode_standing};

const S: Duration = Duration::from_secs(1);

/// Three members, one era, the resource runs on the first.
pub(crate) fn three() -> World {
    let mut world = World::new(3);
    world.join_all(S * 3);
    assert_eq!(world.holders(), [1]);
    world
}

#[test]
fn three_members_open_an_era_and_it_runs_once() {
    let world = three();
    let status = world.member(1).status();
    assert!(status.quorate && status.era.is_some());
    assert!(status.nodes.iter().all(|n| n.reported), "{status:#?}");
    let first = |n: &crate::status::NodeStatus| n.wiped && n.new && n.counts;
    assert!(status.nodes.iter().all(first), "new disks, nothing lost: {status:#?}");
    assert_eq!(status.conditions, []);
}

#[test]
fn the_first_start_needs_all_voters() {
    let mut world = World::new(3);
    world.change(&[0, 0, 1], true);
    world.settle(S * 60);
    assert_eq!(world.holders(), Vec::<usize>::new());
    let conditions = world.member(0).status().conditions;
    assert!(conditions.iter().any(|c| c.kind == "WaitingForAll"), "{conditions:?}");
    world.join_all(S * 3);
    assert_eq!(world.holders(), [1]);
}

#[test]
fn a_dead_holder_is_fenced_and_it_starts_elsewhere() {
    let mut world = three();
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 5);
    assert_eq!(world.holders(), [2]);
    let status = world.member(1).status();
    let operation = status.operations.iter().find(|o| o.incident.node == id(0));
    assert_eq!(operation.and_then(|o| o.evidence.as_deref()), Some("VerifiedOff"), "{status:#?}");
}

#[test]
fn an_isolated_holder_is_powered_off_before_it_starts_elsewhere() {
    let mut world = three();
    world.change(&[0, 1, 1], true);
    world.settle(S * 5);
    assert!(!world.nodes[0].on, "it was shot");
    assert_eq!(world.holders(), [2]);
    assert_eq!(world.shots, 1);
}

#[test]
fn stale_joiner_wins_nothing() {
    let mut world = three();
    // 3 is away while the others live through several eras; then it comes back with 2 only.
    world.change(&[0, 0, 1], true);
    world.settle(S * 20);
    world.power_off(0);
    if !world.nodes[2].on {
        world.power_on(2);
    }
    world.change(&[0, 1, 1], true);
    world.settle(S * 20);
    let era = |w: &World, i: usize| w.member(i).status().era;
    assert!(era(&world, 1).is_some() && era(&world, 1) == era(&world, 2));
    assert_eq!(
        world.member(1).status().coordinator,
        Some(id(1)),
        "the one with the newer state leads"
    );
    assert_eq!(world.holders().len(), 1);
}

#[test]
fn minority_ahead_by_agreed_messages() {
    let mut world = three();
    // 1 receives, and delivers, agreed messages that nobody else ever sees.
    let resource = web();
    world.request(0, RequestKind::Move { resource, to: id(1) });
    for _ in 0..40 {
        if world.deliverable(0) {
            world.deliver(0);
        }
        for i in 0..3 {
            for k in world.receivable(i) {
                world.receive(i, k);
            }
        }
    }
    world.change(&[0, 1, 1], false);
    world.settle(S * 20);
    assert_eq!(world.holders(), [2], "the majority goes on without what only 1 knew");
    if !world.nodes[0].on {
        world.power_on(0);
    }
    world.join_all(S * 20);
    assert_eq!(world.holders(), [2]);
    let era = world.member(1).status().era;
    assert!((0..3).all(|i| world.member(i).status().era == era), "it took the others' history");
}

#[test]
fn a_lost_disk_outside_the_ring_is_told_by_whoever_has_a_state() {
    let mut world = three();
    world.power_off(0);
    world.change(&[0, 1, 2], true);
    world.settle(S);
    let lost =
        |world: &World| world.member(1).status().conditions.iter().any(|c| c.kind == "StateLost");
    assert!(!lost(&world), "alone it knows of nothing lost");
    let heard = |wiped| Input::Heard {
        node: id(2),
        standing: encode_standing(&Standing { wiped, ..Standing::default() }),
    };
    world.give(1, heard(true));
    assert!(lost(&world), "two are up, one disk is whole, the third is away");
    world.give(1, heard(false));
    assert!(!lost(&world), "two whole disks may open an era");
    world.give(1, heard(true));
    world.settle(S * 15);
    world.give(1, Input::Wall(1));
    assert!(!lost(&world), "it is not heard any more");
}

#[test]
fn wiped_disk() {
    let mut world = three();
    world.wipe(2);
    world.start_process(2);
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 30);
    let status = world.member(1).status();
    let lost = |n: &crate::status::NodeStatus| n.wiped && !n.new && !n.counts;
    assert!(status.nodes.iter().any(|n| n.node == id(2) && lost(n)), "{status:#?}");
    let conditions = status.conditions;
    assert!(conditions.iter().any(|c| c.kind == "StateLost"), "{conditions:?}");
    assert_eq!(world.holders(), Vec::<usize>::new(), "one sound promise of three opens nothing");
    world.power_on(0);
    world.join_all(S * 5);
    assert_eq!(world.holders().len(), 1);
    let status = world.member(1).status();
    let counts = |n: &crate::status::NodeStatus| n.wiped && !n.new && n.counts;
    assert!(status.nodes.iter().any(|n| n.node == id(2) && counts(n)), "all are here: {status:#?}");
    // It holds a durable snapshot now: its promise counts again.
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 20);
    assert!(world.member(1).status().era.is_some());
    assert_eq!(world.holders(), [2]);
}

#[test]
fn restored_disk() {
    let mut world = three();
    let old = world.nodes[2].disk.clone();
    for _ in 0..2 {
        world.join_all(S * 3);
    }
    world.kill_process(2);
    world.nodes[2].disk = old;
    world.start_process(2);
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 30);
    let status = world.member(1).status();
    assert!(status.conditions.iter().any(|c| c.kind == "StateLost"), "{status:#?}");
    assert!(status.nodes.iter().any(|n| n.node == id(2) && n.wiped));
    assert_eq!(world.holders(), Vec::<usize>::new());
}

#[test]
fn a_restored_disk_stays_wiped_after_its_next_promise() {
    let mut world = three();
    let old = world.nodes[2].disk.clone();
    for _ in 0..2 {
        world.join_all(S * 3);
    }
    world.kill_process(2);
    world.nodes[2].disk = old;
    world.start_process(2);
    world.power_off(0);
    for _ in 0..3 {
        world.change(&[0, 1, 1], true);
        world.settle(S * 3);
        assert!(world.member(1).status().era.is_none(), "its own newer promise proves nothing");
    }
}

#[test]
fn two_of_three_replaced_in_turn() {
    let mut world = three();
    for i in [1, 2] {
        world.wipe(i);
        world.start_process(i);
        world.join_all(S * 5);
        assert_eq!(world.holders().len(), 1);
    }
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 20);
    assert_eq!(world.holders().len(), 1, "both hold durable snapshots");
}

#[test]
fn two_of_three_replaced_at_once() {
    let mut world = three();
    world.wipe(1);
    world.wipe(2);
    world.start_process(1);
    world.start_process(2);
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 60);
    assert_eq!(world.holders(), Vec::<usize>::new());
    let request = world.request(1, RequestKind::AcceptStateLoss { who: "anna".into() });
    world.settle(S * 60);
    assert_eq!(world.nodes[1].answers.get(&request), Some(&Ok(())));
    assert_eq!(world.holders().len(), 1, "one override, and 1 was read as off");
}

#[test]
fn promise_given_and_all_but_one_die() {
    let mut world = three();
    world.change(&[0, 0, 0], true);
    // All promises become durable, nobody delivers them.
    for _ in 0..50 {
        for i in 0..3 {
            for k in world.receivable(i) {
                world.receive(i, k);
            }
            world.sync(i);
            let promises = world.nodes[i].disk.promise.is_some();
            if world.deliverable(i) && (!promises || world.nodes[i].writes.is_empty()) {
                world.deliver(i);
            }
        }
        if (0..3).any(|i| world.member(i).status().era.is_some()) {
            break;
        }
    }
    world.power_off(0);
    world.power_off(1);
    world.change(&[0, 1, 2], true);
    world.settle(S * 30);
    assert_eq!(world.holders(), Vec::<usize>::new(), "alone it has no quorum");
    world.power_on(1);
    world.change(&[0, 1, 1], true);
    world.settle(S * 60);
    assert_eq!(world.holders().len(), 1);
    let owed = world.member(1).status();
    assert!(owed.operations.iter().any(|o| o.incident.node == id(0)), "what it promised is owed");
}

#[test]
fn coordinator_dies_between_each_pair_of_steps() {
    // The holder dies; the coordinator of what is left dies after k deliveries, for every k until it is done.
    for cut in 0..60 {
        let mut world = World::new(5);
        world.join_all(S * 3);
        assert_eq!(world.holders(), [1]);
        world.power_off(0);
        world.change(&[0, 1, 1, 1, 1], true);
        for _ in 0..cut {
            let before = world.now;
            step_once(&mut world);
            assert!(world.now >= before);
        }
        let coordinator = world.member(1).status().coordinator.unwrap_or_else(|| id(1));
        let gone = usize::from(coordinator.as_u16()) - 1;
        if world.nodes[gone].on {
            world.power_off(gone);
        }
        let component: Vec<usize> = (0..5).map(|i| usize::from(i == gone)).collect();
        world.change(&component, cut % 2 == 0);
        world.settle(S * 30);
        assert_eq!(world.holders().len(), 1, "cut after {cut}");
        assert!(world.violation.is_none(), "{:?}", world.violation);
    }
}

/// One thing that can happen, in a fixed order.
pub(super) fn step_once(world: &mut World) {
    for i in 0..world.n() {
        if world.acts(i) {
            for k in world.receivable(i) {
                world.receive(i, k);
            }
        }
    }
    for i in 0..world.n() {
        if world.acts(i) && world.deliverable(i) {
            return world.deliver(i);
        }
        if world.acts(i) && !world.nodes[i].writes.is_empty() {
            return world.sync(i);
        }
        if world.acts(i) && !world.nodes[i].probes.is_empty() {
            return world.answer_probe(i);
        }
        if world.report_due(i) {
            return world.report(i);
        }
        if world.can_begin(i) {
            return world.begin(i);
        }
        if world.effect_due(i) {
            return world.effect(i);
        }
        if world.command_due(i) {
            return world.fence_step(i);
        }
    }
    world.tick(S);
}

#[test]
pub(crate) fn a_start_carried_out_by_the_vanished_member_known_only_from_the_transitional_configuration()
 {
    let mut world = three();
    // A move of the resource to 3: its stop ends, its start is delivered at 3 only.
    world.request(0, RequestKind::Move { resource: web(), to: id(2) });
    for _ in 0..400 {
        if world.nodes[2].exec.queue.iter().any(|(_, o)| !o.operation.is_release()) {
            break;
        }
        for i in 0..3 {
            for k in world.receivable(i) {
                world.receive(i, k);
            }
        }
        if world.deliverable(2) {
            world.deliver(2);
        } else {
            step_once(&mut world);
        }
    }
    assert!(world.can_begin(2), "the start reached its executor");
    world.begin(2);
    assert_eq!(world.holders(), [3]);
    world.freeze(2);
    // It vanishes; to the others the order is delivered in the transitional configuration, if at all.
    world.change(&[0, 0, 1], false);
    world.settle(S * 3);
    assert!(world.holders().len() <= 1);
    world.settle(S * 30);
    assert!(!world.nodes[2].on, "it was shot before anything started");
    assert_eq!(world.holders().len(), 1);
}

#[test]
fn evidence_read_and_its_reader_dies() {
    let mut world = World::new(5);
    world.join_all(S * 3);
    world.power_off(0);
    world.change(&[0, 1, 1, 1, 1], true);
    // Until the reader has read and said it.
    let mut reader = None;
    for _ in 0..2000 {
        let due = (0..5).find(|i| world.command_due(*i));
        if let Some(i) = due {
            world.fence_step(i);
            reader = Some(i);
            break;
        }
        step_once(&mut world);
    }
    let reader = reader.expect("somebody reads");
    world.power_off(reader);
    let component: Vec<usize> = (0..5).map(|i| usize::from(i == reader || i == 0)).collect();
    world.change(&component, false);
    world.settle(S * 30);
    assert_eq!(world.holders().len(), 1);
    assert!(world.nodes[0].effects.len() <= 1, "one effect per incident");
}

#[test]
fn a_member_back_in_the_middle_of_its_own_fencing() {
    let mut world = three();
    world.change(&[0, 1, 1], true);
    // The power-off is on its way when the network heals.
    for _ in 0..2000 {
        if world.effect_due(0) {
            break;
        }
        step_once(&mut world);
    }
    assert!(world.effect_due(0));
    world.change(&[0, 0, 0], true);
    let ring = |i: usize| world.nodes[i].cfg;
    assert_ne!(ring(0), ring(1), "refused until its operation is closed");
    world.effect(0);
    world.settle(S * 60);
    assert_eq!(world.holders(), [2]);
    world.power_on(0);
    world.join_all(S * 20);
    assert_eq!(ring_of(&world, 0), ring_of(&world, 1), "closed: it is back as a new incarnation");
    assert_eq!(world.holders(), [2]);
}

fn ring_of(world: &World, i: usize) -> Option<usize> {
    world.nodes[i].cfg
}

#[test]
pub(crate) fn a_wiped_voter_does_not_forget_for_the_cluster_who_came_back() {
    let mut world = three();
    // 1 is off, 2 and 3 know it and serve.
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 10);
    assert_eq!(world.holders(), [2]);
    // 3 goes away with that knowledge on its disk; 1 comes back and is given the resource.
    world.settle(S * 15);
    world.power_off(2);
    world.power_on(0);
    world.change(&[0, 0, 1], true);
    world.settle(S * 15);
    world.request(1, RequestKind::Move { resource: web(), to: id(0) });
    world.settle(S * 10);
    assert_eq!(world.holders(), [1]);
    // 1 hangs with the resource, 2 loses its disk, 3 returns with its old state, in which 1 holds nothing.
    world.unreachable_bmc.insert(0);
    world.freeze(0);
    world.wipe(1);
    world.start_process(1);
    world.power_on(2);
    world.change(&[0, 1, 1], true);
    world.settle(S * 60);
    assert_eq!(world.holders(), [1]);
    let conditions = world.member(2).status().conditions;
    assert!(conditions.iter().any(|c| c.kind == "StateLost"), "{conditions:?}");
}

#[test]
pub(crate) fn evidence_that_has_taken_effect_survives_the_power_loss_of_all() {
    let mut world = three();
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    let paid = |w: &World, i: usize| {
        let status = w.member(i).status();
        status.era.is_some() && status.nodes.iter().any(|n| n.node == id(0) && n.owes.is_none())
    };
    for _ in 0..4000 {
        if paid(&world, 1) || paid(&world, 2) {
            break;
        }
        step_once(&mut world);
    }
    assert!(paid(&world, 1) || paid(&world, 2));
    let shots = world.shots;
    world.power_off(1);
    world.power_off(2);
    // A person repairs 1 and powers it on; it is not yet connected when the others come back.
    world.power_on(0);
    world.power_on(1);
    world.power_on(2);
    world.change(&[0, 1, 1], true);
    world.settle(S * 60);
    assert_eq!(world.shots, shots, "one incident, one power-off");
    assert_eq!(world.holders().len(), 1);
}

#[test]
pub(crate) fn a_power_off_that_is_late_meets_no_member() {
    let mut world = three();
    world.slow_bmc.insert(0);
    world.change(&[0, 1, 1], true);
    for _ in 0..2000 {
        if world.effect_due(0) {
            break;
        }
        if world.must_stop(0) {
            world.stop_by_itself(0);
        }
        match world.receivable(1).first() {
            Some(k) => world.receive(1, *k),
            None => step_but_effects(&mut world),
        }
    }
    assert!(world.effect_due(0), "the power-off is on its way");
    world.request(1, RequestKind::ConfirmOff { node: id(0), incident: None, who: "anna".into() });
    world.settle(S * 30);
    let status = world.member(1).status();
    assert!(status.nodes.iter().all(|n| !n.evicted), "closed after every deadline: {status:#?}");
    world.join_all(S * 3);
    assert_eq!(ring_of(&world, 0), ring_of(&world, 1));
    world.effect(0);
    assert!(world.violation.is_none(), "{:?}", world.violation);
    assert!(world.nodes[0].on, "it was aborted at its deadline");
}

fn step_but_effects(world: &mut World) {
    let held: Vec<_> = (0..world.n()).map(|i| world.nodes[i].bmc.take()).collect();
    step_once(world);
    for (i, bmc) in held.into_iter().enumerate() {
        if bmc.is_some() {
            world.nodes[i].bmc = bmc;
        }
    }
}

/// Quorum without enough whole disks commands nothing, so a target that is needed comes in although it knocks again and
/// again (SAFETY.md#L10).
#[test]
fn a_target_that_is_needed_beside_a_lost_disk_is_let_in_however_often_it_knocks() {
    let mut world = three();
    world.request(0, RequestKind::Fence { node: id(2), who: "anna".into() });
    while world.nodes[2].on {
        world.settle(Duration::from_millis(100));
    }
    world.wipe(1);
    world.start_process(1);
    world.power_on(2);
    for _ in 0..15 {
        world.change(&[0, 0, 0], true);
        world.settle(S * 4);
    }
    let status = world.member(0).status();
    assert!(status.era.is_some() && status.nodes.iter().all(|n| n.member), "{status:#?}");
    assert_eq!(world.holders().len(), 1);
}

/// The same beside a disk that was put back: it does not know that it is old until another one has said so.
#[test]
fn a_target_that_is_needed_beside_a_restored_disk_is_let_in() {
    let mut world = three();
    let old = world.nodes[2].disk.clone();
    world.change(&[0, 0, 0], true);
    world.settle(S * 5);
    world.request(0, RequestKind::Fence { node: id(1), who: "anna".into() });
    while world.nodes[1].on {
        world.settle(Duration::from_millis(100));
    }
    world.power_off(2);
    world.nodes[2].disk = old;
    world.wipe(1);
    world.power_on(1);
    world.power_on(2);
    for _ in 0..15 {
        world.change(&[0, 0, 0], true);
        world.settle(S * 4);
    }
    let status = world.member(0).status();
    assert!(status.era.is_some() && status.nodes.iter().all(|n| n.member), "{status:#?}");
    assert_eq!(world.holders().len(), 1);
}
