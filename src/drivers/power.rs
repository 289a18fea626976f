//! What the fencer asks of anything that can take the power from a machine.
//!
//! Invariants: `Ok(PowerState::Off)` comes from a status read in a session that was opened after any command of the
//! same call was answered and its session closed (SAFETY.md#S4), from a device whose identity equals the target's
//! (SAFETY.md#S8), before the deadline (SAFETY.md#S7). Everything else is `On` or an error.

use core::{fmt, future::Future, pin::Pin, time::Duration};
use std::{
    string::{String, ToString as _},
    sync::Arc,
};

use base::SystemUuid;
pub use fencing::PowerState;
use fencing::{Answer, DeviceAction, DeviceCall, DeviceError};

/// A boxed future, so that devices of several kinds stand in one list.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Looked at again right before a command leaves this machine (CLUSTER.md section 4): the epoch that was installed
/// when the order came may be gone after a slow login at the BMC.
#[derive(Clone)]
pub struct Permit(Arc<dyn Fn() -> bool + Send + Sync>);

impl Permit {
    /// `look` is called once per transmission of a power command, with nothing but the system call after it.
    pub fn new(look: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    /// Whether the order still stands, asked now.
    pub fn stands(&self) -> bool {
        (self.0)()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit(..)")
    }
}

/// One order to switch.
#[derive(Clone, Debug)]
pub struct PowerOrder {
    /// The machine that is meant, as enrolled: compared before the command, in the same session (SAFETY.md#S8).
    pub target: SystemUuid,
    /// Counted on this machine's boot-time clock from the call. Nothing is sent after it (SAFETY.md#S7).
    pub within: Duration,
    /// Asked right before each transmission of the command.
    pub permit: Permit,
}

/// The identity that a device reports for its machine: 16 bytes whose order the vendors do not agree on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceIdentity(pub [u8; 16]);

impl DeviceIdentity {
    /// The three ways in which devices write a UUID: as the text reads (RFC 9562), with its first three fields
    /// little-endian (SMBIOS 2.6, what most BMCs copy from DMI), and wholly reversed (IPMI 2.0, table 20-10).
    pub fn readings(&self) -> [SystemUuid; 3] {
        let text = self.0;
        let b = self.0;
        let smbios = [
            b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13],
            b[14], b[15],
        ];
        let mut reversed = self.0;
        reversed.reverse();
        [text, smbios, reversed].map(|bytes| SystemUuid(u128::from_be_bytes(bytes)))
    }

    /// Whether this device belongs to the machine that calls itself `machine`. Factory blanks (all zeros, all ones)
    /// belong to nobody: two such machines would be told apart by nothing.
    pub fn is(&self, machine: SystemUuid) -> bool {
        self.usable() && self.readings().contains(&machine)
    }

    /// False for the blanks that some boards leave the factory with.
    pub fn usable(&self) -> bool {
        self.0 != [0; 16] && self.0 != [0xff; 16]
    }
}

impl fmt::Display for DeviceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [text, smbios, _] = self.readings();
        write!(f, "{text} (as SMBIOS: {smbios})")
    }
}

impl fmt::Debug for DeviceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a device could not do what was asked. None of these says anything about the power of the machine, and none
/// is success. `commanded` variants aside, no command was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PowerError {
    /// Name or password are not what the device has. A person must correct the Secret.
    #[error(
        "the BMC refused the login ({0}): correct user name or password in the credentials Secret"
    )]
    AuthenticationFailed(&'static str),
    /// The device speaks, but not the protocol. No state can be read from it.
    #[error(
        "the BMC broke the protocol: {0}; check that the address belongs to a BMC, update its firmware"
    )]
    ProtocolViolation(&'static str),
    /// The device said no, with its code.
    #[error("the BMC refused {what}: code {code:#04x}")]
    Refused {
        /// Which step.
        what: &'static str,
        /// Completion or status code as sent.
        code: u8,
    },
    /// The device said no over HTTP, with its own words where it had any.
    #[error("the BMC refused {what}: HTTP {status}{said}{hint}", hint = hint(*.status))]
    RefusedByHttp {
        /// Which step.
        what: &'static str,
        /// HTTP status.
        status: u16,
        /// Empty, or its reason in brackets.
        said: String,
    },
    /// What the object says does not fit this device; the text says what to write.
    #[error("{0}")]
    Misfit(String),
    /// Its certificate is not the pinned one. Nothing was sent to it.
    #[error("{0}")]
    Untrusted(String),
    /// The device answered, but does not know the state itself. Read again.
    #[error("the BMC does not know the power state")]
    StateUnknown,
    /// The permit was withdrawn before the command was sent. Nobody needs to act: another coordinator decides anew.
    #[error("the order was withdrawn before its command was sent")]
    Superseded,
    /// The deadline passed. A command may have been carried out; only a status read tells.
    #[error("the BMC did not answer in time ({0})")]
    Timeout(&'static str),
    /// Nothing came back at all, or the network said so.
    #[error("the BMC cannot be reached ({0}): check its address, its network and its power")]
    Unreachable(String),
    /// The device belongs to another machine than the one that was meant. Nothing was sent.
    #[error(
        "the BMC reports {found}, but {wanted} was to be switched: cables or addresses are crossed"
    )]
    WrongIdentity {
        /// Whom the order meant.
        wanted: SystemUuid,
        /// What the device says.
        found: DeviceIdentity,
    },
}

impl PowerError {
    /// Label of metrics, stable.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::AuthenticationFailed(_) => "authentication_failed",
            Self::ProtocolViolation(_) => "protocol_violation",
            Self::Refused { .. } | Self::RefusedByHttp { .. } => "refused",
            Self::Misfit(_) => "misfit",
            Self::Untrusted(_) => "untrusted",
            Self::StateUnknown => "state_unknown",
            Self::Superseded => "superseded",
            Self::Timeout(_) => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::WrongIdentity { .. } => "wrong_identity",
        }
    }
}

/// What to do about a status of HTTP.
const fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => "; give the account the role Operator",
        429 | 503 => "; it is busy or has no session free: end other sessions, or restart the BMC",
        _ => "",
    }
}

impl From<PowerError> for DeviceError {
    fn from(error: PowerError) -> Self {
        match error {
            PowerError::AuthenticationFailed(_) => Self::Authentication,
            PowerError::ProtocolViolation(why) => Self::Protocol(why.to_string()),
            PowerError::Refused { .. } | PowerError::RefusedByHttp { .. } => {
                Self::Refused(error.to_string())
            }
            PowerError::Misfit(why) | PowerError::Untrusted(why) => Self::NotSent(why),
            PowerError::StateUnknown => Self::Protocol(error.to_string()),
            PowerError::Superseded => Self::NotSent(error.to_string()),
            PowerError::Timeout(_) | PowerError::Unreachable(_) => Self::Unreachable,
            PowerError::WrongIdentity { found, .. } => Self::WrongIdentity(found.to_string()),
        }
    }
}

/// Something that can read and switch the power of exactly one machine.
///
/// Dropping a future before it ends aborts the work: no further command is sent, the session is closed.
pub trait PowerDevice: Send + Sync {
    /// What the device says whose power it holds. For enrolment and health; the others compare by themselves.
    fn identity(&self, within: Duration) -> BoxFuture<'_, Result<DeviceIdentity, PowerError>>;

    /// Reads the state, in a session of its own, after comparing the identity.
    fn status(
        &self,
        target: SystemUuid,
        within: Duration,
    ) -> BoxFuture<'_, Result<PowerState, PowerError>>;

    /// Off: one session for the command, closed; then a new session that reads the state. `Power(Off)` is verified,
    /// `Power(On)` and `Accepted` mean that the command was accepted and the machine is not off, or not known to be:
    /// read again.
    fn off(&self, order: PowerOrder) -> BoxFuture<'_, Result<Answer, PowerError>>;

    /// On, in the same way.
    fn on(&self, order: PowerOrder) -> BoxFuture<'_, Result<Answer, PowerError>>;
}

/// Carries out one call of the fencing core. Drop the future to abort it.
pub async fn carry_out(
    device: &dyn PowerDevice,
    call: &DeviceCall,
    permit: Permit,
) -> Result<Answer, DeviceError> {
    let Some(target) = call.device.identity else {
        let why = "no identity was enrolled for this device: it could belong to any machine";
        return Err(DeviceError::NotSent(why.into()));
    };
    let order = PowerOrder { target, within: call.within, permit };
    Ok(match call.action {
        DeviceAction::Read => Answer::Power(device.status(target, call.within).await?),
        DeviceAction::SwitchOff => device.off(order).await?,
        DeviceAction::SwitchOn => device.on(order).await?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "4c4c4544-0042-3510-8054-b4c04f564431";

    #[test]
    fn the_three_byte_orders_of_one_machine_are_recognised() {
        let machine: SystemUuid = MACHINE.parse().expect("valid");
        let text = machine.0.to_be_bytes();
        let smbios = *b"\x44\x45\x4c\x4c\x42\x00\x10\x35\x80\x54\xb4\xc0\x4f\x56\x44\x31";
        let mut reversed = text;
        reversed.reverse();
        for bytes in [text, smbios, reversed] {
            assert!(DeviceIdentity(bytes).is(machine), "{bytes:02x?}");
        }
        let mut other = text;
        other[15] ^= 1;
        assert!(!DeviceIdentity(other).is(machine));
    }

    #[test]
    fn blanks_belong_to_nobody() {
        assert!(!DeviceIdentity([0; 16]).is(SystemUuid(0)));
        assert!(!DeviceIdentity([0xff; 16]).is(SystemUuid(u128::MAX)));
    }
}
