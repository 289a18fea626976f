//! The same world with the engine of `policy` in place of the small planner: placing, moving, groups, promoted roles.

use core::time::Duration;
use std::{vec, vec::Vec};

use base::Role;
use lifecycle::{InstanceReport, Operation, Outcome};
use policy::revision as rev;

use super::{
    specimen::{process, revision, single},
    world::{World, id, web},
};
use crate::{ExecutorSays, Input, RequestKind};

const S: Duration = Duration::from_secs(1);

fn world(placements: Vec<rev::Placement>) -> World {
    let mut revision = revision(3);
    revision.placements = placements;
    let mut world = World::with(revision, policy::Scheduler::schedule);
    world.join_all(S * 5);
    world
}

fn no_conditions(world: &World) {
    for i in 0..3 {
        if world.acts(i) {
            assert_eq!(world.member(i).status().conditions, [], "member {}", i + 1);
        }
    }
}

#[test]
fn it_runs_once_and_then_nothing_is_said() {
    let mut world = world(vec![single("web")]);
    assert_eq!(world.holders().len(), 1);
    no_conditions(&world);
    let said = world.cfgs.iter().map(|c| c.log.len()).sum::<usize>();
    world.settle(S * 300);
    assert_eq!(world.cfgs.iter().map(|c| c.log.len()).sum::<usize>(), said);
}

#[test]
fn a_dead_holder_is_fenced_and_it_starts_elsewhere() {
    let mut world = world(vec![single("web")]);
    let holder = world.holders()[0] - 1;
    world.power_off(holder);
    let component: Vec<usize> = (0..3).map(|i| usize::from(i == holder)).collect();
    world.change(&component, true);
    world.settle(S * 5);
    assert_eq!(world.holders().len(), 1, "{:#?}", world.member((holder + 1) % 3).status());
}

#[test]
fn standby_moves_it_and_online_lets_it_be() {
    let mut world = world(vec![single("web")]);
    let holder = world.holders()[0] - 1;
    world.request(holder, RequestKind::Standby(id(holder)));
    world.settle(S * 5);
    let now_at = world.holders();
    assert!(now_at.len() == 1 && now_at[0] != holder + 1, "{now_at:?}");
    world.request(holder, RequestKind::Online(id(holder)));
    world.settle(S * 5);
    assert_eq!(world.holders().len(), 1);
    assert_eq!(world.shots, 0);
}

#[test]
fn a_ban_moves_it_and_clear_ends_the_ban() {
    let mut world = world(vec![single("web")]);
    let holder = world.holders()[0] - 1;
    world.request(holder, RequestKind::Ban { resource: web(), node: id(holder) });
    world.settle(S * 5);
    assert!(world.holders().len() == 1 && world.holders() != [holder + 1]);
    world.request(holder, RequestKind::Clear(web()));
    world.settle(S * 5);
    assert_eq!(world.holders().len(), 1);
}

#[test]
fn a_restart_stops_and_starts_once() {
    let mut world = world(vec![single("web")]);
    let (holder, starts) = (world.holders(), world.starts);
    world.request(1, RequestKind::Restart(web()));
    world.settle(S * 5);
    assert_eq!((world.holders().len(), world.starts), (1, starts + 1), "was on {holder:?}");
}

#[test]
fn what_failed_is_counted_and_recovered() {
    let mut world = world(vec![single("web")]);
    let holder = world.holders()[0] - 1;
    let starts = world.starts;
    crash(&mut world, holder);
    world.settle(S * 5);
    assert_eq!((world.holders().len(), world.starts), (1, starts + 1));
    let status = world.member(0).status();
    let failures: u32 = status.instances.iter().map(|i| i.failures).sum();
    assert_eq!(failures, 1, "{:#?}", status.instances);
}

/// It ends by itself, and a check says so.
fn crash(world: &mut World, holder: usize) {
    world.nodes[holder].exec.running.clear();
    let instance = InstanceReport {
        resource: web(),
        kind: process(),
        role: Some(Role::Stopped),
        stop_failed: false,
        failed: Some(Outcome::NotRunning),
        run: 0,
    };
    let (operation, outcome) = (Operation::Monitor, Outcome::NotRunning);
    let says = ExecutorSays::Changed { operation, outcome, instance };
    world.give(holder, Input::Executor(says));
}

#[test]
fn a_failed_start_moves_it_and_is_not_tried_again_while_it_runs_elsewhere() {
    let mut world = world(vec![single("web")]);
    let holder = world.holders()[0] - 1;
    world.nodes[holder].exec.start_fails = true;
    crash(&mut world, holder);
    world.settle(S * 5);
    assert_eq!(world.holders().len(), 1);
    assert_ne!(world.holders()[0] - 1, holder);
    let there = world.holders();
    world.settle(S * 300);
    assert_eq!(world.holders(), there);
    assert_eq!(world.nodes[holder].exec.failed_starts, 1);
}

#[test]
fn what_starts_nowhere_is_tried_again_after_a_minute_and_not_sooner() {
    let mut world = world(vec![single("web")]);
    let holder = world.holders()[0] - 1;
    for node in &mut world.nodes {
        node.exec.start_fails = true;
    }
    crash(&mut world, holder);
    let tries = |w: &World| w.nodes.iter().map(|n| n.exec.failed_starts).collect::<Vec<_>>();
    world.settle(S * 30);
    assert_eq!(tries(&world), [1, 1, 1]);
    world.settle(S * 200);
    assert!(tries(&world).iter().all(|n| (3..=5).contains(n)), "{:?}", tries(&world));
    for node in &mut world.nodes {
        node.exec.start_fails = false;
    }
    world.settle(S * 70);
    assert_eq!(world.holders().len(), 1);
}

#[test]
fn a_failed_stop_gets_its_machine_fenced() {
    let mut world = world(vec![single("web")]);
    let holder = world.holders()[0] - 1;
    world.nodes[holder].exec.stop_fails = true;
    world.request((holder + 1) % 3, RequestKind::Standby(id(holder)));
    world.settle(S * 30);
    assert!(!world.nodes[holder].on);
    assert_eq!(world.holders().len(), 1);
}

#[test]
fn a_group_starts_in_order_on_one_machine_and_moves_as_one() {
    let mut group = single("app");
    group.members = ["a", "b", "c"].iter().flat_map(|n| single(n).members).collect();
    group.shape = rev::Shape::Group;
    let mut world = world(vec![group]);
    let at = |w: &World| ["a", "b", "c"].map(|n| w.in_role(n, Role::Started));
    let first = at(&world);
    assert!(first[0].len() == 1 && first[0] == first[1] && first[1] == first[2], "{first:?}");
    let holder = first[0][0] - 1;
    world.power_off(holder);
    let component: Vec<usize> = (0..3).map(|i| usize::from(i == holder)).collect();
    world.change(&component, true);
    world.settle(S * 5);
    let then = at(&world);
    assert!(then[0].len() == 1 && then[0] == then[1] && then[1] == then[2], "{then:?}");
    assert_ne!(then[0], first[0]);
}

fn copies() -> rev::CloneOptions {
    rev::CloneOptions {
        max: None,
        node_max: 1,
        min: 0,
        interleave: true,
        ordered: false,
        unique: false,
        notify: false,
    }
}

#[test]
fn a_clone_runs_everywhere_without_waiting_for_debts() {
    let mut clone = single("lb");
    clone.shape = rev::Shape::Clone(copies());
    let mut world = world(vec![clone]);
    assert_eq!(world.in_role("lb", Role::Started), [1, 2, 3]);
    world.unreachable_bmc.insert(0);
    world.power_off(0);
    world.change(&[0, 1, 1], true);
    world.nodes[1].exec.running.clear();
    world.settle(S * 10);
    assert_eq!(world.in_role("lb", Role::Started), [2, 3], "it is not exclusive");
}

#[test]
fn one_copy_is_promoted_and_another_when_its_machine_dies() {
    let mut db = single("db");
    db.shape = rev::Shape::Promotable(copies(), rev::PromotedOptions { max: 1, node_max: 1 });
    let mut revision = revision(3);
    revision.placements = vec![db];
    revision.constraints.push(rev::Constraint {
        id: "db-likes".into(),
        rule: rev::ConstraintRule::Location {
            resources: vec!["db".parse().expect("valid")],
            role: Some(Role::Promoted),
            nodes: (0..3).map(|i| (revision.voters[i].name.clone(), 10)).collect(),
            rules: Vec::new(),
            discovery: rev::Discovery::Always,
        },
        deletion: rev::DeletionPolicy::Retain,
        retained: false,
    });
    let mut world = World::with(revision, policy::Scheduler::schedule);
    world.join_all(S * 5);
    let first = world.in_role("db", Role::Promoted);
    assert_eq!(first.len(), 1, "{:#?}", world.member(0).status());
    let holder = first[0] - 1;
    world.power_off(holder);
    let component: Vec<usize> = (0..3).map(|i| usize::from(i == holder)).collect();
    world.change(&component, true);
    world.settle(S * 5);
    let then = world.in_role("db", Role::Promoted);
    assert!(then.len() == 1 && then != first, "{then:?}");
}

#[test]
fn a_failed_process_is_started_again_with_the_address_that_goes_with_it() {
    let mut revision = revision(3);
    let mut vip = single("vip");
    vip.members[0].id = "vip".parse().expect("valid");
    vip.id = "vip".parse().expect("valid");
    let mut web_ = single("web");
    web_.members[0].monitors = vec![rev::Monitor {
        interval: S * 2,
        timeout: S,
        role: None,
        on_fail: rev::OnFail::Restart,
    }];
    revision.placements = vec![vip, web_];
    let of = |id: &str| rev::RoleOf { resource: id.parse().expect("valid"), role: None };
    let act = |id: &str| rev::ActionOf {
        resource: id.parse().expect("valid"),
        action: rev::Action::Start,
    };
    revision.constraints = vec![
        rev::Constraint {
            id: "together".into(),
            rule: rev::ConstraintRule::Colocation {
                dependent: of("vip"),
                on: of("web"),
                score: rev::SCORE_MAX,
            },
            deletion: rev::DeletionPolicy::Retain,
            retained: false,
        },
        rev::Constraint {
            id: "first".into(),
            rule: rev::ConstraintRule::Order {
                first: act("web"),
                then: act("vip"),
                kind: rev::OrderKind::Mandatory,
                symmetric: true,
            },
            deletion: rev::DeletionPolicy::Retain,
            retained: false,
        },
    ];
    let mut world = World::with(revision, policy::Scheduler::schedule);
    world.join_all(S * 5);
    let holder = world.holders()[0] - 1;
    let starts = world.starts;
    world.nodes[holder].exec.running.remove(&web());
    let instance = InstanceReport {
        resource: web(),
        kind: process(),
        role: Some(Role::Stopped),
        stop_failed: false,
        failed: Some(Outcome::NotRunning),
        run: 0,
    };
    let (operation, outcome) = (Operation::Monitor, Outcome::NotRunning);
    let says = ExecutorSays::Changed { operation, outcome, instance };
    world.give(holder, Input::Executor(says));
    world.settle(S * 5);
    assert_eq!(world.starts, starts + 2, "{:#?}", world.member(0).status());
}

/// CLUSTER.md section 6 and SAFETY.md#L11: the last two are never fenced, so a person has to have a way out.
#[test]
fn cleanup_has_a_failed_stop_tried_again_where_nobody_can_be_fenced() {
    let mut world = world(vec![single("web")]);
    let holder = world.holders()[0] - 1;
    let (third, other) = ((holder + 1) % 3, (holder + 2) % 3);
    world.power_off(third);
    let component: Vec<usize> = (0..3).map(|i| usize::from(i == third)).collect();
    world.change(&component, true);
    world.settle(S * 10);
    assert_eq!(world.holders(), [holder + 1]);
    world.nodes[holder].exec.stop_fails = true;
    world.request(other, RequestKind::Ban { resource: web(), node: id(holder) });
    world.settle(S * 20);
    let leads = world.member(other).status().coordinator;
    let leads = if leads == Some(id(other)) { other } else { holder };
    let conditions = world.member(leads).status().conditions;
    let way_out = |c: &crate::status::Condition| {
        c.kind == "FencingRefused" && c.text.contains("resource cleanup web")
    };
    assert!(conditions.iter().any(way_out), "{conditions:#?}");
    let clean = || RequestKind::Cleanup { resource: web(), node: None };
    world.request(other, clean());
    world.settle(S * 20);
    assert_eq!(world.holders(), [holder + 1], "it failed again, and stays where it is");
    world.nodes[holder].exec.stop_fails = false;
    world.settle(S * 20);
    assert_eq!(world.holders(), [holder + 1], "nobody asked");
    world.request(other, clean());
    world.settle(S * 20);
    assert_eq!(world.holders(), [other + 1]);
    assert!((0..3).all(|i| i == third || world.nodes[i].on), "nobody was shot");
}
