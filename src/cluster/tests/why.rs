//! Why something failed, in its driver's words: kept with the failure, shown, and for people only.

use std::{format, string::String, vec, vec::Vec};

use base::{ResourceId, Role};
use lifecycle::{InstanceReport, Operation, OrderEnd, OrderId, Outcome, Report};

use super::{
    scenarios::three,
    specimen::process,
    unit::era,
    world::{id, web},
};
use crate::{
    RequestKind,
    state::{Pending, REASONS_MAX, State},
    wire::{self, Change, Message},
};

fn failed(reason: &str) -> Outcome {
    Outcome::Failed { code: 1, reason: reason.into() }
}

fn instance(failed: Option<Outcome>) -> InstanceReport {
    let (resource, kind) = (web(), process());
    InstanceReport { resource, kind, role: Some(Role::Started), stop_failed: false, failed, run: 1 }
}

fn apply(state: &mut State, body: &Message) {
    state.apply(id(1), body, &mut Vec::new());
}

fn changed(state: &mut State, number: u64, outcome: Outcome) {
    let shown = matches!(outcome, Outcome::Failed { .. } | Outcome::Degraded { .. });
    let instance = instance(shown.then(|| outcome.clone()));
    let change = Change { number, operation: Operation::Monitor, outcome, instance, wall: 100 };
    apply(state, &Message::Changes(vec![change]));
}

fn report(state: &mut State, failed: Option<Outcome>) {
    apply(state, &Message::Report(Report { instances: vec![instance(failed)] }));
}

/// A start of it ends at the second member.
fn start_ends(state: &mut State, outcome: Outcome) {
    let (node, resource, operation) = (id(1), web(), Operation::Start);
    report(state, None);
    let pending = Pending { node, resource, operation, exclusive: true };
    state.pending.insert(OrderId(7), pending);
    apply(state, &Message::Ended { id: OrderId(7), end: OrderEnd::Done(outcome) });
}

fn why(state: &State) -> Option<String> {
    state.why(&(web(), id(1)))
}

#[test]
fn a_failed_start_is_explained_until_it_is_forgotten() {
    let mut state = era();
    start_ends(&mut state, failed("port 80 is in use"));
    let words = Some("start failed: port 80 is in use".into());
    assert_eq!(why(&state), words);
    // its stop ends well, a new era comes with a new report, and the failure still counts
    report(&mut state, None);
    assert_eq!(why(&state), words);
    let state_of_the_next = wire::decode::<State>(&wire::encode(&state), usize::MAX);
    assert_eq!(state_of_the_next.as_ref().and_then(why), words);
    // a newer failure has words of its own, or none
    start_ends(&mut state, Outcome::TimedOut);
    assert_eq!(why(&state), Some("start took too long".into()));
    start_ends(&mut state, failed("no such file"));
    let kind = RequestKind::Cleanup { resource: web(), node: None };
    apply(&mut state, &Message::Request { id: crate::RequestId(1), kind, wall: 0 });
    assert_eq!((why(&state), state.reasons.len()), (None, 0));
}

#[test]
fn what_does_not_run_well_says_why_in_its_first_words_and_no_longer_than_that() {
    let mut state = era();
    let degraded = |reason: &str| Outcome::Degraded { promoted: false, reason: reason.into() };
    report(&mut state, None);
    changed(&mut state, 1, degraded("1 of 3 servers is down"));
    changed(&mut state, 2, degraded("1 of 3 servers is down for 10 s"));
    assert_eq!(why(&state), Some("1 of 3 servers is down".into()), "each look is no news");
    report(&mut state, Some(degraded("")));
    assert_eq!(why(&state), Some("1 of 3 servers is down".into()), "a report without texts");
    changed(&mut state, 3, Outcome::Ok);
    assert_eq!((why(&state), state.reasons.len()), (None, 0));
}

#[test]
fn words_are_kept_of_so_many_instances_and_no_more() {
    let mut state = era();
    for number in 0..REASONS_MAX + 10 {
        let resource: ResourceId = format!("s-{number}").parse().expect("valid");
        state.explain(&(resource, id(1)), &failed(&"long ".repeat(99)));
    }
    assert_eq!(state.reasons.len(), REASONS_MAX);
    assert!(state.reasons.values().all(|words| words.chars().count() <= 200));
}

#[test]
fn a_state_of_an_earlier_version_explains_nothing_and_keeps_the_rest() {
    let mut state = era();
    start_ends(&mut state, failed("port 80 is in use"));
    let mut bytes = wire::encode(&state);
    let added = postcard::to_allocvec(&state.reasons).expect("bytes").len();
    bytes.truncate(bytes.len() - added);
    let earlier: State = wire::decode(&bytes, usize::MAX).expect("an earlier version ends here");
    assert_eq!(why(&earlier), Some("start failed with code 1".into()));
    state.reasons.clear();
    assert_eq!(earlier, state);
}

#[test]
fn every_member_shows_why_a_start_failed_elsewhere() {
    let mut world = three();
    world.nodes[1].exec.start_fails = true;
    world.request(0, RequestKind::Move { resource: web(), to: id(1) });
    world.settle(core::time::Duration::from_secs(5));
    for by in 0..3 {
        let status = world.member(by).status();
        let there = status.instances.iter().find(|i| i.node == id(1)).expect("it was tried");
        assert_eq!(there.why.as_deref(), Some("start failed: as the test says"), "{by}");
    }
}
