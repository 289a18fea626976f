//! Small laws: bytes, transfers, guarantees, silence.

use core::time::Duration;
use std::{vec, vec::Vec};

use base::{Guarantee, Instant, RingId, SplitMix64};
use policy::revision as rev;

use super::{
    specimen::revision,
    world::{World, id, web},
};
use crate::{
    Input, Reason, Verdict,
    apply::Effect,
    silence::Silence,
    state::{Debt, State},
    transfer::{Assembly, split},
    wire::{self, Message},
};

pub(super) fn ring(seq: u64) -> RingId {
    RingId { seq, rep: id(0) }
}

fn state() -> State {
    let mut state = State::empty(ring(4), id(0), &[id(0), id(1), id(2)]);
    state.revision = Some(revision(3));
    state
}

#[test]
fn messages_survive_the_wire_and_rubbish_does_not_panic() {
    let messages = [
        Message::Propose,
        Message::Leave { incarnation: base::Incarnation { counter: 1, random: 9 } },
        Message::Close { node: id(2) },
        Message::CommandsOver { node: id(2) },
    ];
    for message in &messages {
        let bytes = wire::encode_message(ring(4), message);
        assert_eq!(wire::decode_message(&bytes), Some((ring(4), Some(message.clone()))));
    }
    let mut rng = SplitMix64::new(1);
    let good = wire::encode_message(ring(4), &messages[1]);
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = if rng.below(2) == 0 {
            good.clone()
        } else {
            (0..rng.below(80)).map(|_| u8::try_from(rng.below(256)).expect("a byte")).collect()
        };
        for _ in 0..rng.below(4) {
            let at = usize::try_from(rng.below(bytes.len().max(1) as u64)).expect("fits");
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u8::try_from(rng.below(256)).expect("a byte");
            }
        }
        let _ = wire::decode_message(&bytes);
        let _ = wire::decode_standing(&bytes);
        let _ = wire::decode::<State>(&bytes, 1 << 20);
    }
}

#[test]
fn a_kind_that_this_version_does_not_know_still_names_its_ring() {
    let mut bytes = wire::encode(&ring(4));
    bytes.push(0x7f);
    assert_eq!(wire::decode_message(&bytes), Some((ring(4), None)));
}

#[test]
fn a_state_comes_back_from_its_bytes() {
    let state = state();
    assert_eq!(wire::decode::<State>(&wire::encode(&state), 1 << 20), Some(state));
}

#[test]
fn chunks_come_together_in_turn_and_not_otherwise() {
    let bytes: Vec<u8> = (0..100_000_u32).map(|i| u8::try_from(i % 251).expect("a byte")).collect();
    let chunks = split(1, &bytes);
    assert_eq!(chunks.len(), 4);
    let mut assembly = Assembly::default();
    let whole: Vec<_> = chunks.iter().filter_map(|c| assembly.take(id(0), c, 1 << 20)).collect();
    assert_eq!(whole, vec![bytes.clone()]);
    let mut assembly = Assembly::default();
    assert_eq!(assembly.take(id(0), &chunks[0], 1 << 20), None);
    assert_eq!(assembly.take(id(0), &chunks[2], 1 << 20), None, "out of turn");
    assert_eq!(assembly.take(id(0), &chunks[3], 1 << 20), None);
    let mut assembly = Assembly::default();
    let small: Vec<_> = chunks.iter().filter_map(|c| assembly.take(id(0), c, 50_000)).collect();
    assert!(small.is_empty(), "above the limit");
}

#[test]
fn silence_waits_as_the_table_says() {
    let timings = revision(3).timings;
    let now = Instant::from_millis(1000);
    let at = |verdict| {
        let mut silence = Silence::default();
        silence.lost(now, id(1));
        silence.probed(id(1), verdict);
        silence.fence_at(id(1), None, &timings)
    };
    assert_eq!(at(Verdict::Silent), Some(now));
    assert_eq!(at(Verdict::PortClosed), Some(now + Duration::from_secs(5)));
    assert_eq!(at(Verdict::PortOpen), Some(now + Duration::from_secs(1)));
    let mut silence = Silence::default();
    silence.lost(now, id(1));
    let detached = Some(Duration::from_secs(30));
    assert_eq!(silence.fence_at(id(1), detached, &timings), Some(now + Duration::from_secs(30)));
    assert_eq!(silence.fence_at(id(2), None, &timings), None, "silence: nothing is known of it");
}

#[test]
fn two_voters_and_larger_changes_are_refused_with_the_reason() {
    let mut state = state();
    let mut out = Vec::new();
    let mut two = revision(2);
    two.objects[0].generation = 2;
    state.accept(&two, &mut out);
    assert!(state.held.as_deref().is_some_and(|h| h.contains("two members")), "{:?}", state.held);
    let mut five = revision(5);
    five.objects[0].generation = 2;
    state.accept(&five, &mut out);
    assert!(state.held.as_deref().is_some_and(|h| h.contains("one at a time")));
    assert_eq!(state.accepted, 0);
}

#[test]
fn one_voter_more_counts_when_majorities_of_both_sets_hold_it() {
    let mut state = state();
    let mut out = Vec::new();
    let mut four = revision(4);
    four.objects[0].generation = 2;
    state.accept(&four, &mut out);
    assert!(out.contains(&Effect::HoldVoters { accepted: 1 }));
    state.voters_held(id(0), 1, &mut out);
    state.voters_held(id(0), 1, &mut out);
    state.voters_held(id(1), 1, &mut out);
    assert_eq!(state.voters.len(), 3, "two of four are no majority of the new set");
    state.voters_held(id(2), 1, &mut out);
    assert_eq!(state.voters.len(), 4);
    let new = &state.voters[&id(3)];
    assert!(
        matches!(new.debt, Debt::Owed { incarnation: None, .. }),
        "absent and unknown: it owes"
    );
}

#[test]
fn an_older_generation_is_held_and_what_lost_its_object_stays() {
    let mut state = state();
    let mut out = Vec::new();
    let mut older = revision(3);
    older.objects[0].generation = 0;
    state.accept(&older, &mut out);
    assert!(state.held.as_deref().is_some_and(|h| h.starts_with("SpecRegressed")));
    let accepted = state.revision.clone().expect("there is one");
    assert!(state.wants(&accepted), "what is held ends with the next proposal that is sound");
    state.accept(&accepted, &mut out);
    assert!(state.held.is_none() && !state.wants(&accepted));
    let mut gone = revision(3);
    gone.objects.clear();
    gone.placements.clear();
    state.accept(&gone, &mut out);
    let kept = state.revision.as_ref().map(|r| r.placements.clone()).unwrap_or_default();
    assert!(kept.len() == 1 && kept[0].retained, "a pruned folder takes nothing down");
    assert_eq!(state.request(id(0), &crate::RequestKind::Remove(web()), &mut out), Ok(()));
    assert!(state.revision.as_ref().is_some_and(|r| r.placements.is_empty()));
}

#[test]
fn deletion_policy_stop_takes_it_out() {
    let mut state = state();
    let mut out = Vec::new();
    if let Some(r) = &mut state.revision {
        r.placements[0].deletion = rev::DeletionPolicy::Stop;
    }
    let mut gone = revision(3);
    gone.objects.clear();
    gone.placements.clear();
    state.accept(&gone, &mut out);
    assert!(state.revision.as_ref().is_some_and(|r| r.placements.is_empty()));
}

#[test]
fn a_member_alone_with_nothing_says_nothing() {
    let mut world = World::new(3);
    let sent = world.nodes[0].writes.len();
    world.give(0, Input::Token { ring: ring(9) });
    world.give(0, Input::Persisted(crate::PersistId(77)));
    assert_eq!(world.nodes[0].writes.len(), sent);
    assert_eq!(world.member(0).poll_timeout(), None::<(Instant, Reason)>);
    assert_eq!(world.cfgs.len(), 0);
}

#[test]
fn starts_are_safe_and_stops_are_agreed() {
    let message = |operation| {
        Message::Decision(wire::Decision {
            input: 1,
            epoch: base::Epoch {
                ring: ring(4),
                coordinator: base::Incarnation { counter: 1, random: 1 },
            },
            wall: 0,
            orders: vec![wire::Directive {
                node: id(0),
                order: lifecycle::Order {
                    id: lifecycle::OrderId(1),
                    epoch: base::Epoch {
                        ring: ring(4),
                        coordinator: base::Incarnation { counter: 1, random: 1 },
                    },
                    resource: web(),
                    kind: super::specimen::process(),
                    exclusive: true,
                    operation,
                    interval: None,
                    timeout: Duration::from_secs(1),
                    deadline: Duration::from_secs(1),
                },
            }],
            forgotten: Vec::new(),
        })
    };
    let of = |operation| message(operation).guarantee();
    assert_eq!(of(lifecycle::Operation::Start), Guarantee::Safe);
    assert_eq!(of(lifecycle::Operation::Promote), Guarantee::Safe);
    assert_eq!(of(lifecycle::Operation::Stop), Guarantee::Agreed);
    assert_eq!(of(lifecycle::Operation::Demote), Guarantee::Agreed);
}

pub(super) fn era() -> State {
    let mut state = state();
    for i in 0..3_u8 {
        let node = id(i.into());
        state.members.insert(
            node,
            crate::state::Present {
                incarnation: base::Incarnation { counter: 1, random: u128::from(i) + 1 },
                boot: base::BootId(i.into()),
                uuid: None,
                reported: true,
                left: false,
                leaving: false,
                detached: None,
            },
        );
        if let Some(voter) = state.voters.get_mut(&node) {
            voter.debt = Debt::Present;
        }
    }
    state
}

fn failure(number: u64) -> wire::Change {
    wire::Change {
        number,
        operation: lifecycle::Operation::Monitor,
        outcome: lifecycle::Outcome::NotRunning,
        instance: lifecycle::InstanceReport {
            resource: web(),
            kind: super::specimen::process(),
            role: Some(base::Role::Stopped),
            stop_failed: false,
            failed: Some(lifecycle::Outcome::NotRunning),
            run: 0,
        },
        wall: 100,
    }
}

#[test]
fn each_failure_counts_once_whoever_says_it_again() {
    let mut state = era();
    let mut out = Vec::new();
    let count = |s: &State| s.failures.get(&(web(), id(1))).map_or(0, |f| f.count);
    state.apply(id(1), &Message::Changes(vec![failure(1)]), &mut out);
    state.apply(id(1), &Message::Changes(vec![failure(1), failure(2)]), &mut out);
    assert_eq!(count(&state), 2);
    state.coordinator = id(2);
    state.apply(id(1), &Message::Changes(vec![failure(2)]), &mut out);
    assert_eq!(count(&state), 2, "SAFETY.md#S32: not again under another coordinator");
    if let Some(member) = state.members.get_mut(&id(1)) {
        member.incarnation.random = 99;
    }
    state.apply(id(1), &Message::Changes(vec![failure(1)]), &mut out);
    assert_eq!(count(&state), 3, "a new life counts from one again");
}

#[test]
fn evidence_said_again_does_not_reset_what_holds_it() {
    let mut state = era();
    let mut out = Vec::new();
    state.members.remove(&id(2));
    let incident = fencing::Incident { node: id(2), ring: ring(4) };
    let owed = Debt::Owed { incident: ring(4), incarnation: None, boot: None };
    if let Some(voter) = state.voters.get_mut(&id(2)) {
        voter.debt = owed;
    }
    let off = |incident| {
        let kind = crate::evidence::Kind::VerifiedOff { incident, commanded: true };
        Message::Evidence(crate::evidence::Evidence { node: id(2), kind })
    };
    let other = fencing::Incident { node: id(2), ring: ring(3) };
    state.apply(id(0), &off(other), &mut out);
    assert!(state.evidence.is_empty(), "another incident: ignored");
    state.apply(id(0), &off(incident), &mut out);
    state.apply(id(0), &Message::EvidenceHeld { incident }, &mut out);
    state.apply(id(1), &off(incident), &mut out);
    assert_eq!(state.voters[&id(2)].debt, owed);
    state.apply(id(1), &Message::EvidenceHeld { incident }, &mut out);
    assert_eq!(state.voters[&id(2)].debt, Debt::Paid);
}

#[test]
fn a_decision_of_another_or_from_an_old_input_is_not_carried_out() {
    let mut state = era();
    let mut out = Vec::new();
    let decision = |input, by: u128| {
        let coordinator = base::Incarnation { counter: 1, random: by };
        let epoch = base::Epoch { ring: ring(4), coordinator };
        let order = lifecycle::Order {
            id: lifecycle::OrderId(input),
            epoch,
            resource: web(),
            kind: super::specimen::process(),
            exclusive: true,
            operation: lifecycle::Operation::Start,
            interval: None,
            timeout: Duration::from_secs(1),
            deadline: Duration::from_secs(1),
        };
        let orders = vec![wire::Directive { node: id(1), order }];
        wire::Decision { input, epoch, wall: 5, orders, forgotten: Vec::new() }
    };
    state.apply(id(1), &Message::Decision(decision(1, 2)), &mut out);
    assert!(out.is_empty(), "not the coordinator (S9)");
    state.apply(id(0), &Message::Decision(decision(7, 1)), &mut out);
    assert!(matches!(out.as_slice(), [Effect::Carry(_)]), "{out:?}");
    out.clear();
    state.pending.clear();
    state.apply(id(0), &Message::Decision(decision(7, 1)), &mut out);
    assert!(out.is_empty(), "twice from one input (S14)");
}

#[test]
fn a_device_is_enrolled_by_what_its_machine_said_that_it_is() {
    let mut state = era();
    let mut revision = revision(3);
    let identity = |state: &State, revision: &rev::Revision, i: usize| {
        crate::hardware::levels(state, revision, id(i))[0][0].identity
    };
    assert_eq!(identity(&state, &revision, 0), None, "never said: not enrolled, so never used");
    let said = base::SystemUuid(7);
    state.voters.get_mut(&id(0)).expect("a voter").uuid = Some(said);
    assert_eq!(identity(&state, &revision, 0), Some(said));
    assert_eq!(identity(&state, &revision, 1), None, "nobody's word counts for another");
    let pinned = base::SystemUuid(8);
    revision.voters[0].system_uuid = Some(pinned);
    assert_eq!(identity(&state, &revision, 0), Some(pinned), "the cluster object comes first");
}

fn owing() -> State {
    let mut state = era();
    state.members.remove(&id(2));
    if let Some(voter) = state.voters.get_mut(&id(2)) {
        voter.debt = Debt::Owed { incident: ring(4), incarnation: None, boot: None };
    }
    state
}

fn intent(attempt: u32) -> Message {
    Message::Intent(wire::Intent {
        incident: fencing::Incident { node: id(2), ring: ring(4) },
        executor: id(0),
        attempt,
        deadline: Duration::from_secs(1),
        read_only: false,
        wall: 5,
    })
}

#[test]
fn the_largest_budget_is_counted() {
    let mut state = owing();
    let mut out = Vec::new();
    for attempt in 0..300 {
        state.intents.clear();
        state.apply(id(0), &intent(attempt), &mut out);
    }
    assert_eq!(state.spent[&id(2)].len(), 255);
}

#[test]
fn numbers_at_their_end_end_nobody() {
    let mut state = owing();
    let mut out = Vec::new();
    state.apply(id(0), &intent(u32::MAX), &mut out);
    let attempts = state.operations.values().map(|record| record.attempts).max();
    assert_eq!(attempts, Some(u32::MAX), "it was taken up: {out:?}");
}

#[test]
fn a_state_of_an_earlier_version_waits_for_the_deadline() {
    let mut state = owing();
    let mut out = Vec::new();
    state.apply(id(0), &intent(0), &mut out);
    let (target, commander) = (id(2), (id(0), state.members[&id(0)].incarnation));
    assert!(!state.commanded.all_over(target), "one was ordered");

    let mut bytes = wire::encode(&state);
    let added = |bytes: Result<Vec<u8>, _>| bytes.map(|bytes| bytes.len()).expect("bytes");
    let added = added(postcard::to_allocvec(&state.commanded))
        + added(postcard::to_allocvec(&state.reasons));
    bytes.truncate(bytes.len() - added);
    let mut earlier: State =
        wire::decode(&bytes, usize::MAX).expect("an earlier version ends here");
    assert_eq!(earlier.evicted, state.evicted);
    assert!(!earlier.commanded.all_over(target), "who was ordered is not known");
    // one that is ordered from now on does not speak for those before
    earlier.apply(id(0), &intent(1), &mut out);
    earlier.commanded.over(target, commander);
    assert!(!earlier.commanded.all_over(target));

    state.commanded.over(target, commander);
    assert!(state.commanded.all_over(target));
    assert_eq!(wire::decode::<State>(&wire::encode(&state), usize::MAX), Some(state));
}

#[test]
fn evidence_of_the_only_command_says_that_it_is_over_and_no_other_evidence_does() {
    let target = id(2);
    let incident = fencing::Incident { node: target, ring: ring(4) };
    let after = |orders: u32, kind: crate::evidence::Kind| {
        let mut state = owing();
        let mut out = Vec::new();
        for attempt in 0..orders {
            state.intents.clear();
            state.apply(id(0), &intent(attempt), &mut out);
        }
        let evidence = crate::evidence::Evidence { node: target, kind };
        state.apply(id(0), &Message::Evidence(evidence), &mut out);
        state.apply(id(0), &Message::EvidenceHeld { incident }, &mut out);
        assert!(!state.commanded.all_over(target), "not durable yet");
        state.apply(id(1), &Message::EvidenceHeld { incident }, &mut out);
        assert_eq!(state.voters[&target].debt, Debt::Paid);
        state.commanded.all_over(target)
    };
    let off = |commanded| crate::evidence::Kind::VerifiedOff { incident, commanded };
    assert!(after(1, off(true)));
    assert!(
        !after(1, off(false)),
        "who read it had not commanded it: somebody else's is on its way"
    );
    assert!(!after(2, off(true)), "another one was ordered, of the same member or not");
    let who = alloc::string::String::from("a person");
    assert!(!after(1, crate::evidence::Kind::Confirmation { incident, who }));
}
