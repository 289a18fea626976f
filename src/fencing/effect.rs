//! What a fencer does to the world, and what it hears back.

use core::time::Duration;

use base::{FenceDevice, NodeId};

use crate::{FenceResult, PowerState};

/// Names one call of a device; never used twice by one fencer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// What is done in one session with a device. The driver compares the identity that the device reports with the
/// enrolled one in the same session, before anything else (SAFETY.md#S8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceAction {
    /// Read the power state.
    Read,
    /// Switch off. Ask [`crate::Fencer::permits`] right before each transmission of the command.
    SwitchOff,
    /// Switch on. The same.
    SwitchOn,
}

/// One session with one device: opened, used, closed; the answer comes after it is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCall {
    /// To be named in the answer.
    pub id: CallId,
    /// Whose power it is about.
    pub target: NodeId,
    /// Which device.
    pub device: FenceDevice,
    /// What to do.
    pub action: DeviceAction,
    /// Nothing is sent later than this from now; connections are aborted then (SAFETY.md#S7).
    pub within: Duration,
}

/// What a device said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The command was accepted. It says nothing about the power (SAFETY.md#S4).
    Accepted,
    /// A status read in a session of its own; to a command: in a session opened after the command's was closed.
    Power(PowerState),
}

/// An effect. To be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a session with a device. Everything was looked at just now, so it must not wait.
    Call(DeviceCall),
    /// Abort the session at once: its connection is closed, nothing buffered survives. Its answer is not awaited.
    Abort(CallId),
    /// A command ended. Exactly one for each command.
    Result(FenceResult),
}

/// Why a fencer wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// A command reaches its deadline.
    Deadline,
    /// The delay of a device is over.
    Delay,
    /// The next status read is due.
    Read,
}
