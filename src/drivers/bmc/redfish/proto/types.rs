//! What a session is asked, what it says and wants.

use std::{string::String, vec::Vec};

use base::SystemUuid;
use zeroize::Zeroizing;

use crate::{
    power::{DeviceIdentity, PowerState},
    secret::Password,
};

/// The one thing that a session is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the identity only.
    Identify,
    /// Read the power state.
    ReadPower,
    /// Off, at once.
    SwitchOff,
    /// On.
    SwitchOn,
}

/// What the session came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Action::Identify`].
    Identity(DeviceIdentity),
    /// To [`Action::ReadPower`].
    Power(PowerState),
    /// The command was accepted. It says nothing about the power (SAFETY.md#S4).
    Accepted,
}

/// What a BMC said in its own words, made printable; empty when it said nothing that may be repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sayings(pub String);

/// Why a session ended without its answer. None is success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Name or password are not what the service has.
    Authentication(&'static str),
    /// The service says no.
    Refused {
        /// To which step.
        what: &'static str,
        /// HTTP status.
        status: u16,
        /// Its reason.
        said: Sayings,
    },
    /// It does not know the state itself.
    StateUnknown,
    /// The permit was withdrawn right before the command, or the caller went away.
    Superseded,
    /// Nothing came back before the deadline.
    Timeout(&'static str),
    /// The network said no.
    Unreachable(String),
    /// Its certificate is not the pinned one. Nothing was sent.
    Untrusted(String),
    /// The object does not fit this service; the text says what to write.
    Unusable(String),
    /// Against the protocol.
    Violation(&'static str),
    /// Another machine than the one that was meant.
    WrongIdentity(DeviceIdentity),
}

/// HTTP methods that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Looks.
    Get,
    /// Opens a session, or switches.
    Post,
    /// Ends a session.
    Delete,
}

/// How a request says who asks. No `Debug`: it holds secrets.
#[derive(Clone)]
pub enum Pass {
    /// Not at all.
    None,
    /// `X-Auth-Token`.
    Token(Zeroizing<String>),
    /// Name and password, where the service has no sessions.
    Basic,
}

/// One request. No `Debug`: its body may hold the password.
#[derive(Clone)]
pub struct Ask {
    /// Method.
    pub method: Method,
    /// Path on the same service; checked, never an address of somebody else.
    pub path: String,
    /// JSON.
    pub body: Option<Zeroizing<Vec<u8>>>,
    /// Who asks.
    pub pass: Pass,
}

/// One answer, as far as it is looked at.
#[derive(Clone, Default)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Header `X-Auth-Token`.
    pub token: Option<Zeroizing<String>>,
    /// Header `Location`.
    pub location: Option<String>,
    /// At most [`super::BODY_MAX`] bytes.
    pub body: Vec<u8>,
}

/// What the world outside must do.
#[derive(Clone)]
pub enum Output {
    /// Ask at once. Switches nothing.
    Ask(Ask),
    /// A power command: ask the permit, then send it once, or call `handle_withdrawn`.
    Command(Ask),
    /// The end; nothing follows.
    Finished(Result<Answer, Failure>),
}

/// Where a session stands: which answer it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `/redfish/v1/`: where systems and sessions are.
    Root,
    /// A new session.
    Login,
    /// Which systems there are: none was named, or the named one is unknown.
    List,
    /// Identity, state, actions.
    System,
    /// The reset.
    Command,
    /// The end of the session.
    Logout,
    /// Nothing.
    Done,
}

impl Step {
    /// For texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "the service root",
            Self::Login => "the login",
            Self::List => "the list of systems",
            Self::System => "the system",
            Self::Command => "the power command",
            Self::Logout | Self::Done => "the logout",
        }
    }
}

/// What the session is about. No `Debug`: it holds the password.
#[derive(Clone)]
pub struct Config {
    /// Name of the account.
    pub user: String,
    /// Its password.
    pub password: Password,
    /// `Id` of the system or its path; the only one where it is missing.
    pub system: Option<String>,
    /// The machine that must be behind it; `None` for [`Action::Identify`] only.
    pub target: Option<SystemUuid>,
    /// What for.
    pub action: Action,
}

/// What the service root says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Where systems are listed.
    pub systems: String,
    /// Where sessions are made, if it has any.
    pub sessions: Option<String>,
}

/// What a system says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// Whom it belongs to, if it says so.
    pub identity: Option<DeviceIdentity>,
    /// `None` where it does not know.
    pub power: Option<PowerState>,
    /// Where resets are asked for.
    pub reset: Option<String>,
    /// The kinds of reset that it takes, if it lists them.
    pub kinds: Option<Vec<String>>,
}
