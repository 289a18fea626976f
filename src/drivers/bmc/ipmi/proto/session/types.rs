//! What a session is asked, what it says and wants.

use core::time::Duration;
use std::vec::Vec;

use base::SystemUuid;

use crate::{
    bmc::ipmi::proto::suite::{CipherSuite, Privilege},
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

/// Why a session ended without its answer. None is success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The BMC does not know the password, or we do not: a code was wrong.
    Authentication(&'static str),
    /// The cryptographic library failed.
    Crypto,
    /// The BMC says no.
    Refused {
        /// To which step.
        what: &'static str,
        /// Status of table 13-15 or completion code of table 5-2.
        code: u8,
    },
    /// No datagram came back at all.
    Silent,
    /// The suite is not offered; another one may be tried.
    SuiteRefused(u8),
    /// The permit was withdrawn right before the command.
    Superseded,
    /// Something came back, but not the end of this step.
    Timeout(&'static str),
    /// Authentic, and against the protocol.
    Violation(&'static str),
    /// Another machine than the one that was meant.
    WrongIdentity(DeviceIdentity),
}

/// What the world outside must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send at once. Switches nothing.
    Send(Vec<u8>),
    /// A power command: ask the permit, then send at once, or call `handle_withdrawn`.
    SendCommand(Vec<u8>),
    /// The end; nothing follows.
    Finished(Result<Answer, Failure>),
}

/// Why the session wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Silence: send again.
    Resend,
    /// Time to give up and close.
    GiveUp,
    /// The deadline: nothing leaves any more.
    Deadline,
}

/// What a session needs to know.
pub struct Config {
    /// At most 16 bytes.
    pub user: Vec<u8>,
    /// At most 20 bytes.
    pub password: Password,
    /// Operator is enough.
    pub privilege: Privilege,
    /// Offered to the BMC; it must take exactly this one.
    pub suite: CipherSuite,
    /// Whose machine it must be. `None` only with [`Action::Identify`].
    pub target: Option<SystemUuid>,
    /// What to do.
    pub action: Action,
    /// From now on.
    pub within: Duration,
    /// Silence after which a question is repeated.
    pub resend_after: Duration,
}
