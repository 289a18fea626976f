//! The ways of CLUSTER.md sections 4 to 7: graces, leaves, evictions, confirmations, power loss, suspension.

use core::time::Duration;
use std::{vec, vec::Vec};

use lifecycle::Quorum;

use super::{
    scenarios::three,
    world::{World, id, web},
};
use crate::{ExecutorSays, Input, RequestKind};

const S: Duration = Duration::from_secs(1);

/// Its machine runs on, and the two others see that its port is closed.
fn first_agent_dies(world: &mut World) {
    world.kill_process(0);
    world.change(&[0, 1, 1], true);
}

#[test]
fn an_agent_restart_within_its_grace_costs_nothing() {
    let mut world = three();
    first_agent_dies(&mut world);
    world.settle(S * 2);
    assert_eq!((world.holders(), world.shots), (vec![1], 0), "port closed: it is waited for");
    world.start_process(0);
    world.join_all(S * 10);
    assert_eq!((world.holders(), world.shots), (vec![1], 0), "adopted as it runs");
}

#[test]
fn an_agent_that_stays_away_is_fenced_after_its_grace() {
    let mut world = three();
    first_agent_dies(&mut world);
    world.settle(S * 12);
    assert_eq!((world.holders(), world.shots), (vec![2], 1));
}

#[test]
fn a_detached_agent_is_waited_for_longer() {
    let mut world = three();
    world.request(0, RequestKind::Detach(S * 30));
    world.settle(S);
    first_agent_dies(&mut world);
    world.settle(S * 25);
    assert_eq!((world.holders(), world.shots), (vec![1], 0));
    world.settle(S * 10);
    assert_eq!((world.holders(), world.shots), (vec![2], 1), "at most as long as it said");
}

#[test]
fn an_absence_that_was_announced_and_never_begun_ends() {
    let mut world = three();
    let detached = |world: &World, at: usize| world.member(at).status().nodes[0].detached;
    world.request(0, RequestKind::Detach(S * 10));
    world.settle(S * 8);
    assert!((0..3).all(|at| detached(&world, at)), "it may still go");
    world.settle(S * 4);
    assert!(!(0..3).any(|at| detached(&world, at)), "it never went");
    // it is a member like the others: what fails elsewhere starts there
    world.request(1, RequestKind::Move { resource: web(), to: id(1) });
    world.settle(S * 2);
    assert_eq!(world.holders(), vec![2]);
    world.request(1, RequestKind::Move { resource: web(), to: id(0) });
    world.settle(S * 2);
    assert_eq!(world.holders(), vec![1]);
    // and it is waited for no longer than the others: its port is closed, its grace 5 s
    first_agent_dies(&mut world);
    world.settle(S * 8);
    assert_eq!((world.holders(), world.shots), (vec![2], 1));
}

#[test]
fn an_absence_announced_anew_lasts_anew() {
    let mut world = three();
    world.request(0, RequestKind::Detach(S * 5));
    world.settle(S * 4);
    world.request(0, RequestKind::Detach(S * 20));
    world.settle(S * 4);
    first_agent_dies(&mut world);
    world.settle(S * 15);
    assert_eq!((world.holders(), world.shots), (vec![1], 0));
}

#[test]
fn a_clean_leave_needs_no_power_off() {
    let mut world = three();
    let request = world.request(0, RequestKind::Leave);
    world.settle(S * 5);
    let _ = request;
    assert!(world.nodes[0].left.as_deref().is_some_and(|r| r.starts_with("left")));
    world.change(&[0, 1, 1], true);
    world.settle(S * 20);
    assert_eq!((world.holders().len(), world.shots), (1, 0));
    assert!(world.holders() != [1]);
}

#[test]
fn an_unreachable_bmc_blocks_until_a_person_confirms_once() {
    let mut world = three();
    world.unreachable_bmc.insert(0);
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 60);
    assert_eq!(world.holders(), Vec::<usize>::new());
    let blocked = world.member(1).status().conditions;
    assert!(blocked.iter().any(|c| c.text.contains("confirm-off")), "{blocked:?}");
    let kind = || RequestKind::ConfirmOff { node: id(0), incident: None, who: "anna".into() };
    let first = world.request(1, kind());
    world.settle(S * 10);
    assert_eq!(world.nodes[1].answers.get(&first), Some(&Ok(())));
    assert_eq!(world.holders(), [2]);
    let second = world.request(1, kind());
    world.settle(S * 2);
    assert!(world.nodes[1].answers[&second].is_err(), "one-shot");
}

#[test]
fn a_confirmation_is_refused_while_the_node_is_heard() {
    let mut world = three();
    let kind = RequestKind::ConfirmOff { node: id(2), incident: None, who: "anna".into() };
    let request = world.request(1, kind);
    world.settle(S);
    assert!(world.nodes[1].answers[&request].as_ref().is_err_and(|e| e.0.contains("still heard")));
}

#[test]
fn a_member_whose_stop_fails_is_evicted_then_shot_then_it_starts_elsewhere() {
    let mut world = three();
    world.nodes[0].exec.stop_fails = true;
    world.request(1, RequestKind::Move { resource: web(), to: id(1) });
    world.settle(S * 30);
    // Evicted it has no quorum, so it fences itself before the power-off comes; that is read as off.
    assert!(!world.nodes[0].on);
    assert_eq!(world.holders(), [2]);
    let operations = world.member(1).status().operations;
    assert!(operations.iter().any(|o| o.incident.node == id(0) && o.closed), "{operations:?}");
}

#[test]
fn a_person_may_have_a_present_member_fenced() {
    let mut world = three();
    let request = world.request(1, RequestKind::Fence { node: id(0), who: "anna".into() });
    world.settle(S * 30);
    assert_eq!(world.nodes[1].answers.get(&request), Some(&Ok(())));
    assert!(!world.nodes[0].on);
    assert_eq!((world.holders(), world.shots), (vec![2], 1));
}

#[test]
fn the_last_majority_is_never_fenced() {
    let mut world = three();
    world.power_off(2);
    world.change(&[0, 0, 1], true);
    world.settle(S * 10);
    let request = world.request(1, RequestKind::Fence { node: id(0), who: "anna".into() });
    world.settle(S * 20);
    assert!(world.nodes[1].answers[&request].as_ref().is_err_and(|e| e.0.contains("quorate")));
    assert!(world.nodes[0].on);
}

#[test]
fn who_does_not_report_is_evicted() {
    let mut world = three();
    world.nodes[2].exec.mute = true;
    world.change(&[0, 0, 0], true);
    world.settle(S * 30);
    assert!(!world.nodes[2].on, "no report within five seconds");
    assert_eq!(world.holders(), [1]);
}

#[test]
fn two_of_three_dead_start_nothing_and_one_back_serves() {
    let mut world = three();
    world.power_off(0);
    world.power_off(1);
    world.change(&[0, 1, 2], true);
    world.settle(S * 60);
    assert_eq!(world.holders(), Vec::<usize>::new());
    assert_eq!(world.shots, 0, "no quorum, no power-off (S5)");
    world.power_on(1);
    world.change(&[0, 1, 1], true);
    world.settle(S * 60);
    assert_eq!(world.holders().len(), 1);
}

#[test]
fn after_total_power_loss_two_of_three_read_the_third_and_serve() {
    let mut world = three();
    for i in 0..3 {
        world.power_off(i);
    }
    world.power_on(1);
    world.power_on(2);
    world.change(&[0, 1, 1], true);
    world.settle(S * 15);
    assert_eq!(world.holders(), Vec::<usize>::new(), "startupWait first");
    world.settle(S * 15);
    assert_eq!(world.holders().len(), 1, "off is evidence");
    assert_eq!(world.shots, 0);
}

#[test]
fn a_frozen_coordinator_does_nothing_when_it_thaws() {
    let mut world = three();
    world.freeze(0);
    world.change(&[0, 1, 1], true);
    world.settle(S * 8);
    assert_eq!(world.shots, 1);
    assert_eq!(world.holders(), [2]);
}

#[test]
fn a_settled_cluster_is_silent() {
    let mut world = three();
    world.settle(S * 10);
    let said = world.cfgs.iter().map(|c| c.log.len()).sum::<usize>();
    let starts = world.starts;
    world.settle(S * 600);
    assert_eq!(world.cfgs.iter().map(|c| c.log.len()).sum::<usize>(), said, "no message");
    assert_eq!((world.starts, world.shots), (starts, 0));
    assert_eq!(world.member(0).poll_timeout(), None, "and no timer");
}

#[test]
fn where_an_address_is_now_is_asked_of_the_others_and_answered_to_all() {
    let mut world = three();
    let (station, resource) = ([2, 0, 0, 0, 0, 7], || "vip".parse().expect("valid"));
    let announcing = ExecutorSays::Announcing {
        resource: resource(),
        kind: super::specimen::process(),
        station,
    };
    world.give(1, Input::Executor(announcing));
    world.settle(S);
    let looks = |world: &World| (0..3).map(|i| world.nodes[i].exec.looks.len()).collect::<Vec<_>>();
    assert_eq!(looks(&world), [1, 0, 1], "all but the one that announces");
    world.give(2, Input::Executor(ExecutorSays::Sees { resource: resource(), station }));
    world.settle(S);
    assert_eq!(world.nodes[1].exec.seen, [station]);
    assert!(world.nodes[2].exec.seen.is_empty(), "nobody is told what it said itself");
    world.change(&[0, 1, 2], true);
    world.settle(S);
    let announcing = ExecutorSays::Announcing {
        resource: resource(),
        kind: super::specimen::process(),
        station,
    };
    world.give(1, Input::Executor(announcing));
    world.settle(S);
    assert_eq!(looks(&world), [1, 0, 1], "silence without an open era");
}

#[test]
fn an_executor_that_lost_the_tokens_serves_again_in_the_same_era() {
    let mut world = three();
    world.settle(S * 20);
    let era = world.member(0).status().era;
    world.regain(0);
    assert_eq!(world.holders(), Vec::<usize>::new());
    world.settle(S * 10);
    assert_eq!((world.holders().len(), world.shots), (1, 0), "{:#?}", world.member(0).status());
    assert_eq!(world.member(0).status().era, era, "nobody was evicted for it");
}

#[test]
fn an_executor_that_restarts_late_in_an_era_has_its_time_to_report() {
    let mut world = three();
    world.settle(S * 20);
    world.nodes[2].exec.epoch = None;
    world.give(2, Input::Executor(ExecutorSays::Restarted));
    world.settle(S * 10);
    assert!(world.nodes[2].on && world.shots == 0, "it was evicted at once");
    assert!(world.member(0).status().nodes.iter().all(|n| n.reported));
}

/// What came before the word of the restart is forgotten by all when they hear it: the executor must not carry it out.
#[test]
fn an_order_from_before_an_executor_restarted_is_not_carried_out_after_it() {
    let mut world = three();
    world.request(0, RequestKind::Move { resource: web(), to: id(1) });
    // 2 receives and does not yet deliver: its start is ordered meanwhile
    for _ in 0..20 {
        everybody(&mut world, &[0, 2]);
    }
    let pending = |w: &World| {
        let instances = w.member(0).status().instances;
        instances.iter().any(|i| i.node == id(1) && i.pending.is_some())
    };
    assert!(pending(&world), "{:#?}", world.member(0).status());
    world.nodes[1].exec.epoch = None;
    world.give(1, Input::Executor(ExecutorSays::Restarted));
    if world.report_due(1) {
        world.report(1);
    }
    everybody(&mut world, &[0, 1, 2]);
    let queued = world.nodes[1].exec.queue.len();
    assert!(pending(&world) || queued == 0, "it would begin what nobody knows of: {queued}");
}

/// All receive, some deliver what they have; executors begin nothing but on the first machine.
fn everybody(world: &mut World, deliver: &[usize]) {
    for i in 0..3 {
        for k in world.receivable(i) {
            world.receive(i, k);
        }
    }
    for &i in deliver {
        while world.deliverable(i) {
            world.deliver(i);
        }
    }
    while world.can_begin(0) {
        world.begin(0);
    }
}

#[test]
fn a_refused_order_is_given_again_after_a_pause_that_grows() {
    let mut world = three();
    world.nodes[1].exec.lost = true;
    world.request(0, RequestKind::Move { resource: web(), to: id(1) });
    let said = |w: &World| w.cfgs.iter().map(|c| c.log.len()).sum::<usize>();
    let before = said(&world);
    for _ in 0..300 {
        world.round();
    }
    assert!(said(&world) - before < 20, "{} messages at one moment", said(&world) - before);
    let conditions = world.member(0).status().conditions;
    assert!(conditions.iter().any(|c| c.text.contains("refused by node 2")), "{conditions:?}");
    world.settle(S * 60);
    let more = said(&world) - before;
    assert!((20..100).contains(&more), "{more} messages in a minute");
    world.nodes[1].exec.lost = false;
    world.settle(S * 6);
    assert_eq!(world.holders(), [2]);
}

/// An offer that is older than what was accepted is not proposed; who sees it says so as long as it sees it.
#[test]
fn an_api_that_went_back_is_a_condition_until_it_is_forward_again() {
    let mut world = three();
    let mut older = world.revision.clone();
    older.objects[0].generation -= 1;
    let regressed =
        |w: &World| w.member(1).status().conditions.iter().any(|c| c.kind == "SpecRegressed");
    assert!(!regressed(&world));
    world.give(1, Input::Revision(older.into()));
    world.settle(S * 5);
    assert!(regressed(&world), "{:#?}", world.member(1).status());
    let newest = world.revision.clone();
    world.give(1, Input::Revision(newest.into()));
    world.settle(S * 5);
    assert!(!regressed(&world));
}

#[test]
fn an_executor_that_starts_beside_a_ring_without_quorum_is_told_so() {
    let mut world = three();
    // With a state, and so a coordinator and an epoch of the ring alone.
    world.change(&[0, 1, 2], true);
    world.settle(S);
    let new_life = |world: &mut World| {
        world.nodes[0].exec.epoch = None;
        world.nodes[0].exec.quorum = None;
        world.give(0, Input::Executor(ExecutorSays::Restarted));
    };
    new_life(&mut world);
    assert_eq!(world.nodes[0].exec.quorum, Some(Quorum::Inquorate), "S11: or it never stops");
    assert!(world.nodes[0].exec.epoch.is_some(), "stops are ordered in it");
    // Without any state there is no epoch; that there is no quorum is told all the same.
    world.wipe(0);
    world.start_process(0);
    world.change(&[0, 1, 2], true);
    world.settle(S);
    new_life(&mut world);
    assert_eq!(world.nodes[0].exec.quorum, Some(Quorum::Inquorate));
}

/// What was said is delivered; disks and executors rest.
fn deliver_all(world: &mut World) {
    for _ in 0..20 {
        for i in 0..3 {
            for k in world.receivable(i) {
                world.receive(i, k);
            }
        }
        for i in 0..3 {
            if world.deliverable(i) {
                world.deliver(i);
            }
        }
    }
}

#[test]
fn an_executor_that_starts_alone_hears_of_a_leave_under_way() {
    let mut world = three();
    world.request(2, RequestKind::Leave);
    deliver_all(&mut world);
    assert!(world.nodes[2].exec.leaving && world.nodes[2].member.is_some());
    world.nodes[2].exec = super::parts::Exec::default();
    world.give(2, Input::Executor(ExecutorSays::Restarted));
    assert!(world.nodes[2].exec.leaving, "it was told to release everything");
}

#[test]
fn a_clean_leave_outlasts_a_power_cut_of_all() {
    let mut world = three();
    world.request(2, RequestKind::Leave);
    while world.round() {}
    assert!(world.nodes[2].member.is_none() && world.nodes[2].on);
    world.change(&[0, 0, 1], true);
    while world.round() {}
    assert!((0..2).all(|i| world.member(i).era_open()), "what blocks no start any more");
    // at once: nothing was quiet long enough to be written for that alone
    for i in 0..2 {
        world.power_off(i);
    }
    for i in 0..2 {
        world.power_on(i);
    }
    world.join_all(S * 60);
    assert!((0..2).all(|i| world.member(i).era_open()));
    assert_eq!(world.shots, 0, "it had left, and runs on");
}

#[test]
fn an_era_is_not_claimed_when_no_ring_forms_any_more() {
    let mut world = three();
    let ring = world.cfgs[world.nodes[0].cfg.expect("a ring")].ring;
    let other = base::RingId { seq: ring.seq - 1, ..ring };
    let claims = |world: &World| {
        let status = world.member(0).status();
        (status.quorate, status.era.is_some(), world.member(0).era_open())
    };
    world.give(0, Input::RingBroken { ring: other });
    assert_eq!(world.member(0).poll_timeout(), None, "not the installed one");
    let broken_at = world.now;
    world.give(0, Input::RingBroken { ring });
    assert_eq!(claims(&world), (true, true, true), "a new ring is on its way, as ever");
    let t_mem = crate::hardware::t_mem(&world.revision.timings);
    world.tick(S * 60);
    assert_eq!(world.now, broken_at + t_mem, "it wakes by itself");
    assert_eq!(claims(&world), (false, false, false), "S10");
    let conditions = world.member(0).status().conditions;
    assert!(conditions.iter().any(|c| c.kind == "NoRing"), "{conditions:?}");
    world.join_all(S);
    assert_eq!(claims(&world), (true, true, true));
    world.settle(S * 60);
    assert_eq!(claims(&world), (true, true, true));
}
