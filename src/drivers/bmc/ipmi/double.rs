//! The server half of RMCP+ without a socket, with the faults of SAFETY.md#O31. That it is right is shown by
//! `ipmitool -C 17` and `-C 3`, which must be able to use it (`tests/real.rs`). For tests, fuzzing and `palisade dev`, which
//! listens on loopback only: its random numbers are none.

use std::collections::BTreeMap;

use super::{AwsLc, CipherSuite, Privilege, proto::*};

/// Of the machine behind it.
pub const GUID: [u8; 16] = *b"\xa1\x23\x45\x67\x89\xab\xcd\xef\xa1\x23\x45\x67\x89\xab\xcd\xe1";

/// Sessions at one time; the oldest goes when one more is opened.
const SESSIONS_MAX: usize = 64;

/// What the double did, in order; the ground truth of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session was prepared.
    Opened,
    /// Both sides have shown that they know the password.
    LoggedIn,
    /// The privilege was raised.
    Raised,
    /// The GUID was read.
    Identified,
    /// The power was read, and was so.
    ReadPower(bool),
    /// Power off was taken.
    Off,
    /// Off and on again was taken: cycle or reset.
    Cycled,
    /// Power on was taken.
    On,
    /// The session was closed.
    Closed,
    /// A login was ended by the console's status.
    Abandoned,
}

/// What it does wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Accepts a power command and does nothing.
    pub ignores_commands: bool,
    /// Answers the first chassis command with 0xD4 though the privilege was raised.
    pub forgets_privilege_once: bool,
    /// No answer to Close Session.
    pub mute_close: bool,
    /// No answer from this network function and command on.
    pub mute: Option<(u8, u8)>,
    /// Answers this command with this code.
    pub refuses: Option<(u8, u8, u8)>,
    /// Says another choice of algorithms than was asked.
    pub downgrades: Option<[u8; 3]>,
    /// Chassis commands that are answered with 0xC0 first.
    pub busy: u8,
    /// Status data is short.
    pub short_status: bool,
    /// Lies: after so many messages answers one, well sealed, with this code and data.
    pub invents: Vec<(u8, u8, Vec<u8>)>,
}

struct Login {
    handshake: Handshake,
    keys: Option<Keys>,
    sent: u32,
    raised: bool,
    busy_once: bool,
}

/// One BMC.
pub struct Double {
    /// Suites that it takes.
    pub suites: Vec<CipherSuite>,
    /// Its only user.
    pub user: Vec<u8>,
    /// That user's password.
    pub password: Vec<u8>,
    /// What it says that its machine is.
    pub guid: [u8; 16],
    /// Whether its machine has power.
    pub power: bool,
    /// What it does wrong.
    pub faults: Faults,
    /// What it did.
    pub events: Vec<Event>,
    /// An answer of [`Faults::invents`] was given.
    pub lied: bool,
    logins: BTreeMap<u32, Login>,
    next: u32,
}

impl Double {
    /// With power on and nothing wrong.
    pub fn new(suites: &[CipherSuite]) -> Self {
        Self {
            suites: suites.to_vec(),
            user: b"operator".to_vec(),
            password: b"s3cret-and-long!".to_vec(),
            guid: GUID,
            power: true,
            faults: Faults::default(),
            events: Vec::new(),
            lied: false,
            logins: BTreeMap::new(),
            next: 0x1000,
        }
    }

    /// Sessions that somebody opened and nobody closed.
    pub fn open_sessions(&self) -> usize {
        self.logins.len()
    }

    /// One datagram; the answer to it.
    pub fn handle(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        if let Some(answer) = self.handle_v15(datagram) {
            return Some(answer);
        }
        let packet = parse_packet(datagram).ok()?;
        match packet.kind {
            PayloadType::OpenRequest => self.open(packet.payload),
            PayloadType::Rakp1 => self.rakp1(packet.payload),
            PayloadType::Rakp3 => self.rakp3(packet.payload),
            PayloadType::Ipmi => self.message(&packet),
            _ => None,
        }
    }

    /// Get Channel Authentication Capabilities in the old format: ipmitool asks before it opens a session.
    fn handle_v15(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let message = datagram.strip_prefix(&[6, 0, 0xff, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
        let (request, sequence) = parse_request(message.get(1..)?).ok()?;
        let response = if (request.netfn, request.command) == (6, 0x38) {
            // channel 1; IPMI 2.0 data present; one-key login, user names, no anonymous; RMCP+ only
            let data = vec![1, 0x80, 0x04, 0x02, 0, 0, 0, 0];
            Response { netfn: 7, command: 0x38, sequence, code: 0, data }
        } else {
            let Request { netfn, command, .. } = request;
            Response { netfn: netfn | 1, command, sequence, code: 0xc1, data: vec![] }
        };
        let message = response.encode();
        let mut out = vec![6, 0, 0xff, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, message.len() as u8];
        out.extend(message);
        Some(out)
    }

    fn open(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let (tag, session) = (*payload.first()?, payload.get(4..8)?);
        let asked = [*payload.get(12)?, *payload.get(20)?, *payload.get(28)?];
        let Some(suite) = self.suites.iter().find(|suite| suite.algorithms() == asked) else {
            return Some(plain(PayloadType::OpenResponse, &[&[tag, 0x11, 0, 0], session].concat()));
        };
        let suite = *suite;
        self.next += 1;
        let console_session = u32::from_le_bytes(session.try_into().ok()?);
        let handshake = Handshake {
            suite,
            console_session,
            bmc_session: self.next,
            console_random: [0; 16],
            bmc_random: [self.next as u8; 16],
            bmc_guid: self.guid,
            role: 0,
            user: vec![],
        };
        let login = Login { handshake, keys: None, sent: 0, raised: false, busy_once: false };
        if self.logins.len() == SESSIONS_MAX {
            self.logins.pop_first();
        }
        self.logins.insert(self.next, login);
        self.events.push(Event::Opened);
        let mut out = vec![tag, 0, 4, 0];
        out.extend(session);
        out.extend(self.next.to_le_bytes());
        let algorithms = self.faults.downgrades.unwrap_or(asked);
        for (kind, algorithm) in (0_u8..).zip(algorithms) {
            out.extend([kind, 0, 0, 8, algorithm, 0, 0, 0]);
        }
        Some(plain(PayloadType::OpenResponse, &out))
    }

    fn rakp1(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let login = login(&mut self.logins, payload)?;
        let handshake = &mut login.handshake;
        handshake.console_random = payload.get(8..24)?.try_into().ok()?;
        handshake.role = *payload.get(24)?;
        handshake.user = payload.get(28..28 + usize::from(*payload.get(27)?))?.to_vec();
        let mut out = vec![payload[0], 0, 0, 0];
        if handshake.user != self.user {
            out[1] = 0x0d;
            out.extend(handshake.console_session.to_le_bytes());
            let id = handshake.bmc_session;
            self.logins.remove(&id);
            return Some(plain(PayloadType::Rakp2, &out));
        }
        out.extend(handshake.console_session.to_le_bytes());
        out.extend(handshake.bmc_random);
        out.extend(handshake.bmc_guid);
        out.extend(handshake.bmc_code(&AwsLc, &self.password).ok()?.as_slice());
        Some(plain(PayloadType::Rakp2, &out))
    }

    fn rakp3(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let login = login(&mut self.logins, payload)?;
        let id = login.handshake.bmc_session;
        if payload[1] != 0 {
            self.events.push(Event::Abandoned);
            self.logins.remove(&id);
            return None;
        }
        let handshake = &login.handshake;
        let mut out = vec![payload[0], 0, 0, 0];
        out.extend(handshake.console_session.to_le_bytes());
        let expected = handshake.console_code(&AwsLc, &self.password).ok()?;
        if payload.get(8..)? != expected.as_slice() {
            out[1] = 0x0f;
            self.logins.remove(&id);
            return Some(plain(PayloadType::Rakp4, &out));
        }
        let sik = handshake.session_key(&AwsLc, &self.password).ok()?;
        let check = handshake.check_value(&AwsLc, &sik).ok()?;
        out.extend(check.truncated(handshake.suite.integrity_len()));
        login.keys = Some(Keys::derive(&AwsLc, handshake.suite, &sik).ok()?);
        self.events.push(Event::LoggedIn);
        Some(plain(PayloadType::Rakp4, &out))
    }

    fn message(&mut self, packet: &Packet<'_>) -> Option<Vec<u8>> {
        let login = self.logins.get_mut(&packet.session)?;
        let message = login.keys.as_ref()?.open(&AwsLc, packet).ok()?;
        let (Request { netfn, command, data }, sequence) = parse_request(&message).ok()?;
        if self.faults.mute == Some((netfn, command)) {
            return None;
        }
        if let Some((after, ..)) = self.faults.invents.last_mut() {
            *after = after.saturating_sub(1);
        }
        let (mut code, mut answer) = (0, vec![]);
        let mut closed = false;
        match (netfn, command) {
            _ if self.faults.invents.last().is_some_and(|(after, ..)| *after == 0) => {
                let (_, invented, data) = self.faults.invents.pop().unwrap_or_default();
                (code, answer) = (invented, data);
                self.lied = true;
            }
            (f, c) if self.faults.refuses.is_some_and(|(rf, rc, _)| (rf, rc) == (f, c)) => {
                code = self.faults.refuses.map_or(0, |(_, _, code)| code);
            }
            (6, 0x3b) => {
                login.raised = data.first().is_some_and(|l| *l >= Privilege::Operator.level());
                answer = data;
                self.events.push(Event::Raised);
            }
            (6, 0x37) => {
                answer = self.guid.to_vec();
                self.events.push(Event::Identified);
            }
            (6, 0x3c) => {
                closed = true;
                self.events.push(Event::Closed);
            }
            (0, 1 | 2) if !login.raised => code = 0xd4,
            (0, 1 | 2) if self.faults.forgets_privilege_once && !login.busy_once => {
                login.busy_once = true;
                login.raised = false;
                code = 0xd4;
            }
            (0, 2) if self.faults.busy > 0 => {
                self.faults.busy -= 1;
                code = 0xc0;
            }
            (0, 1) => {
                let len = if self.faults.short_status { 2 } else { 4 };
                answer = [u8::from(self.power), 0, 0x40, 0][..len].to_vec();
                self.events.push(Event::ReadPower(self.power));
            }
            (0, 2) => {
                let (power, event) = match data.first() {
                    Some(1) => (true, Event::On),
                    Some(2 | 3) => (self.power, Event::Cycled),
                    _ => (false, Event::Off),
                };
                if !self.faults.ignores_commands {
                    self.power = power;
                }
                self.events.push(event);
            }
            _ => code = 0xc1,
        }
        let response = Response { netfn: netfn | 1, command, sequence, code, data: answer };
        login.sent += 1;
        let (session, sent) = (login.handshake.console_session, login.sent);
        let keys = login.keys.as_ref()?;
        let out = keys.seal(&mut AwsLc, session, sent, &response.encode()).ok()?;
        if closed {
            self.logins.remove(&packet.session);
            if self.faults.mute_close {
                return None;
            }
        }
        Some(out)
    }
}

fn login<'a>(logins: &'a mut BTreeMap<u32, Login>, payload: &[u8]) -> Option<&'a mut Login> {
    logins.get_mut(&u32::from_le_bytes(payload.get(4..8)?.try_into().ok()?))
}
