//! The device over real datagrams on loopback, against the double.

use core::time::Duration;
use std::{
    net::UdpSocket,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use base::{FenceDevice, FenceDriver, NodeId, SystemUuid};
use fencing::{Answer, CallId, DeviceAction, DeviceCall, DeviceError};

use crate::{
    bmc::ipmi::{
        CipherSuite, IpmiDevice, IpmiTarget, Privilege, Suites,
        double::{Double, Event, Faults, GUID},
    },
    power::{Permit, PowerDevice, PowerError, PowerOrder, PowerState, carry_out},
    secret::Password,
};

/// A double behind a socket, ended when dropped.
pub(super) struct Served {
    pub(super) double: Arc<Mutex<Double>>,
    pub(super) port: u16,
    end: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Served {
    pub(super) fn new(double: Double) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("set");
        let port = socket.local_addr().expect("bound").port();
        let double = Arc::new(Mutex::new(double));
        let end = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (double, end) = (Arc::clone(&double), Arc::clone(&end));
            move || {
                let mut buffer = [0; 1024];
                while !end.load(Ordering::Relaxed) {
                    let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
                    let answer = double.lock().expect("not poisoned").handle(&buffer[..len]);
                    if let Some(answer) = answer {
                        socket.send_to(&answer, from).expect("sent");
                    }
                }
            }
        });
        Self { double, port, end, thread: Some(thread) }
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Double) -> T) -> T {
        f(&mut self.double.lock().expect("not poisoned"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(super) fn device(port: u16, suites: Suites, password: &[u8]) -> IpmiDevice {
    IpmiDevice::new(IpmiTarget {
        address: ([127, 0, 0, 1], port).into(),
        user: "operator".into(),
        password: Password::new(password.to_vec()),
        privilege: Privilege::Operator,
        suites,
    })
}

pub(super) fn machine() -> SystemUuid {
    SystemUuid(u128::from_be_bytes(GUID))
}

pub(super) fn order(within: Duration) -> PowerOrder {
    PowerOrder { target: machine(), within, permit: Permit::new(|| true) }
}

const PASSWORD: &[u8] = b"s3cret-and-long!";
const SECOND: Duration = Duration::from_secs(1);

//= SAFETY.md#S4
//= type=test
#[tokio::test]
async fn off_is_read_in_a_session_of_its_own() {
    let served = Served::new(Double::new(&[CipherSuite::Suite17]));
    let device = device(served.port, Suites::Best, PASSWORD);
    assert_eq!(device.off(order(SECOND)).await, Ok(Answer::Power(PowerState::Off)));
    let events = served.with(|double| double.events.clone());
    let of = |event| events.iter().position(|e| *e == event).expect("happened");
    let closed = of(Event::Closed);
    let reopened = events.iter().rposition(|e| *e == Event::Opened).expect("happened");
    assert!(of(Event::Off) < closed && closed < reopened && reopened < of(Event::ReadPower(false)));
    assert_eq!(served.with(|double| double.open_sessions()), 0);
    assert_eq!(device.on(order(SECOND)).await, Ok(Answer::Power(PowerState::On)));
}

#[tokio::test]
async fn a_bmc_that_says_yes_and_does_nothing_reads_on() {
    let mut double = Double::new(&[CipherSuite::Suite17]);
    double.faults.ignores_commands = true;
    let served = Served::new(double);
    let device = device(served.port, Suites::Best, PASSWORD);
    assert_eq!(
        device.off(order(SECOND)).await,
        Ok(Answer::Power(PowerState::On)),
        "accepted is not off"
    );
}

#[tokio::test]
async fn suite_3_is_taken_where_17_is_missing_and_remembered() {
    let served = Served::new(Double::new(&[CipherSuite::Suite3]));
    let device = device(served.port, Suites::Best, PASSWORD);
    assert_eq!(device.status(machine(), SECOND).await, Ok(PowerState::On));
    assert_eq!(device.status(machine(), SECOND).await, Ok(PowerState::On));
    let only17 = self::device(served.port, Suites::Only(CipherSuite::Suite17), PASSWORD);
    let refused = only17.status(machine(), SECOND).await;
    assert_eq!(refused, Err(PowerError::Refused { what: "the cipher suite", code: 0x11 }));
}

//= SAFETY.md#S7
//= type=test
#[tokio::test]
async fn a_withdrawn_order_sends_no_command_and_closes() {
    let served = Served::new(Double::new(&[CipherSuite::Suite17]));
    let device = device(served.port, Suites::Best, PASSWORD);
    let order = PowerOrder { permit: Permit::new(|| false), ..order(SECOND) };
    assert_eq!(device.off(order).await, Err(PowerError::Superseded));
    assert!(served.with(|double| double.power && double.open_sessions() == 0));
}

#[tokio::test]
async fn a_mute_bmc_is_no_success_and_nothing_comes_late() {
    let mut double = Double::new(&[CipherSuite::Suite17]);
    double.faults = Faults { mute: Some((0, 2)), ..Faults::default() };
    let served = Served::new(double);
    let device = device(served.port, Suites::Best, PASSWORD);
    let result = device.off(order(SECOND)).await;
    assert_eq!(result, Err(PowerError::Timeout("the chassis command")));
    let events = served.with(|double| (double.events.clone(), double.open_sessions()));
    assert_eq!(events.1, 0, "closed in spite of the timeout");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(served.with(|double| double.events.clone()), events.0, "silence after the deadline");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("bound").port();
    let device = device(port, Suites::Best, PASSWORD);
    let result = device.off(order(Duration::from_millis(400))).await;
    assert!(matches!(result, Err(PowerError::Unreachable(_))), "{result:?}");
}

#[tokio::test]
async fn wrong_password_and_wrong_machine_are_told_apart() {
    let served = Served::new(Double::new(&[CipherSuite::Suite17]));
    let wrong = device(served.port, Suites::Best, b"wrong").status(machine(), SECOND).await;
    assert!(matches!(wrong, Err(PowerError::AuthenticationFailed(_))), "{wrong:?}");
    served.with(|double| double.guid[0] ^= 0x80);
    let crossed = device(served.port, Suites::Best, PASSWORD).off(order(SECOND)).await;
    assert!(matches!(crossed, Err(PowerError::WrongIdentity { .. })), "{crossed:?}");
    assert!(served.with(|double| double.power && double.open_sessions() == 0));
}

#[tokio::test]
async fn one_session_at_a_time_however_many_ask() {
    let served = Served::new(Double::new(&[CipherSuite::Suite17]));
    let device = Arc::new(device(served.port, Suites::Best, PASSWORD));
    let asked: Vec<_> = (0..6)
        .map(|_| {
            let device = Arc::clone(&device);
            tokio::spawn(async move { device.status(machine(), 5 * SECOND).await })
        })
        .collect();
    for task in asked {
        assert_eq!(task.await.expect("no panic"), Ok(PowerState::On));
    }
    let mut open = 0;
    for event in served.with(|double| double.events.clone()) {
        match event {
            Event::Opened => open += 1,
            Event::Closed => open -= 1,
            _ => {}
        }
        assert!((0..=1).contains(&open), "two sessions at once");
    }
}

#[tokio::test]
async fn a_dropped_order_closes_its_session() {
    let mut double = Double::new(&[CipherSuite::Suite17]);
    double.faults = Faults { mute: Some((0, 2)), ..Faults::default() };
    let served = Served::new(double);
    let device = device(served.port, Suites::Best, PASSWORD);
    let given_up = tokio::time::timeout(Duration::from_millis(200), device.off(order(30 * SECOND)));
    assert!(given_up.await.is_err());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(served.with(|double| double.open_sessions()), 0);
    assert_eq!(served.with(|double| double.events.last().copied()), Some(Event::Closed));
}

/// The whole way from the fencing core's words to the BMC and back.
#[tokio::test]
async fn a_call_of_the_fencing_core_is_carried_out() {
    let served = Served::new(Double::new(&[CipherSuite::Suite17]));
    let driver = |cipher_suite| FenceDriver::Ipmi {
        address: [127, 0, 0, 1].into(),
        port: served.port,
        cipher_suite,
    };
    let password = || Password::new(PASSWORD.to_vec());
    let address = ([127, 0, 0, 1], served.port).into();
    for unsafe_suite in [0, 1, 2] {
        let target = IpmiTarget::enrolled(address, unsafe_suite, "operator".into(), password());
        assert!(target.is_err(), "suite {unsafe_suite}");
    }
    let target = IpmiTarget::enrolled(address, 17, "operator".into(), password()).expect("safe");
    let device = IpmiDevice::new(target);
    let call = |action, identity| DeviceCall {
        id: CallId(1),
        target: NodeId::new(1).expect("not zero"),
        device: FenceDevice {
            name: "bmc-1".parse().expect("valid"),
            driver: driver(17),
            credentials: "bmc-1".into(),
            targets: vec![],
            level: 1,
            delay: Duration::ZERO,
            identity,
        },
        action,
        within: SECOND,
    };
    let permit = || Permit::new(|| true);
    let unenrolled = carry_out(&device, &call(DeviceAction::SwitchOff, None), permit()).await;
    assert!(matches!(unenrolled, Err(DeviceError::NotSent(_))), "{unenrolled:?}");
    assert!(served.with(|double| double.events.is_empty()));
    for (action, expected) in [
        (DeviceAction::Read, PowerState::On),
        (DeviceAction::SwitchOff, PowerState::Off),
        (DeviceAction::Read, PowerState::Off),
        (DeviceAction::SwitchOn, PowerState::On),
    ] {
        let answer = carry_out(&device, &call(action, Some(machine())), permit()).await;
        assert_eq!(answer, Ok(Answer::Power(expected)), "{action:?}");
    }
}

#[tokio::test]
async fn an_order_given_up_while_it_waits_opens_no_session() {
    let mut double = Double::new(&[CipherSuite::Suite17]);
    double.faults = Faults { mute: Some((6, 0x37)), ..Faults::default() };
    let served = Served::new(double);
    let device = Arc::new(device(served.port, Suites::Best, PASSWORD));
    let first = Arc::clone(&device);
    let first = tokio::spawn(async move { first.status(machine(), SECOND).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let waiting = tokio::time::timeout(Duration::from_millis(100), device.off(order(30 * SECOND)));
    assert!(waiting.await.is_err());
    assert!(matches!(first.await.expect("no panic"), Err(PowerError::Timeout(_))));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let opened =
        served.with(|double| double.events.iter().filter(|e| **e == Event::Opened).count());
    assert_eq!(opened, 1, "only the first");
}
