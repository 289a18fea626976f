//! One session, from the service root to the logout.

use std::{
    string::{String, ToString as _},
    vec::Vec,
};

use zeroize::Zeroizing;

use super::{
    judge::{
        BODY_MAX, find_system, location, parse_members, parse_root, parse_system, path, printable,
        sayings, session_path,
    },
    types::{Action, Answer, Ask, Config, Failure, Method, Output, Pass, Reply, Step, System},
};
use crate::power::PowerState;

/// Where every service begins (DSP0266 section 8.3); with the slash, or some redirect.
const ROOT: &str = "/redfish/v1/";
/// Longest token.
const TOKEN_MAX: usize = 4096;
/// Systems that a text names.
const NAMED_MAX: usize = 8;

/// Five verbs: `handle_reply`, `handle_failure`, `handle_withdrawn`, `handle_abort`, `poll_output`. Each request gets
/// one of the first three.
///
/// Invariant: one `Output::Command` at most, and only after the identity was compared in this session; once a session
/// was opened and its place is known, `Finished` comes after the answer to its DELETE.
pub struct Session {
    config: Config,
    step: Step,
    output: Option<Output>,
    pass: Pass,
    /// Where the open session is, to end it.
    opened: Option<String>,
    systems: String,
    system: String,
    /// What the system said before the command.
    before: Option<PowerState>,
    /// The named system is not there; the list is asked for the text.
    missing: bool,
    aborted: bool,
    result: Option<Result<Answer, Failure>>,
}

impl Session {
    /// The first request is ready.
    pub fn new(config: Config) -> Self {
        let mut session = Self {
            config,
            step: Step::Root,
            output: None,
            pass: Pass::None,
            opened: None,
            systems: String::new(),
            system: String::new(),
            before: None,
            missing: false,
            aborted: false,
            result: None,
        };
        session.ask(Step::Root, Method::Get, ROOT.to_string(), None);
        session
    }

    /// Which answer it waits for.
    pub const fn step(&self) -> Step {
        self.step
    }

    /// What is to be done, once.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.take()
    }

    /// An answer came.
    pub fn handle_reply(&mut self, reply: &Reply) {
        if reply.body.len() > BODY_MAX {
            return self.finish(Err(Failure::Violation("an answer is longer than 256 KiB")));
        }
        match self.step {
            Step::Done => {}
            // Whatever it says: there is nothing left to do.
            Step::Logout => self.end(),
            // Asked before the status is: some answer a good session with 200.
            Step::Login => self.logged_in(reply),
            _ if (300..400).contains(&reply.status) => {
                self.finish(Err(Failure::Violation("it redirects, which is never followed")));
            }
            step => {
                if let Err(failure) = self.answered(step, reply) {
                    self.finish(Err(failure));
                }
            }
        }
        if self.aborted {
            self.finish(Err(Failure::Superseded));
        }
    }

    /// No answer came, or none that can be read.
    pub fn handle_failure(&mut self, failure: Failure) {
        match self.step {
            Step::Done => {}
            Step::Logout => self.end(),
            _ => self.finish(Err(failure)),
        }
    }

    /// The command may not be sent any more.
    pub fn handle_withdrawn(&mut self) {
        if self.step == Step::Command {
            self.finish(Err(Failure::Superseded));
        }
    }

    /// Nobody waits for the answer any more. A login that is under way is waited for: its session must be ended.
    pub fn handle_abort(&mut self) {
        self.aborted = true;
        if self.step != Step::Login {
            self.finish(Err(Failure::Superseded));
        }
    }

    fn ask(&mut self, step: Step, method: Method, path: String, body: Option<Zeroizing<Vec<u8>>>) {
        self.step = step;
        let ask = Ask { method, path, body, pass: self.pass.clone() };
        let command = step == Step::Command;
        self.output = Some(if command { Output::Command(ask) } else { Output::Ask(ask) });
    }

    /// The result stands; what is open is closed first.
    fn finish(&mut self, result: Result<Answer, Failure>) {
        if matches!(self.step, Step::Logout | Step::Done) {
            return;
        }
        self.result = Some(result);
        match self.opened.take() {
            Some(opened) => self.ask(Step::Logout, Method::Delete, opened, None),
            None => self.end(),
        }
    }

    fn end(&mut self) {
        self.step = Step::Done;
        if let Some(result) = self.result.take() {
            self.output = Some(Output::Finished(result));
        }
    }

    fn answered(&mut self, step: Step, reply: &Reply) -> Result<(), Failure> {
        let ok = (200..300).contains(&reply.status);
        match step {
            Step::System if reply.status == 404 => {
                self.missing = true;
                self.ask(Step::List, Method::Get, self.systems.clone(), None);
            }
            // Off already, and it says that it cannot be switched off: what counts is read afterwards.
            Step::Command if ok || self.is_so_already(reply.status) => {
                self.finish(Ok(Answer::Accepted));
            }
            _ if !ok => return Err(self.refused(step, reply)),
            Step::Root => {
                let root = parse_root(&reply.body)?;
                self.systems = root.systems;
                match root.sessions {
                    Some(sessions) => self.log_in(sessions)?,
                    None => self.go_without_session()?,
                }
            }
            Step::List => {
                let members = parse_members(&reply.body)?;
                self.listed(&members)?;
            }
            Step::System => {
                let system = parse_system(&reply.body, &self.system)?;
                self.seen(&system)?;
            }
            Step::Command | Step::Login | Step::Logout | Step::Done => {}
        }
        Ok(())
    }

    fn is_so_already(&self, status: u16) -> bool {
        let wanted = match self.config.action {
            Action::SwitchOff => PowerState::Off,
            Action::SwitchOn => PowerState::On,
            Action::Identify | Action::ReadPower => return false,
        };
        self.before == Some(wanted) && (status == 400 || status == 409)
    }

    fn refused(&self, step: Step, reply: &Reply) -> Failure {
        let token: &[u8] = match &self.pass {
            Pass::Token(token) => token.as_bytes(),
            Pass::None | Pass::Basic => b"",
        };
        match (reply.status, &self.pass) {
            (401, Pass::Basic) => Failure::Authentication("HTTP 401"),
            (401, Pass::None) => Failure::Violation(
                "it wants a login for its service root, which Redfish leaves open",
            ),
            (status, _) => {
                let said = sayings(&reply.body, &[self.config.password.expose(), token]);
                Failure::Refused { what: step.name(), status, said }
            }
        }
    }

    fn log_in(&mut self, sessions: String) -> Result<(), Failure> {
        let password = core::str::from_utf8(self.config.password.expose()).map_err(|_| {
            Failure::Authentication("the password is not UTF-8, and Redfish takes nothing else")
        })?;
        #[derive(serde::Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Login<'a> {
            user_name: &'a str,
            password: &'a str,
        }
        let login = Login { user_name: &self.config.user, password };
        let body = serde_json::to_vec(&login)
            .map_err(|_| Failure::Authentication("the login cannot be written"))?;
        self.ask(Step::Login, Method::Post, sessions, Some(Zeroizing::new(body)));
        Ok(())
    }

    fn logged_in(&mut self, reply: &Reply) {
        let next = match reply.status {
            200..300 => self.opened(reply),
            // It names sessions and has none.
            404 | 405 | 501 => self.go_without_session(),
            400 | 401 | 403 => Err(Failure::Authentication(match reply.status {
                400 => "HTTP 400",
                401 => "HTTP 401",
                _ => "HTTP 403",
            })),
            300..400 => Err(Failure::Violation("it redirects the login, which is never followed")),
            // Not repeated what it says: the password was in the request.
            status => Err(Failure::Refused { what: "the login", status, said: Default::default() }),
        };
        if let Err(failure) = next {
            self.finish(Err(failure));
        }
    }

    fn opened(&mut self, reply: &Reply) -> Result<(), Failure> {
        self.opened =
            reply.location.as_deref().and_then(location).or_else(|| session_path(&reply.body));
        let sane = |token: &&Zeroizing<String>| {
            !token.is_empty()
                && token.len() <= TOKEN_MAX
                && token.bytes().all(|b| b.is_ascii_graphic())
        };
        let token = reply.token.as_ref().filter(sane);
        let token = token.ok_or(Failure::Violation("it opened a session without a token"))?;
        self.pass = Pass::Token(token.clone());
        self.choose()
    }

    fn go_without_session(&mut self) -> Result<(), Failure> {
        self.pass = Pass::Basic;
        self.choose()
    }

    fn choose(&mut self) -> Result<(), Failure> {
        match &self.config.system {
            Some(wanted) => {
                let system = find_system(&self.systems, wanted)?;
                self.look_at(system);
            }
            None => self.ask(Step::List, Method::Get, self.systems.clone(), None),
        }
        Ok(())
    }

    fn look_at(&mut self, system: String) {
        self.system = system;
        self.ask(Step::System, Method::Get, self.system.clone(), None);
    }

    fn listed(&mut self, members: &[String]) -> Result<(), Failure> {
        match members {
            [only] if !self.missing => {
                self.look_at(only.clone());
                Ok(())
            }
            _ => {
                let id = |path: &String| {
                    let last = path.trim_end_matches('/').rsplit('/').next();
                    printable(last.unwrap_or_default(), 64)
                };
                let ids: Vec<String> = members.iter().take(NAMED_MAX).map(id).collect();
                let more = if members.len() > NAMED_MAX { ", ..." } else { "" };
                let ids = format!("{}{more}", ids.join(", "));
                let count = members.len();
                Err(Failure::Unusable(match &self.config.system {
                    Some(wanted) => {
                        let wanted = printable(wanted, 64);
                        format!("no system {wanted:?} at this BMC; set systemId to one of: {ids}")
                    }
                    None if count == 0 => {
                        "the BMC lists no system: is its machine plugged in?".into()
                    }
                    None => format!("{count} systems at this BMC; set systemId ({ids})"),
                }))
            }
        }
    }

    fn seen(&mut self, system: &System) -> Result<(), Failure> {
        let identity = system.identity.filter(|identity| identity.usable());
        let identity = identity.ok_or_else(|| {
            Failure::Unusable(
                "the BMC does not say the UUID of its system, so it could be any machine's: update its firmware, or set the UUID there".into(),
            )
        })?;
        // SAFETY.md#S8: before anything that counts, in the same session.
        match (self.config.action, self.config.target) {
            (Action::Identify, _) => {
                self.finish(Ok(Answer::Identity(identity)));
                return Ok(());
            }
            (_, Some(target)) if identity.is(target) => {}
            _ => return Err(Failure::WrongIdentity(identity)),
        }
        self.before = system.power;
        let (kinds, none): (&[&str], _) = match self.config.action {
            Action::Identify | Action::ReadPower => {
                let power = system.power.ok_or(Failure::StateUnknown)?;
                self.finish(Ok(Answer::Power(power)));
                return Ok(());
            }
            Action::SwitchOff => (&["ForceOff"], "take the power away"),
            Action::SwitchOn => (&["On", "ForceOn"], "switch the machine on"),
        };
        let reset = system.reset.clone().and_then(|reset| path(&reset)).ok_or_else(|| {
            Failure::Unusable(
                "the BMC offers no reset of this system to this account: give it the role Operator"
                    .into(),
            )
        })?;
        let offered = |kind: &&&str| {
            system.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|offered| offered == **kind))
        };
        let kind = kinds.iter().find(offered).ok_or_else(|| {
            let offered: Vec<String> =
                system.kinds.iter().flatten().map(|kind| printable(kind, 24)).collect();
            Failure::Unusable(format!(
                "the BMC cannot {none}: it takes no {} but {}; use another fence device for this machine",
                kinds[0],
                offered.join(", ")
            ))
        })?;
        let body = format!("{{\"ResetType\":\"{kind}\"}}").into_bytes();
        self.ask(Step::Command, Method::Post, reset, Some(Zeroizing::new(body)));
        Ok(())
    }
}
