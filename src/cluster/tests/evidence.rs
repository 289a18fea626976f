//! Evidence, power, snapshots and voters: what sections 3 and 6 of CLUSTER.md name, over the ring.

use core::time::Duration;
use std::{vec, vec::Vec};

use fencing::PowerGoal;
use policy::revision::{FenceAction, NoQuorumPolicy, ObjectKind, ObjectVersion};

use super::{
    planner,
    scenarios::{step_once, three},
    specimen::revision,
    unit::{era, ring},
    world::{World, id},
};
use crate::{
    FencerSays, Input, RequestKind, hardware,
    state::Debt,
    wire::{self, Message},
};

const S: Duration = Duration::from_secs(1);
const WATCHDOG: Duration = Duration::from_secs(5);

fn evidence(world: &World, at: usize, node: usize) -> Option<std::string::String> {
    let operations = world.member(at).status().operations;
    operations.into_iter().filter(|o| o.incident.node == id(node)).find_map(|o| o.evidence)
}

// ---- the self-fencing bound

/// The holder is cut off and its BMC is out of reach.
fn cut_off(policy: NoQuorumPolicy, self_fencing: bool, armed: Option<Duration>) -> World {
    let mut revision = revision(3);
    revision.fencing.self_fencing = self_fencing;
    revision.no_quorum_policy = policy;
    let mut world = World::with(revision, planner::plan);
    for i in 0..3 {
        world.give(i, Input::Fencer(FencerSays::Watchdog { timeout: armed }));
    }
    world.join_all(S * 3);
    assert_eq!(world.holders(), [1]);
    world.unreachable_bmc.insert(0);
    world.change(&[0, 1, 1], true);
    world
}

#[test]
fn the_self_fencing_bound_is_evidence_as_soon_as_it_has_passed() {
    let mut world = cut_off(NoQuorumPolicy::Stop, true, Some(WATCHDOG));
    let bound = hardware::t_assume(&world.revision, WATCHDOG);
    world.settle(bound - S);
    assert_eq!((world.holders(), evidence(&world, 1, 0)), (vec![], None), "a second before");
    world.settle(S * 2);
    assert_eq!(world.holders(), [2]);
    assert_eq!(evidence(&world, 1, 0).as_deref(), Some("SelfFencingBound"));
}

#[test]
fn the_self_fencing_bound_is_nothing_without_a_watchdog_the_option_or_own_stops() {
    let stop = NoQuorumPolicy::Stop;
    for (policy, self_fencing, armed) in [
        (stop, true, None),
        (stop, false, Some(WATCHDOG)),
        (NoQuorumPolicy::Freeze, true, Some(WATCHDOG)),
    ] {
        let mut world = cut_off(policy, self_fencing, armed);
        world.settle(S * 300);
        let seen = (world.holders(), evidence(&world, 1, 0));
        assert_eq!(seen, (vec![], None), "{policy:?} {self_fencing} {armed:?}");
    }
}

// ---- the changed boot id

#[test]
fn a_changed_boot_id_is_evidence_and_the_known_one_is_not() {
    let mut world = three();
    world.unreachable_bmc.insert(0);
    let known = world.nodes[0].standing.clone();
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 20);
    let heard = |standing: Vec<u8>| Input::Heard { node: id(0), standing };
    world.give(1, heard(known));
    world.settle(S * 5);
    assert_eq!(
        (world.holders(), evidence(&world, 1, 0)),
        (vec![], None),
        "it may never have been off"
    );
    world.power_on(0);
    let new = world.nodes[0].standing.clone();
    world.give(1, heard(new));
    world.settle(S * 5);
    assert_eq!(world.holders(), [2]);
    assert_eq!(evidence(&world, 1, 0).as_deref(), Some("ChangedBootId"));
}

#[test]
fn a_boot_id_is_compared_with_the_newest_promise_and_says_nothing_of_a_member() {
    let mut state = era();
    let mut out = Vec::new();
    state.apply(id(0), &Message::Booted { node: id(2), boot: base::BootId(77) }, &mut out);
    assert!(state.evidence.is_empty(), "it never replaces the report of a present member");
    state.members.remove(&id(2));
    let boot = Some(base::BootId(8));
    if let Some(voter) = state.voters.get_mut(&id(2)) {
        voter.debt = Debt::Owed { incident: ring(4), incarnation: None, boot };
    }
    state.apply(id(0), &Message::Booted { node: id(2), boot: base::BootId(8) }, &mut out);
    assert!(state.evidence.is_empty());
    state.apply(id(0), &Message::Booted { node: id(2), boot: base::BootId(9) }, &mut out);
    assert!(state.evidence.contains_key(&id(2)));
    state.evidence.clear();
    if let Some(voter) = state.voters.get_mut(&id(2)) {
        voter.debt = Debt::Owed { incident: ring(4), incarnation: None, boot: None };
    }
    state.apply(id(0), &Message::Booted { node: id(2), boot: base::BootId(9) }, &mut out);
    assert!(state.evidence.is_empty(), "no promise names one: there is nothing to compare with");
}

// ---- power back on

fn rebooting(n: usize) -> World {
    let mut revision = revision(n);
    revision.fencing.action = FenceAction::Reboot;
    let mut world = World::with(revision, planner::plan);
    world.join_all(S * 3);
    assert_eq!(world.holders(), [1]);
    world
}

/// Who is to turn it on.
fn turns_on(world: &World) -> Option<usize> {
    let on = |i: &usize| {
        let commands = &world.nodes[*i].fencer.commands;
        commands.iter().any(|(_, command, _)| command.goal == PowerGoal::On)
    };
    (0..world.n()).find(on)
}

#[test]
fn a_machine_that_was_shot_is_powered_on_once_the_evidence_is_in_effect() {
    let mut world = rebooting(3);
    world.change(&[0, 1, 1], true);
    let mut at = None;
    for _ in 0..4000 {
        at = turns_on(&world);
        if at.is_some() {
            break;
        }
        step_once(&mut world);
    }
    let at = at.expect("somebody is to turn it on");
    let status = world.member(at).status();
    assert!(!world.nodes[0].on && status.nodes.iter().all(|n| n.owes.is_none()), "{status:#?}");
    assert_eq!(evidence(&world, at, 0).as_deref(), Some("VerifiedOff"));
    world.settle(S * 5);
    assert!(world.nodes[0].on && world.nodes[0].boot == 2);
    assert_eq!((world.holders(), world.shots), (vec![2], 1));
}

#[test]
fn the_next_coordinator_turns_on_what_the_last_one_did_not() {
    let mut world = rebooting(5);
    world.change(&[0, 1, 1, 1, 1], true);
    let mut at = None;
    for _ in 0..8000 {
        at = turns_on(&world);
        if at.is_some() {
            break;
        }
        step_once(&mut world);
    }
    let at = at.expect("somebody is to turn it on");
    world.power_off(at);
    let component: Vec<usize> = (0..5).map(|i| usize::from(i != 0 && i != at)).collect();
    world.change(&component, true);
    assert!(!world.nodes[0].on);
    world.settle(S * 5);
    assert!(world.nodes[0].on);
}

#[test]
fn what_was_off_already_or_is_to_stay_off_is_not_powered_on() {
    let mut world = rebooting(3);
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 60);
    assert!(!world.nodes[0].on && world.holders() == [2], "somebody else turned it off");
    let mut world = three();
    world.change(&[0, 1, 1], true);
    world.settle(S * 60);
    assert!(!world.nodes[0].on && world.shots == 1, "the action is Off");
}

// ---- closing

fn evicted(world: &World, at: usize, node: usize) -> bool {
    world.member(at).status().nodes.iter().any(|n| n.node == id(node) && n.evicted)
}

/// CLUSTER.md section 6, *Closing*: the deadline of a command is for commands of which nobody can say that they are over.
#[test]
fn a_machine_that_was_read_as_off_is_let_in_without_waiting_for_the_deadline() {
    let mut world = rebooting(3);
    world.change(&[0, 1, 1], true);
    world.settle(S * 2);
    assert_eq!(evidence(&world, 1, 0).as_deref(), Some("VerifiedOff"));
    assert!(!evicted(&world, 1, 0) && !evicted(&world, 2, 0), "its only command is over");
    assert!(world.nodes[0].on);
    world.join_all(S);
    assert_eq!((world.holders(), world.shots), (vec![2], 1));
}

/// A machine is lost, and a power-off is on its way that takes long.
fn commanded() -> World {
    let mut world = rebooting(3);
    world.slow_bmc.insert(0);
    world.change(&[0, 1, 1], true);
    for _ in 0..4000 {
        if world.effect_due(0) {
            return world;
        }
        step_once(&mut world);
    }
    panic!("no power-off was sent");
}

/// The next power-off finds it off, and one before it may have brought that about: whoever was ordered to send that one.
#[test]
fn who_restarted_says_nothing_of_the_commands_of_its_earlier_life() {
    let mut world = commanded();
    let sender = (1..3).find(|i| world.nodes[*i].fencer.commands.iter().any(|c| c.2));
    let sender = sender.expect("somebody sent it");
    world.kill_process(sender);
    world.start_process(sender);
    world.change(&[0, 1, 1], true);
    world.effect(0);
    world.settle(S * 2);
    assert_eq!(evidence(&world, 1, 0).as_deref(), Some("VerifiedOff"));
    assert!(evicted(&world, 1, 0), "one of another life may be on its way");
    world.settle(S * 60);
    assert!(!evicted(&world, 1, 0), "until its deadline has passed");
    assert!(world.nodes[0].on, "what it found off was switched off by us");
}

/// Found in a box, after many deaths of all of it: a machine that owed nothing any more went off and stayed off.
#[test]
fn a_power_off_on_its_way_to_a_machine_that_came_back_by_itself_is_followed_by_on() {
    let mut world = commanded();
    let on_its_way = world.nodes[0].bmc;
    assert!(on_its_way.is_some());
    // It boots anew meanwhile, and is heard.
    world.power_off(0);
    world.power_on(0);
    world.nodes[0].bmc = on_its_way;
    let standing = world.nodes[0].standing.clone();
    for by in [1, 2] {
        world.give(by, Input::Heard { node: id(0), standing: standing.clone() });
    }
    world.settle(S * 2);
    assert_eq!(evidence(&world, 1, 0).as_deref(), Some("ChangedBootId"));
    assert!(evicted(&world, 1, 0), "a command against it may take effect");
    assert_eq!(turns_on(&world), None, "it is on: sent now, this could come before the other");
    world.effect(0);
    assert!(!world.nodes[0].on, "and it was");
    world.settle(S * 60);
    assert!(world.nodes[0].on, "switched off by us, switched on by us");
    assert!(!evicted(&world, 1, 0));
    world.join_all(S * 5);
    assert_eq!((world.holders(), world.shots), (vec![2], 1));
}

// ---- snapshots

/// A state of several chunks, and a third member that has missed something of it.
fn behind() -> World {
    let mut revision = revision(3);
    for number in 0..600_u32 {
        revision.objects.push(ObjectVersion {
            kind: ObjectKind::ResourcePlacement,
            name: std::format!("object-{number}"),
            uid: std::format!("{number:0>190}"),
            generation: 1,
            hash: number.into(),
        });
    }
    let mut world = World::with(revision, planner::plan);
    world.join_all(S * 3);
    world.power_off(2);
    world.change(&[0, 0, 1], true);
    world.settle(S * 20);
    world.request(0, RequestKind::Standby(id(2)));
    world.settle(S * 20);
    world.power_on(2);
    world
}

/// All is received and delivered; the third machine's disk takes its time.
fn but_the_third_disk(world: &mut World) {
    for _ in 0..60 {
        for i in 0..3 {
            for k in world.receivable(i) {
                world.receive(i, k);
            }
            while world.acts(i) && world.deliverable(i) {
                world.deliver(i);
            }
            while i != 2 && !world.nodes[i].writes.is_empty() {
                world.sync(i);
            }
        }
    }
}

fn chunks(world: &World) -> Vec<(u16, u16)> {
    let log = world.cfgs.last().map(|c| c.log.as_slice()).unwrap_or_default();
    let chunk = |bytes: &[u8]| match wire::decode_message(bytes) {
        Some((_, Some(Message::Snapshot(chunk)))) => Some((chunk.part, chunk.parts)),
        _ => None,
    };
    log.iter().filter_map(|(_, _, bytes)| chunk(bytes)).collect()
}

#[test]
fn a_snapshot_comes_in_chunks_and_the_old_state_stays_until_it_is_durable() {
    let mut world = behind();
    let old = world.nodes[2].disk.state.clone();
    assert!(old.is_some());
    world.change(&[0, 0, 0], true);
    but_the_third_disk(&mut world);
    let sent = chunks(&world);
    assert!(
        sent.len() > 2 && sent.iter().all(|(_, of)| usize::from(*of) == sent.len()),
        "{sent:?}"
    );
    assert!(world.member(0).era_open());
    assert!(!world.member(2).era_open(), "it holds no durable state of this era yet");
    assert_eq!(world.nodes[2].disk.state, old);
    let place = |w: &World, i: usize| w.member(i).position();
    assert_ne!(place(&world, 0), place(&world, 2), "and says so");
    // it dies with the old state on its disk, and is no worse for it
    world.kill_process(2);
    world.start_process(2);
    world.join_all(S * 20);
    assert!(world.member(2).era_open());
    assert_eq!(place(&world, 0), place(&world, 2));
}

#[test]
fn a_snapshot_that_is_cut_short_by_a_new_configuration_begins_again() {
    let mut world = behind();
    world.change(&[0, 0, 0], true);
    for _ in 0..400 {
        if !chunks(&world).is_empty() {
            break;
        }
        for i in 0..3 {
            for k in world.receivable(i) {
                world.receive(i, k);
            }
            if world.deliverable(i) {
                world.deliver(i);
            }
            world.sync(i);
        }
    }
    // the first chunk is delivered, the others are not
    while world.deliverable(2) && world.nodes[2].delivered < first_chunk(&world) + 1 {
        world.deliver(2);
    }
    world.change(&[0, 0, 0], false);
    world.settle(S * 20);
    assert!((0..3).all(|i| world.member(i).era_open()));
    assert_eq!(world.member(0).position(), world.member(2).position());
}

fn first_chunk(world: &World) -> usize {
    let log = &world.cfgs.last().expect("a ring").log;
    let is_chunk =
        |bytes: &[u8]| matches!(wire::decode_message(bytes), Some((_, Some(Message::Snapshot(_)))));
    log.iter().position(|(_, _, bytes)| is_chunk(bytes)).unwrap_or(log.len())
}

// ---- voters

/// Three voters, and a fourth machine that is none yet.
fn three_of_four() -> World {
    let mut world = World::with(revision(4), planner::plan);
    for i in 0..4 {
        world.kill_process(i);
    }
    world.revision = revision(3);
    for i in 0..3 {
        world.start_process(i);
    }
    world.change(&[0, 0, 0, 1], true);
    world.settle(S * 3);
    assert_eq!(world.holders(), [1]);
    world
}

fn newer(voters: usize, generation: i64) -> Input {
    let mut revision = revision(voters);
    revision.objects[0].generation = generation;
    Input::Revision(revision.into())
}

fn voters(world: &World, at: usize) -> usize {
    world.member(at).status().nodes.len()
}

#[test]
fn a_voter_is_added_over_the_ring_when_majorities_hold_it_and_removed_after_a_clean_leave() {
    let mut world = three_of_four();
    world.give(1, newer(4, 2));
    // accepted by all, durable nowhere: one disk of two majorities is missing until all three have written
    for _ in 0..40 {
        for i in 0..3 {
            for k in world.receivable(i) {
                world.receive(i, k);
            }
            while world.deliverable(i) {
                world.deliver(i);
            }
            while i != 2 && !world.nodes[i].writes.is_empty() {
                world.sync(i);
            }
        }
    }
    assert_eq!(voters(&world, 0), 3, "two are a majority of three and none of four");
    world.settle(S * 3);
    assert!((0..3).all(|i| voters(&world, i) == 4));
    world.revision = revision(4);
    world.start_process(3);
    world.join_all(S * 20);
    assert!(world.member(3).era_open(), "{:#?}", world.member(3).status());
    assert_eq!((voters(&world, 3), world.holders()), (4, vec![1]));

    for i in 0..4 {
        world.give(i, newer(3, 3));
    }
    world.settle(S * 5);
    assert_eq!(voters(&world, 0), 4, "it is a member");
    let held = world.member(0).status().conditions;
    assert!(held.iter().any(|c| c.kind == "SpecHeld" && c.text.contains("leave")), "{held:?}");
    world.request(3, RequestKind::Leave);
    world.settle(S * 5);
    assert!(world.nodes[3].member.is_none());
    world.change(&[0, 0, 0, 1], true);
    world.settle(S * 5);
    assert!((0..3).all(|i| voters(&world, i) == 3));
    assert_eq!((world.holders(), world.shots), (vec![1], 0));
}
