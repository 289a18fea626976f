//! What can be run, as data: the closed set of resource types and the roles of an instance.
//!
//! Invariants: no commands, images, paths or environment (SAFETY.md 4.2): who may create our objects does not get
//! root. A process is named by a template that root put on the machine.

use alloc::string::String;
use core::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{InvalidId, Proxy};

/// What an instance does on a node; `Started` for what cannot be promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Not running.
    Stopped,
    /// Running; the resource has no promoted role.
    Started,
    /// Running, not promoted.
    Unpromoted,
    /// Running and promoted.
    Promoted,
}

impl Role {
    /// Whether an instance in this role is active.
    pub const fn is_active(self) -> bool {
        !matches!(self, Self::Stopped)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stopped => "Stopped",
            Self::Started => "Started",
            Self::Unpromoted => "Unpromoted",
            Self::Promoted => "Promoted",
        })
    }
}

/// A short name that may become part of a file name on a machine: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, at most 63
/// characters. Names process templates and networks. Example: `web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(crate::NodeName);

impl Label {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Label {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self).map_err(|error: InvalidId| InvalidId { kind: "name", ..error })
    }
}

impl TryFrom<String> for Label {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0.into()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a resource is, with the typed parameters that its driver needs. Grows by variants, never by free text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ResourceKind {
    /// A virtual address with a kernel lifetime (CLUSTER.md section 8).
    Address {
        /// IPv4 or IPv6, never IPv4-mapped.
        address: IpAddr,
        /// Length of the prefix in bits, 1 to 32 or 128.
        prefix: u8,
        /// Network of the cluster on whose interface it lives.
        network: Label,
    },
    /// A supervised process from a template in the machine's root-owned folder.
    Process {
        /// Name of the template, without folder and ending.
        template: Label,
    },
    /// A load balancer, one process on each member that runs it.
    LoadBalancer(Proxy),
}

impl ResourceKind {
    /// Its type, as objects say it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Address { .. } => "Address",
            Self::LoadBalancer(_) => "LoadBalancer",
            Self::Process { .. } => "Process",
        }
    }

    /// Whether what runs as `self` becomes `new` without a stop: its next check carries the new parameters, and the driver
    /// brings them into force.
    pub fn turns_into(&self, new: &Self) -> bool {
        matches!((self, new), (Self::LoadBalancer(_), Self::LoadBalancer(_))) && self != new
    }
}
