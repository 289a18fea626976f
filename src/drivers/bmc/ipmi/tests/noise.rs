//! The session machine against its double in virtual time: every fault, then loss, repetition and corruption.

use core::time::Duration;

use base::{Instant, SplitMix64, SystemUuid};

use crate::{
    bmc::ipmi::{
        AwsLc, CipherSuite, Privilege,
        double::{Double, Event, Faults, GUID},
        proto::{Action, Answer, Config, Failure, Output, Session},
    },
    power::{DeviceIdentity, PowerState},
    secret::Password,
};

const WITHIN: Duration = Duration::from_secs(4);

fn target() -> SystemUuid {
    SystemUuid(u128::from_be_bytes(GUID))
}

fn config(action: Action, suite: CipherSuite) -> Config {
    Config {
        user: b"operator".to_vec(),
        password: Password::new(b"s3cret-and-long!".to_vec()),
        privilege: Privilege::Operator,
        suite,
        target: Some(target()),
        action,
        within: WITHIN,
        resend_after: Duration::from_millis(500),
    }
}

/// What a network does to one datagram: nothing, or several things.
type Network<'a> = dyn FnMut(Vec<u8>) -> Vec<Vec<u8>> + 'a;

struct Run {
    result: Result<Answer, Failure>,
    /// Virtual times of everything that was sent.
    sent_at: Vec<Instant>,
    commands: usize,
}

/// Runs a session to its end; each step of the network takes a millisecond.
fn run(double: &mut Double, config: Config, network: &mut Network<'_>) -> Run {
    let mut now = Instant::from_millis(1000);
    let mut session = Session::new(AwsLc, config, now);
    let (mut sent_at, mut commands) = (Vec::new(), 0);
    for _ in 0..100_000 {
        let mut answers = Vec::new();
        while let Some(output) = session.poll_output() {
            let bytes = match output {
                Output::Finished(result) => {
                    assert_eq!(session.poll_output(), None, "nothing follows the end");
                    assert_eq!(session.poll_timeout(), None);
                    session.handle_timeout(now + WITHIN);
                    assert_eq!(session.poll_output(), None, "silence after the end");
                    return Run { result, sent_at, commands };
                }
                Output::SendCommand(bytes) => {
                    commands += 1;
                    bytes
                }
                Output::Send(bytes) => bytes,
            };
            sent_at.push(now);
            for arrived in network(bytes) {
                answers.extend(double.handle(&arrived));
            }
        }
        if answers.is_empty() {
            let (at, _) =
                session.poll_timeout().expect("a session that is not done wants to be woken");
            now = now.max(at);
            session.handle_timeout(now);
        } else {
            now = now + Duration::from_millis(1);
            for answer in answers {
                for arrived in network(answer) {
                    session.handle_datagram(now, &arrived);
                }
            }
        }
    }
    panic!("no end");
}

fn clean(action: Action, suite: CipherSuite, faults: Faults) -> (Run, Double) {
    let mut double = Double::new(&[suite]);
    double.faults = faults;
    let run = run(&mut double, config(action, suite), &mut |bytes| vec![bytes]);
    (run, double)
}

#[test]
fn a_session_raises_compares_acts_and_closes() {
    use Event::{Closed, Identified, LoggedIn, Off, On, Opened, Raised, ReadPower};
    for suite in [CipherSuite::Suite3, CipherSuite::Suite17] {
        let (off, double) = clean(Action::SwitchOff, suite, Faults::default());
        assert_eq!(off.result, Ok(Answer::Accepted));
        assert_eq!(double.events, [Opened, LoggedIn, Raised, Identified, Off, Closed]);
        assert_eq!((off.commands, double.open_sessions()), (1, 0));
        let (on, double) = clean(Action::SwitchOn, suite, Faults::default());
        assert_eq!(on.result, Ok(Answer::Accepted));
        assert_eq!(double.events, [Opened, LoggedIn, Raised, Identified, On, Closed]);
        let (read, double) = clean(Action::ReadPower, suite, Faults::default());
        assert_eq!(read.result, Ok(Answer::Power(PowerState::On)));
        assert_eq!(double.events, [Opened, LoggedIn, Raised, Identified, ReadPower(true), Closed]);
        assert_eq!(read.commands, 0);
        let (who, double) = clean(Action::Identify, suite, Faults::default());
        assert_eq!(who.result, Ok(Answer::Identity(DeviceIdentity(GUID))));
        assert_eq!(double.events, [Opened, LoggedIn, Raised, Identified, Closed]);
    }
}

//= SAFETY.md#S8
//= type=test
#[test]
fn the_wrong_machine_gets_no_command() {
    let mut double = Double::new(&[CipherSuite::Suite17]);
    double.guid[3] ^= 1;
    let other = DeviceIdentity(double.guid);
    let config = config(Action::SwitchOff, CipherSuite::Suite17);
    let run = run(&mut double, config, &mut |bytes| vec![bytes]);
    assert_eq!(run.result, Err(Failure::WrongIdentity(other)));
    assert_eq!((run.commands, double.power, double.open_sessions()), (0, true, 0));
}

#[test]
fn nothing_is_switched_without_a_named_target() {
    let mut double = Double::new(&[CipherSuite::Suite17]);
    let config = Config { target: None, ..config(Action::SwitchOff, CipherSuite::Suite17) };
    let run = run(&mut double, config, &mut |bytes| vec![bytes]);
    assert_eq!(run.result, Err(Failure::Violation("no target named")));
    assert!(double.events.is_empty());
}

#[test]
fn a_forgotten_privilege_is_raised_and_the_command_tried_once() {
    let faults = Faults { forgets_privilege_once: true, ..Faults::default() };
    let (off, double) = clean(Action::SwitchOff, CipherSuite::Suite3, faults);
    assert_eq!(off.result, Ok(Answer::Accepted));
    assert!(!double.power);
    let faults = Faults { refuses: Some((0, 2, 0xd4)), ..Faults::default() };
    let (off, double) = clean(Action::SwitchOff, CipherSuite::Suite3, faults);
    assert_eq!(off.result, Err(Failure::Refused { what: "the chassis command", code: 0xd4 }));
    assert_eq!((off.commands, double.open_sessions()), (2, 0), "tried once more, then closed");
}

#[test]
fn a_busy_bmc_is_asked_again_until_it_has_time() {
    let mut double = Double::new(&[CipherSuite::Suite17]);
    double.faults.busy = 6;
    let config = config(Action::SwitchOff, CipherSuite::Suite17);
    let off = run(&mut double, config, &mut |bytes| vec![bytes]);
    assert_eq!((off.result, off.commands), (Ok(Answer::Accepted), 7));
    assert!(!double.power);
}

#[test]
fn a_downgrade_is_refused() {
    for downgrade in [[0, 0, 0], [1, 0, 0], [1, 1, 0], [3, 4, 0], [1, 1, 1]] {
        let faults = Faults { downgrades: Some(downgrade), ..Faults::default() };
        let (off, double) = clean(Action::SwitchOff, CipherSuite::Suite17, faults);
        assert!(matches!(off.result, Err(Failure::Violation(_))), "{downgrade:?}");
        assert!(double.power);
    }
    for id in [0, 1, 2, 4, 18] {
        assert!(CipherSuite::from_id(id).is_err());
    }
}

#[test]
fn a_wrong_password_is_said_and_the_prepared_session_freed() {
    for suite in [CipherSuite::Suite3, CipherSuite::Suite17] {
        let mut double = Double::new(&[suite]);
        double.password = b"another".to_vec();
        let run = run(&mut double, config(Action::SwitchOff, suite), &mut |bytes| vec![bytes]);
        assert!(matches!(run.result, Err(Failure::Authentication(_))));
        assert_eq!(double.events, [Event::Opened, Event::Abandoned]);
        assert_eq!(double.open_sessions(), 0);
    }
}

#[test]
fn a_mute_bmc_is_a_timeout_and_the_session_is_closed_before_the_deadline() {
    let deadline = Instant::from_millis(1000) + WITHIN;
    for mute in [(6, 0x3b), (6, 0x37), (0, 2)] {
        let faults = Faults { mute: Some(mute), ..Faults::default() };
        let (off, double) = clean(Action::SwitchOff, CipherSuite::Suite17, faults);
        assert!(matches!(off.result, Err(Failure::Timeout(_))), "{mute:?}");
        assert_eq!(double.open_sessions(), 0, "{mute:?}");
        assert!(off.sent_at.iter().all(|at| *at < deadline));
        assert_eq!(
            off.commands,
            if mute == (0, 2) { 3 } else { 0 },
            "a command is not repeated for long"
        );
    }
    let faults = Faults { mute_close: true, ..Faults::default() };
    let (off, _) = clean(Action::SwitchOff, CipherSuite::Suite17, faults);
    assert_eq!(off.result, Ok(Answer::Accepted), "no answer to Close takes nothing back");
}

#[test]
fn silence_is_silence() {
    let mut double = Double::new(&[CipherSuite::Suite17]);
    let run = run(&mut double, config(Action::SwitchOff, CipherSuite::Suite17), &mut |_| vec![]);
    assert_eq!(run.result, Err(Failure::Silent));
    assert!(run.sent_at.len() > 3, "asked again and again");
}

#[test]
fn an_abort_closes_and_commands_no_more() {
    let now = Instant::from_millis(0);
    let mut double = Double::new(&[CipherSuite::Suite17]);
    let mut session = Session::new(AwsLc, config(Action::SwitchOff, CipherSuite::Suite17), now);
    // Up to the command, which is withdrawn instead of sent.
    loop {
        match session.poll_output().expect("the clean way has no silence") {
            Output::Send(bytes) => {
                let answer = double.handle(&bytes).expect("answered");
                session.handle_datagram(now, &answer);
            }
            Output::SendCommand(_) => break session.handle_withdrawn(now),
            Output::Finished(result) => panic!("ended before the command: {result:?}"),
        }
    }
    let Some(Output::Send(close)) = session.poll_output() else { panic!("no close") };
    let answer = double.handle(&close).expect("answered");
    session.handle_datagram(now, &answer);
    assert_eq!(session.poll_output(), Some(Output::Finished(Err(Failure::Superseded))));
    assert_eq!((double.power, double.open_sessions()), (true, 0));
}

#[test]
fn a_malformed_status_is_no_state() {
    let faults = Faults { short_status: true, ..Faults::default() };
    let (read, _) = clean(Action::ReadPower, CipherSuite::Suite17, faults);
    assert!(matches!(read.result, Err(Failure::Violation(_))));
}

/// One to eight changes: bytes flipped, set to edges, cut, doubled.
fn mutate(rng: &mut SplitMix64, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..=rng.below(8) {
        if bytes.is_empty() {
            bytes.push(rng.next_u64() as u8);
        }
        let at = rng.below(bytes.len() as u64) as usize;
        match rng.below(6) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5) as usize],
            2 => bytes[at] = rng.next_u64() as u8,
            3 => bytes.truncate(at),
            4 => bytes.insert(at, rng.next_u64() as u8),
            _ => bytes.extend_from_within(at..),
        }
    }
    bytes
}

/// Whatever the network does, an answer is the truth, one end is said, and nothing leaves after the deadline.
#[test]
fn noise_never_becomes_success() {
    let deadline = Instant::from_millis(1000) + WITHIN;
    let (mut good, mut bad) = (0, 0);
    for seed in 0..1500 {
        let mut rng = SplitMix64::new(seed);
        let suite = if seed % 2 == 0 { CipherSuite::Suite3 } else { CipherSuite::Suite17 };
        let action = [Action::SwitchOff, Action::ReadPower, Action::Identify][seed as usize % 3];
        let mut double = Double::new(&[suite]);
        double.power = rng.below(2) == 0;
        let was_on = double.power;
        let (loss, corruption) = (rng.below(40), rng.below(40));
        let mut seen: Vec<Vec<u8>> = Vec::new();
        let mut network = |bytes: Vec<u8>| {
            seen.push(bytes.clone());
            if rng.below(100) < loss {
                return vec![];
            }
            let mut out = vec![bytes.clone()];
            if rng.below(100) < corruption {
                out.insert(0, mutate(&mut rng, bytes));
            }
            if rng.below(10) == 0 {
                out.push(seen[rng.below(seen.len() as u64) as usize].clone());
            }
            out
        };
        let run = run(&mut double, config(action, suite), &mut network);
        assert!(run.sent_at.iter().all(|at| *at < deadline), "seed {seed}");
        match run.result {
            Ok(Answer::Accepted) => {
                assert!(double.events.contains(&Event::Off) && !double.power, "seed {seed}");
            }
            Ok(Answer::Power(state)) => {
                let truth = if was_on { PowerState::On } else { PowerState::Off };
                assert_eq!(state, truth, "seed {seed}");
            }
            Ok(Answer::Identity(identity)) => assert_eq!(identity.0, GUID, "seed {seed}"),
            Err(_) => bad += 1,
        }
        good += u32::from(run.result.is_ok());
    }
    println!("{good} answers, {bad} failures");
    assert!(good > 500 && bad > 20, "the noise is too weak or too strong: {good} good, {bad} bad");
}
