//! The fencer's rules, one test each; the last one is a law over random inputs.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use base::{Epoch, FenceDevice, FenceDriver, Incarnation, Instant, NodeId, RingId, SystemUuid};
use proptest::prelude::*;

use crate::*;

const MS: Duration = Duration::from_millis(1);

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn node(id: u16) -> NodeId {
    NodeId::new(id).expect("not zero")
}

fn ring(seq: u64) -> RingId {
    RingId { seq, rep: node(1) }
}

fn epoch(seq: u64) -> Epoch {
    Epoch { ring: ring(seq), coordinator: Incarnation { counter: 1, random: 7 } }
}

fn device(name: &str, level: u8) -> FenceDevice {
    FenceDevice {
        name: name.parse().expect("valid"),
        driver: FenceDriver::Ipmi {
            address: "192.0.2.1".parse().expect("valid"),
            port: 623,
            cipher_suite: 17,
        },
        credentials: "bmc".into(),
        targets: vec![node(3)],
        level,
        delay: Duration::ZERO,
        identity: Some(SystemUuid(3)),
    }
}

fn command(goal: PowerGoal, seq: u64) -> FenceCommand {
    FenceCommand {
        incident: Incident { node: node(3), ring: ring(8) },
        epoch: epoch(seq),
        goal,
        devices: vec![device("bmc-3", 1)],
        deadline: MS * 10_000,
    }
}

fn ready() -> Fencer {
    let mut fencer = Fencer::new(Settings { token: MS * 1000 });
    fencer.handle_configuration(at(0), vec![node(1), node(2)]);
    fencer.handle_epoch(at(0), epoch(12));
    fencer.handle_token(at(0), at(0));
    fencer
}

fn drain(fencer: &mut Fencer) -> Vec<Output> {
    core::iter::from_fn(|| fencer.poll_output()).collect()
}

fn calls(outputs: &[Output]) -> Vec<(CallId, &str, DeviceAction)> {
    fn call(output: &Output) -> Option<&DeviceCall> {
        if let Output::Call(call) = output { Some(call) } else { None }
    }
    outputs.iter().filter_map(call).map(|c| (c.id, c.device.name.as_str(), c.action)).collect()
}

fn one(outputs: &[Output]) -> (CallId, DeviceAction) {
    let calls = calls(outputs);
    assert_eq!(calls.len(), 1, "one call in {outputs:?}");
    (calls[0].0, calls[0].2)
}

fn result(outputs: &[Output]) -> FenceResult {
    match outputs.last() {
        Some(Output::Result(result)) => result.clone(),
        other => panic!("no result but {other:?}"),
    }
}

#[test]
fn the_table_of_moves_is_what_reviewers_saw() {
    insta::assert_snapshot!("operation_matrix", OperationEvent::matrix());
    insta::assert_snapshot!("operation_dot", OperationEvent::dot());
}

/// A person confirms while the device does not answer, and turns the machine on again.
#[test]
fn nothing_is_sent_any_more_once_evidence_stands() {
    let mut fencer = ready();
    fencer.handle_command(at(1), command(PowerGoal::Off, 12));
    let (read, _) = one(&drain(&mut fencer));
    fencer.handle_answer(at(20), read, Ok(Answer::Power(PowerState::On)));
    let (off, _) = one(&drain(&mut fencer));
    assert!(fencer.permits(at(21), off));
    fencer.handle_evidence(at(22), Incident { node: node(3), ring: ring(4) });
    assert!(fencer.permits(at(22), off), "of another incident");
    fencer.handle_evidence(at(23), Incident { node: node(3), ring: ring(8) });
    assert!(!fencer.permits(at(23), off));
    let outputs = drain(&mut fencer);
    assert!(outputs.contains(&Output::Abort(off)), "{outputs:?}");
    assert!(matches!(result(&outputs).outcome, Err(DeviceError::NotSent(_))));
    // and on again is another command, which may follow at once
    fencer.handle_command(at(24), command(PowerGoal::On, 12));
    fencer.handle_evidence(at(25), Incident { node: node(3), ring: ring(8) });
    assert_eq!(calls(&drain(&mut fencer)).len(), 1);
}

//= SAFETY.md#S4
//= type=test
#[test]
fn off_is_said_only_after_a_read_that_follows_the_command() {
    let mut fencer = ready();
    fencer.handle_command(at(1), command(PowerGoal::Off, 12));
    let (read, action) = one(&drain(&mut fencer));
    assert_eq!(action, DeviceAction::Read);
    fencer.handle_answer(at(20), read, Ok(Answer::Power(PowerState::On)));
    let (off, action) = one(&drain(&mut fencer));
    assert_eq!(action, DeviceAction::SwitchOff);
    fencer.handle_answer(at(40), off, Ok(Answer::Accepted));
    let (read, action) = one(&drain(&mut fencer));
    assert_eq!(action, DeviceAction::Read);
    fencer.handle_answer(at(60), read, Ok(Answer::Power(PowerState::On)));
    assert_eq!(drain(&mut fencer), []);
    assert_eq!(fencer.poll_timeout(), Some((at(310), Wake::Read)));
    fencer.handle_token(at(300), at(300));
    fencer.handle_timeout(at(310));
    let (read, _) = one(&drain(&mut fencer));
    fencer.handle_answer(at(330), read, Ok(Answer::Power(PowerState::Off)));
    let result = result(&drain(&mut fencer));
    assert_eq!(result.outcome, Ok(PowerState::Off));
    assert!(result.commanded);
    assert_eq!((result.took, result.verify), (MS * 329, MS * 290));
    assert!(fencer.is_idle());
    assert_eq!(fencer.poll_timeout(), None);
}

#[test]
fn what_is_off_already_is_evidence_and_nothing_is_sent() {
    let mut fencer = ready();
    fencer.handle_command(at(1), command(PowerGoal::Off, 12));
    let (read, _) = one(&drain(&mut fencer));
    fencer.handle_answer(at(20), read, Ok(Answer::Power(PowerState::Off)));
    let outputs = drain(&mut fencer);
    assert_eq!(outputs.len(), 1, "silence but for the result");
    let result = result(&outputs);
    assert_eq!(result.outcome, Ok(PowerState::Off));
    assert!(!result.commanded);
}

#[test]
fn silence_after_the_command_is_no_success() {
    let mut fencer = ready();
    fencer.handle_command(at(1), command(PowerGoal::Off, 12));
    let (read, _) = one(&drain(&mut fencer));
    fencer.handle_answer(at(20), read, Ok(Answer::Power(PowerState::On)));
    let (off, _) = one(&drain(&mut fencer));
    fencer.handle_answer(at(400), off, Err(DeviceError::Unreachable));
    let (_, action) = one(&drain(&mut fencer));
    assert_eq!(action, DeviceAction::Read, "only a read tells");
}

//= SAFETY.md#S7
//= type=test
#[test]
fn at_the_deadline_the_session_is_aborted_and_late_answers_mean_nothing() {
    let mut fencer = ready();
    fencer.handle_command(at(1), command(PowerGoal::Off, 12));
    let (read, _) = one(&drain(&mut fencer));
    assert_eq!(fencer.poll_timeout(), Some((at(10_001), Wake::Deadline)));
    fencer.handle_timeout(at(10_001));
    let outputs = drain(&mut fencer);
    assert_eq!(outputs[0], Output::Abort(read));
    assert_eq!(result(&outputs).outcome, Err(DeviceError::Unreachable));
    fencer.handle_answer(at(10_002), read, Ok(Answer::Power(PowerState::On)));
    assert_eq!(drain(&mut fencer), []);
}

//= SAFETY.md#S7
//= type=test
#[test]
fn nothing_is_sent_under_another_epoch_or_at_a_member() {
    let mut fencer = ready();
    for (members, seq) in [(vec![node(1), node(2)], 11), (vec![node(1), node(2), node(3)], 12)] {
        fencer.handle_configuration(at(1), members);
        fencer.handle_epoch(at(1), epoch(12));
        fencer.handle_command(at(1), command(PowerGoal::Off, seq));
        let outputs = drain(&mut fencer);
        assert!(calls(&outputs).is_empty(), "{outputs:?}");
        assert!(matches!(result(&outputs).outcome, Err(DeviceError::NotSent(_))));
    }
}

#[test]
fn a_new_configuration_aborts_everything() {
    let mut fencer = ready();
    fencer.handle_command(at(1), command(PowerGoal::Off, 12));
    let (read, _) = one(&drain(&mut fencer));
    fencer.handle_answer(at(20), read, Ok(Answer::Power(PowerState::On)));
    let (off, _) = one(&drain(&mut fencer));
    assert!(fencer.permits(at(21), off));
    fencer.handle_configuration(at(22), vec![node(1), node(2)]);
    assert!(!fencer.permits(at(22), off), "the driver asks before it transmits");
    let outputs = drain(&mut fencer);
    assert_eq!(outputs[0], Output::Abort(off));
    assert!(matches!(result(&outputs).outcome, Err(DeviceError::NotSent(_))));
    assert!(result(&outputs).commanded, "it may have been carried out");
}

#[test]
fn without_a_fresh_token_nothing_is_sent() {
    let mut fencer = ready();
    fencer.handle_command(at(501), command(PowerGoal::Off, 12));
    assert_eq!(drain(&mut fencer), []);
    assert_eq!(fencer.poll_timeout(), Some((at(10_501), Wake::Deadline)), "no busy loop");
    fencer.handle_token(at(600), at(50));
    assert_eq!(drain(&mut fencer), [], "an old one that arrives late does not help");
    fencer.handle_token(at(650), at(640));
    assert_eq!(one(&drain(&mut fencer)).1, DeviceAction::Read);
}

#[test]
fn several_devices_are_all_switched_off_before_any_is_read_back() {
    let mut fencer = ready();
    let mut command = command(PowerGoal::Off, 12);
    command.devices =
        vec![device("pdu-a", 1), FenceDevice { delay: MS * 50, ..device("pdu-b", 1) }];
    fencer.handle_command(at(1), command);
    let mut log = Vec::new();
    let mut off = Vec::new();
    let mut ms = 1;
    for _ in 0..6 {
        let outputs = drain(&mut fencer);
        let Some((id, name, action)) = calls(&outputs).first().copied() else {
            let (wake, why) = fencer.poll_timeout().expect("a delay");
            assert_eq!((wake, why), (at(ms + 50), Wake::Delay));
            ms += 50;
            fencer.handle_timeout(wake);
            continue;
        };
        log.push((alloc::string::String::from(name), action));
        let answer = match action {
            DeviceAction::Read if off.len() == 2 => Answer::Power(PowerState::Off),
            DeviceAction::Read => Answer::Power(PowerState::On),
            _ => {
                off.push(id);
                Answer::Accepted
            }
        };
        ms += 10;
        fencer.handle_answer(at(ms), id, Ok(answer));
    }
    let (id, _) = one(&drain(&mut fencer));
    fencer.handle_answer(at(ms + 10), id, Ok(Answer::Power(PowerState::Off)));
    assert_eq!(result(&drain(&mut fencer)).outcome, Ok(PowerState::Off));
    let text: Vec<_> = log.iter().map(|(n, a)| alloc::format!("{n} {a:?}")).collect();
    assert_eq!(
        text,
        ["pdu-a Read", "pdu-b Read", "pdu-a SwitchOff", "pdu-b SwitchOff", "pdu-a Read"]
    );
}

#[test]
fn one_supply_that_stays_on_is_not_off() {
    let mut fencer = ready();
    let mut command = command(PowerGoal::Read, 12);
    command.devices = vec![device("pdu-a", 1), device("pdu-b", 1)];
    fencer.handle_command(at(1), command);
    let (id, _) = one(&drain(&mut fencer));
    fencer.handle_answer(at(2), id, Ok(Answer::Power(PowerState::On)));
    let (id, _) = one(&drain(&mut fencer));
    fencer.handle_answer(at(3), id, Ok(Answer::Power(PowerState::Off)));
    assert_eq!(result(&drain(&mut fencer)).outcome, Ok(PowerState::On));
}

#[test]
fn a_device_of_another_machine_ends_the_operation_at_once() {
    let mut fencer = ready();
    fencer.handle_command(at(1), command(PowerGoal::Off, 12));
    let (read, _) = one(&drain(&mut fencer));
    let error = DeviceError::WrongIdentity("someone else".into());
    fencer.handle_answer(at(2), read, Err(error.clone()));
    assert_eq!(result(&drain(&mut fencer)).outcome, Err(error));
}

#[test]
fn a_device_that_was_never_enrolled_is_never_used() {
    let mut fencer = ready();
    let mut command = command(PowerGoal::Off, 12);
    command.devices[0].identity = None;
    fencer.handle_command(at(1), command);
    let outputs = drain(&mut fencer);
    assert!(calls(&outputs).is_empty());
    assert!(matches!(result(&outputs).outcome, Err(DeviceError::NotSent(_))));
}

#[test]
fn the_same_command_again_is_merged_and_another_one_refused() {
    let mut fencer = ready();
    fencer.handle_command(at(1), command(PowerGoal::Off, 12));
    drain(&mut fencer);
    fencer.handle_command(at(2), command(PowerGoal::Off, 12));
    assert_eq!(drain(&mut fencer), []);
    fencer.handle_command(at(3), command(PowerGoal::On, 12));
    let outputs = drain(&mut fencer);
    assert_eq!(outputs.len(), 1);
    assert_eq!(result(&outputs).goal, PowerGoal::On);
    assert!(matches!(result(&outputs).outcome, Err(DeviceError::NotSent(_))));
}

#[test]
fn two_machines_behind_one_device_take_turns() {
    let mut fencer = ready();
    fencer.handle_configuration(at(1), vec![node(1)]);
    fencer.handle_epoch(at(1), epoch(12));
    for id in [3, 4] {
        let mut command = command(PowerGoal::Read, 12);
        command.incident.node = node(id);
        command.devices[0].targets = vec![node(3), node(4)];
        fencer.handle_command(at(1), command);
    }
    let (read, _) = one(&drain(&mut fencer));
    fencer.handle_answer(at(2), read, Ok(Answer::Power(PowerState::On)));
    let outputs = drain(&mut fencer);
    let (read, _) = one(&outputs);
    fencer.handle_answer(at(3), read, Ok(Answer::Power(PowerState::Off)));
    let second = result(&drain(&mut fencer));
    assert_eq!((second.incident.node, second.outcome), (node(4), Ok(PowerState::Off)));
}

#[test]
fn on_is_sent_without_a_read_before_it() {
    let mut fencer = ready();
    fencer.handle_command(at(1), command(PowerGoal::On, 12));
    let (on, action) = one(&drain(&mut fencer));
    assert_eq!(action, DeviceAction::SwitchOn);
    fencer.handle_answer(at(2), on, Ok(Answer::Accepted));
    assert_eq!(result(&drain(&mut fencer)).outcome, Ok(PowerState::On));
}

#[test]
fn levels_ascend_and_devices_of_one_level_stand_by_name() {
    let devices = [
        device("z", 2),
        device("b", 1),
        device("a", 1),
        FenceDevice { targets: vec![node(1)], ..device("other", 1) },
    ];
    let levels = levels(devices, node(3));
    let names: Vec<Vec<&str>> =
        levels.iter().map(|l| l.iter().map(|d| d.name.as_str()).collect()).collect();
    assert_eq!(names, [vec!["a", "b"], vec!["z"]]);
    assert_eq!(levels.iter().map(|l| l[0].level).collect::<Vec<_>>(), [1, 2]);
}

#[derive(Clone, Debug)]
enum Input {
    Command(PowerGoal, u64),
    Configuration(bool),
    Epoch(u64),
    Token(u64),
    Answer(u8),
    Wait(u64),
}

fn input() -> impl Strategy<Value = Input> {
    let goal = prop::sample::select(vec![PowerGoal::Read, PowerGoal::Off, PowerGoal::On]);
    prop_oneof![
        3 => (goal, 0..3_u64).prop_map(|(g, e)| Input::Command(g, e)),
        1 => any::<bool>().prop_map(Input::Configuration),
        2 => (0..3_u64).prop_map(Input::Epoch),
        3 => (0..700_u64).prop_map(Input::Token),
        5 => (0..6_u8).prop_map(Input::Answer),
        3 => (1..2000_u64).prop_map(Input::Wait),
    ]
}

proptest! {
    // nothing is written beside the sources: `src/*` are members of the workspace
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Calls leave only under the installed epoch, with a fresh token, before the deadline, not at a member; off is
    /// said only after a read; each command ends in exactly one result; a wake-up never lies in the past.
    #[test]
    fn the_fencer_keeps_its_rules(inputs in prop::collection::vec(input(), 1..200)) {
        let mut fencer = ready();
        drain(&mut fencer);
        let (mut ms, mut token_at, mut member) = (0, 0, false);
        let mut flight: Option<(CallId, DeviceAction)> = None;
        let mut read_off = false;
        let mut open = 0_i32;
        for input in inputs {
            match input {
                Input::Command(goal, seq) => {
                    let busy = !fencer.is_idle();
                    fencer.handle_command(at(ms), command(goal, seq));
                    // merged when it is the one in progress: then there is no output and no second result
                    let merged = busy && fencer.poll_output().map(|o| {
                        assert!(matches!(o, Output::Result(_)));
                    }).is_none();
                    if !merged && !busy { open += 1; }
                }
                Input::Configuration(with) => {
                    member = with;
                    let mut members = vec![node(1), node(2)];
                    if with { members.push(node(3)); }
                    fencer.handle_configuration(at(ms), members);
                }
                Input::Epoch(seq) => fencer.handle_epoch(at(ms), epoch(seq)),
                Input::Token(age) => {
                    let seen = ms.saturating_sub(age);
                    token_at = token_at.max(seen);
                    fencer.handle_token(at(ms), at(seen));
                }
                Input::Answer(kind) => if let Some((call, action)) = flight.take() {
                    let answer = match (kind, action) {
                        (0, _) => Err(DeviceError::Unreachable),
                        (1, _) => Err(DeviceError::Authentication),
                        (2, DeviceAction::Read) => Ok(Answer::Power(PowerState::Off)),
                        (_, DeviceAction::Read) => Ok(Answer::Power(PowerState::On)),
                        _ => Ok(Answer::Accepted),
                    };
                    read_off = matches!(answer, Ok(Answer::Power(PowerState::Off)));
                    fencer.handle_answer(at(ms), call, answer);
                },
                Input::Wait(span) => {
                    ms += span;
                    fencer.handle_timeout(at(ms));
                }
            }
            for output in drain(&mut fencer) {
                match output {
                    Output::Call(call) => {
                        prop_assert!(flight.is_none(), "one session at a time");
                        prop_assert!(fencer.epoch().is_some() && !member);
                        prop_assert!(ms - token_at <= 500 && !call.within.is_zero());
                        prop_assert!(fencer.permits(at(ms), call.id));
                        flight = Some((call.id, call.action));
                    }
                    Output::Abort(call) => {
                        prop_assert_eq!(flight.take().map(|f| f.0), Some(call));
                    }
                    Output::Result(result) => {
                        open -= 1;
                        if result.outcome == Ok(PowerState::Off) {
                            prop_assert!(read_off);
                        }
                    }
                }
            }
            prop_assert_eq!(open, i32::from(!fencer.is_idle()));
            if let Some((wake, why)) = fencer.poll_timeout() {
                prop_assert!(wake > at(ms), "{why:?} at {wake} is not after {ms} ms");
            }
        }
    }
}
