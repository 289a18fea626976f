//! The executor's rules, one test each; its law over random inputs is in `tests/law.rs`.

use alloc::{string::ToString, vec, vec::Vec};
use core::time::Duration;

use base::{Epoch, Incarnation, Instant, NodeId, ResourceId, ResourceKind, RingId, Role};

use crate::*;

mod given_up;
mod law;
mod limits;
mod reload;
mod scores;
mod suspend;

const MS: Duration = Duration::from_millis(1);

fn settings() -> Settings {
    Settings {
        token: MS * 1000,
        agent_restart_grace: MS * 5000,
        t_mem: MS * 1500,
        t_stop: MS * 4000,
        no_quorum: NoQuorumPolicy::Stop,
    }
}

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn epoch(seq: u64) -> Epoch {
    let rep = NodeId::new(1).expect("not zero");
    Epoch { ring: RingId { seq, rep }, coordinator: Incarnation { counter: 1, random: 7 } }
}

fn id(name: &str) -> ResourceId {
    name.parse().expect("valid")
}

fn address() -> ResourceKind {
    ResourceKind::Address {
        address: "192.0.2.10".parse().expect("valid"),
        prefix: 24,
        network: "public".parse().expect("valid"),
    }
}

fn order(number: u64, operation: Operation, seq: u64) -> Order {
    Order {
        id: OrderId(number),
        epoch: epoch(seq),
        resource: id("vip"),
        kind: address(),
        exclusive: true,
        operation,
        interval: None,
        timeout: MS * 2000,
        deadline: MS * 1000,
    }
}

fn drain(executor: &mut Executor) -> Vec<Output> {
    core::iter::from_fn(|| executor.poll_output()).collect()
}

/// Tokens of a quorate ring, and the epoch of `seq` installed.
fn acting(ms: u64, seq: u64) -> Executor {
    let mut executor = Executor::new(at(ms), settings(), Vec::new());
    executor.handle_configuration(at(ms), Quorum::Quorate);
    executor.handle_epoch(at(ms), epoch(seq), Quorum::Quorate);
    token(&mut executor, ms);
    drain(&mut executor);
    executor
}

fn token(executor: &mut Executor, ms: u64) {
    executor.handle_token(at(ms), Token { seen_at: at(ms), era_open: true });
}

fn call(outputs: &[Output]) -> Call {
    let calls: Vec<&Call> = outputs
        .iter()
        .filter_map(|o| if let Output::Call(c) = o { Some(c) } else { None })
        .collect();
    assert_eq!(calls.len(), 1, "one call in {outputs:?}");
    calls[0].clone()
}

fn ok(run: u64) -> Answer {
    Answer::new(Outcome::Ok, run)
}

/// The address runs, started by order 1 of `seq`.
fn running(ms: u64, seq: u64) -> Executor {
    let mut executor = acting(ms, seq);
    executor.handle_order(at(ms), order(1, Operation::Start, seq));
    let start = call(&drain(&mut executor));
    executor.handle_answer(at(ms), start.id, ok(42));
    drain(&mut executor);
    executor
}

#[test]
fn the_table_of_moves_is_what_reviewers_saw() {
    insta::assert_snapshot!("phase_matrix", PhaseEvent::matrix());
    insta::assert_snapshot!("phase_dot", PhaseEvent::dot());
}

#[test]
fn a_start_of_the_installed_epoch_is_carried_out_and_reported() {
    let mut executor = acting(0, 12);
    executor.handle_order(at(1), order(1, Operation::Start, 12));
    let start = call(&drain(&mut executor));
    assert_eq!(start.operation, Operation::Start);
    assert_eq!(start.lifetime, Duration::from_secs(9), "5 + 1.5 + 2 s in whole seconds");
    executor.handle_answer(at(30), start.id, ok(42));
    assert_eq!(
        drain(&mut executor),
        [Output::OrderEnd { epoch: epoch(12), id: OrderId(1), end: OrderEnd::Done(Outcome::Ok) }]
    );
    let report = executor.report();
    assert_eq!(report.instances[0].role, Some(Role::Started));
    assert_eq!(report.instances[0].run, 42);
}

//= SAFETY.md#S9
//= type=test
#[test]
fn a_stale_order_is_refused_and_nothing_starts() {
    for seq in [11, 13] {
        let mut executor = acting(0, 12);
        let before = executor.poll_timeout();
        executor.handle_order(at(1), order(1, Operation::Start, seq));
        let end = OrderEnd::Refused(Refusal::StaleEpoch);
        assert_eq!(
            drain(&mut executor),
            [Output::OrderEnd { epoch: epoch(seq), id: OrderId(1), end }]
        );
        assert_eq!(executor.poll_timeout(), before, "silence: no timer was armed either");
    }
}

#[test]
fn an_epoch_taken_while_an_order_waited_voids_it() {
    let mut executor = acting(0, 12);
    // no token for 600 ms: the order waits
    executor.handle_order(at(600), order(1, Operation::Start, 12));
    assert_eq!(drain(&mut executor), []);
    executor.handle_epoch(at(700), epoch(16), Quorum::Quorate);
    token(&mut executor, 700);
    let outputs = drain(&mut executor);
    assert!(matches!(outputs[..], [Output::Report { .. }]), "{outputs:?}");
}

//= SAFETY.md#S7
//= type=test
#[test]
fn what_waited_longer_than_its_deadline_never_begins() {
    let mut executor = acting(0, 12);
    executor.handle_order(at(600), order(1, Operation::Start, 12));
    assert_eq!(executor.poll_timeout(), Some((at(1600), Wake::OrderLate)));
    token(&mut executor, 1600);
    let end = OrderEnd::Refused(Refusal::Late);
    assert_eq!(drain(&mut executor), [Output::OrderEnd { epoch: epoch(12), id: OrderId(1), end }]);
}

#[test]
fn an_old_token_that_arrives_late_is_no_fresh_token() {
    let mut executor = acting(0, 12);
    executor.handle_order(at(900), order(1, Operation::Start, 12));
    executor.handle_token(at(1000), Token { seen_at: at(400), era_open: true });
    assert_eq!(drain(&mut executor), []);
    token(&mut executor, 1100);
    assert!(drain(&mut executor).iter().any(|o| matches!(o, Output::Call(_))));
}

#[test]
fn between_two_eras_nothing_is_accepted() {
    let mut executor = acting(0, 12);
    executor.handle_configuration(at(10), Quorum::Quorate);
    executor.handle_order(at(11), order(1, Operation::Stop, 12));
    let end = OrderEnd::Refused(Refusal::StaleEpoch);
    assert_eq!(drain(&mut executor), [Output::OrderEnd { epoch: epoch(12), id: OrderId(1), end }]);
}

#[test]
fn without_quorum_only_stop_and_demote_are_accepted() {
    let mut executor = running(0, 12);
    executor.handle_configuration(at(10), Quorum::Inquorate);
    executor.handle_epoch(at(10), epoch(16), Quorum::Inquorate);
    drain(&mut executor);
    for operation in [Operation::Start, Operation::Promote, Operation::Probe] {
        executor.handle_order(at(11), order(2, operation, 16));
        let end = OrderEnd::Refused(Refusal::Inquorate);
        let expected = Output::OrderEnd { epoch: epoch(16), id: OrderId(2), end };
        assert_eq!(drain(&mut executor), [expected]);
    }
    executor.handle_order(at(12), order(3, Operation::Stop, 16));
    assert_eq!(call(&drain(&mut executor)).operation, Operation::Stop);
}

#[test]
fn two_operations_on_one_instance_follow_each_other() {
    let mut executor = acting(0, 12);
    executor.handle_order(at(1), order(1, Operation::Start, 12));
    executor.handle_order(at(1), order(2, Operation::Stop, 12));
    let start = call(&drain(&mut executor));
    executor.handle_answer(at(30), start.id, ok(42));
    assert_eq!(call(&drain(&mut executor)).operation, Operation::Stop);
}

#[test]
fn an_instance_has_a_bounded_queue() {
    let mut executor = acting(0, 12);
    for number in 0..=ORDERS_WAITING_MAX as u64 {
        executor.handle_order(at(1), order(number, Operation::Start, 12));
    }
    drain(&mut executor);
    executor.handle_order(at(1), order(99, Operation::Start, 12));
    let end = OrderEnd::Refused(Refusal::Busy);
    assert_eq!(drain(&mut executor), [Output::OrderEnd { epoch: epoch(12), id: OrderId(99), end }]);
}

#[test]
fn a_start_that_hangs_is_cancelled_and_leaves_the_role_unknown() {
    let mut executor = acting(0, 12);
    executor.handle_order(at(1), order(1, Operation::Start, 12));
    let start = call(&drain(&mut executor));
    executor.handle_timeout(at(2001));
    let end = OrderEnd::Done(Outcome::TimedOut);
    assert_eq!(
        drain(&mut executor),
        [Output::Cancel(start.id), Output::OrderEnd { epoch: epoch(12), id: OrderId(1), end }]
    );
    assert_eq!(executor.report().instances[0].role, None);
    executor.handle_answer(at(2002), start.id, ok(42));
    assert_eq!(drain(&mut executor), [], "the late answer means nothing");
}

#[test]
fn a_failed_stop_is_said_again_in_each_era() {
    let mut executor = running(0, 12);
    executor.handle_order(at(1), order(2, Operation::Stop, 12));
    let stop = call(&drain(&mut executor));
    executor.handle_answer(at(5), stop.id, Answer::new(Outcome::TimedOut, 0));
    drain(&mut executor);
    for seq in [16, 20] {
        executor.handle_epoch(at(10), epoch(seq), Quorum::Quorate);
        let outputs = drain(&mut executor);
        let [Output::Report { report, .. }] = &outputs[..] else { panic!("{outputs:?}") };
        assert!(report.instances[0].stop_failed);
        assert_eq!(report.instances[0].role, None);
    }
    // and nothing but a stop helps
    token(&mut executor, 20);
    executor.handle_order(at(20), order(3, Operation::Start, 20));
    let outputs = drain(&mut executor);
    assert!(
        matches!(
            &outputs[..],
            [Output::OrderEnd { end: OrderEnd::Done(Outcome::Failed { .. }), .. }]
        ),
        "{outputs:?}"
    );
}

#[test]
fn a_recurring_monitor_speaks_once_and_then_only_on_change() {
    let mut executor = running(0, 12);
    let watch = Order { interval: Some(MS * 100), ..order(2, Operation::Monitor, 12) };
    executor.handle_order(at(1), watch);
    let mut outputs = drain(&mut executor);
    let mut ms = 1;
    for (outcome, expected) in [
        (Outcome::Ok, 1),
        (Outcome::Ok, 0),
        (Outcome::NotRunning, 1),
        (Outcome::NotRunning, 0),
        (Outcome::Ok, 1),
    ] {
        let monitor = call(&outputs);
        assert_eq!(monitor.operation, Operation::Monitor);
        executor.handle_answer(at(ms), monitor.id, Answer::new(outcome.clone(), 0));
        let said = drain(&mut executor);
        assert_eq!(said.len(), expected, "{outcome:?}: {said:?}");
        ms += 100;
        executor.handle_timeout(at(ms));
        outputs = drain(&mut executor);
    }
}

/// Nobody waits for the end of a recurring monitor's order: without a word of its own the failure would never be known.
#[test]
fn a_first_monitor_that_finds_nothing_is_said() {
    let mut executor = running(0, 12);
    let watch = Order { interval: Some(MS * 100), ..order(2, Operation::Monitor, 12) };
    executor.handle_order(at(1), watch);
    let monitor = call(&drain(&mut executor));
    let gone = Answer::new(Outcome::NotRunning, 0);
    executor.handle_answer(at(2), monitor.id, gone);
    assert!(
        matches!(
            &drain(&mut executor)[..],
            [
                Output::OrderEnd { end: OrderEnd::Done(Outcome::NotRunning), .. },
                Output::Changed { operation: Operation::Monitor, outcome: Outcome::NotRunning, .. },
            ]
        ),
        "both are said"
    );
}

#[test]
fn a_stop_cancels_the_monitors() {
    let mut executor = running(0, 12);
    let watch = Order { interval: Some(MS * 100), ..order(2, Operation::Monitor, 12) };
    executor.handle_order(at(1), watch);
    let monitor = call(&drain(&mut executor));
    executor.handle_order(at(2), order(3, Operation::Stop, 12));
    let outputs = drain(&mut executor);
    assert_eq!(outputs[0], Output::Cancel(monitor.id));
    let stop = call(&outputs);
    executor.handle_answer(at(3), stop.id, ok(0));
    drain(&mut executor);
    executor.handle_timeout(at(400));
    assert_eq!(drain(&mut executor), [], "no monitor runs");
}

//= SAFETY.md#S11
//= type=test
#[test]
fn a_member_without_quorum_stops_exclusive_resources_by_itself() {
    let mut executor = running(0, 12);
    executor.handle_configuration(at(10), Quorum::Inquorate);
    assert_eq!(drain(&mut executor), []);
    assert_eq!(executor.poll_timeout(), Some((at(4010), Wake::OwnStops)));
    executor.handle_timeout(at(4010));
    let stop = call(&drain(&mut executor));
    assert_eq!(stop.operation, Operation::Stop);
    executor.handle_answer(at(4020), stop.id, ok(0));
    assert!(executor.answers_watchdog());
    assert_eq!(executor.poll_timeout(), None, "clean: nothing left to wait for");
}

//= SAFETY.md#S11
//= type=test
#[test]
fn an_own_stop_that_fails_or_hangs_fences_the_machine() {
    for fails in [true, false] {
        let mut executor = running(0, 12);
        executor.handle_configuration(at(10), Quorum::Inquorate);
        executor.handle_timeout(at(4010));
        let stop = call(&drain(&mut executor));
        let failed = Outcome::Failed { code: 1, reason: "busy".to_string() };
        if fails {
            executor.handle_answer(at(4020), stop.id, Answer::new(failed, 42));
        } else {
            executor.handle_timeout(at(8010));
        }
        let outputs = drain(&mut executor);
        assert!(matches!(outputs.last(), Some(Output::SelfFence(_))), "{outputs:?}");
        assert!(!executor.answers_watchdog());
        assert_eq!(executor.poll_timeout(), None);
        token(&mut executor, 8020);
        executor.handle_order(at(8020), order(9, Operation::Start, 12));
        assert_eq!(drain(&mut executor), [], "nothing after that");
    }
}

#[test]
fn without_tokens_for_the_grace_a_member_takes_itself_for_inquorate() {
    let mut executor = running(0, 12);
    assert_eq!(executor.poll_timeout(), Some((at(5000), Wake::TokenStale)));
    executor.handle_timeout(at(5000));
    assert!(!executor.is_quorate());
    assert_eq!(executor.poll_timeout(), Some((at(9000), Wake::OwnStops)));
}

#[test]
fn an_announced_absence_is_waited_for() {
    let mut executor = running(0, 12);
    executor.handle_detach(at(100), MS * 30_000);
    let outputs = drain(&mut executor);
    assert!(
        matches!(&outputs[..], [Output::RenewAddress { lifetime: Some(l), .. }]
            if *l == Duration::from_secs(39)),
        "{outputs:?}"
    );
    assert_eq!(executor.poll_timeout(), Some((at(30_100), Wake::TokenStale)));
    executor.handle_ring_closed(at(200));
    executor.handle_configuration(at(20_000), Quorum::Quorate);
    executor.handle_epoch(at(20_000), epoch(16), Quorum::Quorate);
    let outputs = drain(&mut executor);
    let [Output::Report { report, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(report.instances[0].run, 42, "the same run");
}

#[test]
fn under_freeze_nothing_is_stopped_and_nothing_is_renewed() {
    let mut executor = running(0, 12);
    executor.handle_settings(at(5), Settings { no_quorum: NoQuorumPolicy::Freeze, ..settings() });
    executor.handle_configuration(at(10), Quorum::Inquorate);
    executor.handle_epoch(at(10), epoch(16), Quorum::Inquorate);
    drain(&mut executor);
    for ms in [20, 4100, 60_000] {
        executor.handle_token(at(ms), Token { seen_at: at(ms), era_open: false });
        assert_eq!(drain(&mut executor), []);
    }
}

#[test]
fn addresses_are_renewed_on_tokens_of_an_open_quorate_era_only() {
    let mut executor = running(0, 12);
    token(&mut executor, 1100);
    let outputs = drain(&mut executor);
    assert!(matches!(&outputs[..], [Output::RenewAddress { .. }]), "{outputs:?}");
    token(&mut executor, 1200);
    assert_eq!(drain(&mut executor), [], "once a second is enough");
    executor.handle_token(at(2300), Token { seen_at: at(2300), era_open: false });
    executor.handle_token(at(2400), Token { seen_at: at(1300), era_open: true });
    assert_eq!(drain(&mut executor), [], "no era, or no fresh token");
    executor.handle_configuration(at(2500), Quorum::Quorate);
    token(&mut executor, 2500);
    assert_eq!(drain(&mut executor), [], "the new era is not open yet");
}

//= SAFETY.md#S31
//= type=test
#[test]
fn leftovers_are_removed_and_what_is_ours_is_adopted_before_the_first_report() {
    let found = vec![
        Found { resource: id("ours"), kind: address(), exclusive: true, recorded: true },
        Found { resource: id("stray"), kind: address(), exclusive: true, recorded: false },
    ];
    let mut executor = Executor::new(at(0), settings(), found);
    let calls: Vec<Call> = drain(&mut executor)
        .into_iter()
        .filter_map(|o| if let Output::Call(c) = o { Some(c) } else { None })
        .collect();
    let asked: Vec<_> = calls.iter().map(|c| (c.resource.as_str(), c.operation)).collect();
    assert_eq!(asked, [("ours", Operation::Probe), ("stray", Operation::Stop)]);
    executor.handle_epoch(at(1), epoch(12), Quorum::Quorate);
    token(&mut executor, 1);
    executor.handle_answer(at(2), calls[0].id, ok(42));
    executor.handle_order(at(2), order(1, Operation::Start, 12));
    let end = OrderEnd::Refused(Refusal::NotActing);
    assert_eq!(drain(&mut executor), [Output::OrderEnd { epoch: epoch(12), id: OrderId(1), end }]);
    executor.handle_answer(at(3), calls[1].id, ok(0));
    let outputs = drain(&mut executor);
    let [Output::Report { report, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    let roles: Vec<_> = report.instances.iter().map(|i| i.role).collect();
    assert_eq!(roles, [Some(Role::Started), Some(Role::Stopped)]);
}

//= SAFETY.md#S9
//= type=test
#[test]
fn a_start_that_has_not_taken_effect_is_not_permitted_in_another_epoch_or_without_tokens() {
    let mut executor = acting(0, 12);
    executor.handle_order(at(1), order(1, Operation::Start, 12));
    let start = call(&drain(&mut executor));
    assert_eq!(start.order, Some((epoch(12), OrderId(1))));
    assert!(executor.permits(at(500), start.id));
    assert!(!executor.permits(at(501), start.id), "no fresh token");
    token(&mut executor, 600);
    assert!(executor.permits(at(600), start.id));
    executor.handle_configuration(at(601), Quorum::Quorate);
    assert!(!executor.permits(at(601), start.id), "no epoch");
}

#[test]
fn a_clean_leave_is_said_when_everything_is_stopped_and_not_before() {
    let mut executor = running(0, 12);
    executor.handle_leave(at(1));
    let stop = call(&drain(&mut executor));
    executor.handle_order(at(2), order(2, Operation::Start, 12));
    let end = OrderEnd::Refused(Refusal::NotActing);
    assert_eq!(drain(&mut executor), [Output::OrderEnd { epoch: epoch(12), id: OrderId(2), end }]);
    executor.handle_answer(at(3), stop.id, ok(0));
    assert_eq!(drain(&mut executor).last(), Some(&Output::Released));
    let mut fails = running(0, 12);
    fails.handle_leave(at(1));
    let stop = call(&drain(&mut fails));
    fails.handle_answer(at(2), stop.id, Answer::new(Outcome::TimedOut, 42));
    assert!(!drain(&mut fails).contains(&Output::Released));
}

#[test]
fn an_operation_in_flight_over_a_change_of_epoch_is_told_as_a_change() {
    let mut executor = acting(0, 12);
    executor.handle_order(at(1), order(1, Operation::Start, 12));
    let start = call(&drain(&mut executor));
    executor.handle_epoch(at(10), epoch(16), Quorum::Quorate);
    let outputs = drain(&mut executor);
    let [Output::Report { report, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(report.instances[0].role, None, "it may run");
    executor.handle_answer(at(20), start.id, ok(42));
    let outputs = drain(&mut executor);
    assert!(
        matches!(&outputs[..], [Output::Changed { operation: Operation::Start, .. }]),
        "{outputs:?}"
    );
}

/// Frozen for longer than its grace in an era that goes on without it (CLUSTER.md section 8).
#[test]
fn tokens_that_come_again_end_nothing_until_the_epoch_is_given_again() {
    let mut executor = running(0, 12);
    executor.handle_timeout(at(60_000));
    let stop = call(&drain(&mut executor));
    assert_eq!(stop.operation, Operation::Stop);
    executor.handle_answer(at(60_001), stop.id, Answer::new(Outcome::Ok, 0));
    drain(&mut executor);
    token(&mut executor, 60_010);
    assert_eq!(drain(&mut executor), [Output::Regained]);
    token(&mut executor, 60_020);
    assert_eq!(drain(&mut executor), [], "once");
    executor.handle_order(at(60_021), order(2, Operation::Start, 12));
    let outputs = drain(&mut executor);
    let refused = OrderEnd::Refused(Refusal::Inquorate);
    assert!(matches!(&outputs[..], [Output::OrderEnd { end, .. }] if *end == refused));
    executor.handle_epoch(at(60_030), epoch(12), Quorum::Quorate);
    let outputs = drain(&mut executor);
    let [Output::Report { report, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(report.instances[0].role, Some(Role::Stopped));
    executor.handle_order(at(60_031), order(3, Operation::Start, 12));
    assert_eq!(call(&drain(&mut executor)).operation, Operation::Start);
}

/// The same epoch given again voids like another one: the era has forgotten the order.
#[test]
fn an_operation_in_flight_over_the_same_epoch_given_again_is_told_as_a_change() {
    let mut executor = acting(0, 12);
    executor.handle_order(at(1), order(1, Operation::Start, 12));
    let start = call(&drain(&mut executor));
    assert!(executor.permits(at(2), start.id));
    executor.handle_epoch(at(10), epoch(12), Quorum::Quorate);
    assert!(!executor.permits(at(11), start.id), "nobody waits for it any more");
    drain(&mut executor);
    executor.handle_answer(at(20), start.id, ok(42));
    let outputs = drain(&mut executor);
    assert!(
        matches!(&outputs[..], [Output::Changed { operation: Operation::Start, .. }]),
        "{outputs:?}"
    );
}
