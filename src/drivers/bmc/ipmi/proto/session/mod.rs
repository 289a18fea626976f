//! One session from Open to Close, as a state machine with five verbs.
//!
//! ```text
//!   Opening ─▶ Greeting (RAKP 1) ─▶ Proving (RAKP 3) ─▶ Working ─▶ Closing ─▶ Done
//!      └────────────┴──────────────────┴───── refused, wrong password, too late ─▲
//!   Working: raise privilege ─▶ compare identity ─▶ the one action (0xD4: raise, try once)
//! ```
//!
//! Invariants: at most one question is open; a power command is an [`Output::SendCommand`] and nothing else is; no
//! output after the deadline; a session that the BMC holds open is closed or told to end, within the time kept back
//! for that. Calling order: any `handle_*`, then `poll_output` until `None`, then `poll_timeout`.

mod login;
mod types;

use core::{mem, time::Duration};
use std::{collections::VecDeque, vec::Vec};

use base::Instant;

pub use types::{Action, Answer, Config, Failure, Output, Reason};

use super::{
    chassis::{self, BUSY, INSUFFICIENT_PRIVILEGE},
    message::{self, Request, Response},
    rakp::{self, Handshake},
    rmcp::{self, Packet, PayloadType},
    seal::Keys,
    suite::{Crypto, CryptoFailed, Resend},
    wire::Malformed,
};

/// Longest user name (IPMI 2.0, 22.28).
const USER_MAX: usize = 16;
/// Longest password (22.30).
const PASSWORD_MAX: usize = 20;
/// Transmissions of one question; the deadline usually comes first.
const TRIES_MAX: u8 = 16;
/// Transmissions of a power command to a BMC that says nothing. A kernel that has lost a neighbour keeps datagrams for
/// up to three seconds and sends them when it is back, after the deadline perhaps (SAFETY.md 1.8, late delivery). It
/// loses a neighbour that it heard of just now only after five seconds; three tries end before that.
const COMMAND_TRIES_MAX: u8 = 3;
/// Kept back at the end for closing: a quarter of the time, at most this. Two round trips of a slow BMC.
const CLOSING_MAX: Duration = Duration::from_millis(300);

/// Steps inside an open session, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Raise,
    Identify,
    Act,
    /// The action was refused with 0xD4 and may be tried once more.
    RaiseAgain,
    ActAgain,
}

/// An open session: both ids, the keys, and where its counters stand.
struct Link {
    bmc_session: u32,
    console_session: u32,
    keys: Keys,
    /// Of the last packet sent; the first is 1.
    sent: u32,
    /// Of the newest packet accepted; older ones are replays or late.
    seen: u32,
    /// Of the open question, 6 bits.
    question: u8,
}

enum State {
    Opening {
        payload: Vec<u8>,
        resend: Resend,
    },
    Greeting {
        handshake: Handshake,
        resend: Resend,
    },
    Proving {
        handshake: Handshake,
        payload: Vec<u8>,
        resend: Resend,
    },
    Working {
        link: Link,
        step: Step,
        resend: Resend,
    },
    /// Close was sent and its answer is awaited, at most until the deadline.
    Closing {
        link: Link,
        resend: Resend,
        result: Result<Answer, Failure>,
    },
    Done,
}

/// See the top of this file.
pub struct Session<C> {
    crypto: C,
    config: Config,
    console_session: u32,
    deadline: Instant,
    give_up_at: Instant,
    state: State,
    outputs: VecDeque<Output>,
    /// Whether anything at all came back.
    heard: bool,
    /// Datagrams that were not authentic, not for us or not readable.
    dropped: u32,
}

impl<C: Crypto> Session<C> {
    /// Begins at once: the first output is ready. User name and password are cut by nobody: too long is a refusal.
    pub fn new(mut crypto: C, config: Config, now: Instant) -> Self {
        let deadline = now + config.within;
        let give_up_at = deadline - CLOSING_MAX.min(config.within / 4);
        let mut id = [0; 4];
        let random = crypto.random(&mut id);
        // Never 0, which means "no session".
        let console_session = u32::from_le_bytes(id) | 1;
        let mut session = Self {
            crypto,
            console_session,
            deadline,
            give_up_at,
            state: State::Done,
            outputs: VecDeque::new(),
            heard: false,
            dropped: 0,
            config,
        };
        let unmeant = session.config.target.is_none() && session.config.action != Action::Identify;
        if random.is_err() {
            session.finish(Err(Failure::Crypto));
        } else if session.config.user.len() > USER_MAX {
            session.finish(Err(Failure::Authentication("user name longer than 16 bytes")));
        } else if session.config.password.expose().len() > PASSWORD_MAX {
            session.finish(Err(Failure::Authentication("password longer than 20 bytes")));
        } else if unmeant {
            session.finish(Err(Failure::Violation("no target named")));
        } else {
            let Config { privilege, suite, .. } = session.config;
            let payload = rakp::open_request(0, privilege, console_session, suite);
            session.send_plain(PayloadType::OpenRequest, &payload);
            session.state = State::Opening { payload, resend: session.first_try(now) };
        }
        session
    }

    /// A datagram came from the BMC's address.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        if matches!(self.state, State::Done) || now >= self.deadline {
            return self.handle_timeout(now);
        }
        self.heard = true;
        let taken = rmcp::parse_packet(datagram).and_then(|packet| self.take(now, &packet));
        if taken.is_err() {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// Time has passed; harmless when too early.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.deadline {
            return self.expire();
        }
        if now >= self.give_up_at {
            self.give_up(now);
        }
        self.resend(now);
    }

    /// The caller lost interest: no further command; close.
    pub fn handle_abort(&mut self, now: Instant) {
        self.outputs.clear();
        self.close(now, Err(Failure::Superseded));
    }

    /// The permit was refused for the command that was just polled.
    pub fn handle_withdrawn(&mut self, now: Instant) {
        self.handle_abort(now);
    }

    /// What to do next.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call `handle_timeout`, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let resend = match &self.state {
            State::Opening { resend, .. }
            | State::Greeting { resend, .. }
            | State::Proving { resend, .. }
            | State::Working { resend, .. } => (resend.at, self.give_up_at, Reason::GiveUp),
            State::Closing { resend, .. } => (resend.at, self.deadline, Reason::Deadline),
            State::Done => return None,
        };
        let (resend_at, end_at, end) = resend;
        Some(if resend_at < end_at { (resend_at, Reason::Resend) } else { (end_at, end) })
    }

    /// Datagrams that changed nothing.
    pub const fn dropped(&self) -> u32 {
        self.dropped
    }

    fn first_try(&self, now: Instant) -> Resend {
        Resend { at: now + self.config.resend_after, tries: 1 }
    }

    fn take(&mut self, now: Instant, packet: &Packet<'_>) -> Result<(), Malformed> {
        match (mem::replace(&mut self.state, State::Done), packet.kind) {
            (State::Opening { payload, resend }, PayloadType::OpenResponse) => {
                self.state = State::Opening { payload, resend };
                self.opened(now, packet)
            }
            (State::Greeting { handshake, resend }, PayloadType::Rakp2) => {
                self.greeted(now, handshake, resend, packet)
            }
            (State::Proving { handshake, payload, resend }, PayloadType::Rakp4) => {
                self.proved(now, handshake, payload, resend, packet)
            }
            (State::Working { mut link, step, resend }, PayloadType::Ipmi) => {
                match receive(&self.crypto, &mut link, packet) {
                    Ok(Some(response)) => {
                        self.answered(now, link, step, resend, &response);
                        Ok(())
                    }
                    Ok(None) => {
                        self.state = State::Working { link, step, resend };
                        Ok(())
                    }
                    Err(error) => {
                        self.state = State::Working { link, step, resend };
                        Err(error)
                    }
                }
            }
            (State::Closing { mut link, resend, result }, PayloadType::Ipmi) => {
                match receive(&self.crypto, &mut link, packet) {
                    Ok(Some(_)) => {
                        self.finish(result);
                        Ok(())
                    }
                    other => {
                        self.state = State::Closing { link, resend, result };
                        other.map(|_| ())
                    }
                }
            }
            (state, _) => {
                self.state = state;
                Err(Malformed("not what this step waits for"))
            }
        }
    }

    fn answered(
        &mut self,
        now: Instant,
        link: Link,
        step: Step,
        resend: Resend,
        response: &Response,
    ) {
        let asked = self.question(step);
        if response.command != asked.command || response.netfn != (asked.netfn | 1) {
            return self.close_link(
                now,
                link,
                Err(Failure::Violation("it answers another command")),
            );
        }
        match (step, response.code) {
            // Asked again after the usual silence.
            (_, BUSY) => {
                let resend = Resend { tries: 0, ..resend };
                self.state = State::Working { link, step, resend };
            }
            (Step::Raise, 0) => self.ask(now, link, Step::Identify),
            (Step::RaiseAgain, 0) => self.ask(now, link, Step::ActAgain),
            (Step::Identify, 0) => self.identified(now, link, &response.data),
            (Step::Act | Step::ActAgain, 0) => {
                let result = match self.config.action {
                    Action::ReadPower => chassis::parse_chassis_status(&response.data)
                        .map(Answer::Power)
                        .map_err(|Malformed(why)| Failure::Violation(why)),
                    _ => Ok(Answer::Accepted),
                };
                self.close_link(now, link, result);
            }
            (Step::Act, INSUFFICIENT_PRIVILEGE) => self.ask(now, link, Step::RaiseAgain),
            (step, code) => {
                let what = step_name(step);
                self.close_link(now, link, Err(Failure::Refused { what, code }));
            }
        }
    }

    fn identified(&mut self, now: Instant, link: Link, data: &[u8]) {
        let identity = match chassis::parse_system_guid(data) {
            Ok(identity) => identity,
            Err(Malformed(why)) => return self.close_link(now, link, Err(Failure::Violation(why))),
        };
        match self.config.target {
            Some(target) if !identity.is(target) => {
                self.close_link(now, link, Err(Failure::WrongIdentity(identity)));
            }
            _ if self.config.action == Action::Identify => {
                self.close_link(now, link, Ok(Answer::Identity(identity)));
            }
            _ => self.ask(now, link, Step::Act),
        }
    }

    fn question(&self, step: Step) -> Request {
        match step {
            Step::Raise | Step::RaiseAgain => chassis::set_privilege(self.config.privilege),
            Step::Identify => chassis::system_guid(),
            Step::Act | Step::ActAgain => match self.config.action {
                Action::Identify => chassis::system_guid(),
                Action::ReadPower => chassis::chassis_status(),
                Action::SwitchOff => chassis::power_off(),
                Action::SwitchOn => chassis::power_on(),
            },
        }
    }

    fn ask(&mut self, now: Instant, mut link: Link, step: Step) {
        link.question = (link.question + 1) & 0x3f;
        let resend = self.first_try(now);
        self.transmit(&mut link, step);
        if !self.finished() {
            self.state = State::Working { link, step, resend };
        }
    }

    /// Whether the end is already said.
    fn finished(&self) -> bool {
        matches!(self.outputs.back(), Some(Output::Finished(_)))
    }

    /// Whether this step's question is a power command.
    const fn switches(&self, step: Step) -> bool {
        matches!(step, Step::Act | Step::ActAgain)
            && matches!(self.config.action, Action::SwitchOff | Action::SwitchOn)
    }

    /// Encodes the step's question under a fresh sequence number; a repetition under the old one would be dropped.
    fn transmit(&mut self, link: &mut Link, step: Step) {
        let request = self.question(step);
        match self.seal(link, &request) {
            Ok(bytes) if self.switches(step) => self.outputs.push_back(Output::SendCommand(bytes)),
            Ok(bytes) => self.outputs.push_back(Output::Send(bytes)),
            Err(CryptoFailed) => self.finish(Err(Failure::Crypto)),
        }
    }

    fn seal(&mut self, link: &mut Link, request: &Request) -> Result<Vec<u8>, CryptoFailed> {
        link.sent += 1;
        let message = request.encode(link.question);
        link.keys.seal(&mut self.crypto, link.bmc_session, link.sent, &message)
    }

    fn send_plain(&mut self, kind: PayloadType, payload: &[u8]) {
        self.outputs.push_back(Output::Send(rmcp::plain(kind, payload)));
    }

    fn close(&mut self, now: Instant, result: Result<Answer, Failure>) {
        match mem::replace(&mut self.state, State::Done) {
            State::Opening { .. } => self.finish(result),
            // The BMC holds a prepared session: end it by saying that we do not go on.
            State::Greeting { handshake, .. } | State::Proving { handshake, .. } => {
                let no = rakp::rakp3(0, rakp::STATUS_BAD_CHECK, handshake.bmc_session, &[]);
                self.send_plain(PayloadType::Rakp3, &no);
                self.finish(result);
            }
            State::Working { link, .. } => self.close_link(now, link, result),
            state @ (State::Closing { .. } | State::Done) => self.state = state,
        }
    }

    fn close_link(&mut self, now: Instant, mut link: Link, result: Result<Answer, Failure>) {
        link.question = (link.question + 1) & 0x3f;
        let request = chassis::close_session(link.bmc_session);
        match self.seal(&mut link, &request) {
            Ok(bytes) => {
                self.outputs.push_back(Output::Send(bytes));
                let resend = self.first_try(now);
                self.state = State::Closing { link, resend, result };
            }
            Err(CryptoFailed) => self.finish(result),
        }
    }

    fn finish(&mut self, result: Result<Answer, Failure>) {
        self.state = State::Done;
        self.outputs.push_back(Output::Finished(result));
    }

    /// The deadline: whatever waits to be sent is dropped (SAFETY.md#S7).
    fn expire(&mut self) {
        match mem::replace(&mut self.state, State::Done) {
            State::Done => {}
            State::Closing { result, .. } => {
                self.outputs.clear();
                self.finish(result);
            }
            state => {
                let failure = self.too_late(&state);
                self.outputs.clear();
                self.finish(Err(failure));
            }
        }
    }

    fn too_late(&self, state: &State) -> Failure {
        match state {
            _ if !self.heard => Failure::Silent,
            State::Opening { .. } => Failure::Timeout("opening a session"),
            State::Greeting { .. } | State::Proving { .. } => Failure::Timeout("logging in"),
            State::Working { step, .. } => Failure::Timeout(step_name(*step)),
            State::Closing { .. } | State::Done => Failure::Timeout("closing the session"),
        }
    }

    fn give_up(&mut self, now: Instant) {
        if matches!(self.state, State::Closing { .. } | State::Done) {
            return;
        }
        let failure = self.too_late(&self.state);
        // What was not polled yet must not leave after this.
        self.outputs.clear();
        self.close(now, Err(failure));
    }

    fn resend(&mut self, now: Instant) {
        let after = self.config.resend_after;
        let next = |resend: Resend| {
            (now >= resend.at && resend.tries < TRIES_MAX)
                .then_some(Resend { at: now + after, tries: resend.tries + 1 })
        };
        match mem::replace(&mut self.state, State::Done) {
            State::Opening { payload, mut resend } => {
                if let Some(again) = next(resend) {
                    self.send_plain(PayloadType::OpenRequest, &payload);
                    resend = again;
                }
                self.state = State::Opening { payload, resend: parked(resend, now) };
            }
            State::Greeting { handshake, mut resend } => {
                if let Some(again) = next(resend) {
                    self.send_plain(PayloadType::Rakp1, &rakp::rakp1(0, &handshake));
                    resend = again;
                }
                self.state = State::Greeting { handshake, resend: parked(resend, now) };
            }
            State::Proving { handshake, payload, mut resend } => {
                if let Some(again) = next(resend) {
                    self.send_plain(PayloadType::Rakp3, &payload);
                    resend = again;
                }
                self.state = State::Proving { handshake, payload, resend: parked(resend, now) };
            }
            State::Working { link, step, resend }
                if self.switches(step) && resend.tries >= COMMAND_TRIES_MAX && now >= resend.at =>
            {
                self.close_link(now, link, Err(Failure::Timeout(step_name(step))));
            }
            State::Working { mut link, step, mut resend } => {
                if let Some(again) = next(resend) {
                    self.transmit(&mut link, step);
                    resend = again;
                }
                if !self.finished() {
                    self.state = State::Working { link, step, resend: parked(resend, now) };
                }
            }
            State::Closing { mut link, mut resend, result } => {
                if let Some(again) = next(resend) {
                    let request = chassis::close_session(link.bmc_session);
                    if let Ok(bytes) = self.seal(&mut link, &request) {
                        self.outputs.push_back(Output::Send(bytes));
                    }
                    resend = again;
                }
                self.state = State::Closing { link, resend: parked(resend, now), result };
            }
            State::Done => {}
        }
    }
}

/// After the last try nothing is repeated: far in the future, so that only the end of the time wakes us.
fn parked(resend: Resend, now: Instant) -> Resend {
    if resend.tries >= TRIES_MAX && resend.at <= now {
        Resend { at: Instant(u64::MAX), ..resend }
    } else {
        resend
    }
}

/// An authentic answer to the open question, `None` for an authentic answer to an older one.
fn receive(
    crypto: &impl Crypto,
    link: &mut Link,
    packet: &Packet<'_>,
) -> Result<Option<Response>, Malformed> {
    if packet.session != link.console_session {
        return Err(Malformed("a packet of another session"));
    }
    let message = link.keys.open(crypto, packet)?;
    if packet.sequence <= link.seen {
        return Err(Malformed("a packet seen before"));
    }
    link.seen = packet.sequence;
    let response = message::parse_response(&message)?;
    Ok((response.sequence == link.question).then_some(response))
}

const fn step_name(step: Step) -> &'static str {
    match step {
        Step::Raise | Step::RaiseAgain => "raising the privilege",
        Step::Identify => "reading the system GUID",
        Step::Act | Step::ActAgain => "the chassis command",
    }
}
