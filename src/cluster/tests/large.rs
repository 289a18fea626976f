//! A cluster with more than fits into one message: what runs, what is ordered, what changes.

use core::time::Duration;
use std::{collections::BTreeSet, format, string::String, vec::Vec};

use base::{Label, OcfAgent, ResourceId, ResourceKind, Role};
use lifecycle::{InstanceReport, Operation, Outcome};
use policy::revision as rev;

use super::{
    planner,
    specimen::{revision, single},
    world::{World, id},
};
use crate::{
    ExecutorSays, Input,
    wire::{self, Message},
};

const S: Duration = Duration::from_secs(1);

fn name(number: usize) -> ResourceId {
    format!("one-of-the-many-small-services-of-a-large-control-plane-{number:04}")
        .parse()
        .expect("valid")
}

fn template() -> ResourceKind {
    let template: Label = "the-template-of-small-services".parse().expect("valid");
    ResourceKind::Process { template }
}

fn balancers(count: usize, bytes: usize) -> Vec<rev::Placement> {
    let value = |_| base::ocf::OcfParameter {
        name: "fake".parse().expect("valid"),
        value: base::ocf::OcfValue::Text("x".repeat(bytes)),
    };
    (0..count)
        .map(|number| {
            let mut placement = single(&format!("large-{number}"));
            placement.members[0].kind = ResourceKind::Ocf(std::boxed::Box::new(OcfAgent {
                name: "heartbeat/Dummy".parse().expect("valid"),
                parameters: (0..1).map(value).collect(),
                copies: None,
            }));
            placement
        })
        .collect()
}

/// Three machines of which one runs that many small instances before anybody speaks.
fn many(at: usize, count: usize) -> World {
    let mut revision = revision(3);
    for number in 0..count {
        let mut placement = single(name(number).as_str());
        placement.members[0].kind = template();
        revision.placements.push(placement);
    }
    let mut world = World::with(revision, planner::plan);
    for number in 0..count {
        world.nodes[at].exec.running.insert(name(number), (template(), Role::Started));
    }
    world
}

/// What a member of the version before says where this one says `payload`.
pub(super) fn as_before(payload: &mut Vec<u8>) {
    if let Some((_, Some(Message::Hello(_)))) = wire::decode_message(payload) {
        payload.pop();
    }
}

fn said(world: &World) -> Vec<Message> {
    let log = world.cfgs.iter().flat_map(|cfg| &cfg.log);
    log.filter_map(|(_, _, payload)| wire::decode_message(payload)?.1).collect()
}

fn seen_running(world: &World, by: usize, at: usize) -> usize {
    let status = world.member(by).status();
    let there = status.instances.iter().filter(|i| i.node == id(at));
    there.filter(|i| i.role == Some(Role::Started)).count()
}

#[test]
fn six_hundred_instances_on_one_member_are_reported_and_none_is_started_again() {
    let mut world = many(0, 600);
    world.join_all(S * 3);
    assert!((0..3).all(|by| seen_running(&world, by, 0) == 601));
    assert_eq!(world.starts, 1, "only what ran nowhere");
    assert!(said(&world).iter().any(|m| matches!(m, Message::ReportPart(_))));
    // and again in an era of which one gets a snapshot: that first, then the parts
    world.change(&[0, 0, 1], true);
    world.settle(S * 3);
    world.power_on(2);
    world.join_all(S * 3);
    assert!((0..3).all(|by| seen_running(&world, by, 0) == 601));
    assert_eq!(world.starts, 1);
}

#[test]
fn a_report_of_which_the_last_part_is_not_there_yet_says_nothing() {
    let mut world = many(1, 600);
    world.change(&[0, 0, 0], true);
    // all but the second say what they run; the last part of what that one says is kept from the coordinator
    let mut kept = None;
    for _ in 0..200 {
        for i in 0..3 {
            for k in world.receivable(i).into_iter().filter(|k| i != 0 || Some(*k) != kept) {
                world.receive(i, k);
            }
            while world.deliverable(i) {
                world.deliver(i);
            }
            while !world.nodes[i].writes.is_empty() {
                world.sync(i);
            }
            if world.report_due(i) {
                world.report(i);
            }
        }
        let parts = said(&world).iter().filter(|m| matches!(m, Message::ReportPart(_))).count();
        if parts > 1 && kept.is_none() {
            kept = Some(world.cfgs[0].log.len() - 1);
        }
    }
    assert!(kept.is_some());
    let reported = |world: &World| -> Vec<bool> {
        world.member(0).status().nodes.iter().map(|n| n.reported).collect()
    };
    assert_eq!(reported(&world), [true, false, true]);
    assert_eq!(seen_running(&world, 0, 1), 0);
    let decided = said(&world).iter().any(|m| matches!(m, Message::Decision(_)));
    assert!(!decided, "what is in the last part would be started again");
    // the ring breaks: what came of it is void, and the next era's report says all
    world.change(&[0, 0, 0], true);
    world.settle(S * 3);
    assert_eq!(reported(&world), [true; 3]);
    assert!((0..3).all(|by| seen_running(&world, by, 1) == 600));
    assert_eq!((world.starts, world.shots), (1, 0));
}

#[test]
fn parts_are_not_said_to_a_member_that_does_not_understand_them() {
    let mut world = many(0, 450);
    for instance in 0..450 {
        world.nodes[0].exec.troubles.insert(name(instance), "it groans ".repeat(20));
    }
    world.older.insert(1);
    world.join_all(S * 3);
    assert!((0..3).all(|by| seen_running(&world, by, 0) == 451));
    assert!(!said(&world).iter().any(|m| matches!(m, Message::ReportPart(_))));
    assert_eq!((world.starts, world.shots), (1, 0));
}

#[test]
fn what_is_ordered_at_once_is_no_more_than_a_message_holds() {
    let mut world = World::new(3);
    world.revision.placements.extend(balancers(40, 2_000));
    // and what lost its object is stopped by one of the first decisions
    for placement in balancers(40, 3_000) {
        let kind = placement.members[0].kind.clone();
        let orphan = format!("orphan-{}", placement.id).parse().expect("valid");
        world.nodes[1].exec.running.insert(orphan, (kind, Role::Started));
    }
    for i in 0..3 {
        world.kill_process(i);
        world.start_process(i);
    }
    world.join_all(S * 5);
    assert_eq!(world.starts, 41);
    let running: BTreeSet<&str> = world.nodes[1].exec.running.keys().map(|r| r.as_str()).collect();
    assert!(!running.iter().any(|name| name.starts_with("orphan")), "{running:?}");
}

#[test]
fn what_changes_at_once_is_said_in_as_many_messages_as_it_takes() {
    let mut world = World::new(3);
    world.revision.placements.extend(balancers(10, 3_000));
    for i in 0..3 {
        world.kill_process(i);
        world.start_process(i);
    }
    world.join_all(S * 5);
    for placement in balancers(10, 3_000).into_iter().cycle().take(40) {
        let outcome = Outcome::Failed { code: 1, reason: "ü".repeat(999) };
        let instance = InstanceReport {
            resource: placement.id,
            kind: placement.members[0].kind.clone(),
            role: Some(Role::Started),
            stop_failed: false,
            failed: Some(outcome.clone()),
            run: 1,
        };
        let operation = Operation::Monitor;
        // without an era in between: they wait, and are said together
        world.nodes[0].member.as_mut().expect("runs").handle(
            world.now,
            Input::Executor(ExecutorSays::Changed { operation, outcome, instance }),
        );
    }
    world.join_all(S);
    let status = world.member(2).status();
    let failures = |r: &String| {
        let of = status.instances.iter().filter(|i| i.node == id(0) && i.resource.as_str() == r);
        of.map(|i| i.failures).sum::<u32>()
    };
    assert!((0..10).all(|n| failures(&format!("large-{n}")) == 4), "{:?}", status.instances);
}
