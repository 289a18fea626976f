//! What travels between the replicated state, a fencer and back.
//!
//! Invariants: a command names (node, incident) and carries epoch and deadline (SAFETY.md#S7); "off" is said only
//! after a read in a session opened after the command was answered and its session closed (SAFETY.md#S4).

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use base::{Epoch, FenceDevice, NodeId, RingId};
use serde::{Deserialize, Serialize};

/// What is fenced: a node and the incident in which its debt arose (CLUSTER.md section 6). Evidence that names
/// another incident is ignored; `FencingOperation` objects are named from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incident {
    /// The machine.
    pub node: NodeId,
    /// Ring id of the configuration in which the debt arose.
    pub ring: RingId,
}

/// What the fencer shall bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PowerGoal {
    /// Read only: is it off already? (start-up, and before every off)
    Read,
    /// Off, verified.
    Off,
    /// On again; only after the evidence has taken effect.
    On,
}

/// One command to one fencer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceCommand {
    /// Against whom and why.
    pub incident: Incident,
    /// Era and coordinator; compared for equality right before anything is sent to the BMC.
    pub epoch: Epoch,
    /// What to bring about.
    pub goal: PowerGoal,
    /// Devices of one level; all must succeed. In the order in which they are used.
    pub devices: Vec<FenceDevice>,
    /// Nothing is sent later than this after delivery; connections are aborted then.
    pub deadline: Duration,
}

/// What a power device said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PowerState {
    /// Powered, or on the way up or down.
    On,
    /// Off.
    Off,
}

/// Why a device did not do what it should. None of these is ever taken for success (SAFETY.md#S4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum DeviceError {
    /// Wrong user or password. Somebody must correct the Secret.
    #[error("authentication failed: check the Secret of the fence device")]
    Authentication,
    /// It answered that it will not.
    #[error("refused: {0}")]
    Refused(String),
    /// Silence until the deadline.
    #[error("no answer")]
    Unreachable,
    /// Still not off when the deadline came.
    #[error("not off before the deadline")]
    NotOff,
    /// It is the BMC of another machine. Never used; somebody must check the cabling.
    #[error("reports identity {0}, not the enrolled one")]
    WrongIdentity(String),
    /// Its answers make no sense.
    #[error("protocol violation: {0}")]
    Protocol(String),
    /// No credentials on this member.
    #[error("no credentials for this device on this member")]
    NoCredentials,
    /// The fencer's own rules forbade sending (epoch, deadline, target is a member again).
    #[error("not sent: {0}")]
    NotSent(String),
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceResult {
    /// Of the command.
    pub incident: Incident,
    /// Of the command.
    pub epoch: Epoch,
    /// Of the command.
    pub goal: PowerGoal,
    /// `Ok(Off)` after `Off` means: verified off by the rule of SAFETY.md#S4 on every device of the level.
    pub outcome: Result<PowerState, DeviceError>,
    /// Whether an off command was sent at all.
    pub commanded: bool,
    /// Duration of command and of verification, for the timeline.
    pub took: Duration,
    /// Part of `took` spent on reading back.
    pub verify: Duration,
}
