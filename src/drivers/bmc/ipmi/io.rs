//! The I/O half: a UDP socket, the boot-time clock, one session at a time.

use core::{future::Future, time::Duration};
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    string::String,
    sync::Arc,
};

use base::{Instant, SystemUuid};
use tokio::{
    net::UdpSocket,
    sync::{Mutex, oneshot},
    time::{sleep, timeout},
};

use super::{
    AwsLc,
    proto::{
        Action, Answer, CipherSuite, Config, DATAGRAM_MAX, Failure, Output, Privilege, Session,
        UnsafeSuite,
    },
};
use crate::{
    clock::boottime,
    power::{BoxFuture, DeviceIdentity, Permit, PowerDevice, PowerError, PowerOrder, PowerState},
    secret::Password,
};

/// Silence after which a question is repeated. Real BMCs answer within 50 ms, slow ones within a second.
const RESEND_AFTER: Duration = Duration::from_millis(500);
/// Datagrams that are not from this session may come at most this often before we stop reading.
const DATAGRAMS_MAX: u32 = 10_000;

/// Which suites may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Suites {
    /// 17, then 3 where the BMC has no 17; what worked is remembered.
    #[default]
    Best,
    /// This one only.
    Only(CipherSuite),
}

/// How to reach one BMC. No `Debug`: it holds the password.
#[derive(Clone)]
pub struct IpmiTarget {
    /// Usually port 623.
    pub address: SocketAddr,
    /// At most 16 bytes.
    pub user: String,
    /// At most 20 bytes.
    pub password: Password,
    /// Operator is enough.
    pub privilege: Privilege,
    /// Which suites may be used.
    pub suites: Suites,
}

impl IpmiTarget {
    /// What an enrolled fence device says, with the credentials of its Secret. One suite only, the one that was chosen.
    pub fn enrolled(
        address: SocketAddr,
        cipher_suite: u8,
        user: String,
        password: Password,
    ) -> Result<Self, UnsafeSuite> {
        Ok(Self {
            address,
            user,
            password,
            privilege: Privilege::Operator,
            suites: Suites::Only(CipherSuite::from_id(cipher_suite)?),
        })
    }
}

/// A BMC that speaks IPMI 2.0.
pub struct IpmiDevice {
    target: Arc<IpmiTarget>,
    /// Held while a session is open: many BMCs have four, and one that hangs takes all of them. Inside: the suite
    /// that worked last.
    slot: Arc<Mutex<Option<CipherSuite>>>,
}

struct Errand {
    action: Action,
    target: Option<SystemUuid>,
    permit: Permit,
    deadline: Instant,
}

impl IpmiDevice {
    /// Opens nothing yet.
    pub fn new(target: IpmiTarget) -> Self {
        Self { target: Arc::new(target), slot: Arc::new(Mutex::new(None)) }
    }

    /// Runs in a task of its own, so that a caller who drops the future ends the session and does not merely forget
    /// it (SAFETY.md 1.8: lost Close).
    async fn run(&self, errand: Errand) -> Result<Answer, PowerError> {
        let (tell, told) = oneshot::channel();
        let (target, slot) = (Arc::clone(&self.target), Arc::clone(&self.slot));
        tokio::spawn(async move {
            let mut tell = tell;
            let left = left(errand.deadline);
            let result = match timeout(left, slot.lock()).await {
                Err(_) => Err(PowerError::Timeout("waiting for its only session")),
                // Given up while it waited: then not even a session is opened.
                Ok(_) if tell.is_closed() => Err(PowerError::Superseded),
                Ok(mut suite) => with_suites(&target, &mut suite, &errand, &mut tell).await,
            };
            // Nobody listens any more: then nobody needs it.
            let _ = tell.send(result);
        });
        told.await.unwrap_or(Err(PowerError::Timeout("the session's task ended")))
    }

    async fn read(&self, target: SystemUuid, deadline: Instant) -> Result<PowerState, PowerError> {
        let permit = Permit::new(|| true);
        let errand = Errand { action: Action::ReadPower, target: Some(target), permit, deadline };
        match self.run(errand).await? {
            Answer::Power(state) => Ok(state),
            Answer::Identity(_) | Answer::Accepted => Err(PowerError::StateUnknown),
        }
    }

    async fn switch(
        &self,
        action: Action,
        order: PowerOrder,
    ) -> Result<fencing::Answer, PowerError> {
        let deadline = boottime() + order.within;
        let PowerOrder { target, permit, .. } = order;
        self.run(Errand { action, target: Some(target), permit, deadline }).await?;
        // The command's session is closed. Only what a new one reads counts (SAFETY.md#S4).
        match self.read(target, deadline).await {
            Ok(state) => Ok(fencing::Answer::Power(state)),
            // Many BMCs are busy for a while after a command; the caller reads again.
            Err(
                PowerError::Refused { .. }
                | PowerError::StateUnknown
                | PowerError::Timeout(_)
                | PowerError::Unreachable(_),
            ) => Ok(fencing::Answer::Accepted),
            Err(error) => Err(error),
        }
    }
}

impl PowerDevice for IpmiDevice {
    fn identity(&self, within: Duration) -> BoxFuture<'_, Result<DeviceIdentity, PowerError>> {
        let deadline = boottime() + within;
        Box::pin(async move {
            let permit = Permit::new(|| true);
            let errand = Errand { action: Action::Identify, target: None, permit, deadline };
            match self.run(errand).await? {
                Answer::Identity(identity) => Ok(identity),
                Answer::Power(_) | Answer::Accepted => {
                    Err(PowerError::ProtocolViolation("it answered another question"))
                }
            }
        })
    }

    fn status(
        &self,
        target: SystemUuid,
        within: Duration,
    ) -> BoxFuture<'_, Result<PowerState, PowerError>> {
        let deadline = boottime() + within;
        Box::pin(self.read(target, deadline))
    }

    fn off(&self, order: PowerOrder) -> BoxFuture<'_, Result<fencing::Answer, PowerError>> {
        Box::pin(self.switch(Action::SwitchOff, order))
    }

    fn on(&self, order: PowerOrder) -> BoxFuture<'_, Result<fencing::Answer, PowerError>> {
        Box::pin(self.switch(Action::SwitchOn, order))
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.since(boottime())
}

/// Tries the suites in order until one is taken.
async fn with_suites(
    target: &IpmiTarget,
    known: &mut Option<CipherSuite>,
    errand: &Errand,
    caller: &mut oneshot::Sender<Result<Answer, PowerError>>,
) -> Result<Answer, PowerError> {
    let suites: &[CipherSuite] = match (target.suites, *known) {
        (Suites::Only(CipherSuite::Suite3), _) | (Suites::Best, Some(CipherSuite::Suite3)) => {
            &[CipherSuite::Suite3]
        }
        (Suites::Only(CipherSuite::Suite17), _) => &[CipherSuite::Suite17],
        (Suites::Best, _) => &[CipherSuite::Suite17, CipherSuite::Suite3],
    };
    let mut last = PowerError::Timeout("opening a session");
    for suite in suites {
        match one_session(target, *suite, errand, caller).await {
            Ok(answer) => {
                *known = Some(*suite);
                return Ok(answer);
            }
            Err(Failure::SuiteRefused(code)) => {
                // A firmware update may have taken away what worked: begin with the best next time.
                *known = None;
                last = PowerError::Refused { what: "the cipher suite", code };
            }
            Err(failure) => return Err(power_error(failure, errand.target)),
        }
    }
    Err(last)
}

async fn one_session(
    target: &IpmiTarget,
    suite: CipherSuite,
    errand: &Errand,
    caller: &mut oneshot::Sender<Result<Answer, PowerError>>,
) -> Result<Answer, Failure> {
    let within = left(errand.deadline);
    if within.is_zero() {
        return Err(Failure::Timeout("waiting for its only session"));
    }
    let config = Config {
        user: target.user.as_bytes().to_vec(),
        password: target.password.clone(),
        privilege: target.privilege,
        suite,
        target: errand.target,
        action: errand.action,
        within,
        resend_after: RESEND_AFTER,
    };
    let socket = connect(target.address).await.map_err(|_| Failure::Silent)?;
    let mut session = Session::new(AwsLc, config, boottime());
    let mut buffer = [0; DATAGRAM_MAX + 1];
    let (mut aborted, mut datagrams) = (false, 0_u32);
    loop {
        if let Some(result) = drain(&socket, &mut session, errand).await {
            return result;
        }
        let Some((at, _)) = session.poll_timeout() else {
            return Err(Failure::Timeout("the session"));
        };
        // One reading per wake-up; a flood ends in the deadline, not in an endless loop.
        let received = async {
            if datagrams < DATAGRAMS_MAX {
                socket.recv(&mut buffer).await
            } else {
                core::future::pending().await
            }
        };
        tokio::select! {
            received = received => match received {
                Ok(len) => {
                    datagrams += 1;
                    session.handle_datagram(boottime(), &buffer[..len]);
                }
                // "Connection refused" is what a host without a BMC says. It may be a restart: go on until the end.
                Err(_) => sleep(Duration::from_millis(20)).await,
            },
            () = sleep(left(at) + Duration::from_micros(100)) => {}
            () = dropped(caller), if !aborted => {
                aborted = true;
                session.handle_abort(boottime());
            }
        }
        session.handle_timeout(boottime());
    }
}

fn dropped(
    caller: &mut oneshot::Sender<Result<Answer, PowerError>>,
) -> impl Future<Output = ()> + '_ {
    caller.closed()
}

/// Sends what is to be sent, looking at the clock and the permit right before each system call.
async fn drain(
    socket: &UdpSocket,
    session: &mut Session<AwsLc>,
    errand: &Errand,
) -> Option<Result<Answer, Failure>> {
    while let Some(output) = session.poll_output() {
        let bytes = match output {
            Output::Finished(result) => return Some(result),
            Output::SendCommand(_) if !errand.permit.stands() => {
                session.handle_withdrawn(boottime());
                continue;
            }
            Output::Send(bytes) | Output::SendCommand(bytes) => bytes,
        };
        if boottime() >= errand.deadline {
            session.handle_timeout(boottime());
            continue;
        }
        // A lost datagram is repeated; an unreachable network ends in the deadline.
        let _ = socket.try_send(&bytes);
    }
    None
}

async fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    socket.writable().await?;
    Ok(socket)
}

fn power_error(failure: Failure, target: Option<SystemUuid>) -> PowerError {
    match failure {
        Failure::Authentication(why) => PowerError::AuthenticationFailed(why),
        Failure::Crypto => PowerError::ProtocolViolation("the cryptographic library failed"),
        Failure::Refused { what, code } => PowerError::Refused { what, code },
        Failure::Silent => PowerError::Unreachable("no answer at all".into()),
        Failure::SuiteRefused(code) => PowerError::Refused { what: "the cipher suite", code },
        Failure::Superseded => PowerError::Superseded,
        Failure::Timeout(what) => PowerError::Timeout(what),
        Failure::Violation(why) => PowerError::ProtocolViolation(why),
        Failure::WrongIdentity(found) => {
            PowerError::WrongIdentity { wanted: target.unwrap_or(SystemUuid(0)), found }
        }
    }
}
